#!/usr/bin/env bash
# Build the image and try it: ready, healthy, an answer with the key, 401
# without, no start without a key, SIGTERM drains with status 0. With Docker
# where an engine answers, else with buildah in a chroot, over a base that
# mmdebstrap makes from the package sources of this machine (kept in
# build/docker). Needs root for the second way. Stops what it started.
# SPDX-License-Identifier: MIT
set -eu
cd "$(dirname "$0")/.."
work=build/docker
key=smoke-$$-$RANDOM
# Below the ports that the kernel gives to whoever asks for any, and unused.
port=$((20000 + RANDOM % 12000))
while (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
    port=$((20000 + RANDOM % 12000))
done
url=http://127.0.0.1:$port
mkdir -p $work
child=""
container=""

say() { echo "smoke: $*"; }
die() {
    say "FAILED: $*"
    [ ! -s $work/seqd.log ] || tail -n 20 $work/seqd.log
    exit 1
}

# ---- The two ways: build, start, exec_in, stop, wait_end, remove. ----

docker_build() { docker build -q -f docker/Dockerfile -t seqd-smoke . ; }
docker_start() {
    container=$(docker run -d --init=false -e SEQD_API_KEY="$key" \
        -p "127.0.0.1:$port:8080" seqd-smoke)
}
docker_exec() { docker exec "$container" "$@"; }
docker_stop() { docker kill -s TERM "$container" >/dev/null; }
docker_wait() { [ "$(docker wait "$container")" = 0 ]; }
docker_keyless() { ! timeout 20 docker run --rm seqd-smoke; }
docker_remove() { [ -z "$container" ] || docker rm -f "$container"; }

B() {
    local command=$1
    shift
    buildah --root "$PWD/$work/storage" --runroot "$PWD/$work/run" \
        --storage-driver vfs "$command" "$@"
}
base_image() {
    [ -s $work/base.tar ] || {
        say "making a base from Debian's packages"
        # shellcheck disable=SC2046
        mmdebstrap --quiet --variant=apt \
            --dpkgopt='path-exclude=/usr/share/man/*' \
            --dpkgopt='path-exclude=/usr/share/doc/*' \
            --dpkgopt='path-exclude=/usr/share/locale/*' \
            bookworm $work/base.tar.new $(tools/debian-sources.sh)
        mv $work/base.tar.new $work/base.tar
    }
    B inspect --type image seqd-base >/dev/null 2>&1 && return
    local c
    c=$(B from scratch)
    B add -q "$c" $work/base.tar / >/dev/null
    B config --cmd bash "$c"
    B commit -q "$c" seqd-base >/dev/null
    B rm "$c" >/dev/null
}
buildah_build() {
    base_image
    B bud -q --isolation chroot --format docker --pull-never --layers=false \
        --build-arg BASE=localhost/seqd-base -f docker/Dockerfile \
        -t seqd-smoke .
}
# The entry point and the variables as the image states them: `buildah run`
# knows the variables and the user, not the entry point.
buildah_run() {
    local c=$1 entry
    shift
    entry=$(B inspect --type image --format \
        '{{range .Docker.Config.Entrypoint}}{{.}} {{end}}' seqd-smoke)
    # shellcheck disable=SC2086
    B run --isolation chroot "$@" "$c" -- $entry
}
buildah_start() {
    container=$(B from --pull-never localhost/seqd-smoke)
    buildah_run "$container" -e SEQD_API_KEY="$key" -e SEQD_PORT="$port" \
        >$work/seqd.log 2>&1 &
    child=$!
}
buildah_exec() {
    B run --isolation chroot -e SEQD_PORT="$port" "$container" -- "$@"
}
# seqd is a descendant of the buildah process that we started.
descendants() {
    local p
    for p in $(cat /proc/"$1"/task/*/children 2>/dev/null); do
        echo "$p"
        descendants "$p"
    done
}
buildah_stop() {
    local p
    for p in $(descendants "$child"); do
        [ "$(cat /proc/"$p"/comm)" = seqd ] && kill -TERM "$p"
    done
}
buildah_wait() { wait "$child"; }
buildah_keyless() { ! buildah_run "$container" >/dev/null 2>&1; }
buildah_remove() {
    [ -z "$child" ] || ! kill -0 "$child" 2>/dev/null || {
        buildah_stop
        wait "$child" || true
    }
    [ -z "$container" ] || B rm "$container" >/dev/null
    B rmi --prune --force >/dev/null 2>&1 || true # images replaced by this one
}

# ---- The trial. ----

if docker info >/dev/null 2>&1; then
    way=docker
elif command -v buildah >/dev/null && [ "$(id -u)" -eq 0 ]; then
    way=buildah
else
    die "needs a Docker engine, or buildah and mmdebstrap as root"
fi
trap '${way}_remove >/dev/null 2>&1' EXIT
: >$work/seqd.log >$work/answer

status() { # STATUS of a request: status [curl options] PATH
    curl -s -o $work/answer -w '%{http_code}' --max-time 10 "$@" || true
}

say "building with $way"
${way}_build >$work/build.log 2>&1 || {
    tail -n 30 $work/build.log
    die "the image does not build"
}
${way}_start
for _ in $(seq 300); do
    [ "$(status "$url/readyz")" = 200 ] && break
    sleep 0.1
done
[ "$(status "$url/readyz")" = 200 ] || die "not ready: $(cat $work/answer)"
say "ready"
${way}_exec seqd healthcheck || die "seqd healthcheck"
say "healthy"
[ "$(${way}_exec id -u)" != 0 ] || die "it runs as root"

body='{"input": "The food was good, not bad at all"}'
post() { status -H 'Content-Type: application/json' "$@" -d "$body" "$url/sentiment"; }
[ "$(post -H "Authorization: Bearer $key")" = 200 ] ||
    die "/sentiment: $(cat $work/answer)"
grep -q '"label":"positive"' $work/answer || die "answer: $(cat $work/answer)"
say "answers: $(cut -c1-160 $work/answer)"
[ "$(post)" = 401 ] || die "/sentiment without a key: $(cat $work/answer)"
[ "$(post -H 'Authorization: Bearer wrong')" = 401 ] || die "wrong key taken"
[ "$(status "$url/")" = 200 ] || die "the page asks for the key itself"
say "401 without the key, but for the page"
${way}_stop
${way}_wait || die "did not drain with status 0"
say "SIGTERM drained, status 0"
child=""
${way}_keyless || die "it started without a key on 0.0.0.0"
say "refuses to start without a key"
echo "7 passed, 0 failed, 0 skipped"
