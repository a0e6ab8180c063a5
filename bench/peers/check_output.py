"""Exit with an error unless two .npy agree: check_output.py OURS.npy MODEL-bN (a folder of export_onnx.py)."""

import json
import os
import sys

import numpy as np


def main():
    ours, folder = np.load(sys.argv[1]).astype(np.float64), sys.argv[2]
    with open(os.path.join(folder, "model.json")) as f:
        meta = json.load(f)
    theirs = np.load(os.path.join(folder, meta["torch_output"]))
    err = np.abs(ours - theirs).max() / np.abs(theirs).max()
    print("aleat's output is within %.1e of PyTorch's" % err, file=sys.stderr)
    if not err < meta["tolerance"]:
        sys.exit("check_output: expected %.1e: not the same network" % meta["tolerance"])


if __name__ == "__main__":
    main()
