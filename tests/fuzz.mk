# Fuzz targets: each tests/fuzz_*.c is one libFuzzer program, linked with
# everything, under AddressSanitizer and UndefinedBehaviorSanitizer.
#   make fuzz                    every target for FUZZ_SECONDS
#   make build/fuzz/code && build/fuzz/code -max_len=300 CORPUS-DIRECTORY
FUZZ_CC      ?= clang
FUZZ_SECONDS ?= 5
FUZZ_SRC  = $(sort $(wildcard tests/fuzz_*.c))
FUZZ      = $(patsubst tests/fuzz_%.c,$(BUILD)/fuzz/%,$(FUZZ_SRC))
FUZZ_SAN  = address,undefined
FUZZ_WARN = $(WARN)
FUZZ_FLAGS = -std=c17 $(FUZZ_WARN) -O1 -g -fno-omit-frame-pointer \
       -ffp-contract=off -fno-strict-aliasing -D_GNU_SOURCE -Isrc -I. -MMD \
       -MP -fno-sanitize-recover=undefined
FUZZ_LIB_SRC = $(filter %.c,$(CORE_SRC)) $(HOST_SRC) $(OUTER_SRC) \
       tests/lib_fuzz.c
FUZZ_OBJ  = $(patsubst %.c,$(BUILD)/fuzz-obj/%.o,$(FUZZ_LIB_SRC)) \
       $(call obj,$(filter %.S,$(CORE_SRC)))

# The allocator keeps little behind, for machines come and go by the thousand.
FUZZ_ENV = ASAN_OPTIONS=quarantine_size_mb=16 UBSAN_OPTIONS=print_stacktrace=1

$(BUILD)/fuzz-obj/%.o: %.c
	@mkdir -p $(@D)
	$(FUZZ_CC) $(FUZZ_FLAGS) -fsanitize=fuzzer-no-link,$(FUZZ_SAN) \
	  $(INCLUDES_LUA) -c $< -o $@

$(BUILD)/fuzz/%: tests/fuzz_%.c $(FUZZ_OBJ)
	@mkdir -p $(@D)
	$(FUZZ_CC) $(FUZZ_FLAGS) -MF $@.d -fsanitize=fuzzer,$(FUZZ_SAN) \
	  $(INCLUDES_LUA) -o $@ $< $(FUZZ_OBJ) $(LIBS)

# A bounded run from no corpus at all: the targets bring their own seeds.
.PHONY: fuzz
ifeq ($(shell command -v $(FUZZ_CC) 2>/dev/null),)
fuzz:
	@echo "fuzz: $(FUZZ_CC) is not installed: skipped (scripts/setup.sh)"
else
fuzz: $(FUZZ)
	@set -e; for t in $(FUZZ); do \
	  log=$$t.log; \
	  if $(FUZZ_ENV) $$t -max_total_time=$(FUZZ_SECONDS) -len_control=0 \
	    -max_len=1024 -timeout=20 -rss_limit_mb=2048 -seed=1 \
	    -artifact_prefix=$$t- > $$log 2>&1; then \
	    echo "fuzz: $$(basename $$t): $$(tail -n 1 $$log)"; \
	  else \
	    tail -n 60 $$log; echo "fuzz: $$t failed, see $$log"; exit 1; \
	  fi; \
	done
endif

-include $(shell find $(BUILD)/fuzz-obj $(BUILD)/fuzz -name '*.d' 2>/dev/null)
