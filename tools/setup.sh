#!/bin/sh
# Makes sure that what `make` needs is on this machine, and does nothing (needing neither network nor
# root) when it is. On Debian and its relatives the missing packages come from apt.
#
#   tools/setup.sh [lint|fuzz|bench|web]    also what that optional target needs
set -eu

# One line a need: Debian package, then a command that succeeds if the need is met.
needs='
build-essential   cc --version
meson             meson --version
ninja-build       ninja --version
pkg-config        pkg-config --version
libjansson-dev    pkg-config --exists jansson
liblapacke-dev    pkg-config --exists lapacke
libjpeg-dev       pkg-config --exists libjpeg
libpng-dev        pkg-config --exists libpng
zlib1g-dev        pkg-config --exists zlib
libicu-dev        pkg-config --exists icu-uc
libpcre2-dev      pkg-config --exists libpcre2-8
libcmocka-dev     pkg-config --exists cmocka
'
case "${1:-}" in
lint) needs="$needs
clang-format      clang-format --version
clang-tidy        clang-tidy --version" ;;
bench) needs="$needs
libdnnl-dev       has_header dnnl.h" ;;
web) needs="$needs
nodejs            node --version
npm               npm --version
chromium          chromium --version" ;;
fuzz) needs="$needs
clang             clang --version
libclang-rt-dev   clang_links -fsanitize=fuzzer-no-link,address" ;;
'') ;;
*)
    echo "setup: '$1' is not an optional target (lint, fuzz, bench, web)" >&2
    exit 2
    ;;
esac

say() { printf 'setup: %s\n' "$*" >&2; }
has_header() { printf '#include <%s>\n' "$1" | cc -E - >/dev/null 2>&1; }
clang_links() { echo 'int main(void){return 0;}' | clang "$1" -x c - -o /dev/null >/dev/null 2>&1; }

list_missing() {
    printf '%s\n' "$needs" | while read -r package check; do
        [ -n "$package" ] || continue
        # shellcheck disable=SC2086  # the check is a command with its words
        $check >/dev/null 2>&1 || printf '%s ' "$package"
    done
}

missing=$(list_missing)
[ -n "$missing" ] || exit 0
say "to build aleat, these Debian packages are missing: $missing"

if ! command -v apt-get >/dev/null 2>&1; then
    say "this is not Debian or a relative of it (there is no apt-get)."
    say "Install the same things by your system's own means and try again."
    exit 1
fi
as_root=
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null 2>&1; then
        say "installing them needs root, and there is no sudo here. As root, run:"
        say "    apt-get update && apt-get install -y $missing"
        exit 1
    fi
    as_root=sudo
    say "installing them needs root, so sudo may ask for your password."
fi

say "running: ${as_root:+sudo }apt-get install $missing"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
install_missing() {
    # shellcheck disable=SC2086  # a list of packages
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing \
        >>"$log" 2>&1
}
# The package lists may be absent (fresh containers) or stale: fetch them first, but let an offline
# machine whose apt cache already holds the packages go on.
if ! $as_root apt-get update >>"$log" 2>&1; then
    say "apt-get update failed; trying with the package lists that are there."
fi
if ! install_missing; then
    tail -n 15 "$log" >&2
    say "apt-get could not install them; its last lines are above."
    if grep -Eq 'Temporary failure resolving|Could not resolve|Could not connect|Failed to fetch' "$log"; then
        say "It looks as if there is no network: connect, or install the packages from elsewhere."
    elif grep -q 'Unable to locate package' "$log"; then
        say "A package is unknown here: this was written for Debian 12; see 'needs' in tools/setup.sh."
    elif grep -Eqi 'no space left' "$log"; then
        say "The disk is full."
    fi
    exit 1
fi
still=$(list_missing)
if [ -n "$still" ]; then
    say "installed, but not usable yet: $still(is another version first in PATH or PKG_CONFIG_PATH?)"
    exit 1
fi
say "done."
