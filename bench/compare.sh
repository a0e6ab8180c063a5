#!/bin/sh
# Our speed beside that of ONNX Runtime, on this machine, in turns in one run, on a full-size network with synthetic
# weights. First `aleat` must give PyTorch's output on the exported inputs, so that both time the same network. Then
# one line a batch size and who: seconds of one forward (median over the rounds, smallest), those of processors, how
# many times the peer's speed these two are, and peak memory.
#
#   bench/compare.sh [BATCH...]      (default: 1 5 16)
#
#   ALEAT           the tool (build/src/cli/aleat)
#   PEERS_MODEL     a line of bench/peers/models.py (ddpm-cifar10-32): adm-64, uvit-h2, sd-decoder, sd15-unet, ...
#   PEERS_CACHE     as bench/peers/run.sh has it; it also makes the weights
#   PEERS_THREADS   threads of everybody (2). On a busy machine take 1 and compare seconds of processors: with
#                   more, those of ONNX Runtime contain its waiting.
#   PEERS_ROUNDS    turns (3), each of PEERS_REPEATS (5) forwards of everybody
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/.." && pwd)
aleat=$(realpath "${ALEAT:-$root/build/src/cli/aleat}")
cache=$(realpath -m "${PEERS_CACHE:-$root/build/peers}")
name=${PEERS_MODEL:-ddpm-cifar10-32}
threads=${PEERS_THREADS:-2}
rounds=${PEERS_ROUNDS:-3}
repeats=${PEERS_REPEATS:-5}
work=$(mktemp -d)
. "$here/peers/python.sh"
trap 'rm -rf "$work"' EXIT
[ $# -gt 0 ] || set -- 1 5 16

[ -x "$aleat" ] || { echo "compare: no $aleat; run make first" >&2; exit 1; }

field() { # NAME: the number behind "NAME": in the JSON object on standard input
    sed -n "s/.*\"$1\": *\([0-9.e+-]*\).*/\1/p"
}

peers() { # ARG...: bench/peers/run.sh without PyTorch's own time
    PEERS_CACHE=$cache PEERS_MODEL=$name PEERS_THREADS=$threads PEERS_REPEATS=$repeats PEERS_WARMUP=1 \
        PEERS_ONLY=onnxruntime "$here/peers/run.sh" "$@"
}

ours() { # BATCH PRECISION
    # shellcheck disable=SC2086 # several words
    "$aleat" bench "$model" $size --batch "$1" --threads "$threads" --precision "$2" --repeats "$repeats" --json
}

check() { # Does `aleat` compute what PyTorch did?
    [ -d "$exported" ] || return 0
    words=$(cat "$exported/score.args")
    case $words in decode*) words="$words --decoder $model" ;; *) words="$words $model" ;; esac
    # shellcheck disable=SC2086 # several words
    (cd "$exported" && "$aleat" $words --threads "$threads" --out "$work/ours.npy" -q)
    "$(find_python)" "$here/peers/check_output.py" "$work/ours.npy" "$exported"
}

median() { # FIELD FILE: of the lines of a file
    field "$1" <"$2" | sort -g | awk '{ v[NR] = $1 } END { print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'
}

tell() { # BATCH WHO FILE
    [ -s "$3" ] || return 0
    awk -v batch="$1" -v who="$2" -v s="$(median seconds "$3")" -v least="$(field seconds_min <"$3" | sort -g | head -1)" \
        -v cpu="$(median processor_seconds "$3")" -v theirs="$(median seconds "$work/ort" 2>/dev/null)" \
        -v their_cpu="$(median processor_seconds "$work/ort" 2>/dev/null)" -v memory="$(median peak_memory_bytes "$3")" \
        'BEGIN {
            ratio = ""; cpu_ratio = ""
            if (theirs > 0) { ratio = sprintf("%.2f", theirs / s); cpu_ratio = sprintf("%.2f", their_cpu / cpu) }
            printf("%-5s %-12s %9.4f %9.4f %6s %10.4f %6s %8.2f\n", batch, who, s, least, ratio, cpu, cpu_ratio, memory / 1e9)
        }'
}

echo "$name, $threads threads, load $(cut -d' ' -f1-3 /proc/loadavg 2>/dev/null)"
printf '%-5s %-12s %9s %9s %6s %10s %6s %8s\n' batch who seconds smallest ratio processors ratio GB
for batch in "$@"; do
    : >"$work/ort"
    : >"$work/f32"
    : >"$work/bf16"
    round=0
    while [ $round -lt "$rounds" ]; do
        round=$((round + 1))
        peers "$batch" | grep onnxruntime >>"$work/ort" || true
        model=$cache/$name
        [ -d "$model" ] || { echo "compare: $model could not be made; see bench/peers/README.md" >&2; exit 1; }
        [ -f "$model/config.json" ] || model=$model/diffusion_pytorch_model.safetensors
        exported=$cache/onnx/$name-b$batch
        size=$(cat "$exported/bench.args" 2>/dev/null || true)
        [ $round -gt 1 ] || check
        for precision in f32 bf16; do
            ours "$batch" $precision >>"$work/$precision" || true # a processor without bf16 says so itself
        done
    done
    tell "$batch" onnxruntime "$work/ort"
    tell "$batch" "aleat f32" "$work/f32"
    tell "$batch" "aleat bf16" "$work/bf16"
done
