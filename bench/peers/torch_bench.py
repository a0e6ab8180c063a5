"""Time one of MODELS in PyTorch (eval, no_grad) and print one JSON object.

  torch_bench.py --batch 5 [--model ddpm-cifar10-32] [--weights FILE] [--ref DIR]
                 [--threads 2] [--warmup 3] [--repeats 9]

Exit code 1 when the output is off the reference.
"""

import argparse
import json
import statistics
import sys
import time

import torch

import models


def blas_of_this_process():
    """The BLAS library mapped into this process: it decides the speed of the matrix products."""
    try:
        with open("/proc/self/maps") as f:
            names = {line.split("/")[-1].strip() for line in f if "blas" in line}
    except OSError:
        return None
    return ",".join(sorted(names)) or None


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--batch", type=int, required=True)
    ap.add_argument("--model", default="ddpm-cifar10-32", choices=sorted(models.MODELS))
    ap.add_argument("--weights", help="safetensors file (default: seeded random weights, no check against --ref)")
    ap.add_argument("--ref", help="folder of reference cases")
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--warmup", type=int, default=3)
    ap.add_argument("--repeats", type=int, default=9)
    a = ap.parse_args()
    if min(a.batch, a.threads, a.repeats) < 1 or a.warmup < 0:
        ap.error("--batch, --threads and --repeats must be at least 1, --warmup at least 0")

    torch.set_num_threads(a.threads)
    torch.set_num_interop_threads(1)
    spec = models.MODELS[a.model]
    module = spec.build(a.weights)
    arrays, expected = models.make_inputs(spec, a.batch, a.ref if a.weights else None)
    tensors = tuple(torch.from_numpy(array) for array in arrays)
    flop = models.count_flop(module, tensors)

    seconds = []
    with torch.no_grad():
        for i in range(a.warmup + a.repeats):
            begin = time.perf_counter()
            output = module(*tensors)
            took = time.perf_counter() - begin
            if i >= a.warmup:
                seconds.append(took)

    err = None if expected is None else models.max_rel_err(output.numpy()[: len(expected)], expected)
    median = statistics.median(seconds)
    result = {
        "peer": "pytorch",
        "version": torch.__version__,
        "blas": blas_of_this_process(),
        "model": a.model,
        "batch": a.batch,
        "threads": torch.get_num_threads(),
        "seconds": round(median, 6),
        "seconds_min": round(min(seconds), 6),
        "seconds_max": round(max(seconds), 6),
        "repeats": a.repeats,
        "gflop": round(flop / 1e9, 4),
        "gflops": round(flop / median / 1e9, 1),
        "max_rel_err_reference": err,
        "agrees": None if err is None else err < spec.tolerance,
    }
    print(json.dumps(result))
    if result["agrees"] is False:
        sys.exit("torch_bench: output is off the reference")


if __name__ == "__main__":
    main()
