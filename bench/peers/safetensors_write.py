"""Writing safetensors files of the formula's weights, one tensor in memory at a time."""

import json
import struct

import numpy as np

TYPES = {"F32": "<f4", "F16": "<f2", "I64": "<i8"}


def write_safetensors(path, tensors, tensor_bytes):
    """Write [(name, shape, type)]; tensor_bytes(salt, name, shape) gives f32 in C order. Integers count from 0, as position ids do."""
    head, offset = {}, 0
    for name, shape, dtype in tensors:
        size = np.dtype(TYPES[dtype]).itemsize * int(np.prod(shape))
        head[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(head, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for name, shape, dtype in tensors:
            if dtype == "I64":
                f.write(np.arange(int(np.prod(shape)), dtype=TYPES[dtype]).tobytes())
            else:
                f.write(np.frombuffer(tensor_bytes("", name, shape), "<f4").astype(TYPES[dtype]).tobytes())
