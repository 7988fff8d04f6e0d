# seqd: `make help` lists the targets. One object tree per flavour under
# build/, so that no target ever needs `clean`.

FLAVOUR ?= release
B := build/$(FLAVOUR)
CC ?= gcc
AR ?= ar
PREFIX ?= /usr/local
PYTHON ?= /usr/bin/python3

WARN := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion \
  -Wdouble-promotion -Wcast-align=strict -Wformat=2 -Wundef -Wvla \
  -Wstrict-prototypes -Wmissing-prototypes $(if $(CI),-Werror)
HARDEN := -fstack-protector-strong -D_FORTIFY_SOURCE=2 -fPIE
OPT_release := -O3 $(HARDEN)
OPT_asan := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined \
  -fno-sanitize-recover=undefined
OPT_tsan := -O1 -g -fsanitize=thread
OPT_cross := -O2 $(HARDEN)
LINK_release := -pie -Wl,-z,relro,-z,now
LINK_asan := -fsanitize=address,undefined
LINK_tsan := -fsanitize=thread
LINK_cross := -pie -Wl,-z,relro,-z,now
CFLAGS_ALL := -std=c11 -D_GNU_SOURCE -I. -ffp-contract=off -pthread -MMD -MP \
  $(WARN) $(OPT_$(FLAVOUR)) $(if $(NATIVE),-march=native) $(CFLAGS)
LDFLAGS_ALL := -pthread $(LINK_$(FLAVOUR)) $(LDFLAGS)
ENGINE_LIBS := -lcjson -lm
SERVER_LIBS := -lmicrohttpd $(ENGINE_LIBS)
TRAIN_LIBS := -lopenblas $(ENGINE_LIBS)
TEST_LIBS := -lcmocka -lcurl

# Instruction sets are files. A compiler for another machine skips them.
MACHINE := $(shell $(CC) -dumpmachine)
X86 := $(if $(findstring x86_64,$(MACHINE)),1)
ISA_x86 := engine/compute/kernels_noisa.c
ISA_other := engine/compute/kernels_noisa.c

ENGINE_SRC := $(filter-out $(ISA_x86) $(ISA_other),$(wildcard engine/*/*.c)) \
  $(wildcard $(if $(X86),$(ISA_x86),$(ISA_other)))
MODELS_SRC := $(filter-out %_grad.c,$(wildcard models/*.c))
TRAIN_SRC := $(wildcard models/*_grad.c models/train/*.c)
SERVER_SRC := $(wildcard server/*.c)
UNIT_SRC := $(wildcard tests/unit/*/test_*.c)
PARITY_SRC := $(wildcard tests/parity/test_*.c)
HTTP_SRC := $(wildcard tests/http/test_*.c)
TEST_SUPPORT_SRC := $(filter-out test_%,$(notdir $(wildcard tests/support/*.c)))

obj = $(patsubst %.c,$(B)/%.o,$(1))
ENGINE_LIB := $(B)/libengine.a
MODELS_LIB := $(B)/libmodels.a
TRAIN_LIB := $(B)/libtrain.a
SUPPORT_OBJ := $(call obj,$(addprefix tests/support/,$(TEST_SUPPORT_SRC)))
UNIT_BIN := $(patsubst %.c,$(B)/%,$(UNIT_SRC))
PARITY_BIN := $(patsubst %.c,$(B)/%,$(PARITY_SRC))
HTTP_BIN := $(patsubst %.c,$(B)/%,$(HTTP_SRC))
SEQD := $(if $(wildcard server/main.c),$(B)/seqd)
SEQD_TRAIN := $(if $(wildcard models/train/main.c),$(B)/seqd-train)

.PHONY: all
all: $(ENGINE_LIB) $(MODELS_LIB) $(SEQD) $(SEQD_TRAIN)

.PHONY: tests-build
tests-build: all $(UNIT_BIN) $(PARITY_BIN) $(HTTP_BIN)

$(B)/engine/compute/kernels_avx2.o: CFLAGS_ALL += -mavx2 -mfma -mf16c
$(B)/engine/compute/kernels_avx512.o: CFLAGS_ALL += -mavx512f -mavx512bw \
  -mavx512vl -mavx512dq -mfma -mf16c -mprefer-vector-width=512

$(B)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) -c -o $@ $<

$(ENGINE_LIB): $(call obj,$(ENGINE_SRC))
	@rm -f $@
	$(AR) rcs $@ $^
$(MODELS_LIB): $(call obj,$(MODELS_SRC))
	@mkdir -p $(@D); rm -f $@
	$(AR) rcs $@ $^
$(TRAIN_LIB): $(call obj,$(filter-out models/train/main.c,$(TRAIN_SRC)))
	@mkdir -p $(@D); rm -f $@
	$(AR) rcs $@ $^

$(B)/seqd: $(call obj,$(SERVER_SRC)) $(MODELS_LIB) $(ENGINE_LIB)
	$(CC) $(LDFLAGS_ALL) -o $@ $^ $(SERVER_LIBS)
$(B)/seqd-train: $(B)/models/train/main.o $(TRAIN_LIB) $(MODELS_LIB) $(ENGINE_LIB)
	$(CC) $(LDFLAGS_ALL) -o $@ $^ $(TRAIN_LIBS)

# Unit tests see all libraries but link only what they use; the server's
# objects, main.c apart, are there for tests of its tables.
SERVER_LIB_OBJ := $(call obj,$(filter-out server/main.c,$(SERVER_SRC)))
$(B)/tests/unit/%: $(B)/tests/unit/%.o $(SUPPORT_OBJ) $(MODELS_LIB) $(ENGINE_LIB)
	$(CC) $(LDFLAGS_ALL) -o $@ $^ $(TEST_LIBS) $(ENGINE_LIBS)
$(B)/tests/unit/train/%: $(B)/tests/unit/train/%.o $(SUPPORT_OBJ) $(TRAIN_LIB) $(MODELS_LIB) $(ENGINE_LIB)
	$(CC) $(LDFLAGS_ALL) -o $@ $^ $(TEST_LIBS) $(TRAIN_LIBS)
$(B)/tests/unit/server/%: $(B)/tests/unit/server/%.o $(SUPPORT_OBJ) $(SERVER_LIB_OBJ) $(MODELS_LIB) $(ENGINE_LIB)
	$(CC) $(LDFLAGS_ALL) -o $@ $^ $(TEST_LIBS) $(SERVER_LIBS)
$(B)/tests/parity/%: $(B)/tests/parity/%.o $(SUPPORT_OBJ) $(TRAIN_LIB) $(MODELS_LIB) $(ENGINE_LIB)
	$(CC) $(LDFLAGS_ALL) -o $@ $^ $(TEST_LIBS) $(TRAIN_LIBS)
$(B)/tests/http/%: $(B)/tests/http/%.o $(SUPPORT_OBJ) $(ENGINE_LIB)
	$(CC) $(LDFLAGS_ALL) -o $@ $^ $(TEST_LIBS) $(ENGINE_LIBS)

.SECONDARY:

# Run the built tests: each prints its cmocka lines; the last line is the sum.
.PHONY: unit parity http-tests
unit: $(UNIT_BIN)
	@tests/run.sh $(UNIT_BIN)
parity: all $(PARITY_BIN)
	@tests/run.sh $(PARITY_BIN)
http-tests: all $(HTTP_BIN)
	@SEQD=$(B)/seqd SEQD_TRAIN=$(B)/seqd-train tests/run.sh $(HTTP_BIN)

-include $(shell find $(B) -name '*.d' 2>/dev/null)
