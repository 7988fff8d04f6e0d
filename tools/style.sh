#!/usr/bin/env bash
# Hold the tracked files against the conventions:
#
#   format     clang-format 14 (Debian 12's) leaves every .c and .h as it is:
#              no braces around single statements
#   dialect    `sizeof *p`, no line over 80 columns in comments either
#   cited      a page or source that a comment or a page names is tracked
#   pages      README.md is a first page (150 lines, 160 columns); links between
#              pages lead to a tracked file, and to a heading that it has
#   sizes      files <= 900 lines, functions <= 100 (600 and 60 are announced),
#              a Transformer's own file <= 300
#   banned     functions that this project does not use
#   headers    every source has an SPDX line, and a comment before its code;
#              what `make test` runs by its name can be run
#   marks      no unfinished-work marks
#   paths      no absolute paths of a machine, no hosts of package registries
#   history    no file over 12.5 MB, the history packs below 120 MiB
#
# tools/style.sh [-C ROOT] [check ...]; all of them without a name. Prints what
# is wrong; exit 1 if anything is.
# SPDX-License-Identifier: MIT
set -u
if [ "${1:-}" = -C ]; then
    cd "$2" || exit 2
    shift 2
fi
CC=${CC:-gcc}
bad=0
max_history_kib=${MAX_HISTORY_KIB:-$((120 * 1024))}
max_file_bytes=12500000

wrong() {
    echo "style: $*"
    bad=1
}

tracked() { # tracked files that are there, by pattern
    git ls-files -- "$@" | while read -r f; do
        [ -f "$f" ] && echo "$f"
    done
}

