/* The scripts of scripts/, each on a real session. What they say is compared
 * with another way to know it: the guest's own output, its constants, nm, single
 * steps, and what other commands print. */
#include "lib_program.h"

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char scripts[1200]; /* the directory */

static void find_scripts(void)
{
    char path[1000] = __FILE__, *slash = strrchr(path, '/');
    strcpy(slash ? slash : path, "/../scripts");
    if (!realpath(path, scripts))
        skip(); /* run outside the source tree */
    (void)setenv("SCRIPTS", scripts, 1);
}

static int set_up(void **state)
{
    char here[4096], path[5200];
    /* __FILE__ is relative to where make runs; lab_open() goes elsewhere. */
    if (!getcwd(here, sizeof here))
        return -1;
    (void)snprintf(path, sizeof path, "%s/scripts", here);
    if (access(path, R_OK) == 0)
        (void)snprintf(scripts, sizeof scripts, "%.1100s", path);
    if (scripts[0])
        (void)setenv("SCRIPTS", scripts, 1);
    return lab_open(state);
}

/* Record a guest of tests/guests once, and link it with its names. */
static void record(struct lab *lab, const char *name)
{
    if (!scripts[0])
        find_scripts();
    lab_write("image.ld",
              "SECTIONS { .text 0 : { *(.text) } /DISCARD/ : { *(*) } }\n");
    lab_run(lab,
            "test -d %s || { $R record -o %s --bios $G/%s.bin --vgabios none "
            "--mem 16M --until 2s --rtc 2026-01-31T12:00:00 && false; test $? "
            "= 33 && ld -m elf_x86_64 -n -T image.ld -o %s.elf $G/%s.o; }",
            name, name, name, name, name);
    lab_assert_status(lab, 0);
}

/* The JSON that a script wrote; the caller frees it. */
static json_t *result(const struct lab *lab)
{
    json_error_t why;
    json_t *o = json_loads(lab->text, JSON_DECODE_ANY, &why);
    if (!o)
        fail_msg("no JSON: %s", lab->text);
    return o;
}

static json_int_t number(const json_t *o, const char *name)
{
    const json_t *v = json_object_get(o, name);
    if (!json_is_integer(v))
        fail_msg("%s is no integer", name);
    return json_integer_value(v);
}

static const char *string(const json_t *o, const char *name)
{
    const char *text = json_string_value(json_object_get(o, name));
    if (!text)
        fail_msg("%s is no string", name);
    return text;
}

/* What nm says. */
static json_int_t address(struct lab *lab, const char *elf, const char *name)
{
    lab_run(lab, "nm %s | awk '$3 == \"%s\" { print $1 }'", elf, name);
    return (json_int_t)strtoull(lab->text, NULL, 16);
}

static void every_script_helps_and_refuses(void **state)
{
    static const char *const names[] = {
        "crash-triage",    "who-wrote", "syscall-trace",
        "boot-timeline",   "coverage",  "heap-corruption",
        "jit-report",      "divergence-report",
        "perf-regress"};
    struct lab *lab = *state;
    record(lab, "heap");
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        lab_run(lab, "$R query heap $SCRIPTS/%s.lua --help", names[i]);
        lab_assert_status(lab, 0);
        lab_assert_text(lab, "usage: relive query");
        lab_assert_text(lab, names[i]);
        lab_run(lab, "$R query heap $SCRIPTS/%s.lua --no-such-option",
                names[i]);
        lab_assert_status(lab, 2);
        lab_assert_one_sentence(lab);
        lab_run(lab, "head -n 1 $SCRIPTS/%s.lua", names[i]);
        lab_assert_text(lab, "-- ");
    }
}

/* The guest prints the damaged header; nm knows the function; single steps find
 * the tick. */
