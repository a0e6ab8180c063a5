"""The models the peers are timed on: one line of MODELS each. Shared by export_onnx.py and torch_bench.py."""

import os
from collections import namedtuple

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import unet2d_torch


def image_and_time(channels, size, n_steps):
    """Inputs of a pixel or latent denoiser: x [N,C,S,S] f32 normal, t [N] int64."""

    def make(batch, rng):
        x = rng.standard_normal((batch, channels, size, size)).astype(np.float32)
        return x, rng.integers(0, n_steps, size=batch, dtype=np.int64)

    return make


# build      (weights path or None) -> nn.Module in eval mode
# make       (batch, numpy Generator) -> tuple of input arrays, batch on axis 0
# inputs     their names in the ONNX file, and of the reference files NAME.npy
# output     likewise
# reference  folder of the reference case: its samples come first in the batch and are checked
# tolerance  allowed max|a-b| / max|b|
Model = namedtuple("Model", "build make inputs output reference tolerance")

MODELS = {
    "ddpm-cifar10-32": Model(
        unet2d_torch.build, image_and_time(3, 32, 1000), ("x", "t"), "eps", "synth-ddpm-cifar10-32", 5e-5
    ),
}


def make_inputs(model, batch, ref_dir):
    """Return (inputs, expected or None): the reference samples first (as many as fit), then seeded random ones."""
    inputs = model.make(batch, np.random.default_rng(0))
    case = os.path.join(ref_dir, model.reference) if ref_dir else None
    if case is None or not os.path.isdir(case):
        return inputs, None
    expected = np.load(os.path.join(case, model.output + ".npy"))[:batch]
    for name, array in zip(model.inputs, inputs):
        ref = np.load(os.path.join(case, name + ".npy"))[:batch]
        array[: len(ref)] = ref
    return inputs, expected


def max_rel_err(got, want):
    """max|got-want| / max|want|; NaN and infinity count as infinite."""
    err = float(np.abs(got.astype(np.float64) - want).max() / np.abs(want).max())
    return err if np.isfinite(err) else float("inf")


class FlopCount(TorchDispatchMode):
    """Counts 2 * multiply-adds of convolutions and matrix products run inside the context; nothing else."""

    def __init__(self):
        super().__init__()
        self.flop = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        name = func._schema.name
        if name == "aten::convolution":
            self.flop += 2 * out.numel() * args[1][0].numel()  # weight [Cout, Cin/groups, kh, kw]
        elif name in ("aten::mm", "aten::bmm"):
            self.flop += 2 * out.numel() * args[0].shape[-1]
        elif name == "aten::addmm":
            self.flop += 2 * out.numel() * args[1].shape[-1]
        return out


def count_flop(module, tensors):
    """Operations of one forward pass, by direct convolution (what a faster algorithm saves is not deducted)."""
    with torch.no_grad(), FlopCount() as counter:
        module(*tensors)
    return counter.flop
