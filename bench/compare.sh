#!/bin/sh
# Our speed beside that of the peers, on this machine, in one run, on the 35.7M-parameter network of
# google/ddpm-cifar10-32 with synthetic weights. One line a batch size and precision on stdout:
# seconds of one forward (median, smallest) and how many times the peer's speed that is.
#
#   bench/compare.sh [BATCH...]      (default: 1 5 16)
#
#   ALEAT           the tool (build/src/cli/aleat)
#   PEERS_CACHE     as bench/peers/run.sh has it; it also makes the weights
#   PEERS_THREADS   threads of everybody (2)
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/.." && pwd)
aleat=${ALEAT:-$root/build/src/cli/aleat}
cache=${PEERS_CACHE:-$root/build/peers}
threads=${PEERS_THREADS:-2}
model=$cache/ddpm-cifar10-32
[ $# -gt 0 ] || set -- 1 5 16

[ -x "$aleat" ] || { echo "compare: no $aleat; run make first" >&2; exit 1; }

field() { # NAME: the number behind "NAME": in the JSON object on standard input
    sed -n "s/.*\"$1\": *\([0-9.e+-]*\).*/\1/p"
}

printf '%-5s %-14s %10s %10s %8s\n' batch who seconds smallest ratio
for batch in "$@"; do
    peer=$(PEERS_CACHE=$cache "$here/peers/run.sh" "$batch" | grep onnxruntime || true)
    theirs=$(printf '%s' "$peer" | field seconds)
    [ -z "$theirs" ] || printf '%-5s %-14s %10.4f %10.4f %8s\n' "$batch" onnxruntime "$theirs" \
        "$(printf '%s' "$peer" | field seconds_min)" 1.00
    [ -d "$model" ] || { echo "compare: $model could not be made; see bench/peers/README.md" >&2; exit 1; }
    for precision in f32 bf16; do
        ours=$("$aleat" bench "$model" --batch "$batch" --threads "$threads" --precision $precision --json) ||
            continue # a processor without bf16 says so itself
        seconds=$(printf '%s' "$ours" | field seconds)
        ratio=$([ -z "$theirs" ] || echo "$theirs $seconds" | awk '{ printf "%.2f", $1 / $2 }')
        printf '%-5s %-14s %10.4f %10.4f %8s\n' "$batch" "aleat $precision" "$seconds" \
            "$(printf '%s' "$ours" | field seconds_min)" "$ratio"
    done
done
