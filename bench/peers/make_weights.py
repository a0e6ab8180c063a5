"""Write synthetic weights for one of MODELS, by the formula of the reference suite, as what `aleat` opens.

  make_weights.py --model adm-64 --ref DIR --out FOLDER

writes FOLDER/diffusion_pytorch_model.safetensors (f32) and, for the networks of diffusers, FOLDER/config.json.
"""

import argparse
import json
import os
import re
import sys

import models
from safetensors_write import write_safetensors


def list_tensors(spec, ref):
    """Return ([(name, shape)], config or None) of a model, of a transformer with the blocks that are wanted."""
    with open(os.path.join(ref, spec.shapes[0])) as f:
        listed = json.load(f)
    config = None
    if spec.shapes[1]:
        listed = listed[spec.shapes[1]]
        config = listed["config"]
    tensors = [(tensor[0], tensor[1]) for tensor in listed["tensors"]]
    if spec.blocks:  # the first ones, and the last one as the last
        pattern, last = re.compile(r"(transformer_blocks)\.(\d+)\."), config["num_layers"] - 1
        kept = []
        for name, shape in tensors:
            found = pattern.match(name)
            block = int(found[2]) if found else -1
            if block == last:
                name = pattern.sub(r"\1.%d." % (spec.blocks - 1), name)
            if block < spec.blocks - 1 or block == last:
                kept.append((name, shape))
        tensors, config = kept, dict(config, num_layers=spec.blocks)
    return tensors, config


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--model", required=True, choices=sorted(models.MODELS))
    ap.add_argument("--ref", required=True, help="folder of reference cases")
    ap.add_argument("--out", required=True, help="folder to make")
    a = ap.parse_args()
    sys.path.insert(0, os.path.join(a.ref, "synth"))
    from make_synth import tensor_bytes

    tensors, config = list_tensors(models.MODELS[a.model], a.ref)
    os.makedirs(a.out)
    if config:
        with open(os.path.join(a.out, "config.json"), "w") as f:
            json.dump(config, f, indent=1)
    path = os.path.join(a.out, "diffusion_pytorch_model.safetensors")
    write_safetensors(path, [(name, shape, "F32") for name, shape in tensors], tensor_bytes)


if __name__ == "__main__":
    main()
