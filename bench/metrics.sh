#!/bin/sh
# Time of the distances between two sets of features: ours, and for the Fréchet distance scipy's matrix root, which
# pytorch-fid stands on, in one run. One line a program on stdout: seconds (median, smallest and largest of the runs), peak memory.
#
#   bench/metrics.sh [N [D]]          (two sets of N vectors of D numbers; 10000 of 2048)
#
#   ALEAT           the tool (build/src/cli/aleat)
#   PEERS_CACHE     folder for what is made (build/peers)
#   PEERS_THREADS   threads of everybody (2)
#   PEERS_REPEATS   runs of each, taking turns (3)
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/.." && pwd)
aleat=${ALEAT:-$root/build/src/cli/aleat}
cache=${PEERS_CACHE:-$root/build/peers}
threads=${PEERS_THREADS:-2}
repeats=${PEERS_REPEATS:-3}
n=${1:-10000}
d=${2:-2048}
export PYTHONDONTWRITEBYTECODE=1 OMP_NUM_THREADS="$threads" OPENBLAS_NUM_THREADS="$threads"

say() { echo "metrics: $*" >&2; }
[ -x "$aleat" ] || { say "no $aleat; run make first"; exit 1; }
[ -x /usr/bin/time ] || { say "no /usr/bin/time (apt-get install time)"; exit 1; }
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
# shellcheck source=bench/peers/python.sh
. "$here/peers/python.sh"
python=$(find_python)
[ -n "$python" ] && "$python" -c 'import scipy' || { say "no Python with torch, numpy and scipy"; exit 1; }
use_fast_blas
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Correlated, as features are: directions of unequal variance, some of them mixed; kinds of their own.
"$python" - "$work/a.npy" "$work/b.npy" "$n" "$d" <<'END'
import sys
import numpy as np
n, d = int(sys.argv[3]), int(sys.argv[4])
rng = np.random.default_rng(0)
mix = rng.standard_normal((d, d)) * (np.arange(1, d + 1) ** -0.5 / np.sqrt(d))
for i in range(2):
    x = np.maximum(rng.standard_normal((n, d)) @ mix.T + 0.002 * i, 0)
    np.save(sys.argv[1 + i], x.astype(np.float32))
END
cat > "$work/root.py" <<'END'
import sys
import numpy as np
from scipy import linalg
a, b = (np.load(f).astype(np.float64) for f in sys.argv[1:])
s, t = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
root = linalg.sqrtm(s @ t).real
print(np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(s) + np.trace(t) - 2 * np.trace(root))
END

timed() { # NAME COMMAND...: adds "seconds kilobytes" to the name's file, leaves the output beside it
    name=$1
    shift
    /usr/bin/time -a -o "$work/$name.time" -f '%e %M' "$@" > "$work/$name.out"
}

for _ in $(seq "$repeats"); do
    timed scipy "$python" "$work/root.py" "$work/a.npy" "$work/b.npy"
    timed fid "$aleat" eval fid --features "$work/a.npy" "$work/b.npy" --threads "$threads" -q
    timed precision-recall "$aleat" eval precision-recall --features "$work/a.npy" "$work/b.npy" --threads "$threads" -q
done

printf '%-18s %8s %8s %8s %8s   %s\n' who median smallest largest MB result
for name in scipy fid precision-recall; do
    sort -n "$work/$name.time" | awk -v who="$name" -v out="$(tr '\n' ' ' < "$work/$name.out")" \
        '{ s[NR] = $1; if ($2 > m) m = $2 }
         END { printf "%-18s %8.2f %8.2f %8.2f %8.0f   %s\n", who, s[int((NR + 1) / 2)], s[1], s[NR], m / 1024, out }'
done
