"""U-Net of guided-diffusion (ADM) with scale-shift norms, resampling residual blocks and the new attention order."""

import torch
from torch.nn import functional as F

from checkpoint_torch import Checkpoint, attention, dims, sinusoids, to_image, to_tokens, twice

HEAD_CHANNELS = 64
DEPTH = 3  # residual blocks of a level; another one halves the image
EPS = 1e-5


def halve(x):
    return F.avg_pool2d(x, 2)


class ADM(Checkpoint):
    """out [N,6,H,W] = ADM(x [N,3,H,W], t [N] f32, y [N] int64)."""

    def resnet(self, x, emb, name, resample=None):
        h = F.silu(self.groupnorm(x, name + ".in_layers.0", EPS))
        if resample:
            h, x = resample(h), resample(x)
        h = self.conv(h, name + ".in_layers.2")
        scale, shift = self.linear(emb, name + ".emb_layers.1")[:, :, None, None].chunk(2, dim=1)
        h = self.groupnorm(h, name + ".out_layers.0", EPS) * (1 + scale) + shift
        h = self.conv(F.silu(h), name + ".out_layers.3")
        if self.has(name + ".skip_connection.weight"):
            x = self.conv(x, name + ".skip_connection")
        return x + h

    def attend(self, x, name):
        h = self.linear(to_tokens(self.groupnorm(x, name + ".norm", EPS)), name + ".qkv")
        h = attention(*h.chunk(3, dim=2), heads=dims(x)[1] // HEAD_CHANNELS)
        return x + to_image(self.linear(h, name + ".proj_out"), x)

    def layer(self, x, emb, name, resample=None):
        x = self.resnet(x, emb, name + ".0", resample)
        return self.attend(x, name + ".1") if self.has(name + ".1.qkv.weight") else x

    def forward(self, x, t, y):
        dim = dims(self.get("time_embed.0.weight"))[1]
        emb = self.mlp(sinusoids(t, dim), "time_embed.0", "time_embed.2", F.silu)
        emb = F.silu(emb + F.embedding(y, self.get("label_emb.weight")))
        skips = [self.conv(x, "input_blocks.0.0")]
        for i in range(1, self.blocks("input_blocks")):
            shrink = halve if i % (DEPTH + 1) == 0 else None
            skips.append(self.layer(skips[-1], emb, "input_blocks.%d" % i, shrink))
        h = self.layer(skips[-1], emb, "middle_block")
        h = self.resnet(h, emb, "middle_block.2")
        for i in range(self.blocks("output_blocks")):
            name = "output_blocks.%d" % i
            h = self.layer(torch.cat([h, skips.pop()], dim=1), emb, name)
            for up in (name + ".1", name + ".2"):
                if self.has(up + ".in_layers.2.weight"):
                    h = self.resnet(h, emb, up, twice)
        return self.conv(F.silu(self.groupnorm(h, "out.0", EPS)), "out.2")

    def blocks(self, part):
        return 1 + max(int(key.split(".")[1]) for key in self.keys if key.startswith(part))


def build(weights=None):
    """The network of a 64x64_diffusion file."""
    return ADM(weights)
