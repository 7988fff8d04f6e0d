#!/usr/bin/env bash
# Build for aarch64 with portable C and run the unit tests under qemu: a second
# architecture, compiler and memory model for the same source. Libraries come
# from Debian's arm64 packages (tools/sysroot.sh). The trainer's tests and the
# slow ones are left out; seqd itself is started and asked.
# SPDX-License-Identifier: MIT
set -eu
cd "$(dirname "$0")/.."
root=$(tools/sysroot.sh)
lib=usr/lib/aarch64-linux-gnu
run="qemu-aarch64-static -L $root"
make_cross() {
    make --no-print-directory -s FLAVOUR=cross CC=aarch64-linux-gnu-gcc \
        AR=aarch64-linux-gnu-ar CFLAGS="-isystem $root/usr/include \
        -isystem $root/usr/include/aarch64-linux-gnu" \
        LDFLAGS="-L$root/$lib -Wl,-rpath-link,$root/$lib \
        -Wl,-rpath-link,$root/lib/aarch64-linux-gnu" "$@"
}
make_cross -j"$(nproc)" cross-build
if [ -f build/cross/seqd ]; then
    printf '#!/bin/sh\nexec %s build/cross/seqd "$@"\n' "$run" \
        >build/cross/seqd-run
    chmod +x build/cross/seqd-run
    tools/start-time.py --seqd build/cross/seqd-run --runs 1 \
        --limit-ms 20000 --model small=tests/golden/rnn/class-lstm-last
fi
export TEST_TIMEOUT=300 TEST_RUNNER="$run" TEST_JOBS="$(nproc)"
make_cross cross-unit
