#!/bin/sh
# Images a second in training, ours and PyTorch's in one run: the network of models/fashion, batch 32, AdamW, clipping,
# moving average, f32. The output of the network that was just trained is compared between the two, so that both time
# the same one. One line each on stdout; ratios are of medians.
#
#   bench/train.sh [STEPS]          (default: 20 timed steps of each, after 2 untimed ones of PyTorch's)
#
#   ALEAT, PEERS_CACHE, PEERS_THREADS   as bench/peers/start.sh has them
#   PEERS_ROUNDS                        timings of each, taking turns (3)
#   DATA                                the data set (/usr/share/datasets/fashion-mnist, Debian's dataset-fashion-mnist)
set -eu

here=$(cd "$(dirname "$0")" && pwd)
name=train
# shellcheck source=bench/peers/start.sh
. "$here/peers/start.sh"
rounds=${PEERS_ROUNDS:-3}
data=${DATA:-/usr/share/datasets/fashion-mnist}
steps=${1:-20}
batch=32
[ -e "$data" ] || { say "no $data (apt-get install dataset-fashion-mnist)"; exit 1; }

train_ours() { # PRECISION
    rm -rf "$work/out"
    "$aleat" train "$data" --config "$root/models/fashion/unet/config.json" -o "$work/out" \
        --steps "$steps" --batch $batch --warmup 0 --threads "$threads" --precision "$1" --dtype f32 \
        --validate-every 0 --sample-every 0 --json --quiet
}

pytorch() { # images a second, of the network that was trained last
    "$aleat" score "$work/out/model" --x "$work/x.npy" --t 321 --label 3 --out "$work/eps.npy" --threads "$threads"
    "$python" "$here/peers/train_torch.py" --config "$work/out/model/unet/config.json" \
        --weights "$work/out/model/unet/diffusion_pytorch_model.safetensors" --x "$work/x.npy" --t 321 --label 3 \
        --expected "$work/eps.npy" --batch $batch --threads "$threads" --steps "$steps" | field images_per_second
}

ours() { # PRECISION: images a second
    train_ours "$1" | field step_seconds | awk -v n=$((steps * batch)) '{ printf "%.2f\n", n / $1 }'
}

if [ -n "$python" ]; then
    "$python" -c "
import numpy, sys
shape = (2, 1, 32, 32)
numpy.save(sys.argv[1], numpy.random.default_rng(0).standard_normal(shape).astype(numpy.float32))" "$work/x.npy"
else
    say "no Python with torch and numpy (Debian: apt-get install python3-torch python3-numpy): PyTorch is skipped"
fi
for _ in $(seq "$rounds"); do
    ours bf16 >> "$work/bf16" || true # a processor without bf16 says so itself
    ours f32 >> "$work/f32"
    [ -z "$python" ] || pytorch >> "$work/pytorch"
done

printf '%-12s %10s %10s %10s %8s\n' 'images/s' median smallest largest ratio
theirs=
tell() { # NAME FILE
    [ -s "$2" ] || return 0
    # shellcheck disable=SC2046  # three numbers
    set -- "$1" $(sort -n "$2" | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)], v[1], v[NR] }')
    [ "$1" != pytorch ] || theirs=$2
    ratio=$([ -z "$theirs" ] || echo "$2 $theirs" | awk '{ printf "%.2f", $1 / $2 }')
    printf '%-12s %10s %10s %10s %8s\n' "$@" "$ratio"
}
tell pytorch "$work/pytorch"
tell 'aleat f32' "$work/f32"
tell 'aleat bf16' "$work/bf16"