static void heap_corruption_finds_the_overrun(void **state)
{
    struct lab *lab = *state;
    record(lab, "heap");
    json_int_t copy = address(lab, "heap.elf", "copy_name");
    lab_run(lab, "$R query heap -e 'write(session:text())'");
    lab_assert_text(lab, "damaged header at 0x40028");
    lab_run(lab, "$R query heap -e 'local v, seen = session:at(30000) while v do "
                 "if v.mem:u64(0x40028) == 0x600db10c00000020 then seen = true "
                 "elseif seen then print(v.tick - 1) exit(0) end "
                 "v = v:step() end'");
    json_int_t stepped = strtoll(lab->text, NULL, 10);
    lab_run(lab, "$R query heap --json --symbols heap.elf "
                 "$SCRIPTS/heap-corruption.lua 0x40028 --malloc heap_alloc "
                 "--free heap_free");
    lab_assert_status(lab, 0);
    json_t *o = result(lab);
    assert_int_equal(number(o, "tick"), stepped);
    assert_int_equal(number(o, "rip"), copy + 2);
    assert_non_null(strstr(string(o, "where"), "copy_name"));
    assert_non_null(strstr(string(o, "verdict"),
                           "0 bytes behind the end of a block of 32 bytes at "
                           "0x40008"));
    json_decref(o);
    /* Without names the last write counts, and is the same function's. */
    lab_run(lab, "$R query heap --json $SCRIPTS/heap-corruption.lua 0x40028 "
                 "--malloc 0x%llx",
            (unsigned long long)address(lab, "heap.elf", "heap_alloc"));
    o = result(lab);
    assert_int_equal(number(o, "rip"), copy + 2);
    json_decref(o);
}

/* Every change that single steps see is a write that the script lists. */
static void who_wrote_lists_every_write(void **state)
{
    struct lab *lab = *state;
    record(lab, "heap");
    lab_run(lab, "$R query heap --json -e 'local v, list, last = "
                 "session:at(30000), {}, 0 while v.tick < 32000 do local now = v.mem:u64(0x40028) "
                 "if now and now ~= last then list[#list + 1] = v.tick - 1 "
                 "last = now end v = v:step() end return list'");
    json_t *steps = result(lab);
    lab_run(lab, "$R query heap --json --symbols heap.elf "
                 "$SCRIPTS/who-wrote.lua 0x40028 --last 0");
    json_t *o = result(lab);
    json_t *writes = json_object_get(o, "writes");
    assert_true(json_array_size(steps) >= 9);
    size_t at = 0; /* a store of what was there is no change */
    for (size_t i = 0; i < json_array_size(writes); i++)
        if (at < json_array_size(steps) &&
            number(json_array_get(writes, i), "tick") ==
                json_integer_value(json_array_get(steps, at)))
            at++;
    assert_int_equal(at, json_array_size(steps));
    assert_int_equal(json_array_size(writes), 10); /* 2 stores, 8 bytes */
    json_decref(o);
    lab_run(lab, "$R query heap --json --symbols heap.elf "
                 "$SCRIPTS/who-wrote.lua 0x40028 --expect heap_alloc");
    o = result(lab);
    writes = json_object_get(o, "writes");
    assert_int_equal(json_array_size(writes), 1);
    assert_non_null(
        strstr(string(json_array_get(writes, 0), "where"), "copy_name"));
    json_decref(o);
    json_decref(steps);
}

/* 41 and 8 rounds of 6 instructions, and two RETs. */
static void coverage_counts_executions(void **state)
{
    struct lab *lab = *state;
    record(lab, "heap");
    lab_run(lab, "$R query heap --json --symbols heap.elf "
                 "$SCRIPTS/coverage.lua copy_name never_called");
    json_t *o = result(lab);
    const json_t *copy = json_array_get(o, 0), *never = json_array_get(o, 1);
    assert_int_equal(number(copy, "executions"), 49 * 6 + 2);
    assert_int_equal(number(copy, "executed"), 7);
    assert_int_equal(number(never, "executions"), 0);
    json_t *list = json_object_get(copy, "list");
    assert_int_equal(number(json_array_get(list, 0), "count"), 49);
    assert_int_equal(number(json_array_get(list, 6), "count"), 2);
    json_decref(o);
    /* The same decoding as objdump's. */
    lab_run(lab, "objdump -d heap.elf --disassemble=copy_name | "
                 "grep -c '^ *33[a-f0-9]*:'");
    assert_true(strtol(lab->text, NULL, 10) >= 7);
    lab_run(lab, "$R query heap --symbols heap.elf $SCRIPTS/coverage.lua "
                 "copy_name --listing");
    lab_assert_text(lab, "100.0%");
    lab_assert_text(lab, "mov al, [rsi]");
}

