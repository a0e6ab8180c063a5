"""Time training steps of a U-Net in PyTorch: what `aleat train` does in a step, on the same network.

  train_torch.py --config unet/config.json [--batch 32] [--threads 2] [--warmup 2] [--steps 10]
                 [--weights FILE --x X.npy --t T --label Y --expected EPS.npy]

A step: noise a batch, loss, gradient, clipping of its norm, AdamW, moving average of the weights; f32. Prints one JSON
object. With --weights it first compares the network's output with --expected (exit code 1 if it is another), so that
what is timed is the same network.
"""

import argparse
import json
import statistics
import sys
import time

import numpy as np
import torch
from torch.nn import functional as F

import models
import unet2d_torch
from torch_bench import blas_of_this_process

TOLERANCE = 5e-5  # max|a-b| / max|b|, as for the other peers


def noise_schedule():
    """sqrt(abar), sqrt(1 - abar) of the linear betas of DDPM, [1000] each."""
    abar = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)
    return abar.sqrt().float(), (1 - abar).sqrt().float()


class Trainer:
    def __init__(self, cfg, model, batch):
        size = cfg["sample_size"]
        self.model, self.batch = model.train(), batch
        self.classes = cfg.get("num_class_embeds")
        self.images = torch.rand(64 * batch, cfg["in_channels"], size, size) * 2 - 1
        self.signal, self.noise = noise_schedule()
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4, weight_decay=0.01)
        self.average = [p.detach().clone() for p in model.parameters()]

    def step(self):
        index = torch.randint(len(self.images), (self.batch,))
        t = torch.randint(1000, (self.batch,))
        labels = torch.randint(self.classes, (self.batch,)) if self.classes else None
        eps = torch.randn_like(self.images[index])
        scale = (slice(None), None, None, None)
        x = self.signal[t][scale] * self.images[index] + self.noise[t][scale] * eps
        loss = F.mse_loss(self.model(x, t, labels), eps)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        with torch.no_grad():
            for mean, p in zip(self.average, self.model.parameters()):
                mean.lerp_(p, 0.001)
        return loss.item()


def compare(model, a):
    """max|a-b| / max|b| of the network's output and --expected."""
    x = torch.from_numpy(np.load(a.x))
    t = torch.full((len(x),), a.t, dtype=torch.int64)
    labels = None if a.label is None else torch.full((len(x),), a.label, dtype=torch.int64)
    with torch.no_grad():
        return models.max_rel_err(model.eval()(x, t, labels).numpy(), np.load(a.expected))


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--config", required=True)
    ap.add_argument("--batch", type=int, default=32)
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--warmup", type=int, default=2)
    ap.add_argument("--steps", type=int, default=10)
    ap.add_argument("--weights", help="safetensors file of this network")
    ap.add_argument("--x", help="input to compare at, .npy")
    ap.add_argument("--t", type=int)
    ap.add_argument("--label", type=int)
    ap.add_argument("--expected", help="the network's output there, .npy")
    a = ap.parse_args()
    if min(a.batch, a.threads, a.steps) < 1 or a.warmup < 0:
        ap.error("--batch, --threads and --steps must be at least 1, --warmup at least 0")

    torch.set_num_threads(a.threads)
    torch.set_num_interop_threads(1)
    with open(a.config) as f:
        cfg = json.load(f)
    model = unet2d_torch.build(a.weights, cfg)
    error = compare(model, a) if a.expected else None

    trainer = Trainer(cfg, model, a.batch)
    seconds = []
    for i in range(a.warmup + a.steps):
        begin = time.perf_counter()
        loss = trainer.step()
        if i >= a.warmup:
            seconds.append(time.perf_counter() - begin)
    print(
        json.dumps(
            {
                "peer": "pytorch",
                "version": torch.__version__,
                "blas": blas_of_this_process(),
                "batch": a.batch,
                "threads": torch.get_num_threads(),
                "steps": a.steps,
                "step_seconds": round(sum(seconds), 4),
                "images_per_second": round(a.batch * a.steps / sum(seconds), 2),
                "images_per_second_best": round(a.batch / min(seconds), 2),
                "images_per_second_median": round(a.batch / statistics.median(seconds), 2),
                "last_loss": round(loss, 4),
                "max_rel_err": error,
            }
        )
    )
    if error is not None and not error < TOLERANCE:
        sys.exit("train_torch: the network's output is not that of aleat: %g" % error)


if __name__ == "__main__":
    main()
