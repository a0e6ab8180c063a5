#!/bin/sh
# The checks that need no test run: layers, formatting, clang-tidy. Argument: a configured build folder.
set -u
build=${1:-build}
cd "$(dirname "$0")/.." || exit 1
failed=0

tools/check-layers || failed=1

sources=$(git ls-files '*.c' '*.h')
# shellcheck disable=SC2086  # a list of files
clang-format --dry-run --Werror $sources || failed=1

# What is compiled by itself (kernels are also included by others). clang does not know some flags that
# gcc was configured with; what matters is what tidy finds.
git ls-files 'src/*.c' | while read -r file; do
    grep -q "/$file\"" "$build/compile_commands.json" && echo "$file"
done | xargs -P "$(nproc)" -n 8 \
    clang-tidy -p "$build" --quiet --extra-arg=-Wno-unknown-warning-option || failed=1

if [ "$failed" -eq 0 ]; then echo "lint: clean"; else echo "lint: see above" >&2; fi
exit "$failed"
