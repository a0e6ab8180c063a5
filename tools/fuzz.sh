#!/bin/sh
# Runs every program of tests/fuzz for some seconds under the sanitizers, starting from its corpus.
#
#   tools/fuzz.sh BUILD SECONDS     stdout: a line "ok NAME" or "failed NAME" for each; rest: stderr
#
# With clang, libFuzzer drives (guided by coverage); with another compiler (CC=gcc) the plain driver of
# tests/fuzz/driver.c, which needs nothing but the compiler that builds aleat.
set -u
build=$1 seconds=$2
cd "$(dirname "$0")/.." || exit 1
if [ -z "${CC:-}" ] && command -v clang >/dev/null 2>&1; then CC=clang; fi
export CC="${CC:-cc}"

if [ ! -f "$build/build.ninja" ]; then
    meson setup "$build" -Dfuzz=true -Db_sanitize=address,undefined -Db_lundef=false \
        -Doptimization=1 >&2 || { echo "failed configure"; exit 1; }
fi
ninja -C "$build" >&2 || { echo "failed build"; exit 1; }

# A reader may ask for at most this much memory, whatever the file claims.
export ASAN_OPTIONS="${ASAN_OPTIONS:-}:max_allocation_size_mb=512:allocator_may_return_null=1"
status=0
for program in "$build"/tests/fuzz/fuzz_*; do
    case "$program" in *.p) continue ;; esac
    [ -x "$program" ] || continue
    name=$(basename "$program")
    found="$build/found/$name"
    mkdir -p "$found" "$build/corpus/$name"
    # Each line of tests/fuzz/seeds: target, folders of files to start from.
    seeds=$(sed -n "s/^${name#fuzz_} //p" tests/fuzz/seeds)
    # shellcheck disable=SC2086  # several folders, or none
    if "$program" -max_total_time="$seconds" -timeout=10 -artifact_prefix="$found/" \
        "$build/corpus/$name" $seeds >&2; then
        echo "ok $name"
    else
        echo "failed $name"
        echo "fuzz: the input that failed is in $found/" >&2
        status=1
    fi
done
exit $status
