#!/bin/sh
# Builds the worker into a folder, for this processor. Its README recommends OpenBLAS, which is taken from the
# system's packages without installing them; without these, the products with centroids are pure Rust.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
folder=$1
blas=$folder/openblas
if [ ! -d "$blas" ] && command -v apt-get >/dev/null; then
    rm -rf "$blas.part" && mkdir -p "$blas.part" && cd "$blas.part"
    if apt-get -q=2 -o APT::Sandbox::User=root download \
        libopenblas0-pthread libopenblas-pthread-dev libgfortran5 libquadmath0; then
        for package in *.deb; do dpkg -x "$package" .; done
        mv "$blas.part" "$blas"
    else
        echo "next-plaid is built without OpenBLAS (apt-get update may help)"
    fi
fi
flags="-C target-cpu=native"
if [ -d "$blas" ]; then
    set -- --features openblas
    for libraries in "$blas"/usr/lib/*/openblas-pthread "$blas"/usr/lib/*-linux-gnu; do
        flags="$flags -L $libraries -C link-arg=-Wl,--disable-new-dtags,-rpath,$libraries"
    done
else
    set --
fi
RUSTFLAGS=$flags CARGO_TARGET_DIR=$folder/target \
    cargo build --quiet --release --locked --manifest-path "$here/Cargo.toml" "$@"
