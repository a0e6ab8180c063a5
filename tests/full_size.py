"""Full-size networks through the tool, on the reference suite's formula weights: full_size.py ALEAT [CASE...]

Exits with 77 (skipped) unless ALEAT_TEST_FULL is set and ALEAT_SHARED has the cases. ALEAT_TEST_FULL=1 makes the weights in
a temporary folder, one network after the other (1 to 10 GB of disk, minutes each); any other value is a folder that keeps
them, laid out as that of bench/peers/run.sh.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile

BOUND = 2e-5  # the project's for one evaluation in f32, relative L2; the references' own error is below 2e-6

# name: list of tensors (file, key in it), folder of the reference or None, its output (without a folder: the part of
# sd15-fullsize/expected.json), whether it has v.npy and vjp.npy
CASES = {
    "adm-64": (("shapes/adm_64x64_diffusion.json", None), "full_adm64", "out", True),
    "uvit-h2": (("shapes/imagenet256_uvit_huge.json", None), "full_uvit_h256", "eps", True),
    "sd-decoder": (("shapes/autoencoder_kl.json", None), "full_sdvae_dec", "dec", False),
    "ddpm-cifar10-32": (("synth/shapes-ddpm-cifar10-32.json", None), "synth-ddpm-cifar10-32", "eps", False),
    "sd15-unet": (("t2i-shapes/shapes.json", "sd15_unet"), None, "unet", False),
    "sd15-vae": (("t2i-shapes/shapes.json", "sd15_vae"), None, "vae_decoder", False),
    "sd3-medium": (("t2i-shapes/shapes.json", "sd3_medium_transformer"), None, "sd3_medium_transformer", False),
}

# Text encoders: folders as in a pipeline, tokenizers of the suite, a text. The reference's tokens of the first say that text.
# Of T5-XXL the suite has no values: its own are computed here, on few tokens, layer by layer.
ENCODERS = {
    "sd15-text-encoder": ("sd15_text_encoder", "F32", 1, "a photo of an astronaut riding a horse on mars"),
    "t5-xxl": ("t5_xxl_encoder", "F16", 3, "a red cube on a blue sphere"),
}
T5_TOKENS = 8

# Inputs that expected.json only names: option -> (name, shape, factor).
NAMED = {
    "unet": {"--x": ("input.x", (1, 4, 64, 64), 1), "--context": ("input.context", (1, 77, 768), 1)},
    "vae_decoder": {"--latents": ("input.z", (1, 4, 32, 32), 0.18215)},  # the reference was given it unscaled
    "sd3_medium_transformer": {
        "--x": ("input.sd3.x", (1, 16, 24, 32), 1),
        "--context": ("input.sd3.context", (1, 154, 4096), 1),
        "--pooled": ("input.sd3.pooled", (1, 2048), 1),
    },
}


def make_weights(synth, shapes, folder):
    """What `aleat` opens: FOLDER/diffusion_pytorch_model.safetensors and, where there is one, its config.json."""
    with open(shapes[0]) as f:
        listed = json.load(f)
    listed = listed[shapes[1]] if shapes[1] else listed
    os.makedirs(folder + ".tmp", exist_ok=True)
    if "config" in listed:
        with open(os.path.join(folder + ".tmp", "config.json"), "w") as f:
            json.dump(listed["config"], f)
    if listed.get("scheduler_config"):
        with open(os.path.join(folder + ".tmp", "scheduler_config.json"), "w") as f:
            json.dump(listed["scheduler_config"], f)
    from safetensors_write import write_safetensors

    path = os.path.join(folder + ".tmp", "diffusion_pytorch_model.safetensors")
    write_safetensors(path, [(name, shape, "F32") for name, shape in (t[:2] for t in listed["tensors"])], synth.tensor_bytes)
    os.replace(folder + ".tmp", folder)


def relative_l2(got, want):
    got, want = got.astype(np.float64).ravel(), np.asarray(want, np.float64).ravel()
    return float(np.linalg.norm(got - want) / np.linalg.norm(want))


def named_inputs(part, expected, synth, scratch):
    """Words of the inputs that the formula makes."""
    words = []
    for option, (name, shape, factor) in NAMED[part].items():
        # a matrix of one column: the formula gives it unit variance
        values = np.frombuffer(synth.tensor_bytes("", name, [int(np.prod(shape)), 1]), "<f4").reshape(shape)
        path = os.path.join(scratch, name + ".npy")
        np.save(path, values * np.float32(factor))
        words += [option, path]
    t = expected["input"].get("t")
    return words + (["--t", str(t)] if t is not None else [])


def make_encoder(ref, synth, name, folder):
    """A folder with one text encoder and its tokenizer, numbered as in pipelines."""
    from make_pipeline import write_tokenizer
    from safetensors_write import write_safetensors

    key, dtype, number, _ = ENCODERS[name]
    with open(os.path.join(ref, "t2i-shapes", "shapes.json")) as f:
        listed = json.load(f)[key]
    suffix = "" if number == 1 else "_%d" % number
    part = os.path.join(folder + ".tmp", "text_encoder" + suffix)
    os.makedirs(part, exist_ok=True)
    with open(os.path.join(part, "config.json"), "w") as f:
        json.dump(listed["config"], f)
    tensors = [(t[0], t[1], "I64" if t[2] == "I64" else dtype) for t in listed["tensors"]]
    write_safetensors(os.path.join(part, "model.safetensors"), tensors, synth.tensor_bytes)
    tokenizer = os.path.join(folder + ".tmp", "tokenizer" + suffix)
    if number == 1:
        write_tokenizer(tokenizer, os.path.join(ref, "sd15-tiny", "model", "tokenizer"), os.path.join(ref, "clip-bpe"))
    else:
        shutil.copytree(os.path.join(ref, "sd3-tiny", "model", "tokenizer_3"), tokenizer)
        os.chmod(tokenizer, 0o755)
        shutil.copyfile(os.path.join(ref, "t5-tokenize", "spiece.model"), os.path.join(tokenizer, "spiece.model.tmp"))
        os.replace(os.path.join(tokenizer, "spiece.model.tmp"), os.path.join(tokenizer, "spiece.model"))
    os.replace(folder + ".tmp", folder)


def t5_encode(path, ids, config, kind):
    """Last states [tokens, d_model] of a T5 encoder (arXiv 1910.10683), in numpy's arithmetic of a kind."""
    with open(path, "rb") as f:
        size = int.from_bytes(f.read(8), "little")
        head = json.loads(f.read(size))

    def tensor(name):
        at = head[name]
        count = int(np.prod(at["shape"]))
        values = np.fromfile(path, {"F16": "<f2", "F32": "<f4"}[at["dtype"]], count, offset=8 + size + at["data_offsets"][0])
        return values.reshape(at["shape"]).astype(kind)

    def norm(x, name):
        return x / np.sqrt(np.mean(x * x, -1, keepdims=True) + kind(config["layer_norm_epsilon"])) * tensor(name)

    n, heads, width = len(ids), config["num_heads"], config["d_kv"]
    distance = np.arange(n)[None, :] - np.arange(n)[:, None]
    half, near = config["relative_attention_num_buckets"] // 2, config["relative_attention_num_buckets"] // 4
    assert n <= near  # then every distance has a bucket of its own
    bucket = np.abs(distance) + half * (distance > 0)
    x = tensor("shared.weight")[ids]
    bias = None
    for i in range(config["num_layers"]):
        block = "encoder.block.%d.layer." % i
        y = norm(x, block + "0.layer_norm.weight")
        q, k, v = (
            (y @ tensor(block + "0.SelfAttention.%s.weight" % c).T).reshape(n, heads, width).transpose(1, 0, 2) for c in "qkv"
        )
        if i == 0:
            bias = tensor(block + "0.SelfAttention.relative_attention_bias.weight")[bucket].transpose(2, 0, 1)
        scores = q @ k.transpose(0, 2, 1) + bias
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights = weights / weights.sum(-1, keepdims=True)
        x = x + (weights @ v).transpose(1, 0, 2).reshape(n, -1) @ tensor(block + "0.SelfAttention.o.weight").T
        y = norm(x, block + "1.layer_norm.weight")
        a = y @ tensor(block + "1.DenseReluDense.wi_0.weight").T
        a = a * (1 + np.tanh(kind(np.sqrt(2 / np.pi)) * (a + kind(0.044715) * a**3))) / 2
        b = y @ tensor(block + "1.DenseReluDense.wi_1.weight").T
        x = x + (a * b) @ tensor(block + "1.DenseReluDense.wo.weight").T
    return norm(x, "encoder.final_layer_norm.weight")


