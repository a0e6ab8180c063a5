"""U-ViT with class labels, without a final convolution: the huge models of latents."""

import torch
from torch.nn import functional as F

from checkpoint_torch import Checkpoint, attention, dims, sinusoids, to_tokens, unpatchify

HEADS = 16


class UViT(Checkpoint):
    """eps [N,4,H,W] = UViT(x [N,4,H,W], t [N] f32, y [N] int64)."""

    def block(self, x, name, skip=None):
        if skip is not None:
            x = self.linear(torch.cat([x, skip], dim=2), name + ".skip_linear")
        h = self.linear(self.layernorm(x, name + ".norm1"), name + ".attn.qkv")
        x = x + self.linear(attention(*h.chunk(3, dim=2), heads=HEADS), name + ".attn.proj")
        return x + self.mlp(self.layernorm(x, name + ".norm2"), name + ".mlp.fc1", name + ".mlp.fc2", F.gelu)

    def forward(self, x, t, y):
        c, _, p, _ = dims(self.get("patch_embed.proj.weight"))
        h = to_tokens(self.conv(x, "patch_embed.proj", stride=p))
        label = F.embedding(y, self.get("label_emb.weight"))[:, None]
        h = torch.cat([label, sinusoids(t, c)[:, None], h], dim=1) + self.get("pos_embed")
        skips = []
        for i in range(self.count("in_blocks.%d.norm1.weight")):
            h = self.block(h, "in_blocks.%d" % i)
            skips.append(h)
        h = self.block(h, "mid_block")
        for i in range(self.count("out_blocks.%d.norm1.weight")):
            h = self.block(h, "out_blocks.%d" % i, skips.pop())
        h = self.linear(self.layernorm(h[:, 2:], "norm"), "decoder_pred")
        return unpatchify(h, *dims(x)[1:])


def build(weights=None):
    """The network of an imagenet256_uvit_huge file."""
    return UViT(weights)
