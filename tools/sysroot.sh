#!/usr/bin/env bash
# Unpack Debian's arm64 packages of the libraries that seqd and its tests use
# into build/sysroot-arm64, with an apt state of its own: the machine's
# installed packages, architectures and lists stay as they are. Does nothing
# when the folder is complete. Prints the folder.
# SPDX-License-Identifier: MIT
set -eu
cd "$(dirname "$0")/.."
arch=arm64
root=$PWD/build/sysroot-$arch
apt_dir=$PWD/build/sysroot-$arch.apt
wanted="libcjson-dev nettle-dev libpcre2-dev libcmocka-dev \
libcurl4-openssl-dev"

[ -f "$root/complete" ] && [ "$(cat "$root/complete")" = "$wanted" ] && {
    echo "$root"
    exit 0
}
rm -rf "$root" "$apt_dir"
mkdir -p "$root" "$apt_dir"/{etc/sources.list.d,lists/partial} \
    "$apt_dir/cache/archives/partial"
: >"$apt_dir/status"
: >"$apt_dir/etc/sources.list"
for f in $(tools/debian-sources.sh); do
    # Sources pinned to one architecture would not offer another.
    sed -E '/^Architectures:/d; s/\barch=[a-z0-9,]+ ?//' "$f" \
        >"$apt_dir/etc/sources.list.d/${f##*/}"
done
mv "$apt_dir/etc/sources.list.d/sources.list" "$apt_dir/etc/" 2>/dev/null || true

apt() {
    apt-get -qq -o APT::Architecture=$arch -o APT::Architectures=$arch \
        -o Dir::State::status="$apt_dir/status" \
        -o Dir::State::lists="$apt_dir/lists" \
        -o Dir::Cache="$apt_dir/cache" \
        -o Dir::Etc::sourcelist="$apt_dir/etc/sources.list" \
        -o Dir::Etc::sourceparts="$apt_dir/etc/sources.list.d" \
        -o Acquire::Languages=none -o Acquire::Retries=3 \
        -o APT::Sandbox::User=root -o Debug::NoLocking=1 "$@"
}
apt update >&2
# shellcheck disable=SC2086
apt --no-install-recommends --download-only -y install $wanted >&2
for deb in "$apt_dir"/cache/archives/*.deb; do
    case ${deb##*/} in
    # The cross compiler brings the C library's headers; the rest is not run.
    libc6-dev_* | linux-libc-dev_* | libcrypt-dev_* | libnsl-dev_* | \
        libtirpc* | perl* | debconf* | dpkg_* | *-doc_*) ;;
    *) dpkg-deb -x "$deb" "$root" ;;
    esac
done
rm -rf "$apt_dir"
echo "$wanted" >"$root/complete"
echo "$root"
