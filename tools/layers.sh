#!/usr/bin/env bash
# Hold the tree against its layers (server -> engine <- models):
#
#   includes   each file includes only what its layer may see; inside engine/
#              base < compute < checkpoint < text < run, inside engine/run/
#              as run_order says
#   unique     no two sources have one name
#   names      no architecture is named in the code of engine/ and server/
#   heap       the heap is touched in engine/base/mem.c alone
#   links      libengine.a links alone, libmodels.a with libengine.a only, and
#              seqd holds nothing of the trainer (needs a built tree)
#
# tools/layers.sh [-C ROOT] [check ...]; all of them without a name. B is the
# folder of the built objects. Prints what is wrong; exit 1 if anything is.
# SPDX-License-Identifier: MIT
set -u
if [ "${1:-}" = -C ]; then
    cd "$2" || exit 2
    shift 2
fi
B=${B:-build/release}
CC=${CC:-gcc}
bad=0

wrong() {
    echo "layers: $*"
    bad=1
}

sources() { # the .c and .h files under the folders named
    for d in "$@"; do
        [ -d "$d" ] && find "$d" -name '*.[ch]' | sort
    done
}

# The code of a file without its comments, "line:text", literals kept.
code_of() {
    "$CC" -fpreprocessed -dD -E -w "$1" 2>/dev/null | awk '
        /^# [0-9]+ "/ { line = $2; next }
        { print line ":" $0; line++ }'
}

check_includes() {
    local f line name
    while read -r f; do
        while IFS=: read -r line name; do
            may_include "$f" "$name" ||
                wrong "$f:$line: may not include $name"
        done < <(grep -n '^[[:space:]]*#[[:space:]]*include' "$f" |
            sed -E 's/^([0-9]+):[^<"]*(["<][^>"]*)[">].*/\1:\2/')
    done < <(sources engine models server)
    check_run_order
}

# The order inside engine/: a folder sees itself and those before it.
engine_order="base compute checkpoint text run"
inside_engine() { # FILE "INCLUDED
    local d inner outer
    case $1 in engine/*) ;; *) return 0 ;; esac
    inner=${1#engine/} inner=${inner%%/*}
    outer=${2#\"engine/} outer=${outer%%/*}
    for d in $engine_order; do
        [ "$d" = "$outer" ] && return 0
        [ "$d" = "$inner" ] && return 1
    done
    return 1
}

# The order inside engine/run/: a file sees those before it. engine.h is what
# everything serves, engine.c what knows all of them; task.h what a task is.
run_order="engine_options. arch. pages. state. subwords. typed. sampler. pace."
run_order="$run_order target_rules. targets. class_rules. row_bans. token_mask."
run_order="$run_order beam_search."
run_order="$run_order engine.h task/task.h model. job. flow. queue. batch. task/"
run_order="$run_order runner lane. engine. eval_jobs. eval_texts."
run_order="$run_order label_figures. eval_labels. eval. eval_pairs."
place_in_run() { # FILE: its number in run_order
    local i=0 d
    for d in $run_order; do
        case $1 in engine/run/$d*) echo $i && return ;; esac
        i=$((i + 1))
    done
    wrong "$1: not in run_order of tools/layers.sh"
}

check_run_order() {
    local f name at
    while read -r f; do
        at=$(place_in_run "$f")
        while read -r name; do
            [ "$(place_in_run "$name")" -le "${at:-0}" ] ||
                wrong "$f: may not include $name, which comes later"
        done < <(sed -nE 's|^#include "(engine/run/.*)"|\1|p' "$f")
    done < <(sources engine/run)
}

# may_include FILE NAME: NAME still has its opening quote or bracket.
may_include() {
    case $2 in
    *cJSON.h) [ "$1" = engine/base/json.c ] && return ;;
    *pcre2*.h) [ "$1" = engine/text/pretok/regex.c ] && return ;;
    *nettle/*.h) case $1 in engine/checkpoint/*) return 0 ;; esac ;;
    *cblas*.h) case $1 in models/train/*) return 0 ;; esac ;;
    '<'*) return 0 ;;
    '"engine/'*) inside_engine "$1" "$2" && return 0 ;;
    '"models/train/'* | '"models/'*_grad.h)
        case $1 in models/train/* | models/*_grad.[ch]) return 0 ;; esac
        ;;
    '"models/registry.h') case $1 in
        server/main.c | models/*) return 0 ;; esac ;;
    '"models/'*) case $1 in models/*) return 0 ;; esac ;;
    '"server/'*) case $1 in server/*) return 0 ;; esac ;;
    esac
    return 1
}

check_unique() {
    local twice
    twice=$(find engine models server tools tests \
        -name '*.[ch]' -o -name '*.sh' -o -name '*.py' |
        grep -v '/golden/.*/' | sed 's|.*/||' | sort | uniq -d | head -5)
    [ -n "$twice" ] && wrong "two files of one name:" $twice
}