/* The slower build of the guest does 100 * 1000 rounds of 5 instructions more,
 * in scan_list. */
static void perf_regress_names_the_function(void **state)
{
    struct lab *lab = *state;
    record(lab, "perf_before");
    record(lab, "perf_after");
    lab_run(lab, "$R query perf_before --json --symbols perf_before.elf "
                 "$SCRIPTS/perf-regress.lua perf_after --begin begin "
                 "--end end");
    lab_assert_status(lab, 1);
    json_t *o = result(lab);
    const json_t *insns = json_object_get(o, "insns");
    assert_int_equal(number(insns, "after") - number(insns, "before"), 500000);
    const json_t *self = json_array_get(json_object_get(o, "self"), 0);
    assert_string_equal(string(self, "name"), "scan_list");
    assert_true(llabs(number(self, "before") - 1000200) < 60000);
    assert_true(llabs(number(self, "difference") - 500000) < 60000);
    const json_t *top = json_array_get(json_object_get(o, "inclusive"), 0);
    assert_true(llabs(number(top, "difference") - 500000) < 60000);
    json_decref(o);
    lab_run(lab, "$R query perf_before $SCRIPTS/perf-regress.lua perf_before "
                 "--samples 50");
    lab_assert_status(lab, 0);
    lab_assert_text(lab, "no regression");
    lab_run(lab, "$R query perf_after $SCRIPTS/perf-regress.lua perf_before "
                 "--begin begin --end end --samples 50");
    lab_assert_status(lab, 0); /* it got faster */
}

static void perf_regress_reads_history_and_telemetry(void **state)
{
    struct lab *lab = *state;
    record(lab, "perf_before");
    FILE *f = fopen("history.json", "w");
    assert_non_null(f);
    (void)fputs("[", f);
    for (unsigned i = 0; i < 16; i++)
        (void)fprintf(f,
                      "%s{\"commit\": \"c%u\", \"date\": \"2026-01-01\", "
                      "\"host\": \"h\", \"metrics\": {\"mips\": {\"mean\": %u, "
                      "\"n\": 3}, \"boot_s\": {\"mean\": %u}}}",
                      i ? "," : "", i, (i < 9 ? 400 : 300) + i * 7 % 5,
                      20 + i * 3 % 4);
    (void)fputs("]\n", f);
    assert_int_equal(fclose(f), 0);
    lab_run(lab, "$R query perf_before --json --allow-files "
                 "$SCRIPTS/perf-regress.lua --history history.json");
    lab_assert_status(lab, 1);
    json_t *o = result(lab), *changes = json_object_get(o, "changes");
    assert_int_equal(json_array_size(changes), 1);
    assert_string_equal(string(json_array_get(changes, 0), "commit"), "c9");
    assert_string_equal(string(json_array_get(changes, 0), "metric"), "mips");
    json_decref(o);
    lab_run(lab, "$R query perf_before --allow-files $SCRIPTS/perf-regress.lua "
                 "--history history.json --metric boot");
    lab_assert_status(lab, 0);
    lab_run(lab, "for i in 1 2 3; do $R replay perf_before --stats a$i.json && "
                 "$R replay perf_before --engine interp --stats b$i.json; "
                 "done >/dev/null && $R query perf_before --json --allow-files "
                 "$SCRIPTS/perf-regress.lua --before a1.json,a2.json,a3.json "
                 "--after b1.json,b2.json,b3.json");
    o = result(lab);
    json_t *figures = json_object_get(o, "figures");
    bool is_seen = false; /* the interpreter alone compiles nothing */
    for (size_t i = 0; i < json_array_size(figures); i++) {
        const json_t *one = json_array_get(figures, i);
        if (strcmp(string(one, "name"), "jit.totals.tier1.blocks_compiled"))
            continue;
        is_seen = json_is_true(json_object_get(one, "certain"));
        assert_true(json_number_value(json_object_get(one, "after")) == 0);
        assert_true(json_number_value(json_object_get(one, "before")) > 0);
    }
    assert_true(is_seen);
    json_decref(o);
}

