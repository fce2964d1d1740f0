# relive: build, demo, tests, benchmarks. `make help` lists the targets.
CC ?= cc
BUILD ?= build
PREFIX ?= /usr/local
OPT ?= -O2
WARN = -Wall -Wextra -Werror -Wshadow -Wundef -Wstrict-prototypes \
       -Wmissing-prototypes -Wwrite-strings -Wimplicit-fallthrough -Wvla
CFLAGS_ALL = -std=c17 $(WARN) $(OPT) -g -ffp-contract=off -fno-strict-aliasing \
       -D_GNU_SOURCE -Isrc -I. -MMD -MP $(SANITIZE) $(CFLAGS)
LIBS = -lZydis -llmdb -lzstd -lz -lxxhash -ljansson -lpng -llua5.4 -lpthread -lm
INCLUDES_LUA = -I/usr/include/lua5.4

CORE_DIRS = src/base src/mem src/cpu src/jit src/dev src/board
CORE_SRC  = $(sort $(wildcard $(addsuffix /*.c,$(CORE_DIRS)) \
                              $(addsuffix /*.S,$(CORE_DIRS))))
HOST_SRC  = $(sort $(wildcard src/host/*.c))
OUTER_SRC = $(sort $(wildcard replay/*.c analysis/*.c))
CLI_SRC   = $(sort $(wildcard src/cli/*.c))
TEST_SRC  = $(sort $(wildcard tests/test_*.c))
TEST_LIB  = $(sort $(wildcard tests/lib_*.c))

obj = $(patsubst %,$(BUILD)/obj/%.o,$(basename $(1)))
CORE_LIB  = $(BUILD)/librelive-core.a
HOST_LIB  = $(BUILD)/librelive-host.a
OUTER_LIB = $(BUILD)/librelive-outer.a
TESTS     = $(patsubst tests/%.c,$(BUILD)/tests/%,$(TEST_SRC))

.PHONY: all
all: $(BUILD)/relive

$(BUILD)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) $(INCLUDES_LUA) -c $< -o $@

$(BUILD)/obj/%.o: %.S
	@mkdir -p $(@D)
	$(CC) -MMD -MP -c $< -o $@

define make_archive
	@mkdir -p $(@D)
	@rm -f $@
	ar rcs $@ $^
endef
$(CORE_LIB): $(call obj,$(CORE_SRC))
	$(make_archive)
$(HOST_LIB): $(call obj,$(HOST_SRC))
	$(make_archive)
$(OUTER_LIB): $(call obj,$(OUTER_SRC))
	$(make_archive)

$(BUILD)/relive: $(call obj,$(CLI_SRC)) $(OUTER_LIB) $(HOST_LIB) $(CORE_LIB)
	$(CC) $(SANITIZE) $(LDFLAGS) -o $@ $^ $(LIBS)

# Each tests/test_*.c is one cmocka program, linked with everything.
$(BUILD)/tests/%: $(BUILD)/obj/tests/%.o $(call obj,$(TEST_LIB)) \
                  $(OUTER_LIB) $(HOST_LIB) $(CORE_LIB)
	@mkdir -p $(@D)
	$(CC) $(SANITIZE) $(LDFLAGS) -o $@ $^ -lcmocka $(LIBS)

.PHONY: clean
clean:
	rm -rf $(BUILD)

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
