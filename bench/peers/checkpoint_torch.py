"""Networks written as functions over a checkpoint: layers are called by the names that the file has for them.

What a file says anyway is read off it (how many blocks, which of them attend); only what it does not say is an
argument of build(). Dimension names: N batch, C channels, H x W image, L tokens.
"""

import torch
from torch import nn
from torch.nn import functional as F

from unet2d_torch import load_safetensors


def dims(x):
    """The shape of x as numbers, so that an export has constants where tracing would compute shapes."""
    return [int(size) for size in x.shape]


class Checkpoint(nn.Module):
    """A module whose parameters are the tensors of a file that begin with one of `parts`, f32."""

    def __init__(self, path, parts=("",)):
        super().__init__()
        if path is None:
            raise SystemExit("peers: this network needs --weights (run.sh makes synthetic ones)")
        self.keys = set()
        for name, tensor in load_safetensors(path).items():
            if name.startswith(parts):
                self.keys.add(name)
                self.register_parameter(name.replace(".", "/"), nn.Parameter(tensor, requires_grad=False))
        self.unread = set(self.keys)
        self.eval()

    def has(self, name):
        return name in self.keys

    def get(self, name):
        self.unread.discard(name)
        return getattr(self, name.replace(".", "/"))

    def maybe(self, name):
        return self.get(name) if self.has(name) else None

    def count(self, pattern):
        """How many of pattern % 0, pattern % 1, ... there are."""
        n = 0
        while self.has(pattern % n):
            n += 1
        return n

    def check(self):
        """To be called after the first forward: a tensor that nothing has read means another network."""
        if self.unread:
            raise SystemExit("peers: %d tensors were not used, such as %s" % (len(self.unread), min(self.unread)))

    def linear(self, x, name):
        weight = self.get(name + ".weight")  # 1x1 kernels are matrices too
        return F.linear(x, weight.reshape(dims(weight)[:2]), self.maybe(name + ".bias"))

    def conv(self, x, name, stride=1):
        weight = self.get(name + ".weight")
        size = dims(weight)[2]
        padding = 0 if size == stride else size // 2
        return F.conv2d(x, weight, self.maybe(name + ".bias"), stride=stride, padding=padding)

    def groupnorm(self, x, name, eps):
        return F.group_norm(x, 32, self.get(name + ".weight"), self.get(name + ".bias"), eps)

    def layernorm(self, x, name, eps=1e-5):
        return F.layer_norm(x, dims(x)[-1:], self.get(name + ".weight"), self.get(name + ".bias"), eps)

    def mlp(self, x, first, second, act):
        return self.linear(act(self.linear(x, first)), second)


def sinusoids(t, dim):
    """t [N] -> [N,dim]: cosines, then sines, of t * 10000^(-2i/dim)."""
    freqs = torch.exp(torch.arange(dim // 2, dtype=torch.float32) * (-9.210340371976184 / (dim // 2)))
    arg = t[:, None] * freqs[None, :]
    return torch.cat([torch.cos(arg), torch.sin(arg)], dim=1)


def attention(q, k, v, heads):
    """Softmax attention of q [N,L,C] over k, v [N,K,C]."""
    n, tokens, c = dims(q)

    def split(y):
        return y.reshape(n, dims(y)[1], heads, c // heads).transpose(1, 2)

    p = torch.softmax(torch.matmul(split(q) * (c // heads) ** -0.5, split(k).transpose(2, 3)), dim=3)
    return torch.matmul(p, split(v)).transpose(1, 2).reshape(n, tokens, c)


def to_tokens(x):
    return x.flatten(2).transpose(1, 2)  # [N,C,H,W] -> [N,H*W,C]


def to_image(tokens, like):
    return tokens.transpose(1, 2).reshape(dims(like))


def unpatchify(x, c, height, width):
    """[N, L, p*p*c] -> [N,c,height,width], L square patches row by row."""
    n, tokens, _ = dims(x)
    p = int((height * width // tokens) ** 0.5)
    x = x.reshape(n, height // p, width // p, p, p, c)
    return x.permute(0, 5, 1, 3, 2, 4).reshape(n, c, height, width)


def twice(x):
    return F.interpolate(x, scale_factor=2.0, mode="nearest")
