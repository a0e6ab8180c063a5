"""UNet2DConditionModel of diffusers as Stable Diffusion 1 has it: one transformer block at a place, 8 heads."""

import torch
from torch.nn import functional as F

from checkpoint_torch import Checkpoint, attention, dims, sinusoids, to_image, to_tokens, twice

HEADS = 8


class UNet2DCondition(Checkpoint):
    """eps [N,4,H,W] = UNet2DCondition(x [N,4,H,W], t [N] f32, context [N,L,768])."""

    def resnet(self, x, emb, name):
        h = self.conv(F.silu(self.groupnorm(x, name + ".norm1", 1e-5)), name + ".conv1")
        h = h + self.linear(emb, name + ".time_emb_proj")[:, :, None, None]
        h = self.conv(F.silu(self.groupnorm(h, name + ".norm2", 1e-5)), name + ".conv2")
        return h + (self.conv(x, name + ".conv_shortcut") if self.has(name + ".conv_shortcut.weight") else x)

    def attend(self, x, source, name):
        q, k, v = self.linear(x, name + ".to_q"), self.linear(source, name + ".to_k"), self.linear(source, name + ".to_v")
        return self.linear(attention(q, k, v, HEADS), name + ".to_out.0")

    def transformer(self, x, context, name):
        block = name + ".transformer_blocks.0"
        h = self.linear(to_tokens(self.groupnorm(x, name + ".norm", 1e-6)), name + ".proj_in")
        normed = self.layernorm(h, block + ".norm1")
        h = h + self.attend(normed, normed, block + ".attn1")
        h = h + self.attend(self.layernorm(h, block + ".norm2"), context, block + ".attn2")
        value, gate = self.linear(self.layernorm(h, block + ".norm3"), block + ".ff.net.0.proj").chunk(2, dim=2)
        h = h + self.linear(value * F.gelu(gate), block + ".ff.net.2")
        return x + to_image(self.linear(h, name + ".proj_out"), x)

    def layer(self, x, emb, context, block, i):
        x = self.resnet(x, emb, "%s.resnets.%d" % (block, i))
        name = "%s.attentions.%d" % (block, i)
        return self.transformer(x, context, name) if self.has(name + ".norm.weight") else x

    def forward(self, x, t, context):
        dim = dims(self.get("time_embedding.linear_1.weight"))[1]
        emb = F.silu(self.mlp(sinusoids(t, dim), "time_embedding.linear_1", "time_embedding.linear_2", F.silu))
        skips = [self.conv(x, "conv_in")]
        for level in range(self.count("down_blocks.%d.resnets.0.norm1.weight")):
            block = "down_blocks.%d" % level
            for i in range(self.count(block + ".resnets.%d.norm1.weight")):
                skips.append(self.layer(skips[-1], emb, context, block, i))
            if self.has(block + ".downsamplers.0.conv.weight"):
                skips.append(self.conv(skips[-1], block + ".downsamplers.0.conv", stride=2))
        h = self.layer(skips[-1], emb, context, "mid_block", 0)
        h = self.resnet(h, emb, "mid_block.resnets.1")
        for level in range(self.count("up_blocks.%d.resnets.0.norm1.weight")):
            block = "up_blocks.%d" % level
            for i in range(self.count(block + ".resnets.%d.norm1.weight")):
                h = self.layer(torch.cat([h, skips.pop()], dim=1), emb, context, block, i)
            if self.has(block + ".upsamplers.0.conv.weight"):
                h = self.conv(twice(h), block + ".upsamplers.0.conv")
        return self.conv(F.silu(self.groupnorm(h, "conv_norm_out", 1e-5)), "conv_out")


def build(weights=None):
    return UNet2DCondition(weights)
