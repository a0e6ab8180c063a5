#!/bin/sh
# Our speed at features of images beside PyTorch's, on this machine, in one run. One line a program on
# stdout: seconds for all images (the smallest of the runs), images a second, times PyTorch's rate.
#
#   bench/features.sh NETWORK [N]     (a CIFAR ResNet's .th or pytorch-fid's Inception .pth; 1000 images)
#
#   ALEAT, PEERS_CACHE, PEERS_THREADS   as bench/peers/start.sh has them
#   PEERS_REPEATS   runs of each, taking turns (3)
#   PEERS_BATCH     images at once (50 for PyTorch, as pytorch-fid does; our own default for us)
set -eu

here=$(cd "$(dirname "$0")" && pwd)
name=features
[ -f "${1:-}" ] || { echo "$name: which network? See the top of this script" >&2; exit 2; }
# shellcheck source=bench/peers/start.sh
. "$here/peers/start.sh"
repeats=${PEERS_REPEATS:-3}
network=$1
n=${2:-1000}
[ -n "$python" ] || { say "no Python with torch and numpy"; exit 1; }

images=$cache/features-$n.npy
[ -f "$images" ] || "$python" - "$images" "$n" <<'END'
import sys
import numpy as np
np.save(sys.argv[1], np.random.default_rng(0).integers(0, 256, (int(sys.argv[2]), 3, 32, 32), np.uint8))
END

ours() { # PRECISION
    "$aleat" features "$network" --images "$images" --out "$cache/features-$1.npy" --threads "$threads" \
        --precision "$1" --json | field seconds
}

theirs() {
    "$python" "$here/peers/features_torch.py" "$network" --images "$images" --out "$cache/features-torch.npy" \
        --threads "$threads" --batch "${PEERS_BATCH:-50}" | field seconds
}

least() { # NUMBER... in one word: the smallest
    echo "$1" | awk '{ m = $1; for (i = 2; i <= NF; i++) if ($i < m) m = $i; print m }'
}

torch='' f32='' bf16=''
for _ in $(seq "$repeats"); do
    torch=$(least "$torch $(theirs)")
    f32=$(least "$f32 $(ours f32)")
    # A processor without bf16 says so itself.
    bf16=$(least "$bf16 $(ours bf16)")
done

printf '%-12s %10s %10s %8s %12s\n' who seconds images/s ratio 'L2 distance'
line() { # NAME SECONDS FILE
    off=$("$python" - "$cache/features-torch.npy" "$3" <<'END'
import sys
import numpy as np
a, b = (np.load(f).astype(np.float64) for f in sys.argv[1:])
print("%.1e" % (np.linalg.norm(a - b) / np.linalg.norm(a)))
END
    )
    echo "$2 $torch $n" | awk -v who="$1" -v off="$off" \
        '{ printf "%-12s %10.3f %10.1f %8.2f %12s\n", who, $1, $3 / $1, $2 / $1, off }'
}
line torch "$torch" "$cache/features-torch.npy"
line 'aleat f32' "$f32" "$cache/features-f32.npy"
[ -z "$bf16" ] || line 'aleat bf16' "$bf16" "$cache/features-bf16.npy"
