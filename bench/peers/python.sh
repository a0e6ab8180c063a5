# Sourced by the scripts that time PyTorch: which Python, and a fast BLAS for it. Needs $cache, a folder.

# Prints the first Python that has torch, the distribution's before the one on PATH.
find_python() {
    for py in "${PYTHON:-}" /usr/bin/python3 python3; do
        if [ -n "$py" ] && "$py" -c 'import numpy, torch' 2>/dev/null; then
            echo "$py"
            return
        fi
    done
}

# Debian's torch calls the system BLAS; with the reference BLAS the U-Net takes about 7 times as long as with OpenBLAS,
# which would be an unfair peer. Unpacks OpenBLAS into the cache (nothing is installed) and puts it on this process's library path.
use_fast_blas() {
    case $python:$(readlink -f /usr/lib/*-linux-gnu/libblas.so.3 2>/dev/null) in
    /usr/bin/python3:*/blas/libblas.so*) ;;
    *) return 0 ;;
    esac
    if [ ! -d "$cache/openblas" ]; then
        rm -rf "$cache/openblas.tmp"
        mkdir -p "$cache/openblas.tmp"
        if (cd "$cache/openblas.tmp" && apt-get download libopenblas0-openmp && dpkg -x ./*.deb .) >/dev/null 2>&1; then
            mv "$cache/openblas.tmp" "$cache/openblas"
        else
            rm -rf "$cache/openblas.tmp"
            say "no OpenBLAS: PyTorch uses the reference BLAS and is much slower than it could be"
            return 0
        fi
    fi
    for lib in "$cache"/openblas/usr/lib/*/openblas-openmp; do
        LD_LIBRARY_PATH=$lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
        export LD_LIBRARY_PATH
    done
}
