# relive: build, demo, tests, benchmarks. `make help` lists the targets.
#
# BUILD=DIR    where everything goes (default build)
# V=1          show the commands
# SANITIZE=... compiler and linker flags of a sanitizer
CC ?= cc
CLANG ?= clang
BUILD ?= build
PREFIX ?= /usr/local
DESTDIR ?=
OPT ?= -O2
FUZZ_SECONDS ?= 10
ORACLE_SECONDS ?= 15
WARN = -Wall -Wextra -Werror -Wshadow -Wundef -Wstrict-prototypes \
       -Wmissing-prototypes -Wwrite-strings -Wimplicit-fallthrough -Wvla
CFLAGS_ALL = -std=c17 $(WARN) $(OPT) -g -ffp-contract=off -fno-strict-aliasing \
       -D_GNU_SOURCE -Isrc -I. -MMD -MP $(SANITIZE) $(CFLAGS)
LIBS = -lZydis -ldw -llmdb -lzstd -lz -lxxhash -ljansson -lpng -llua5.4 -ledit -lpthread -lm
INCLUDES_LUA = -I/usr/include/lua5.4

CORE_DIRS = src/base src/mem src/cpu src/jit src/dev src/board
CORE_SRC  = $(sort $(wildcard $(addsuffix /*.c,$(CORE_DIRS)) \
                              $(addsuffix /*.S,$(CORE_DIRS))))
HOST_SRC  = $(sort $(wildcard src/host/*.c))
OUTER_SRC = $(sort $(wildcard replay/*.c analysis/*.c))
CLI_SRC   = $(sort $(wildcard src/cli/*.c))
TEST_SRC  = $(sort $(wildcard tests/test_*.c))
TEST_LIB  = $(sort $(wildcard tests/lib_*.c))
KVM_SRC   = $(sort $(wildcard tests/kvm_*.c))
FUZZ_SRC  = $(sort $(wildcard tests/fuzz_*.c))
GUEST_SRC = $(sort $(wildcard tests/guests/*.S))

obj = $(patsubst %,$(BUILD)/obj/%.o,$(basename $(1)))
CORE_LIB  = $(BUILD)/librelive-core.a
HOST_LIB  = $(BUILD)/librelive-host.a
OUTER_LIB = $(BUILD)/librelive-outer.a
ALL_LIBS  = $(OUTER_LIB) $(HOST_LIB) $(CORE_LIB)
# tests/test_guest_*.c run guests in the program; the others are unit tests.
TESTS       = $(patsubst tests/%.c,$(BUILD)/tests/%,$(TEST_SRC))
GUEST_TESTS = $(filter $(BUILD)/tests/test_guest_%,$(TESTS))
UNIT_TESTS  = $(filter-out $(GUEST_TESTS),$(TESTS))
ORACLE      = $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/oracle.c))
KVM_ORACLE  = $(if $(KVM_SRC),$(BUILD)/tests/kvm_oracle)
FUZZERS     = $(patsubst tests/%.c,$(BUILD)/fuzz/%,$(FUZZ_SRC))
# disk_* are disk images, elf_* multiboot kernels, the rest BIOS images.
GUESTS = $(patsubst tests/guests/%.S,$(BUILD)/guests/%.bin,$(GUEST_SRC)) \
         $(BUILD)/guests/corrupt-amd64 $(BUILD)/guests/corrupt-i386

ifeq ($(V),1)
Q =
say = @:
else
Q = @
say = @printf '  %-5s %s\n'
endif

# Keep the objects of programs that are made by pattern rules.
.SECONDARY:

.PHONY: all
all: $(BUILD)/relive

$(BUILD)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(say) CC $<
	$(Q)$(CC) $(CFLAGS_ALL) $(INCLUDES_LUA) -c $< -o $@

$(BUILD)/obj/%.o: %.S
	@mkdir -p $(@D)
	$(say) AS $<
	$(Q)$(CC) -MMD -MP -c $< -o $@

define make_archive
	@mkdir -p $(@D)
	@rm -f $@
	$(say) AR $@
	$(Q)ar rcs $@ $^
endef
$(CORE_LIB): $(call obj,$(CORE_SRC))
	$(make_archive)
$(HOST_LIB): $(call obj,$(HOST_SRC))
	$(make_archive)
$(OUTER_LIB): $(call obj,$(OUTER_SRC))
	$(make_archive)

define link
	@mkdir -p $(@D)
	$(say) LINK $@
	$(Q)$(CC) $(SANITIZE) $(LDFLAGS) -o $@ $^ $(LINK_LIBS) $(LIBS)
endef
$(BUILD)/relive: $(call obj,$(CLI_SRC)) $(ALL_LIBS)
	$(link)

# Each tests/test_*.c is one cmocka program, linked with everything.
$(BUILD)/tests/%: LINK_LIBS = -lcmocka
$(BUILD)/tests/%: $(BUILD)/obj/tests/%.o $(call obj,$(TEST_LIB)) $(ALL_LIBS)
	$(link)
$(BUILD)/tests/kvm_oracle: $(call obj,$(KVM_SRC)) $(call obj,$(TEST_LIB)) \
                           $(ALL_LIBS)
	$(link)

# The program with a fault to find; never installed.
PLANT = $(BUILD)/tests/relive-plant
$(PLANT): LINK_LIBS = -Wl,--wrap=main,--wrap=machine_run
$(PLANT): $(call obj,tests/plant.c $(CLI_SRC)) $(ALL_LIBS)
	$(link)

# Guests of our own, assembled.
$(BUILD)/guests/elf_%.o: GUEST_FLAGS += -m32
$(BUILD)/guests/%.o: tests/guests/%.S
	@mkdir -p $(@D)
	$(say) AS $<
	$(Q)$(CC) -MMD -MP $(GUEST_FLAGS) -c $< -o $@
$(BUILD)/guests/elf_%.bin: $(BUILD)/guests/elf_%.o tests/guests/elf.ld
	$(Q)ld -m elf_i386 -n -z noexecstack --no-warn-rwx-segments -T tests/guests/elf.ld -o $@ $<
$(BUILD)/guests/%.bin: $(BUILD)/guests/%.o tests/guests/image.ld
	$(Q)ld -m elf_x86_64 -n -T tests/guests/image.ld --oformat binary \
	    -o $@ $<
# Benchmark kernels, in 32 and 64 bits each.
KERNELS = $(foreach k,$(basename $(notdir $(wildcard bench/guests/*.S))),\
            $(BUILD)/bench/$(k)-32.bin $(BUILD)/bench/$(k)-64.bin)
define kernel
	@mkdir -p $(@D)
	$(say) AS $<
	$(Q)$(CC) -MMD -MP -MT $@ -Itests/guests -DBITS=$(1) -c $< -o $(@:.bin=.o)
	$(Q)ld -m elf_x86_64 -n -T tests/guests/image.ld --oformat binary \
	    -o $@ $(@:.bin=.o)
endef
$(BUILD)/bench/%-32.bin: bench/guests/%.S tests/guests/image.ld
	$(call kernel,32)
$(BUILD)/bench/%-64.bin: bench/guests/%.S tests/guests/image.ld
	$(call kernel,64)
# A program for the Linux guests, at an address of its own.
GUEST_PROGRAM = $(CC) -Wall -Wextra -Werror -O1 -g -ffreestanding -nostdlib \
    -static -fno-pie -no-pie -fno-stack-protector -fcf-protection=none \
    -fno-asynchronous-unwind-tables -fno-tree-loop-distribute-patterns \
    -Wl,-Ttext-segment=0x31000000,--build-id=none,-z,noexecstack
$(BUILD)/guests/corrupt-amd64: PROGRAM_FLAGS = -m64
$(BUILD)/guests/corrupt-i386: PROGRAM_FLAGS = -m32
$(BUILD)/guests/corrupt-%: tests/guests/corrupt.c
	@mkdir -p $(@D)
	$(say) CC $@
	$(Q)$(GUEST_PROGRAM) $(PROGRAM_FLAGS) -o $@ $<
.PHONY: guests kernels
kernels: $(KERNELS)
guests: $(GUESTS) ## assemble the guests of tests/guests

# libFuzzer programs of tests/fuzz_*.c, with everything built by clang.
FUZZ_FLAGS = -fsanitize=address,undefined -fno-sanitize-recover=undefined
fuzz_obj = $(patsubst %,$(BUILD)/fuzz/obj/%.o,$(basename $(1)))
FUZZ_LIB = $(BUILD)/fuzz/librelive.a
$(BUILD)/fuzz/obj/%.o: %.c
	@mkdir -p $(@D)
	$(say) CLANG $<
	$(Q)$(CLANG) $(CFLAGS_ALL) $(INCLUDES_LUA) -O1 $(FUZZ_FLAGS) \
	    -fsanitize=fuzzer-no-link -c $< -o $@
$(BUILD)/fuzz/obj/%.o: %.S
	@mkdir -p $(@D)
	$(Q)$(CLANG) -MMD -MP -c $< -o $@
$(FUZZ_LIB): $(call fuzz_obj,$(OUTER_SRC) $(HOST_SRC) $(CORE_SRC))
	$(make_archive)
$(BUILD)/fuzz/%: $(BUILD)/fuzz/obj/tests/%.o \
                 $(call fuzz_obj,$(wildcard tests/lib_fuzz*.c)) $(FUZZ_LIB)
	$(say) LINK $@
	$(Q)$(CLANG) $(FUZZ_FLAGS) -fsanitize=fuzzer -o $@ $^ $(LIBS)

.PHONY: fuzz fuzzers
fuzzers: $(FUZZERS)
fuzz: fuzzers ## run every fuzz target for FUZZ_SECONDS
	@scripts/run-tests.sh $(BUILD)/logs \
	    $(foreach f,$(FUZZERS),'$(f) $(fuzz_options)')
fuzz_options = -max_total_time=$(FUZZ_SECONDS) -print_final_stats=0 \
               -len_control=0 -max_len=2048 \
               -verbosity=0 -timeout=30 -rss_limit_mb=3000 -seed=1

# ---- checks of the source -----------------------------------------------------
.PHONY: check check-layers check-globals check-imports
check: check-layers check-globals check-imports ## the three checks
check-layers: ## includes point down the table of folders only
	@scripts/check-layers.sh
check-globals: $(ALL_LIBS) ## no writable data in the libraries
	@scripts/check-globals.sh $(ALL_LIBS)
check-imports: $(CORE_LIB) ## no clock, random source or socket in the machine
	@scripts/check-imports.sh $(CORE_LIB)

# ---- tests ----------------------------------------------------------------------
.PHONY: test test-run unit stress asan asan-run clang
run_tests = RELIVE=$(abspath $(BUILD)/relive) \
    GUESTS=$(abspath $(BUILD)/guests) scripts/run-tests.sh $(BUILD)/logs
test: ## set up, build and run everything; the last line counts
	@scripts/setup.sh build test
	@$(MAKE) --no-print-directory test-run
test-run: $(BUILD)/relive $(PLANT) $(TESTS) $(ORACLE) $(GUESTS) $(KERNELS) $(FUZZERS)
	@scripts/guests.sh $(BUILD)/guests || \
	    echo 'tests of guests that could not be fetched are skipped'
	@$(run_tests) $(GUEST_TESTS) \
	    'scripts/check-layers.sh' 'scripts/check-globals.sh $(ALL_LIBS)' \
	    'scripts/check-imports.sh $(CORE_LIB)' $(UNIT_TESTS) \
	    $(foreach o,$(ORACLE),'$(o) --seconds $(ORACLE_SECONDS)') \
	    $(foreach f,$(FUZZERS),'$(f) $(fuzz_options)')
unit: $(BUILD)/relive $(UNIT_TESTS) ## the unit tests alone
	@$(run_tests) $(UNIT_TESTS)
# Options of the program that must change nothing a guest sees.
stress: $(BUILD)/relive $(PLANT) $(GUEST_TESTS) $(GUESTS) $(KERNELS) ## repeat the guest tests
	@scripts/stress.sh $(BUILD) $(GUEST_TESTS)
asan: ## ASan and UBSan build in build-asan, and its unit tests
	@$(MAKE) --no-print-directory BUILD=build-asan OPT='-O1' \
	    SANITIZE='-fsanitize=address,undefined -fno-sanitize-recover=undefined' \
	    asan-run
# Not the oracle: ASan's own memory lies where its random addresses expect none.
asan-run: $(BUILD)/relive $(UNIT_TESTS)
	@$(run_tests) $(filter-out %/test_oracle,$(UNIT_TESTS))
clang: ## a clang build in build-clang, and its unit tests
	@$(MAKE) --no-print-directory BUILD=build-clang CC=$(CLANG) unit

# ---- demo, bench, install ---------------------------------------------------------
.PHONY: lua-api
lua-api: $(BUILD)/relive ## renew analysis/lua-api, the scripts' reference
	@$< help lua >analysis/lua-api
.PHONY: demo demo-run bench bench-peers dashboard install uninstall clean help
demo: ## record and replay a Linux boot; works as the first command typed
	@scripts/setup.sh build demo
	@$(MAKE) --no-print-directory demo-run
demo-run: $(BUILD)/relive $(GUESTS)
	@scripts/demo.sh $(BUILD)
# Results go to bench/history.json. QUICK=1: a few minutes, not an hour. CLOCK=cpu:
# what processes used, on a machine that does other things as well.
BENCH_FLAGS = $(if $(QUICK),--quick) $(if $(CLOCK),--clock $(CLOCK)) \
              --build $(BUILD)
bench: ## speed, memory and log sizes on every engine (QUICK=1: briefly)
	@scripts/setup.sh build bench
	@$(MAKE) --no-print-directory $(BUILD)/relive kernels
	@bench/run.sh $(BENCH_FLAGS)
bench-peers: ## the same, with QEMU and Bochs beside relive
	@scripts/setup.sh build bench peers
	@$(MAKE) --no-print-directory $(BUILD)/relive kernels
	@bench/run.sh --peers $(BENCH_FLAGS)
dashboard: ## trends of bench/history.json: build/bench/dashboard.html
	@mkdir -p $(BUILD)/bench
	@lua5.4 bench/dashboard/build.lua bench/history.json \
	    $(BUILD)/bench/dashboard.html \
	    $(if $(COMMITS),--commits $(COMMITS))
install: $(BUILD)/relive ## to PREFIX (/usr/local)
	install -D -m 755 $(BUILD)/relive $(DESTDIR)$(PREFIX)/bin/relive
	install -D -m 644 src/cli/relive.1 \
	    $(DESTDIR)$(PREFIX)/share/man/man1/relive.1
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/relive/scripts \
	    scripts/*.lua
uninstall:
	rm -f $(DESTDIR)$(PREFIX)/bin/relive \
	    $(DESTDIR)$(PREFIX)/share/man/man1/relive.1
	rm -rf $(DESTDIR)$(PREFIX)/share/relive/scripts
clean:
	rm -rf $(BUILD) build-asan build-clang
help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 24

-include $(wildcard $(BUILD)/guests/*.d $(BUILD)/bench/*.d) \
    $(shell find $(BUILD)/obj $(BUILD)/fuzz/obj -type f -name '*.d' 2>/dev/null)
