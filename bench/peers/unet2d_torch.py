"""UNet2DModel of diffusers, in plain PyTorch, as google/ddpm-cifar10-32 and models/fashion use it.

Written from the published config and tensor names only, so that the peers can be timed without installing diffusers.
Dimension names: N batch, C channels, H x W image, L = H*W tokens.

Supported config values are those of that model family (DDPM UNets of google/ddpm-*): anything else raises ValueError
instead of computing something similar.
"""

import json
import math
import struct

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

# New diffusers attention names -> the old ones, which the published files use.
NEW_TO_OLD = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}
DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}


def load_safetensors(path):
    """Return {name: float32 torch tensor} of a safetensors file of F64, F32 or F16 tensors."""
    with open(path, "rb") as f:
        (head_len,) = struct.unpack("<Q", f.read(8))
        if head_len > 100 << 20:
            raise ValueError("%s: header of %d bytes: not a safetensors file" % (path, head_len))
        head = json.loads(f.read(head_len))
    data = np.memmap(path, dtype=np.uint8, mode="r", offset=8 + head_len)
    out = {}
    for name, info in head.items():
        if name == "__metadata__":
            continue
        begin, end = info["data_offsets"]
        if info["dtype"] not in DTYPES or not 0 <= begin <= end <= len(data):
            raise ValueError("%s: tensor '%s': unsupported dtype or bad offsets" % (path, name))
        flat = data[begin:end].view(DTYPES[info["dtype"]])
        out[name] = torch.from_numpy(flat.astype(np.float32).reshape(info["shape"]))
    return out


class TimeEmbedding(nn.Module):
    """t [N] int64 -> [N, 4*ch]: [sin | cos] (or, flipped, [cos | sin]) of t * 10000^(-i/(ch/2 - freq_shift)), then a
    two-layer MLP."""

    def __init__(self, ch, freq_shift, flip):
        super().__init__()
        self.flip = flip
        half = ch // 2
        freqs = torch.exp(-math.log(10000.0) * torch.arange(half, dtype=torch.float32) / (half - freq_shift))
        self.register_buffer("freqs", freqs, persistent=False)
        self.linear_1 = nn.Linear(ch, 4 * ch)
        self.linear_2 = nn.Linear(4 * ch, 4 * ch)

    def forward(self, t):
        arg = t.to(torch.float32)[:, None] * self.freqs[None, :]
        parts = [torch.sin(arg), torch.cos(arg)]
        emb = torch.cat(parts[::-1] if self.flip else parts, dim=1)
        return self.linear_2(F.silu(self.linear_1(emb)))


class ResnetBlock(nn.Module):
    def __init__(self, c_in, c_out, c_temb, groups, eps, dropout):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.norm1 = nn.GroupNorm(groups, c_in, eps=eps)
        self.conv1 = nn.Conv2d(c_in, c_out, 3, padding=1)
        self.time_emb_proj = nn.Linear(c_temb, c_out)
        self.norm2 = nn.GroupNorm(groups, c_out, eps=eps)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(c_in, c_out, 1) if c_in != c_out else None

    def forward(self, x, temb):
        h = self.conv1(F.silu(self.norm1(x)))
        h = h + self.time_emb_proj(F.silu(temb))[:, :, None, None]
        h = self.conv2(self.dropout(F.silu(self.norm2(h))))
        return h + (x if self.conv_shortcut is None else self.conv_shortcut(x))


