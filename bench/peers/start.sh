# Sourced by the scripts of bench/ that stand beside a Python program. Needs $here, the folder of bench/, and $name, what
# remarks begin with; sets what all of them take from the environment:
#
#   ALEAT           the tool (build/src/cli/aleat)
#   PEERS_CACHE     folder for what is made and kept (build/peers)
#   PEERS_THREADS   threads of everybody (2)
#
# and python, which is empty if there is none with torch and numpy; work, a folder that goes at the end.
root=$(cd "$here/.." && pwd)
aleat=${ALEAT:-$root/build/src/cli/aleat}
cache=${PEERS_CACHE:-$root/build/peers}
threads=${PEERS_THREADS:-2}
export PYTHONDONTWRITEBYTECODE=1

say() { echo "$name: $*" >&2; }

field() { # NAME: the number behind "NAME": in the JSON object on standard input
    sed -n "s/.*\"$1\": *\([0-9.e+-]*\).*/\1/p"
}

[ -x "$aleat" ] || { say "no $aleat; run make first"; exit 1; }
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# shellcheck source=bench/peers/python.sh
. "$here/peers/python.sh"
python=$(find_python)
[ -z "$python" ] || use_fast_blas