/* Student's distribution has closed forms for 1 and 2 degrees of freedom. */
static void statistics_are_right(void **state)
{
    struct lab *lab = *state;
    record(lab, "heap");
    lab_write("t.lua", "-- the closed forms\n"
                       "local s = require('statistics')\n"
                       "for t = 0.25, 8, 0.25 do\n"
                       "  local one = 1 - 2 / math.pi * math.atan(t)\n"
                       "  local two = 1 - t / math.sqrt(2 + t * t)\n"
                       "  assert(math.abs(s.t_probability(t, 1) - one) < 1e-9)\n"
                       "  assert(math.abs(s.t_probability(t, 2) - two) < 1e-9)\n"
                       "end\n"
                       "-- equal sizes and variances: Student's own test\n"
                       "local t, df = s.welch({1, 2, 3}, {3, 4, 5})\n"
                       "assert(math.abs(t - 2 / math.sqrt(2 / 3)) < 1e-12)\n"
                       "assert(math.abs(df - 4) < 1e-12)\n"
                       "local low, high = s.bootstrap({1, 2, 3}, {11, 12, 13})\n"
                       "assert(low >= 8 and high <= 12 and low < 10)\n"
                       "local level = {}\n"
                       "for i = 1, 30 do level[i] = i %% 3 + (i > 12 and 9 or 0) "
                       "end\n"
                       "local at = s.change_points(level)\n"
                       "assert(#at == 1 and at[1] == 13)\n"
                       "for i = 1, 30 do level[i] = i * 7 %% 5 end\n"
                       "assert(#s.change_points(level) == 0)\n"
                       "assert(s.variance({2, 4, 4, 4, 5, 5, 7, 9}) == 32 / 7)\n"
                       "print('right')\n");
    lab_run(lab, "cp $SCRIPTS/statistics.lua . && $R query heap t.lua");
    assert_string_equal(lab->text, "right\n");
}

static void boot_timeline_finds_the_pause(void **state)
{
    struct lab *lab = *state;
    record(lab, "perf_before");
    lab_run(lab, "$R query perf_before --json --symbols perf_before.elf "
                 "$SCRIPTS/boot-timeline.lua");
    lab_assert_status(lab, 0);
    json_t *o = result(lab), *parts = json_object_get(o, "parts");
    assert_int_equal(json_array_size(parts), 3); /* start, begin, end */
    json_t *work = json_array_get(parts, 1);
    assert_string_equal(string(work, "text"), "begin");
    /* 100 calls of two functions of 2000 rounds of 4 and 5 instructions */
    assert_true(number(work, "ticks") > 100 * 2000 * 9);
    assert_true(number(work, "ticks") < 100 * 2000 * 11);
    json_t *first = json_array_get(json_object_get(work, "functions"), 0);
    assert_string_equal(string(first, "name"), "scan_list");
    json_decref(o);
    lab_run(lab, "$R query perf_before --symbols perf_before.elf "
                 "$SCRIPTS/boot-timeline.lua --all --samples 20");
    lab_assert_text(lab, "2 lines in");
}

