#!/bin/sh
# Images a second in training, ours and PyTorch's in one run: the network of models/fashion, batch 32, AdamW, clipping,
# moving average, f32. First the output of the network that was just trained is compared between the two, so that both
# time the same one. One line each on stdout.
#
#   bench/train.sh [STEPS]          (default: 20 timed steps of each, after 2 untimed ones of PyTorch's)
#
#   ALEAT           the tool (build/src/cli/aleat)
#   PEERS_CACHE     as bench/peers/run.sh has it
#   PEERS_THREADS   threads of everybody (2)
#   DATA            the data set (/usr/share/datasets/fashion-mnist, Debian's dataset-fashion-mnist)
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/.." && pwd)
aleat=${ALEAT:-$root/build/src/cli/aleat}
cache=${PEERS_CACHE:-$root/build/peers}
threads=${PEERS_THREADS:-2}
data=${DATA:-/usr/share/datasets/fashion-mnist}
steps=${1:-20}
batch=32
export PYTHONDONTWRITEBYTECODE=1

[ -x "$aleat" ] || { echo "train: no $aleat; run make first" >&2; exit 1; }
[ -e "$data" ] || { echo "train: no $data (apt-get install dataset-fashion-mnist)" >&2; exit 1; }
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
say() { echo "train: $*" >&2; }
. "$here/peers/python.sh"
python=$(find_python)
[ -z "$python" ] || use_fast_blas
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

field() { # NAME: the number behind "NAME": in the JSON object on standard input
    sed -n "s/.*\"$1\": *\([0-9.e+-]*\).*/\1/p"
}

printf '%-14s %18s %8s\n' who 'images a second' ratio
theirs=
train_ours() { # PRECISION
    rm -rf "$work/out"
    "$aleat" train "$data" --config "$root/models/fashion/unet/config.json" -o "$work/out" \
        --steps "$steps" --batch $batch --warmup 0 --threads "$threads" --precision "$1" --dtype f32 \
        --validate-every 0 --sample-every 0 --json --quiet
}

ours=$(train_ours f32)
if [ -n "$python" ]; then
    "$python" -c "
import numpy, sys
shape = (2, 1, 32, 32)
numpy.save(sys.argv[1], numpy.random.default_rng(0).standard_normal(shape).astype(numpy.float32))" "$work/x.npy"
    "$aleat" score "$work/out/model" --x "$work/x.npy" --t 321 --label 3 --out "$work/eps.npy" --threads "$threads"
    peer=$("$python" "$here/peers/train_torch.py" --config "$work/out/model/unet/config.json" \
        --weights "$work/out/model/unet/diffusion_pytorch_model.safetensors" --x "$work/x.npy" --t 321 --label 3 \
        --expected "$work/eps.npy" --batch $batch --threads "$threads" --steps "$steps")
    theirs=$(printf '%s' "$peer" | field images_per_second)
    printf '%-14s %18s %8s\n' pytorch "$theirs" 1.00
else
    say "no Python with torch and numpy (Debian: apt-get install python3-torch python3-numpy): PyTorch is skipped"
fi

tell() { # PRECISION JSON
    rate=$(printf '%s' "$2" | field step_seconds | awk -v n=$((steps * batch)) '{ printf "%.2f", n / $1 }')
    ratio=$([ -z "$theirs" ] || echo "$rate $theirs" | awk '{ printf "%.2f", $1 / $2 }')
    printf '%-14s %18s %8s\n' "aleat $1" "$rate" "$ratio"
}
tell f32 "$ours"
ours=$(train_ours bf16) && tell bf16 "$ours" # a processor without bf16 says so itself
