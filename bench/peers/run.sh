#!/bin/sh
# Times the peers on the same model and machine; prints one JSON object per peer and batch size on stdout.
#
#   bench/peers/run.sh [BATCH...]          (default: 1 5 16)
#
# Everything made or downloaded goes to $PEERS_CACHE (default: build/peers) and is made once. A peer that is not
# available is named on stderr and skipped: exit code 0. Exit code 1: a peer's output was wrong, or it failed.
#
#   PEERS_CACHE  cache folder                     PEERS_THREADS  threads (2)
#   PEERS_REF    folder of reference cases        PEERS_REPEATS  timed runs (9)
#                (../shared/ref, optional)        PEERS_WARMUP   untimed runs before (3)
#   PEERS_MODEL  line of models.py                PEERS_WEIGHTS  its safetensors file
#                (ddpm-cifar10-32)                               (synthetic if PEERS_REF is there, else random)
#   PEERS_ONLY   onnxruntime: do not time PyTorch
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
cache=${PEERS_CACHE:-$root/build/peers}
ref=${PEERS_REF:-$root/../shared/ref}
model=${PEERS_MODEL:-ddpm-cifar10-32}
weights=${PEERS_WEIGHTS:-}
threads=${PEERS_THREADS:-2}
repeats=${PEERS_REPEATS:-9}
warmup=${PEERS_WARMUP:-3}
export PYTHONDONTWRITEBYTECODE=1

say() { echo "peers: $*" >&2; }
. "$here/python.sh"

[ $# -gt 0 ] || set -- 1 5 16
for batch in "$@"; do
    case $batch in
    '' | *[!0-9]* | 0*) say "not a batch size: '$batch'"; exit 2 ;;
    esac
done
mkdir -p "$cache/onnx"
cache=$(cd "$cache" && pwd)

# Synthetic weights by the reference suite's formula, unless weights were named.
make_weights() {
    [ -z "$weights" ] || return 0
    [ -f "$ref/synth/make_synth.py" ] || return 0
    weights=$cache/$model/diffusion_pytorch_model.safetensors
    [ -f "$weights" ] || {
        rm -rf "${cache:?}/$model.tmp" "${cache:?}/$model"
        shapes=$ref/synth/shapes-$model.json
        if [ -f "$shapes" ]; then # a whole folder, its configuration included
            "$python" "$ref/synth/make_synth.py" --shapes "$shapes" --out "$cache/$model.tmp" --check >&2
        else
            "$python" "$here/make_weights.py" --model "$model" --ref "$ref" --out "$cache/$model.tmp" >&2
        fi
        mv "$cache/$model.tmp" "$cache/$model"
    }
}

run_python() { # SCRIPT BATCH ARG...
    script=$1
    shift
    if [ -n "$weights" ]; then
        "$python" "$here/$script" --model "$model" --weights "$weights" --ref "$ref" --batch "$@"
    else
        "$python" "$here/$script" --model "$model" --batch "$@"
    fi
}

# True when the exported file of batch $1 is there, of the same weights, and not older than what it is made from.
exported() {
    made=$cache/onnx/$model-b$1/model.json
    [ -f "$made" ] && [ "$(cat "$cache/onnx/$model-b$1/weights" 2>/dev/null)" = "weights: $weights" ] || return 1
    set -- "$here/models.py" "$here/export_onnx.py" "$here"/*_torch.py ${weights:+"$weights"}
    [ -z "$(find "$@" -newer "$made")" ]
}

export_batch() {
    exported "$1" && return
    rm -rf "${cache:?}/onnx/$model-b$1" # a failed export must not leave an older one to be timed
    run_python export_onnx.py "$1" --out "$cache/onnx" &&
        echo "weights: $weights" >"$cache/onnx/$model-b$1/weights"
}

# Installs the pinned onnxruntime-node into the cache. --ignore-scripts: its install script would fetch CUDA parts.
install_ort() {
    if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
        say "onnxruntime: skipped, node or npm is missing"
        return 1
    fi
    if ! cmp -s "$here/package-lock.json" "$cache/node/installed"; then
        mkdir -p "$cache/node"
        cp "$here/package.json" "$here/package-lock.json" "$cache/node/"
        if ! (cd "$cache/node" && npm ci --ignore-scripts --no-audit --no-fund) >"$cache/node/npm.log" 2>&1; then
            say "onnxruntime: skipped, npm could not install it ($cache/node/npm.log)"
            return 1
        fi
        cp "$here/package-lock.json" "$cache/node/installed"
    fi
}

status=0
python=$(find_python)
if [ -n "$python" ]; then
    make_weights
    use_fast_blas
    [ -n "$weights" ] || say "no weights: random ones, outputs are compared between the peers only"
    for batch in "$@"; do
        export_batch "$batch" || status=1
    done
else
    say "pytorch: skipped, no Python with torch and numpy (Debian: apt-get install python3-torch python3-numpy)"
fi

if install_ort; then
    for batch in "$@"; do
        if [ -f "$cache/onnx/$model-b$batch/model.json" ]; then
            NODE_PATH=$cache/node/node_modules node "$here/ort_bench.mjs" "$cache/onnx/$model-b$batch/model.json" \
                --threads "$threads" --warmup "$warmup" --repeats "$repeats" || status=1
        else
            say "onnxruntime: batch $batch skipped, no exported model (PyTorch makes it)"
        fi
    done
fi

if [ -n "$python" ] && [ "${PEERS_ONLY:-}" != onnxruntime ]; then
    for batch in "$@"; do
        run_python torch_bench.py "$batch" --threads "$threads" --warmup "$warmup" --repeats "$repeats" || status=1
    done
fi
exit $status