static void jit_report_adds_up(void **state)
{
    struct lab *lab = *state;
    record(lab, "perf_before");
    record(lab, "perf_after");
    lab_run(lab, "$R query perf_before --jit-wait --json --symbols "
                 "perf_before.elf $SCRIPTS/jit-report.lua");
    json_t *o = result(lab), *tiers = json_object_get(o, "tier_insns");
    assert_int_equal(number(tiers, "0") + number(tiers, "1") +
                         number(tiers, "2"),
                     number(o, "insns"));
    json_t *traces = json_object_get(o, "traces"), *trace,
           *jit = json_object_get(o, "jit");
    uint64_t ticks = 0, deopts = 0;
    size_t n, of_tier_1 = 0;
    json_array_foreach(traces, n, trace) {
        ticks += (uint64_t)number(trace, "ticks");
        deopts += (uint64_t)number(trace, "deopts");
    }
    assert_int_equal(ticks, number(tiers, "2"));
    assert_int_equal(deopts, number(jit, "deopts"));
    assert_true(number(jit, "tier2_blocks_compiled") >= 1 &&
                json_array_size(traces) >= 1);
    json_t *blocks = json_object_get(o, "blocks"), *block;
    json_array_foreach(blocks, n, block) /* traces are there too */
        of_tier_1 += number(block, "tier") == 1;
    assert_int_equal(of_tier_1,
                     number(json_object_get(o, "jit"), "blocks_compiled"));
    assert_true((number(tiers, "1") + number(tiers, "2")) * 10 >
                number(o, "insns") * 9);
    json_t *hot = json_array_get(json_object_get(o, "hot"), 0);
    assert_string_equal(string(hot, "name"), "scan_list");
    json_decref(o);
    lab_run(lab, "$R query perf_before --engine interp --json "
                 "$SCRIPTS/jit-report.lua");
    o = result(lab);
    assert_int_equal(number(json_object_get(o, "tier_insns"), "1"), 0);
    json_decref(o);
    /* Every block and trace is listed with its tier. */
    lab_run(lab, "$R query perf_before --engine tier2 --json "
                 "$SCRIPTS/jit-report.lua --samples 50");
    o = result(lab);
    json_int_t tier2 = number(json_object_get(o, "jit"),
                              "tier2_blocks_compiled");
    json_int_t listed = 0;
    for (size_t i = 0; i < json_array_size(json_object_get(o, "blocks")); i++)
        listed += number(json_array_get(json_object_get(o, "blocks"), i),
                         "tier") == 2;
    assert_int_equal(listed, tier2);
    assert_int_equal(number(json_object_get(o, "tier_insns"), "0") +
                         number(json_object_get(o, "tier_insns"), "1") +
                         number(json_object_get(o, "tier_insns"), "2"),
                     number(o, "insns"));
    json_decref(o);
    lab_run(lab, "$R query perf_before $SCRIPTS/jit-report.lua --against "
                 "perf_after --samples 50");
    lab_assert_text(lab, "insns");
    lab_run(lab, "$R query perf_before --symbols perf_before.elf "
                 "$SCRIPTS/jit-report.lua");
    lab_assert_text(lab, "tier residency");
}

/* LIDT of zeros and INT3: a triple fault. */
static void crash_triage_agrees_with_crash(void **state)
{
    static const uint8_t code[] = {0x2e, 0x0f, 0x01, 0x1e, 0x00, 0x01, 0xcc};
    static const uint8_t reset[] = {0xea, 0x00, 0x00, 0x00, 0xf0};
    static uint8_t bios[65536];
    struct lab *lab = *state;
    record(lab, "heap");
    memcpy(bios, code, sizeof code);
    memcpy(bios + 0xfff0, reset, sizeof reset);
    lab_write_bytes("triple.bin", bios, sizeof bios);
    lab_run(lab, "$R record -o triple --bios triple.bin --vgabios none "
                 "--mem 2M --until 1s");
    lab_run(lab, "$R crash triple --json");
    json_t *o = result(lab);
    json_int_t tick = number(o, "tick");
    json_decref(o);
    lab_run(lab, "$R query triple --json $SCRIPTS/crash-triage.lua");
    lab_assert_status(lab, 1);
    o = result(lab);
    assert_string_equal(string(o, "kind"), "triple-fault");
    assert_int_equal(number(o, "tick"), tick);
    assert_non_null(strstr(string(o, "bucket"), "triple-fault"));
    json_t *frame = json_array_get(json_object_get(o, "frames"), 0);
    assert_int_equal(number(frame, "pc"), 0xf0006); /* the INT3 */
    json_decref(o);
    lab_run(lab, "$R query triple $SCRIPTS/crash-triage.lua");
    lab_assert_text(lab, "int3");
    lab_run(lab, "$R query heap $SCRIPTS/crash-triage.lua");
    lab_assert_status(lab, 0);
    lab_assert_text(lab, "nothing says that the guest failed");
}

