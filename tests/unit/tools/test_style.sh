#!/usr/bin/env bash
# Each check of tools/style.sh passes on a sound tree and fails on a planted
# violation, so that a green `make style` means something.
# SPDX-License-Identifier: MIT
. "$(dirname "$0")/lib.sh"
style=$top/tools/style.sh
sound_c='/* a: a small file.
 * SPDX-License-Identifier: MIT */
int a(void)
{
    return 1;
}'

tree() {
    rm -rf "$work/t" && mkdir -p "$work/t" && cd "$work/t" || return 1
    git init -q . && cp "$top/.clang-format" .
    printf '%s\n' "$sound_c" >a.c
    git add . && git -c user.name=t -c user.email=t@localhost commit -qm t
}

# plant FILE: adds standard input to the file and commits it.
plant() {
    tree
    mkdir -p "$(dirname "$work/t/$1")"
    cat >>"$work/t/$1"
    git add . && git -c user.name=t -c user.email=t@localhost commit -qm p
}

sound() {
    tree && "$style" -C "$work/t" banned dialect cited pages sizes headers marks paths history
}
check style_accepts_a_sound_tree sound

format() {
    command -v clang-format >/dev/null || return 0
    tree && "$style" -C "$work/t" format || return 1
    echo 'int  b( void );' | plant a.c
    fails_with 'not as clang-format' "$style" -C "$work/t" format
}
check style_refuses_bad_format format
braces() {
    command -v clang-format >/dev/null || return 0
    printf '%s\n' 'int b(int x)' '{' '    if (x) {' '        return 1;' \
        '    }' '    return 0;' '}' | plant a.c
    fails_with 'not as clang-format' "$style" -C "$work/t" format
}
check style_refuses_braces_around_one_statement braces

dialect() { # TEXT MESSAGE
    echo "$1" | plant a.c
    fails_with "$2" "$style" -C "$work/t" dialect
}
check style_refuses_sizeof_in_brackets dialect \
    'int n(int *p) { return sizeof(*p); }' 'sizeof\(\*p\)'
check style_refuses_long_comments dialect \
    "/* $(seq -s ' ' 40) */" 'over 80 columns: a.c'
cited() {
    echo "/* see $1 */" | plant a.c
    fails_with "a.c:[0-9]+: $1" "$style" -C "$work/t" cited
}
check style_refuses_a_page_that_is_not_here cited nowhere.md
check style_refuses_a_source_that_is_not_here cited engine/base/nowhere.h
cited_by_a_page() {
    echo 'See `tests/nowhere.c`.' | plant a.md
    fails_with "a.md:1: tests/nowhere.c" "$style" -C "$work/t" cited
}
check style_refuses_a_page_that_names_what_is_not_here cited_by_a_page

page() { # MESSAGE: standard input becomes the first page
    plant README.md
    fails_with "$1" "$style" -C "$work/t" pages
}
long_page() { seq 151 | page 'README.md has 151 lines'; }
check style_refuses_a_long_first_page long_page
wide_page() { seq -s ' ' 80 | page 'columns: README.md:1'; }
check style_refuses_wide_lines_in_the_first_page wide_page
link() { echo "[x]($1)" | page "README.md:1: no $2 for the link $1"; }
check style_refuses_a_link_to_no_file link docs/nowhere.md file
check style_refuses_a_link_to_no_heading link 'README.md#nowhere' heading
check style_refuses_a_link_to_no_heading_here link '#nowhere' heading
links() {
    printf '# A `b`: what, why\n\n[x](a.c) [y](#a-b-what-why) %s\n' \
        '[z](../t/README.md#a-b-what-why) [w](https://example.org/w)' |
        plant README.md
    "$style" -C "$work/t" pages
}
check style_accepts_links_that_resolve links

long_file() {
    seq -f '/* %g */' 901 | plant a.c
    fails_with 'a.c has 90[0-9] lines' "$style" -C "$work/t" sizes
}
check style_refuses_long_files long_file
long_architecture() {
    { echo 'const struct stack_kind long_kind = {0};' && seq -f '/* %g */' 300; } |
        plant a.c
    fails_with 'an architecture at most 300' "$style" -C "$work/t" sizes
}
check style_refuses_long_architectures long_architecture
long_function() {
    { printf 'int b(void)\n{\n' && yes '    a();' | head -99 && echo '}'; } |
        plant a.c
    fails_with 'a function of 101 lines' "$style" -C "$work/t" sizes
}
check style_refuses_long_functions long_function

banned() {
    echo "int b(char *s) { return $1(s); }" | plant a.c
    fails_with 'banned function' "$style" -C "$work/t" banned
}
for f in strcpy sprintf atoi exit system strtok alloca; do
    check "style_refuses_$f" banned $f
done
not_banned() {
    printf '%s\n' '/* strcpy( */ char *s = "strcpy(";' \
        'int f(void) { return snprintf(0, 0, "") + my_exit(1); }' | plant a.c
    "$style" -C "$work/t" banned
}
check style_reads_only_code_for_banned_functions not_banned

no_spdx() {
    tree && echo '/* what it is */' | plant b.c
    fails_with 'b.c: no SPDX' "$style" -C "$work/t" headers
}
check style_refuses_files_without_spdx no_spdx
no_comment() {
    printf 'int b;\n/* SPDX-License-Identifier: MIT */\n' | plant b.c
    fails_with 'b.c does not begin with a comment' "$style" -C "$work/t" headers
}
check style_refuses_files_without_header no_comment
no_run() {
    printf '# SPDX-License-Identifier: MIT\n' | plant tests/http/test_x.py
    fails_with 'test_x.py cannot be run' "$style" -C "$work/t" headers
}
check style_refuses_tests_that_cannot_be_run no_run

mark() {
    echo "/* $1: later */" | plant a.c
    fails_with 'unfinished-work' "$style" -C "$work/t" marks
}
check style_refuses_marks_1 mark "TO""DO"
check style_refuses_marks_2 mark "FIX""ME"

path() {
    echo "$1" | plant notes.md
    fails_with "$2" "$style" -C "$work/t" paths
}
check style_refuses_work_paths path 'see /wo''rk/main' 'absolute paths'
check style_refuses_home_paths path 'in /ro''ot/.cache' 'absolute paths'
check style_refuses_registry_hosts path 'https://regis''try.example.org/x' hosts
relative() {
    echo 'see ../shared/data and docs/home/x' | plant notes.md
    "$style" -C "$work/t" paths
}
check style_accepts_relative_paths relative

big_file() {
    head -c 12500001 /dev/zero | plant big.bin
    fails_with 'big.bin has' "$style" -C "$work/t" history
}
check style_refuses_big_files big_file
big_history() {
    head -c 300000 /dev/urandom | plant r.bin
    git rm -q r.bin && git -c user.name=t -c user.email=t@localhost commit -qm r
    fails_with 'the history takes 29[0-9] KiB, at most 200' \
        env MAX_HISTORY_KIB=200 "$style" -C "$work/t" history
}
check style_refuses_a_heavy_history big_history
check style_refuses_an_unknown_check fails_with 'no check' \
    "$style" -C "$work/t" nonsense
finish
