"""Export one of MODELS to ONNX at a fixed batch size, with the inputs and outputs to check a runtime against.

  export_onnx.py --out DIR --batch 5 [--model ddpm-cifar10-32] [--weights FILE.safetensors] [--ref DIR]

writes to DIR
  MODEL-bN.onnx       weights inside, static shapes
  MODEL-bN.json       what ort_bench.mjs needs: input and output names, files, flop, tolerance
  MODEL-bN.*.npy      inputs, PyTorch's output, and (with --ref) the reference output of the first samples
Each file appears under its name only when complete, the .json last.
"""

import argparse
import json
import os
import sys
import warnings

import numpy as np
import torch

import models


def save_npy(path, array):
    with open(path + ".tmp", "wb") as f:
        np.save(f, np.ascontiguousarray(array))
    os.replace(path + ".tmp", path)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--out", required=True, help="folder to write to")
    ap.add_argument("--batch", type=int, required=True)
    ap.add_argument("--model", default="ddpm-cifar10-32", choices=sorted(models.MODELS))
    ap.add_argument("--weights", help="safetensors file (default: seeded random weights, no check against --ref)")
    ap.add_argument("--ref", help="folder of reference cases")
    ap.add_argument("--opset", type=int, default=17)
    a = ap.parse_args()
    if a.batch < 1:
        ap.error("--batch must be at least 1")

    spec = models.MODELS[a.model]
    module = spec.build(a.weights)
    arrays, expected = models.make_inputs(spec, a.batch, a.ref if a.weights else None)
    tensors = tuple(torch.from_numpy(array) for array in arrays)
    with torch.no_grad():
        output = module(*tensors).numpy()
    if expected is not None:
        err = models.max_rel_err(output[: len(expected)], expected)
        if not err < spec.tolerance:
            sys.exit("export_onnx: PyTorch's own output is off the reference: max rel err %.3g" % err)

    os.makedirs(a.out, exist_ok=True)
    stem = os.path.join(a.out, "%s-b%d" % (a.model, a.batch))
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's remarks on its own shape inference; the output is checked
        # No dynamic axes: the runtime may then fold every shape and plan its memory once.
        torch.onnx.export(
            module,
            tensors,
            stem + ".onnx.tmp",
            opset_version=a.opset,
            input_names=list(spec.inputs),
            output_names=[spec.output],
            do_constant_folding=True,
        )
    os.replace(stem + ".onnx.tmp", stem + ".onnx")

    base = os.path.basename(stem)
    meta = {
        "model": a.model,
        "batch": a.batch,
        "onnx": base + ".onnx",
        "inputs": {name: "%s.%s.npy" % (base, name) for name in spec.inputs},
        "output": spec.output,
        "torch_output": base + ".torch.npy",
        "reference": None,
        "tolerance": spec.tolerance,
        "flop": models.count_flop(module, tensors),
    }
    for name, array in zip(spec.inputs, arrays):
        save_npy(os.path.join(a.out, meta["inputs"][name]), array)
    save_npy(os.path.join(a.out, meta["torch_output"]), output)
    if expected is not None:
        meta["reference"] = base + ".ref.npy"
        save_npy(os.path.join(a.out, meta["reference"]), expected)
    with open(stem + ".json.tmp", "w") as f:
        json.dump(meta, f, indent=1)
        f.write("\n")
    os.replace(stem + ".json.tmp", stem + ".json")


if __name__ == "__main__":
    main()