class Attention(nn.Module):
    """Self-attention over the L pixels with a residual; head_dim None means one head over all channels."""

    def __init__(self, ch, head_dim, groups, eps):
        super().__init__()
        self.heads = 1 if head_dim is None else ch // head_dim
        self.scale = 1.0 / math.sqrt(ch // self.heads)
        self.group_norm = nn.GroupNorm(groups, ch, eps=eps)
        self.query = nn.Linear(ch, ch)
        self.key = nn.Linear(ch, ch)
        self.value = nn.Linear(ch, ch)
        self.proj_attn = nn.Linear(ch, ch)

    def forward(self, x):
        n, c, height, width = x.shape
        tokens = height * width
        h = self.group_norm(x).reshape(n, c, tokens).transpose(1, 2)  # [N, L, C]

        def split(y):  # [N, L, C] -> [N, heads, L, C/heads]
            return y.reshape(n, tokens, self.heads, c // self.heads).transpose(1, 2)

        q, k, v = split(self.query(h)), split(self.key(h)), split(self.value(h))
        p = torch.softmax(torch.matmul(q * self.scale, k.transpose(2, 3)), dim=3)  # [N, heads, L, L]
        o = torch.matmul(p, v).transpose(1, 2).reshape(n, tokens, c)
        return x + self.proj_attn(o).transpose(1, 2).reshape(n, c, height, width)


class Downsample(nn.Module):
    def __init__(self, ch, padding):
        super().__init__()
        self.padding = padding
        self.conv = nn.Conv2d(ch, ch, 3, stride=2, padding=padding)

    def forward(self, x):
        if self.padding == 0:  # one row and column of zeros at the far side only
            x = F.pad(x, (0, 1, 0, 1))
        return self.conv(x)


class Upsample(nn.Module):
    def __init__(self, ch):
        super().__init__()
        self.conv = nn.Conv2d(ch, ch, 3, padding=1)

    def forward(self, x):
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Block(nn.Module):
    """One resolution. channels: (in, out) of each resnet; the up blocks take one skip tensor per resnet."""

    def __init__(self, channels, attn, cfg, c_temb, down=False, up=False):
        super().__init__()
        groups, eps, dropout = cfg["norm_num_groups"], cfg["norm_eps"], cfg.get("dropout", 0.0)
        c_out = channels[-1][1]
        self.resnets = nn.ModuleList(ResnetBlock(a, b, c_temb, groups, eps, dropout) for a, b in channels)
        if attn:
            n_attn = len(channels)
            self.attentions = nn.ModuleList(
                Attention(c_out, cfg["attention_head_dim"], groups, eps) for _ in range(n_attn)
            )
        else:
            self.attentions = None
        self.downsamplers = nn.ModuleList([Downsample(c_out, cfg["downsample_padding"])]) if down else None
        self.upsamplers = nn.ModuleList([Upsample(c_out)]) if up else None

    def forward_down(self, h, temb, skips):
        for i, resnet in enumerate(self.resnets):
            h = resnet(h, temb)
            if self.attentions is not None:
                h = self.attentions[i](h)
            skips.append(h)
        if self.downsamplers is not None:
            h = self.downsamplers[0](h)
            skips.append(h)
        return h

    def forward_up(self, h, temb, skips):
        for i, resnet in enumerate(self.resnets):
            h = resnet(torch.cat([h, skips.pop()], dim=1), temb)
            if self.attentions is not None:
                h = self.attentions[i](h)
        return h if self.upsamplers is None else self.upsamplers[0](h)


class MidBlock(nn.Module):
    def __init__(self, ch, cfg, c_temb):
        super().__init__()
        groups, eps, dropout = cfg["norm_num_groups"], cfg["norm_eps"], cfg.get("dropout", 0.0)
        self.resnets = nn.ModuleList(ResnetBlock(ch, ch, c_temb, groups, eps, dropout) for _ in range(2))
        self.attentions = nn.ModuleList([Attention(ch, cfg["attention_head_dim"], groups, eps)])

    def forward(self, h, temb):
        return self.resnets[1](self.attentions[0](self.resnets[0](h, temb)), temb)


class UNet2D(nn.Module):
    """eps = UNet2D(cfg)(x [N,C,H,W] f32, t [N] int64, labels [N] int64 if the config has classes), eps like x."""

    def __init__(self, cfg):
        super().__init__()
        check_config(cfg)
        chs, n_res = cfg["block_out_channels"], cfg["layers_per_block"]
        c_temb, last = 4 * chs[0], len(chs) - 1
        self.time_embedding = TimeEmbedding(chs[0], cfg["freq_shift"], cfg.get("flip_sin_to_cos", False))
        n_classes = cfg.get("num_class_embeds")
        self.class_embedding = nn.Embedding(n_classes, c_temb) if n_classes else None
        self.conv_in = nn.Conv2d(cfg["in_channels"], chs[0], 3, padding=1)

        skip_chs, c = [chs[0]], chs[0]
        self.down_blocks = nn.ModuleList()
        for i, (kind, ch) in enumerate(zip(cfg["down_block_types"], chs)):
            channels = [(c if j == 0 else ch, ch) for j in range(n_res)]
            self.down_blocks.append(Block(channels, kind.startswith("Attn"), cfg, c_temb, down=i < last))
            skip_chs += [ch] * (n_res + (i < last))
            c = ch

        self.mid_block = MidBlock(c, cfg, c_temb)

        self.up_blocks = nn.ModuleList()
        for i, (kind, ch) in enumerate(zip(cfg["up_block_types"], reversed(chs))):
            channels = []
            for _ in range(n_res + 1):
                channels.append((c + skip_chs.pop(), ch))
                c = ch
            self.up_blocks.append(Block(channels, kind.startswith("Attn"), cfg, c_temb, up=i < last))

        self.conv_norm_out = nn.GroupNorm(cfg["norm_num_groups"], chs[0], eps=cfg["norm_eps"])
        self.conv_out = nn.Conv2d(chs[0], cfg["out_channels"], 3, padding=1)

    def forward(self, x, t, labels=None):
        temb = self.time_embedding(t)
        if self.class_embedding is not None:
            temb = temb + self.class_embedding(labels)
        h = self.conv_in(x)
        skips = [h]
        for block in self.down_blocks:
            h = block.forward_down(h, temb, skips)
        h = self.mid_block(h, temb)
        for block in self.up_blocks:
            h = block.forward_up(h, temb, skips)
        return self.conv_out(F.silu(self.conv_norm_out(h)))


def check_config(cfg):
    """Raise ValueError where cfg asks for something this file does not compute."""
    fixed = {
        "act_fn": "silu",
        "add_attention": True,
        "center_input_sample": False,
        "class_embed_type": None,
        "downsample_type": "conv",
        "mid_block_scale_factor": 1,
        "resnet_time_scale_shift": "default",
        "time_embedding_type": "positional",
        "upsample_type": "conv",
    }
    for key, want in fixed.items():
        if cfg.get(key, want) != want:
            raise ValueError("config: %s = %r is not supported (only %r)" % (key, cfg[key], want))
    for key, allowed in (
        ("down_block_types", ("DownBlock2D", "AttnDownBlock2D")),
        ("up_block_types", ("UpBlock2D", "AttnUpBlock2D")),
    ):
        for kind in cfg[key]:
            if kind not in allowed:
                raise ValueError("config: block type %s is not supported" % kind)


CIFAR10_CONFIG = {  # google/ddpm-cifar10-32
    "act_fn": "silu",
    "attention_head_dim": None,
    "block_out_channels": [128, 256, 256, 256],
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"],
    "downsample_padding": 0,
    "freq_shift": 1,
    "in_channels": 3,
    "layers_per_block": 2,
    "norm_eps": 1e-6,
    "norm_num_groups": 32,
    "out_channels": 3,
    "sample_size": 32,
    "up_block_types": ["UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"],
}


def build(weights=None, cfg=None):
    """Return the UNet in eval mode. weights: safetensors path, or None for seeded random ones (speed is the same)."""
    torch.manual_seed(0)
    model = UNet2D(cfg or CIFAR10_CONFIG).eval()
    if weights is not None:
        state = {}
        for name, tensor in load_safetensors(weights).items():
            for new, old in NEW_TO_OLD.items():
                name = name.replace(new, old)
            state[name] = tensor
        model.load_state_dict(state, strict=True)
    return model