/* Two recordings that get the same byte, then another one. */
static void divergence_report_finds_the_event(void **state)
{
    struct lab *lab = *state;
    record(lab, "heap");
    lab_write("a.txt", "wait serial \"ready\" within 2s\nat 40ms serial \"x\"\n"
                       "at 60ms serial \"a\"\nat 80ms serial \"q\"\n");
    lab_write("b.txt", "wait serial \"ready\" within 2s\nat 40ms serial \"x\"\n"
                       "at 60ms serial \"b\"\nat 80ms serial \"q\"\n");
    lab_write_bytes("disk.img", calloc(64, 512), 64 * 512);
    for (unsigned i = 0; i < 2; i++) {
        lab_run(lab,
                "$R record -o %s --bios $G/echo.bin --vgabios none --mem 16M "
                "--disk disk.img --rtc 2026-01-31T12:00:00 --input %s.txt "
                "--until 150ms",
                i ? "eb" : "ea", i ? "b" : "a");
    }
    lab_run(lab, "$R events eb --json | grep '\"payload\":\"62\"' | "
                 "grep -o '\"tick\":[0-9]*' | cut -d: -f2");
    json_int_t tick = strtoll(lab->text, NULL, 10);
    assert_true(tick > 0);
    lab_run(lab, "$R query ea --json $SCRIPTS/divergence-report.lua eb");
    lab_assert_status(lab, 1);
    json_t *o = result(lab);
    assert_int_equal(number(json_object_get(o, "this_event"), "tick"), tick);
    assert_int_equal(number(o, "tick"), tick);
    json_decref(o);
    lab_run(lab, "$R query ea $SCRIPTS/divergence-report.lua ea");
    lab_assert_status(lab, 0);
    lab_assert_text(lab, "the machines are the same");
    lab_run(lab, "$R query ea $SCRIPTS/divergence-report.lua");
    lab_assert_status(lab, 0);
    lab_assert_text(lab, "digests compared, all equal");
}

/* Linux: the system call that printed a line gave back the line's length. */
static void syscall_trace_of_linux(void **state)
{
    struct lab *lab = *state;
    lab_needs(lab, "vmlinuz-amd64");
    record(lab, "heap");
    lab_write("l.txt", "wait serial \"guest# \" within 120s\n"
                       "serial \"uname -a\\n\"\n"
                       "wait serial \"guest# \" within 20s\n"
                       "serial \"poweroff -f\\n\"\n");
    lab_run(lab, "$R record -o linux --kernel $G/vmlinuz-amd64 --initrd "
                 "$G/initrd-amd64 --append 'console=ttyS0 quiet' --mem 256M "
                 "--input l.txt");
    lab_assert_status(lab, 0);
    /* The line that uname printed, its length and when it began. */
    lab_run(lab, "$R query linux --json -e 'for l in session:lines() do "
                 "if l.text:match(\"^Linux .* GNU/Linux$\") then "
                 "return {tick = l.tick, bytes = #l.text + 1} end end'");
    json_t *line = result(lab);
    lab_run(lab, "$R query linux --json $SCRIPTS/syscall-trace.lua --name write "
                 "--process uname --from %lld --to %lld",
            (long long)number(line, "tick") - 3000000,
            (long long)number(line, "tick") + 3000000);
    lab_assert_status(lab, 0);
    json_t *calls = result(lab);
    assert_int_equal(json_array_size(calls), 1);
    const json_t *call = json_array_get(calls, 0);
    assert_string_equal(string(call, "name"), "write");
    assert_int_equal(number(call, "result"), number(line, "bytes"));
    assert_true(number(call, "tick") < number(line, "tick"));
    json_decref(calls);
    json_decref(line);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_script_helps_and_refuses),
        cmocka_unit_test(heap_corruption_finds_the_overrun),
        cmocka_unit_test(who_wrote_lists_every_write),
        cmocka_unit_test(coverage_counts_executions),
        cmocka_unit_test(perf_regress_names_the_function),
        cmocka_unit_test(perf_regress_reads_history_and_telemetry),
        cmocka_unit_test(statistics_are_right),
        cmocka_unit_test(boot_timeline_finds_the_pause),
        cmocka_unit_test(jit_report_adds_up),
        cmocka_unit_test(crash_triage_agrees_with_crash),
        cmocka_unit_test(divergence_report_finds_the_event),
        cmocka_unit_test(syscall_trace_of_linux),
    };
    return cmocka_run_group_tests(tests, set_up, lab_close);
}
