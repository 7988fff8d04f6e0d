#!/usr/bin/env bash
# Each check of tools/layers.sh passes on a sound tree and fails on a planted
# violation, so that a green `make layers` means something.
# SPDX-License-Identifier: MIT
. "$(dirname "$0")/lib.sh"
layers=$top/tools/layers.sh

# A small sound tree; `plant FILE TEXT` adds to it.
tree() {
    rm -rf "$work/t" && mkdir -p "$work/t"/{engine/{base,run,text},models/{rnn,train},server/http,b}
    cd "$work/t" || return 1
    echo '#include "engine/base/a.h"
/* the lstm of a comment is fine */
int engine_a(void) { return 1; }' >engine/base/a.c
    echo 'int engine_a(void);' >engine/base/a.h
    echo '#include <cjson/cJSON.h>' >engine/base/json.c
    echo 'void *mem_a(void) { return malloc(1); }' >engine/base/mem.c
    echo '#include "engine/base/a.h"
#include "models/registry.h"
int lstm_step(void) { return engine_a(); }' >models/rnn/lstm.c
    echo 'int lstm_step(void);' >models/registry.h
    echo '#include "models/train/optim.h"' >models/rnn/lstm_grad.c
    echo 'int optim(void);' >models/train/optim.h
    echo '#include "models/registry.h"' >server/main.c
    echo '#include "server/http/http.h"' >server/http/http.c
    echo '' >server/http/http.h
}

plant() {
    tree
    printf '%s\n' "$2" >>"$work/t/$1"
}

build() {
    cd "$work/t" && rm -f b/* &&
        gcc -I. -w -c engine/base/a.c -o b/a.o &&
        gcc -I. -w -c models/rnn/lstm.c -o b/lstm.o &&
        ar rcs b/libengine.a b/a.o && ar rcs b/libmodels.a b/lstm.o
}

sound() {
    tree && build && B=b "$layers" -C "$work/t"
}
check layers_accepts_a_sound_tree sound

include() { # FILE INCLUDED: refused
    plant "$1" "#include $2"
    fails_with "$1:[0-9]+: may not include" "$layers" -C "$work/t" includes
}
check layers_refuses_models_in_engine include engine/base/a.c '"models/registry.h"'
check layers_refuses_server_in_engine include engine/base/a.h '"server/http/http.h"'
check layers_refuses_server_in_models include models/rnn/lstm.c '"server/http/http.h"'
check layers_refuses_models_in_server include server/http/http.c '"models/registry.h"'
check layers_refuses_trainer_in_models include models/rnn/lstm.c '"models/train/optim.h"'
check layers_refuses_unrooted_include include engine/base/a.c '"a.h"'
check layers_refuses_cjson_elsewhere include models/rnn/lstm.c '<cjson/cJSON.h>'
check layers_refuses_pcre2_elsewhere include engine/base/a.c '<pcre2.h>'
check layers_refuses_nettle_elsewhere include server/main.c '<nettle/sha2.h>'

check layers_refuses_an_include_up_in_engine include engine/base/a.c '"engine/text/b.h"'
plant_down() {
    plant engine/text/b.h '#include "engine/base/a.h"'
    "$layers" -C "$work/t" includes
}
check layers_accepts_an_include_down_in_engine plant_down
up_in_run() {
    plant engine/run/job.h '#include "engine/run/runner.h"'
    fails_with 'job.h: may not include engine/run/runner.h, which comes later' \
        "$layers" -C "$work/t" includes
}
check layers_refuses_an_include_up_in_run up_in_run
two_of_one_name() {
    plant engine/text/a.c ''
    fails_with 'two files of one name: a.c' "$layers" -C "$work/t" unique
}
check layers_refuses_two_files_of_one_name two_of_one_name

name() { # FILE LINE: refused
    plant "$1" "$2"
    fails_with 'names an architecture' "$layers" -C "$work/t" names
}
check layers_refuses_a_name_in_engine name engine/base/a.c 'int lstm_cells;'
check layers_refuses_a_name_in_a_literal name server/http/http.c 'char *s = "GPT2";'
check layers_refuses_a_camel_name name engine/base/a.h 'int is_Llama;'
file_name() {
    tree && echo 'int x;' >engine/base/bert_helper.c
    fails_with 'named after' "$layers" -C "$work/t" names
}
check layers_refuses_a_file_name file_name

heap() {
    plant models/rnn/lstm.c 'void *p(void) { return calloc(1, 2); }'
    fails_with 'takes memory past' "$layers" -C "$work/t" heap
}
check layers_refuses_heap_outside_mem heap

leak_up() {
    plant engine/base/a.c 'int lstm_step(void); int up(void) { return lstm_step(); }'
    build && fails_with 'does not link alone' \
        env B=b "$layers" -C "$work/t" links
}
check layers_refuses_a_call_upwards leak_up
models_leak() {
    plant models/rnn/lstm.c 'int http_go(void); int up(void) { return http_go(); }'
    build && fails_with 'libmodels.a needs more' \
        env B=b "$layers" -C "$work/t" links
}
check layers_refuses_models_that_call_the_server models_leak
trainer_in_seqd() {
    tree && build && cd "$work/t" || return 1
    echo 'int train_me(void) { return 1; }' >t.c
    echo 'int train_me(void); int main(void) { return train_me(); }' >s.c
    gcc -c t.c -o b/t.o && ar rcs b/libtrain.a b/t.o && gcc s.c b/t.o -o b/seqd
    fails_with 'seqd holds trainer code: train_me' \
        env B=b "$layers" -C "$work/t" links
}
check layers_refuses_trainer_code_in_seqd trainer_in_seqd
unbuilt() {
    tree && fails_with 'not built' env B=b "$layers" -C "$work/t" links
}
check layers_links_needs_a_built_tree unbuilt
check layers_refuses_an_unknown_check fails_with 'no check' \
    "$layers" -C "$work/t" nonsense
finish