# Code without comments and literals, "line:text".
bare_code_of() {
    "$CC" -fpreprocessed -dD -E -w "$1" 2>/dev/null | awk '
        /^# [0-9]+ "/ { line = $2; next }
        { gsub(/\\"/, ""); gsub(/"[^"]*"/, "\"\""); print line ":" $0; line++ }'
}

check_format() {
    local tool=clang-format out
    command -v clang-format-14 >/dev/null && tool=clang-format-14
    if ! "$tool" --version 2>/dev/null | grep -q 'version 14\.'; then
        wrong "needs clang-format 14 (Debian 12's)"
        return
    fi
    out=$(tracked '*.c' '*.h' | xargs -r -n 16 "$tool" --dry-run -Werror 2>&1 |
        grep 'error:' | cut -d: -f1 | sort | uniq -c | head -20)
    [ -n "$out" ] && wrong "not as clang-format -i leaves it (count, file):
$out"
}

check_dialect() {
    local hit
    hit=$(git grep -nE 'sizeof ?\(\*' -- '*.c' '*.h' | head -3)
    [ -n "$hit" ] && wrong "sizeof(*p), here sizeof *p: $hit"
    hit=$(tracked '*.c' '*.h' | xargs -r awk \
        'length($0) > 80 { print FILENAME ":" FNR; if (++n == 5) exit }')
    [ -n "$hit" ] && wrong "lines over 80 columns: $hit"
}

# Pages that are named, and sources named with their folder. CONTRIBUTING.md's
# examples are of files to be written.
check_cited() {
    local hit
    hit=$(git grep -noE '[A-Za-z0-9_/.-]*[A-Za-z0-9_]\.md\b|\b(engine|models|server|tests|tools)/[a-z0-9_/]+\.[ch]\b' \
        -- "*.c" "*.h" "*.sh" "*.py" "*.md" Makefile ":!tests/unit/tools" \
        ":!CONTRIBUTING.md" |
        sort -u -t: -k3 | while IFS=: read -r f n name; do
            case $name in # a page of ggml, files elsewhere
            docs/gguf.md | ../* | /*) continue ;;
            esac
            git ls-files -- "$name" "*/$name" | grep -q . ||
                echo "$f:$n: $name"
        done | head -5)
    [ -n "$hit" ] && wrong "names a file that is not here:
$hit"
}

headings() { # of a page, as links name them
    sed -n 's/^##* //p' "$1" | tr 'A-Z ' 'a-z-' | sed 's/[^a-z0-9_-]//g'
}

check_pages() {
    local hit f n link path
    hit=$(awk 'length($0) > 160 { print FILENAME ":" FNR; exit }
        END { if (NR > 150) print FILENAME " has " NR " lines" }' \
        "$(tracked README.md)" </dev/null)
    [ -n "$hit" ] && wrong "a first page has 150 lines of 160 columns: $hit"
    while IFS=: read -r f n link; do
        link=${link#*](} link=${link%)}
        case $link in *://* | mailto:*) continue ;; esac
        path=$f
        [ "${link%%#*}" = "" ] ||
            path=$(realpath -m --relative-to=. "$(dirname "$f")/${link%%#*}")
        if [ ! -d "$path" ] && [ -z "$(tracked "$path" 2>/dev/null)" ]; then
            wrong "$f:$n: no file for the link $link"
        elif [ "${link#*#}" != "$link" ]; then
            headings "$path" | grep -qxF -- "${link#*#}" ||
                wrong "$f:$n: no heading for the link $link"
        fi
    done < <(git grep -noE '\]\([^) ]+\)' -- '*.md')
}

check_sizes() {
    local f n
    while read -r f; do
        n=$(wc -l <"$f")
        [ "$n" -gt 900 ] && wrong "$f has $n lines, at most 900"
        [ "$n" -gt 600 ] && [ "$n" -le 900 ] && echo "note: $f has $n lines"
    done < <(tracked '*.c' '*.h' '*.sh' '*.py' '*.js' .ci/run)
    while read -r f; do
        n=$(wc -l <"$f")
        [ "$n" -gt 300 ] && wrong "$f has $n lines, an architecture at most 300"
    done < <(git grep -lE '^const struct stack_kind .*_kind = ' -- '*.c')
    while read -r f; do
        # A function's braces stand in the first column; what is before the
        # opening one is its head. Tables end with "};".
        awk -v f="$f" '
            /^\{/ { open = NR }
            /^\}/ { if (open) { n = NR - open + 1
                if (n > 100) { printf "style: %s:%d: a function of %d" \
                    " lines, at most 100\n", f, open, n; bad = 1 }
                else if (n > 60)
                    printf "note: %s:%d: a function of %d lines\n", f, open, n
                open = 0 } }
            END { exit bad }' "$f" || bad=1
    done < <(tracked '*.c')
}

banned='gets|strcpy|strcat|sprintf|vsprintf|strtok|atoi|atol|atof|rand|srand'
banned="$banned|gmtime|localtime|asctime|ctime|exit|abort|system|alloca"

check_banned() {
    local f words hit
    while read -r f; do
        words=$banned
        case $f in */main.c) words=$(echo "$words" | sed 's/|exit|/|/') ;; esac
        # Test programs of their own process may stop it.
        case $f in tests/*) words=$(echo "$words" | sed 's/|exit|abort//') ;; esac
        hit=$(bare_code_of "$f" |
            grep -E "(^|[^A-Za-z0-9_.>])($words)[[:space:]]*\(" | head -3)
        [ -n "$hit" ] && wrong "$f uses a banned function: $hit"
    done < <(tracked '*.c' '*.h')
}

check_headers() {
    local f
    while read -r f; do
        head -45 "$f" | grep -q 'SPDX-License-Identifier: MIT' ||
            wrong "$f: no SPDX line in its head"
        case $f in
        *.[ch])
            head -1 "$f" | grep -q '^/\*' ||
                wrong "$f does not begin with a comment that says what it is" ;;
        *.html | *.css | *.json) ;;
        *)
            head -6 "$f" | grep -qE '^[[:space:]]*(#[^!]|--|//|/\*|"""|\* )' ||
                wrong "$f does not begin with a comment that says what it is" ;;
        esac
    done < <(tracked '*.c' '*.h' '*.sh' '*.py' '*.js' '*.lua' Makefile \
        docker/Dockerfile .ci/run)
    while read -r f; do
        [ -x "$f" ] || wrong "$f cannot be run: chmod +x"
    done < <(tracked 'tests/http/test_*.py' 'tests/unit/tools/test_*.sh')
}

# The words are put together here so that this file holds none of them.
marks="TO""DO|FIX""ME|XX""X|HA""CK"

check_marks() {
    local hit
    hit=$(git grep -nIwE "($marks)" -- '*.c' '*.h' '*.sh' '*.py' '*.js' '*.lua' \
        '*.md' '*.yaml' '*.html' Makefile docker .ci | cut -c1-120 | head -5)
    [ -n "$hit" ] && wrong "unfinished-work marks:
$hit"
}

check_paths() {
    local hit pats
    hit=$(git grep -nIE '(^|[^A-Za-z0-9_.$}/-])/(work|root|home/[a-z]+|Users)/' \
        -- . ':!*.safetensors' | cut -c1-120 | head -5)
    [ -n "$hit" ] && wrong "absolute paths of a machine:
$hit"
    # Hosts as this machine has them configured: the script names none.
    pats=$(mktemp)
    {
        pip config list
        npm config get registry
        cat /etc/apt/sources.list /etc/apt/sources.list.d/*
        printf '%s\n' "${PIP_INDEX_URL:-}" "${GOPROXY:-}"
    } 2>/dev/null | grep -oE 'https?://[^/ ,|"<>]+' |
        sed -E 's#https?://([^@]*@)?##; s#:[0-9]+$##' |
        grep -vE '^(localhost|127\..*)?$' | sort -u >"$pats"
    hit=""
    [ -s "$pats" ] && hit=$(git grep -nIF -f "$pats" -- . | cut -c1-120 | head -5)
    rm -f "$pats"
    [ -n "$hit" ] && wrong "hosts of package registries:
$hit"
    hit=$(git grep -nIiE 'https?://[a-z0-9.-]*(registry|mirror|artifactory|nexus)[a-z0-9-]*\.' \
        -- . | cut -c1-120 | head -5)
    [ -n "$hit" ] && wrong "hosts of package registries:
$hit"
}

check_history() {
    local f n kib
    while read -r f; do
        n=$(stat -c %s "$f")
        [ "$n" -gt "$max_file_bytes" ] &&
            wrong "$f has $n bytes, at most $max_file_bytes"
    done < <(tracked .)
    kib=$(($(git rev-list --objects --disk-usage HEAD) / 1024))
    if [ "$kib" -gt "$max_history_kib" ]; then
        wrong "the history takes $kib KiB, at most $max_history_kib"
    else
        echo "note: the history takes $kib KiB of $max_history_kib"
    fi
}

[ $# -gt 0 ] || set -- format dialect cited pages sizes banned headers marks paths history
for check in "$@"; do
    declare -F "check_$check" >/dev/null || wrong "no check '$check'"
    "check_$check"
done
[ "$bad" -eq 0 ] && echo "style: ok ($*)"
exit "$bad"
