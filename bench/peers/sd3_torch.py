"""SD3Transformer2DModel of diffusers as Stable Diffusion 3 medium has it: joint blocks, no norms of queries and keys."""

import torch
from torch.nn import functional as F

from checkpoint_torch import Checkpoint, attention, dims, sinusoids, to_tokens, unpatchify

HEAD_CHANNELS = 64
EPS = 1e-6


def gelu_tanh(x):
    return 0.5 * x * (1 + torch.tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)))


def modulate(x, shift, scale):
    c = dims(x)[-1]  # gain and shift are written out: the runtime refuses, or crashes on, a norm that lacks one
    return F.layer_norm(x, [c], torch.ones(c), torch.zeros(c), EPS) * (1 + scale) + shift


class SD3(Checkpoint):
    """v [N,16,H,W] = SD3(x [N,16,H,W], t [N] f32, context [N,L,4096], pooled [N,2048])."""

    def modulation(self, emb, name, chunks):
        return self.linear(emb, name)[:, None].chunk(chunks, dim=2)

    def finish(self, x, h, parts, name, out, ff):
        _, _, gate, shift, scale, gate_ff = parts
        x = x + gate * self.linear(h, "%s.%s" % (name, out))
        h = modulate(x, shift, scale)
        return x + gate_ff * self.mlp(h, "%s.%s.net.0.proj" % (name, ff), "%s.%s.net.2" % (name, ff), gelu_tanh)

    def block(self, x, text, emb, name):
        is_last = not self.has(name + ".ff_context.net.2.weight")
        of_x = self.modulation(emb, name + ".norm1.linear", 6)
        h = modulate(x, of_x[0], of_x[1])
        if is_last:  # the text's stream ends here; its norm has the scale first
            scale, shift = self.modulation(emb, name + ".norm1_context.linear", 2)
        else:
            of_text = self.modulation(emb, name + ".norm1_context.linear", 6)
            shift, scale = of_text[:2]
        g = modulate(text, shift, scale)
        pixels = dims(x)[1]
        qkv = (
            torch.cat([self.linear(h, "%s.attn.to_%s" % (name, c)), self.linear(g, "%s.attn.add_%s_proj" % (name, c))], 1)
            for c in "qkv"
        )
        both = attention(*qkv, heads=dims(x)[2] // HEAD_CHANNELS)
        x = self.finish(x, both[:, :pixels], of_x, name, "attn.to_out.0", "ff")
        if is_last:
            return x, None
        return x, self.finish(text, both[:, pixels:], of_text, name, "attn.to_add_out", "ff_context")

    def forward(self, x, t, context, pooled):
        table = self.get("pos_embed.pos_embed")
        p, side = dims(self.get("pos_embed.proj.weight"))[2], int(dims(table)[1] ** 0.5)
        rows, columns = (size // p for size in dims(x)[2:])
        top, left = (side - rows) // 2, (side - columns) // 2
        middle = table.reshape(1, side, side, -1)[:, top : top + rows, left : left + columns]
        h = to_tokens(self.conv(x, "pos_embed.proj", stride=p)) + middle.reshape(1, rows * columns, -1)
        embed = "time_text_embed.%s_embedder.linear_%d"
        dim = dims(self.get(embed % ("timestep", 1) + ".weight"))[1]
        emb = self.mlp(sinusoids(t, dim), embed % ("timestep", 1), embed % ("timestep", 2), F.silu)
        emb = F.silu(emb + self.mlp(pooled, embed % ("text", 1), embed % ("text", 2), F.silu))
        text = self.linear(context, "context_embedder")
        for i in range(self.count("transformer_blocks.%d.norm1.linear.weight")):
            h, text = self.block(h, text, emb, "transformer_blocks.%d" % i)
        scale, shift = self.modulation(emb, "norm_out.linear", 2)
        h = self.linear(modulate(h, shift, scale), "proj_out")
        return unpatchify(h, *dims(x)[1:])


def build(weights=None):
    return SD3(weights)
