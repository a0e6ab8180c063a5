"""Full-size networks through the tool, on the reference suite's formula weights: full_size.py ALEAT [CASE...]

Exits with 77 (skipped) unless ALEAT_TEST_FULL is set and ALEAT_SHARED has the cases. ALEAT_TEST_FULL=1 makes the weights in
a temporary folder, one network after the other (1 to 8 GB of disk, minutes each); any other value is a folder that keeps
them, laid out as that of bench/peers/run.sh.
"""

import json
import os
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


def run_case(aleat, ref, synth, name, folder, scratch):
    """Errors of one case: {what: relative L2}."""
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
        assert list(got.shape) == expected["shape"], got.shape
        flat = got.ravel()
        return {
            "first 64": relative_l2(flat[:64], expected["first64"]),
            "every %dth" % expected["stride"]: relative_l2(flat[:: expected["stride"]][:256], expected["strided256"]),
        }
    errors = {"output": relative_l2(got, np.load(os.path.join(ref, case, output + ".npy")))}
    if has_gradient:
        errors["gradient"] = relative_l2(np.load(grad), np.load(os.path.join(ref, case, "vjp.npy")))
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
    for name in sys.argv[2:] or CASES:
        with tempfile.TemporaryDirectory() as scratch:
            errors = run_case(sys.argv[1], ref, make_synth, name, scratch if kept == "1" else kept, scratch)
        bad = not all(error < BOUND for error in errors.values())
        failed |= bad
        told = ", ".join("%s %.1e" % (what, error) for what, error in errors.items())
        print("%s: %s%s" % (name, told, ": expected below %.0e" % BOUND if bad else ""), flush=True)
    return failed


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    try:
        import numpy as np
    except ImportError:
        np = None
    sys.exit(main())
