"""The models the peers are timed on: one line of MODELS each. Shared by the other scripts here."""

import os
from collections import namedtuple

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import adm_torch
import sd3_torch
import unet2d_condition_torch
import unet2d_torch
import uvit_torch
import vae_torch


def normal(*shape):
    """An input [N,*shape], f32 normal."""
    return lambda batch, rng: rng.standard_normal((batch, *shape)).astype(np.float32)


def below(n, dtype=np.float32):
    """An input [N] of integers 0 <= i < n."""
    return lambda batch, rng: rng.integers(0, n, size=batch).astype(dtype)


# build      (weights path or None) -> nn.Module in eval mode
# inputs     in the ONNX file and of the reference files NAME.npy: name -> (batch, numpy Generator) -> array, batch first
# output     its name likewise
# reference  folder of the reference case: its samples come first in the batch and are checked; None: there is none
# tolerance  allowed max|a-b| / max|b|
# shapes     of the reference suite's lists of tensors, what synthetic weights are made for: file, and key in it or None
# blocks     of a transformer that are taken; None: all
# aleat      options of `aleat score`, or of `aleat decode`, that take the inputs
Model = namedtuple("Model", "build inputs output reference tolerance shapes blocks aleat")

MODELS = {
    "ddpm-cifar10-32": Model(
        unet2d_torch.build,
        {"x": normal(3, 32, 32), "t": below(1000, np.int64)},
        "eps",
        "synth-ddpm-cifar10-32",
        5e-5,
        ("synth/shapes-ddpm-cifar10-32.json", None),
        None,
        {"x": "--x", "t": "--t"},
    ),
    "adm-64": Model(
        adm_torch.build,
        {"x": normal(3, 64, 64), "t": below(1000), "y": below(1000, np.int64)},
        "out",
        "full_adm64",
        5e-5,
        ("shapes/adm_64x64_diffusion.json", None),
        None,
        {"x": "--x", "t": "--t", "y": "--label"},
    ),
    "uvit-h2": Model(
        uvit_torch.build,
        {"x": normal(4, 32, 32), "t": below(1000), "y": below(1000, np.int64)},
        "eps",
        "full_uvit_h256",
        5e-5,
        ("shapes/imagenet256_uvit_huge.json", None),
        None,
        {"x": "--x", "t": "--t", "y": "--label"},
    ),
    "sd-decoder": Model(
        vae_torch.build,
        {"z": normal(4, 32, 32)},
        "dec",
        None,  # the suite's case has latents of another size
        5e-5,
        ("shapes/autoencoder_kl.json", None),
        None,
        {"z": "--latents"},
    ),
    "sd15-unet": Model(
        unet2d_condition_torch.build,
        {"x": normal(4, 64, 64), "t": below(1000), "context": normal(77, 768)},
        "eps",
        None,
        5e-5,
        ("t2i-shapes/shapes.json", "sd15_unet"),
        None,
        {"x": "--x", "t": "--t", "context": "--context"},
    ),
    # A third of the 24 blocks, which are alike: ONNX Runtime holds f32 weights, all of them 8.3 GB, twice while it loads.
    "sd3-medium-8": Model(
        sd3_torch.build,
        {"x": normal(16, 64, 64), "t": below(1000), "context": normal(154, 4096), "pooled": normal(2048)},
        "v",
        None,
        5e-5,
        ("t2i-shapes/shapes.json", "sd3_medium_transformer"),
        8,
        {"x": "--x", "t": "--t", "context": "--context", "pooled": "--pooled"},
    ),
}


def make_inputs(model, batch, ref_dir):
    """Return (inputs, expected or None): the reference samples first (as many as fit), then seeded random ones."""
    rng = np.random.default_rng(0)
    inputs = tuple(make(batch, rng) for make in model.inputs.values())
    case = os.path.join(ref_dir, model.reference) if ref_dir and model.reference else None
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