names='lstm|gru|elman|rnn|gpt|gpt2|gptj|llama|bert|roberta|mistral|qwen|gemma'
names="$names|rwkv|mamba|transformer|seq2seq"

check_names() {
    local f hit
    while read -r f; do
        if echo "$f" | grep -qiE "(^|[^a-z])($names)([^a-z]|$)"; then
            wrong "$f: the file is named after an architecture"
        fi
        # Names of pre-tokenizers and values of GGUF keys are data.
        [ "$f" = engine/text/pretok/pretok_names.c ] && continue
        hit=$(code_of "$f" | case $f in
            engine/text/* | engine/checkpoint/*)
                sed -E 's/"([^"\\]|\\.)*"/""/g' ;;
            *) cat ;; esac |
            grep -iE "(^|[^a-z])($names)([^a-z]|$)" | head -3)
        [ -n "$hit" ] && wrong "$f names an architecture: $hit"
    done < <(sources engine server)
}

heap='malloc|calloc|realloc|reallocarray|free|strdup|strndup|aligned_alloc'
heap="$heap|posix_memalign|memalign"

check_heap() {
    local f hit
    while read -r f; do
        [ "$f" = engine/base/mem.c ] && continue
        hit=$(code_of "$f" | grep -E "(^|[^A-Za-z0-9_.>])($heap)[[:space:]]*\(" |
            head -3)
        [ -n "$hit" ] && wrong "$f takes memory past mem.c: $hit"
    done < <(sources engine models server)
}

check_links() {
    local work libs out
    if [ ! -f "$B/libengine.a" ]; then
        wrong "$B/libengine.a is not built"
        return
    fi
    work=$(mktemp -d)
    echo 'int main(void) { return 0; }' >"$work/main.c"
    libs="-pthread -lcjson -lnettle -lpcre2-8 -lm -ldl"
    # shellcheck disable=SC2086
    out=$("$CC" ${LINK:-} -o "$work/e" "$work/main.c" -Wl,--whole-archive \
        "$B/libengine.a" -Wl,--no-whole-archive $libs 2>&1) ||
        wrong "libengine.a does not link alone:
$(echo "$out" | grep -E 'undefined|error' | head -5)"
    if [ -s "$B/libmodels.a" ]; then
        # shellcheck disable=SC2086
        out=$("$CC" ${LINK:-} -o "$work/m" "$work/main.c" \
            -Wl,--whole-archive "$B/libmodels.a" "$B/libengine.a" \
            -Wl,--no-whole-archive $libs 2>&1) ||
            wrong "libmodels.a needs more than libengine.a:
$(echo "$out" | grep -E 'undefined|error' | head -5)"
    fi
    if [ -f "$B/seqd" ] && [ -f "$B/libtrain.a" ]; then
        nm --defined-only -g "$B/libtrain.a" 2>/dev/null |
            awk 'NF == 3 {print $3}' | sort -u >"$work/train"
        nm --defined-only "$B/seqd" | awk 'NF == 3 {print $3}' |
            sort -u >"$work/seqd"
        out=$(comm -12 "$work/train" "$work/seqd" | head -5 | tr '\n' ' ')
        [ -n "$out" ] && wrong "seqd holds trainer code: $out"
        out=$(readelf -d "$B/seqd" | grep -iE 'NEEDED.*(blas|lapack)')
        [ -n "$out" ] && wrong "seqd is linked with a BLAS: $out"
    fi
    rm -rf "$work"
}

[ $# -gt 0 ] || set -- includes unique names heap links
for check in "$@"; do
    declare -F "check_$check" >/dev/null || wrong "no check '$check'"
    "check_$check"
done
[ "$bad" -eq 0 ] && echo "layers: ok ($*)"
exit "$bad"
