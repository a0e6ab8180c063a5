"""Write a full-size diffusers folder of text to image with synthetic weights, as what `aleat generate --prompt` opens.

  make_pipeline.py --pipeline sd15 --ref DIR --out FOLDER

Weights are those of the reference suite's formula, in the type of the published files' half-precision variant; tokenizers,
scheduler and model_index.json are the published ones, which the suite has. T5 is left out: `aleat generate --no-t5`.
"""

import argparse
import gzip
import json
import os
import shutil
import sys
from collections import namedtuple

from safetensors_write import write_safetensors

# tiny        folder of the suite whose scheduler, tokenizer settings and index are taken
# parts       folder -> (key in the suite's list of tensors, file)
# tokenizers  folders that get CLIP's vocabulary
Pipeline = namedtuple("Pipeline", "tiny parts tokenizers")

DIFFUSION, ENCODER = "diffusion_pytorch_model.safetensors", "model.safetensors"
PIPELINES = {
    "sd15": Pipeline(
        "sd15-tiny",
        {
            "unet": ("sd15_unet", DIFFUSION),
            "vae": ("sd15_vae", DIFFUSION),
            "text_encoder": ("sd15_text_encoder", ENCODER),
        },
        ["tokenizer"],
    ),
    "sd3-medium": Pipeline(
        "sd3-tiny",
        {
            "transformer": ("sd3_medium_transformer", DIFFUSION),
            "vae": ("sd3_vae", DIFFUSION),
            "text_encoder": ("sd3_clip_l", ENCODER),
            "text_encoder_2": ("sd3_clip_g", ENCODER),
        },
        ["tokenizer", "tokenizer_2"],
    ),
}


def write_part(folder, file, listed, tensor_bytes):
    os.makedirs(folder)
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(listed["config"], f, indent=1)
    tensors = [(tensor[0], tensor[1], "I64" if tensor[2] == "I64" else "F16") for tensor in listed["tensors"]]
    write_safetensors(os.path.join(folder, file), tensors, tensor_bytes)


def write_tokenizer(folder, settings, vocabulary):
    os.makedirs(folder)
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        shutil.copyfile(os.path.join(settings, name), os.path.join(folder, name))
    for name in ("vocab.json", "merges.txt"):
        with gzip.open(os.path.join(vocabulary, name + ".gz")) as packed, open(os.path.join(folder, name), "wb") as f:
            shutil.copyfileobj(packed, f)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--pipeline", required=True, choices=sorted(PIPELINES))
    ap.add_argument("--ref", required=True, help="folder of reference cases")
    ap.add_argument("--out", required=True, help="folder to make")
    a = ap.parse_args()
    sys.path.insert(0, os.path.join(a.ref, "synth"))
    from make_synth import tensor_bytes

    with open(os.path.join(a.ref, "t2i-shapes", "shapes.json")) as f:
        listed = json.load(f)
    pipeline = PIPELINES[a.pipeline]
    tiny = os.path.join(a.ref, pipeline.tiny, "model")
    os.makedirs(a.out)
    for part, (key, file) in pipeline.parts.items():
        write_part(os.path.join(a.out, part), file, listed[key], tensor_bytes)
    for name in pipeline.tokenizers:
        write_tokenizer(os.path.join(a.out, name), os.path.join(tiny, name), os.path.join(a.ref, "clip-bpe"))
    os.makedirs(os.path.join(a.out, "scheduler"))
    for name in ("scheduler/scheduler_config.json", "model_index.json"):
        shutil.copyfile(os.path.join(tiny, name), os.path.join(a.out, name))


if __name__ == "__main__":
    main()
