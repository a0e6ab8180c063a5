"""Export one of MODELS to ONNX at a fixed batch size, with the inputs and outputs to check a runtime against.

  export_onnx.py --out DIR --batch 5 [--model ddpm-cifar10-32] [--weights FILE.safetensors] [--ref DIR]

writes the folder DIR/MODEL-bN, which appears under its name only when complete:
  model.onnx          static shapes; weights inside, those of larger networks in files beside it
  model.json          what ort_bench.mjs needs: input and output names, files, flop, tolerance
  score.args          words that make `aleat` compute the output of the same inputs, with --out and a model added
  bench.args          words that make `aleat bench` time the same size
  *.npy               inputs, PyTorch's output, and (with --ref) the reference output of the first samples
"""

import argparse
import json
import os
import shutil
import sys
import warnings

import numpy as np
import torch

import models
from checkpoint_torch import Checkpoint


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
    if isinstance(module, Checkpoint):
        module.check()
    if expected is not None:
        err = models.max_rel_err(output[: len(expected)], expected)
        if not err < spec.tolerance:
            sys.exit("export_onnx: PyTorch's own output is off the reference: max rel err %.3g" % err)

    out = os.path.join(a.out, "%s-b%d" % (a.model, a.batch))
    shutil.rmtree(out + ".tmp", ignore_errors=True)
    os.makedirs(out + ".tmp")
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's remarks on its own shape inference; the output is checked
        # No dynamic axes: the runtime may then fold every shape and plan its memory once.
        torch.onnx.export(
            module,
            tensors,
            os.path.join(out + ".tmp", "model.onnx"),
            opset_version=a.opset,
            input_names=list(spec.inputs),
            output_names=[spec.output],
            do_constant_folding=True,
        )

    meta = {
        "model": a.model,
        "batch": a.batch,
        "onnx": "model.onnx",
        "inputs": {name: name + ".npy" for name in spec.inputs},
        "output": spec.output,
        "torch_output": "torch.npy",
        "reference": None if expected is None else "ref.npy",
        "tolerance": spec.tolerance,
        "flop": models.count_flop(module, tensors),
    }
    saved = dict(zip(meta["inputs"].values(), arrays), **{"torch.npy": output})
    if expected is not None:
        saved["ref.npy"] = expected
    verb = "decode" if "--latents" in spec.aleat.values() else "score"
    size = "--height %d --width %d" % arrays[0].shape[2:]
    words = {
        "score.args": " ".join([verb] + ["%s %s.npy" % (spec.aleat[name], name) for name in spec.inputs]),
        "bench.args": "--part decoder " + size if verb == "decode" else size,
    }
    for name, text in words.items():
        with open(os.path.join(out + ".tmp", name), "w") as f:
            f.write(text + "\n")
    for name, array in saved.items():
        np.save(os.path.join(out + ".tmp", name), np.ascontiguousarray(array))
    with open(os.path.join(out + ".tmp", "model.json"), "w") as f:
        json.dump(meta, f, indent=1)
        f.write("\n")
    shutil.rmtree(out, ignore_errors=True)
    os.replace(out + ".tmp", out)


if __name__ == "__main__":
    main()
