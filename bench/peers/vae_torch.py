"""Decoder of AutoencoderKL as Stable Diffusion has it, by CompVis's names."""

from torch.nn import functional as F

from checkpoint_torch import Checkpoint, attention, to_image, to_tokens, twice

SCALING_FACTOR = 0.18215
EPS = 1e-6


class Decoder(Checkpoint):
    """dec [N,3,8H,8W] = Decoder(z [N,4,H,W]), z as the diffusion model has it."""

    def resnet(self, x, name):
        h = self.conv(F.silu(self.groupnorm(x, name + ".norm1", EPS)), name + ".conv1")
        h = self.conv(F.silu(self.groupnorm(h, name + ".norm2", EPS)), name + ".conv2")
        return h + (self.conv(x, name + ".nin_shortcut") if self.has(name + ".nin_shortcut.weight") else x)

    def attend(self, x, name):
        h = to_tokens(self.groupnorm(x, name + ".norm", EPS))
        h = attention(*(self.linear(h, "%s.%s" % (name, part)) for part in "qkv"), heads=1)
        return x + to_image(self.linear(h, name + ".proj_out"), x)

    def forward(self, z):
        h = self.conv(self.conv(z / SCALING_FACTOR, "post_quant_conv"), "decoder.conv_in")
        h = self.resnet(h, "decoder.mid.block_1")
        h = self.resnet(self.attend(h, "decoder.mid.attn_1"), "decoder.mid.block_2")
        for level in reversed(range(self.count("decoder.up.%d.block.0.norm1.weight"))):
            for i in range(self.count("decoder.up.%d.block.%%d.norm1.weight" % level)):
                h = self.resnet(h, "decoder.up.%d.block.%d" % (level, i))
            if self.has("decoder.up.%d.upsample.conv.weight" % level):
                h = self.conv(twice(h), "decoder.up.%d.upsample.conv" % level)
        return self.conv(F.silu(self.groupnorm(h, "decoder.norm_out", EPS)), "decoder.conv_out")


def build(weights=None):
    """The decoder of an autoencoder_kl file."""
    return Decoder(weights, parts=("decoder.", "post_quant_conv."))
