#!/usr/bin/python3
"""Features of images by PyTorch: what `aleat features` is compared with.

CIFAR ResNets as in akamaster/pytorch_resnet_cifar10, Inception-v3 as in mseitzer/pytorch-fid, each
written from its published description. Prints one JSON object; with --out also writes the features.
"""
import argparse
import json
import time

import numpy as np
import torch
import torch.nn.functional as F


def conv_bn(w, x, conv, bn, stride=1, padding=0, eps=1e-5, relu=True):
    y = F.conv2d(x, w[conv + ".weight"], None, stride, padding)
    y = F.batch_norm(y, w[bn + ".running_mean"], w[bn + ".running_var"], w[bn + ".weight"],
                     w[bn + ".bias"], False, 0, eps)
    return F.relu(y) if relu else y


def resnet(w, images):
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    x = conv_bn(w, (images / 255 - mean) / std, "conv1", "bn1", 1, 1)
    for layer in (1, 2, 3):
        block = 0
        while f"layer{layer}.{block}.conv1.weight" in w:
            p = f"layer{layer}.{block}."
            stride = 2 if layer > 1 and block == 0 else 1
            y = conv_bn(w, x, p + "conv1", p + "bn1", stride, 1)
            y = conv_bn(w, y, p + "conv2", p + "bn2", 1, 1, relu=False)
            if stride == 2:
                quarter = y.shape[1] // 4
                x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, quarter, quarter))
            x = F.relu(y + x)
            block += 1
    return x.mean((2, 3))


def inception(w, images):
    def c(x, name, stride=1, padding=0):
        return conv_bn(w, x, name + ".conv", name + ".bn", stride, padding, 0.001)

    def mean3(x):
        return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)

    def max_half(x):
        return F.max_pool2d(x, 3, 2)

    def a(x, n):
        y = c(c(c(x, n + "branch3x3dbl_1"), n + "branch3x3dbl_2", 1, 1), n + "branch3x3dbl_3", 1, 1)
        return torch.cat([c(x, n + "branch1x1"),
                          c(c(x, n + "branch5x5_1"), n + "branch5x5_2", 1, 2), y,
                          c(mean3(x), n + "branch_pool")], 1)

    def b(x, n):
        y = c(c(c(x, n + "branch3x3dbl_1"), n + "branch3x3dbl_2", 1, 1), n + "branch3x3dbl_3", 2)
        return torch.cat([c(x, n + "branch3x3", 2), y, max_half(x)], 1)

    wide, high = (0, 3), (3, 0)

    def seven(x, n):
        y = c(c(c(x, n + "branch7x7_1"), n + "branch7x7_2", 1, wide), n + "branch7x7_3", 1, high)
        z = c(c(x, n + "branch7x7dbl_1"), n + "branch7x7dbl_2", 1, high)
        z = c(c(z, n + "branch7x7dbl_3", 1, wide), n + "branch7x7dbl_4", 1, high)
        z = c(z, n + "branch7x7dbl_5", 1, wide)
        return torch.cat([c(x, n + "branch1x1"), y, z, c(mean3(x), n + "branch_pool")], 1)

    def d(x, n):
        y = c(c(x, n + "branch3x3_1"), n + "branch3x3_2", 2)
        z = c(c(x, n + "branch7x7x3_1"), n + "branch7x7x3_2", 1, wide)
        z = c(c(z, n + "branch7x7x3_3", 1, high), n + "branch7x7x3_4", 2)
        return torch.cat([y, z, max_half(x)], 1)

    def e(x, n, pool):
        y = c(x, n + "branch3x3_1")
        z = c(c(x, n + "branch3x3dbl_1"), n + "branch3x3dbl_2", 1, 1)
        return torch.cat([c(x, n + "branch1x1"),
                          c(y, n + "branch3x3_2a", 1, (0, 1)), c(y, n + "branch3x3_2b", 1, (1, 0)),
                          c(z, n + "branch3x3dbl_3a", 1, (0, 1)),
                          c(z, n + "branch3x3dbl_3b", 1, (1, 0)), c(pool(x), n + "branch_pool")], 1)

    x = F.interpolate(images / 255, (299, 299), mode="bilinear", align_corners=False) * 2 - 1
    x = c(c(c(x, "Conv2d_1a_3x3", 2), "Conv2d_2a_3x3"), "Conv2d_2b_3x3", 1, 1)
    x = max_half(c(c(max_half(x), "Conv2d_3b_1x1"), "Conv2d_4a_3x3"))
    for name in "Mixed_5b", "Mixed_5c", "Mixed_5d":
        x = a(x, name + ".")
    x = b(x, "Mixed_6a.")
    for name in "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e":
        x = seven(x, name + ".")
    x = d(x, "Mixed_7a.")
    x = e(x, "Mixed_7b.", mean3)
    x = e(x, "Mixed_7c.", lambda t: F.max_pool2d(t, 3, 1, 1))
    return x.mean((2, 3))


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("network")
    p.add_argument("--images", required=True, help=".npy of bytes, [N,3,H,W]")
    p.add_argument("--batch", type=int, default=50)
    p.add_argument("--threads", type=int, default=torch.get_num_threads())
    p.add_argument("--out")
    args = p.parse_args()
    torch.set_num_threads(args.threads)
    w = torch.load(args.network, map_location="cpu")
    w = {k.removeprefix("module."): v.float() for k, v in w.get("state_dict", w).items()}
    net = inception if "Mixed_7c.branch_pool.conv.weight" in w else resnet
    images = torch.from_numpy(np.load(args.images))
    features = []
    with torch.no_grad():
        net(w, images[:args.batch].float())
        start = time.perf_counter()
        for first in range(0, len(images), args.batch):
            features.append(net(w, images[first:first + args.batch].float()))
        seconds = time.perf_counter() - start
    if args.out:
        np.save(args.out, torch.cat(features).numpy())
    print(json.dumps({"peer": "torch " + torch.__version__, "images": len(images),
                      "batch": args.batch, "threads": args.threads, "seconds": seconds}))


if __name__ == "__main__":
    main()