def run_encoder(aleat, ref, synth, name, folder, scratch):
    """Errors of a text encoder, likewise."""
    number, prompt = ENCODERS[name][2:]
    model = os.path.join(folder, name)
    if not os.path.isdir(model):
        make_encoder(ref, synth, name, model)
    out, tokens = os.path.join(scratch, "states.npy"), os.path.join(scratch, "ids.npy")
    words = ["--encoder", str(number), "--prompt", prompt, "--out", out, "--ids", tokens, "-q"]
    if number == 3:
        words += ["--tokens", str(T5_TOKENS)]
    subprocess.run([aleat, "encode-text", model, *words], check=True)
    got, ids = np.load(out), np.load(tokens)[0]
    if number == 3:
        part = os.path.join(model, "text_encoder_3")
        with open(os.path.join(part, "config.json")) as f:
            config = json.load(f)
        single, double = (t5_encode(os.path.join(part, "model.safetensors"), ids, config, k) for k in (np.float32, np.float64))
        # Scores are not divided by the root of the width: with these weights rounding grows to some 1e-4 in 24 layers,
        # in whatever order one adds. So the bound is that of f32 itself, and twice as much for another order.
        error, own = relative_l2(got[0], double), relative_l2(single, double)
        return {"output": (error, 2 * own)}
    with open(os.path.join(ref, "sd15-fullsize", "expected.json")) as f:
        expected = json.load(f)["text_encoder"]
    assert ids.tolist() == expected["input"]["ids"], ids
    return sampled_errors(got, expected)


