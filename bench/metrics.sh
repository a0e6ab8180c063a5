#!/bin/sh
# Time of the distances between two sets of features: ours, and for the Fréchet distance scipy's matrix root, which
# pytorch-fid stands on, in one run. One line a program on stdout: seconds (median, smallest and largest of the runs), peak memory.
#
#   bench/metrics.sh [N [D]]          (two sets of N vectors of D numbers; 10000 of 2048)
#
#   ALEAT, PEERS_CACHE, PEERS_THREADS   as bench/peers/start.sh has them
#   PEERS_REPEATS                       runs of each, taking turns (3)
set -eu

here=$(cd "$(dirname "$0")" && pwd)
name=metrics
# shellcheck source=bench/peers/start.sh
. "$here/peers/start.sh"
repeats=${PEERS_REPEATS:-3}
n=${1:-10000}
d=${2:-2048}
export OMP_NUM_THREADS="$threads" OPENBLAS_NUM_THREADS="$threads"
[ -x /usr/bin/time ] || { say "no /usr/bin/time (apt-get install time)"; exit 1; }
[ -n "$python" ] && "$python" -c 'import scipy' || { say "no Python with torch, numpy and scipy"; exit 1; }

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
    program=$1
    shift
    /usr/bin/time -a -o "$work/$program.time" -f '%e %M' "$@" > "$work/$program.out"
}

for _ in $(seq "$repeats"); do
    timed scipy "$python" "$work/root.py" "$work/a.npy" "$work/b.npy"
    timed fid "$aleat" eval fid --features "$work/a.npy" "$work/b.npy" --threads "$threads" -q
    timed precision-recall "$aleat" eval precision-recall --features "$work/a.npy" "$work/b.npy" --threads "$threads" -q
done

printf '%-18s %8s %8s %8s %8s   %s\n' who median smallest largest MB result
for program in scipy fid precision-recall; do
    sort -n "$work/$program.time" | awk -v who="$program" -v out="$(tr '\n' ' ' < "$work/$program.out")" \
        '{ s[NR] = $1; if ($2 > m) m = $2 }
         END { printf "%-18s %8.2f %8.2f %8.2f %8.0f   %s\n", who, s[int((NR + 1) / 2)], s[1], s[NR], m / 1024, out }'
done
