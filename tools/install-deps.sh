#!/usr/bin/env bash
# Install the Debian packages that a task needs, and only those that are
# missing: `tools/install-deps.sh run test ...`. A machine that has them all is
# left alone and needs no network. An entry `package:command` is also content
# with a command of that name from elsewhere. On a system without dpkg it says
# what is needed and lets the build try.
# SPDX-License-Identifier: MIT
set -u

packages_of() {
    case $1 in
    run) echo gcc:gcc libc6-dev make:make libcjson-dev nettle-dev \
        libpcre2-dev python3 python3-yaml ;;
    train) echo libopenblas0 ;;
    test) echo libcmocka-dev libcurl4-openssl-dev curl:curl abcmidi \
        binutils git:git ;;
    style) echo clang-format:clang-format git:git ;;
    lint) echo clang-tidy cppcheck ;;
    fuzz) echo clang:clang libclang-rt-14-dev ;;
    cross) echo gcc-aarch64-linux-gnu libc6-dev-arm64-cross \
        qemu-user-static ;;
    torch) echo python3-torch ;;
    page) echo chromium:chromium ;;
    bench) echo wrk:wrk nodejs:node npm:npm python3-torch ;;
    docker)
        if docker info >/dev/null 2>&1; then
            echo curl:curl
        else
            echo curl:curl buildah mmdebstrap
        fi
        ;;
    *) return 1 ;;
    esac
}

missing=""
for group in "$@"; do
    if ! list=$(packages_of "$group"); then
        echo "install-deps: no group '$group' (run train test style lint" \
            "fuzz cross torch page bench docker)" >&2
        exit 2
    fi
    for entry in $list; do
        pkg=${entry%%:*}
        if [ "$entry" != "$pkg" ] && command -v "${entry#*:}" >/dev/null; then
            continue
        fi
        case " $missing " in *" $pkg "*) continue ;; esac
        state=$(dpkg-query -W -f='${db:Status-Status}' "$pkg" 2>/dev/null)
        [ "$state" = installed ] || missing="$missing $pkg"
    done
done
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    echo "install-deps: no apt-get here; needed (Debian's names):$missing" >&2
    exit 0
fi
if [ "$(id -u)" -eq 0 ]; then
    as_root="env"
elif command -v sudo >/dev/null; then
    as_root="sudo env"
else
    echo "install-deps: missing packages:$missing" >&2
    echo "install-deps: neither root nor sudo; as root run:" >&2
    echo "    apt-get update && apt-get install$missing" >&2
    exit 1
fi

apt() {
    $as_root DEBIAN_FRONTEND=noninteractive apt-get -qq \
        -o DPkg::Lock::Timeout=600 -o Acquire::Retries=3 \
        -o Dpkg::Use-Pty=0 "$@"
}
install() {
    # shellcheck disable=SC2086
    apt install -y --no-install-recommends $missing >"$log" 2>&1
}

echo "installing:$missing"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# The package lists may be absent (a container) or old: fetch them when the
# first try fails, and try once more.
install && exit 0
apt update >"$log" 2>&1
install && exit 0
cat "$log" >&2
echo "install-deps: could not install:$missing" >&2
exit 1