def sampled_errors(got, expected):
    """Against values of which only some are stored."""
    assert list(got.shape) == expected["shape"], got.shape
    flat = got.ravel()
    return {
        "first 64": (relative_l2(flat[:64], expected["first64"]), BOUND),
        "every %dth" % expected["stride"]: (relative_l2(flat[:: expected["stride"]][:256], expected["strided256"]), BOUND),
    }


def run_case(aleat, ref, synth, name, folder, scratch):
    """Errors of one case: {what: (relative L2, its bound)}."""
    shapes, case, output, has_gradient = CASES[name]
    out, grad, cotangent = (os.path.join(scratch, file) for file in ("out.npy", "grad.npy", "v.npy"))
    weights = os.path.join(folder, name)
    if not os.path.isdir(weights):
        make_weights(synth, (os.path.join(ref, shapes[0]), shapes[1]), weights)
    if not os.path.exists(os.path.join(weights, "config.json")):
        weights = os.path.join(weights, "diffusion_pytorch_model.safetensors")
    decodes = case == "full_sdvae_dec" or output == "vae_decoder"
    words = ["decode", "--decoder", weights] if decodes else ["score", weights]
    if case:
        files = {"--latents": "z"} if decodes else {"--x": "x", "--t": "t", "--label": "y"}
        for option, file in files.items():
            path = os.path.join(ref, case, file + ".npy")
            words += [option, path] if os.path.exists(path) else []
        if has_gradient:  # of the predicted noise alone; a learned variance comes after it
            v, n = np.load(os.path.join(ref, case, "v.npy")), np.load(os.path.join(ref, case, output + ".npy")).shape[1]
            np.save(cotangent, np.pad(v, ((0, 0), (0, n - v.shape[1]), (0, 0), (0, 0))))
            words += ["--cotangent", cotangent, "--grad", grad]
    else:
        with open(os.path.join(ref, "sd15-fullsize", "expected.json")) as f:
            expected = json.load(f)[output]
        words += named_inputs(output, expected, synth, scratch)
    subprocess.run([aleat, *words, "--out", out, "-q"], check=True)
    got = np.load(out)
    if not case:
        return sampled_errors(got, expected)
    errors = {"output": (relative_l2(got, np.load(os.path.join(ref, case, output + ".npy"))), BOUND)}
    if has_gradient:
        errors["gradient"] = (relative_l2(np.load(grad), np.load(os.path.join(ref, case, "vjp.npy"))), BOUND)
    return errors


def main():
    kept = os.environ.get("ALEAT_TEST_FULL")
    ref = os.path.join(os.environ.get("ALEAT_SHARED", "/nowhere"), "ref")
    if not kept or not os.path.isfile(os.path.join(ref, "synth", "make_synth.py")):
        print("skipped: set ALEAT_TEST_FULL; needs the reference cases below ALEAT_SHARED")
        return 77
    if np is None:
        sys.exit("full_size: this Python has no numpy (Debian: apt-get install python3-numpy)")
    sys.path.insert(0, os.path.join(ref, "synth"))
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "bench", "peers"))
    import make_synth

    failed = False
    for name in sys.argv[2:] or [*CASES, *ENCODERS]:
        with tempfile.TemporaryDirectory() as scratch:
            run = run_encoder if name in ENCODERS else run_case
            errors = run(sys.argv[1], ref, make_synth, name, scratch if kept == "1" else kept, scratch)
        failed |= not all(error < bound for error, bound in errors.values())
        told = ", ".join(
            "%s %.1e%s" % (what, error, "" if error < bound else " (expected below %.0e)" % bound)
            for what, (error, bound) in errors.items()
        )
        print("%s: %s" % (name, told), flush=True)
    return failed


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    try:
        import numpy as np
    except ImportError:
        np = None
    sys.exit(main())
