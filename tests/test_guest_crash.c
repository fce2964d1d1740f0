/* How guests die, from the command line: bugchecks of kernels that look like
 * Windows, and what a crash dump of them says. */
#include "lib_program.h"

#include "analysis/export.h"
#include "analysis/names.h"
#include "analysis/windows_kernel.h"
#include "base/bytes.h"
#include "board/machine.h"
#include "mem/phys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ALIAS UINT64_C(0xffff800000000000)

enum {
    KERNEL = 0x8000, /* tests/guests/bugcheck.h */
    BUGCHECK_DATA = KERNEL + 0x800,
    MODULES = KERNEL + 0x890, /* of the 64-bit one */
    KDBG = KERNEL + 0x400,
    PCR = KERNEL + 0x1000,
    PAGES = 0x9f + 0x140,
    KERNEL_BYTES = 0x3000,
    DATA_BYTES = 0x1400, /* headers, data and processor block */
    ROUNDS = 200
};

static void record(struct lab *lab, const char *name)
{
    char guest[64];
    (void)snprintf(guest, sizeof guest, "%s.bin", name);
    lab_needs(lab, guest);
    lab_run(lab,
            "test -d %s || $R record -o %s --bios $G/%s.bin --vgabios "
            "none --mem 4M --pace max",
            name, name, name);
}

static void a_bugcheck_is_explained(void **state)
{
    static const struct {
        const char *name, *address;
        const char *insn;
    } guests[] = {
        {"bugcheck32", "0x500008", "mov eax, [eax+0x08]"},
        {"bugcheck64", "0xffff800000500008", "mov rax, [rax+0x08]"},
    };
    struct lab *lab = *state;
    for (unsigned i = 0; i < 2; i++) {
        char line[128];
        record(lab, guests[i].name);
        lab_run(lab, "$R crash %s", guests[i].name);
        lab_assert_status(lab, 1);
        (void)snprintf(line, sizeof line,
                       "bugcheck 0x50 PAGE_FAULT_IN_NONPAGED_AREA (%s, 0, ",
                       guests[i].address);
        lab_assert_text(lab, line);
        lab_assert_text(lab, ", 0x7)");
        lab_assert_text(lab, "in front of the instruction that raised #PF");
        (void)snprintf(line, sizeof line, "b0%s  %s", i ? "15" : "0f",
                       guests[i].insn);
        lab_assert_text(lab, line);
        lab_assert_text(lab, i ? "bad.sys+0x9" : "bad.sys+0x8");
        lab_run(lab, "$R crash --json %s", guests[i].name);
        lab_assert_text(lab, "\"name\": \"PAGE_FAULT_IN_NONPAGED_AREA\"");
        lab_assert_text(lab, "\"kind\": \"windows\"");
        lab_assert_text(lab, "\"type\": \"interrupt gate\"");
    }
}

static void a_triple_fault_shows_its_chain_and_the_tables(void **state)
{
    struct lab *lab = *state;
    record(lab, "triple32");
    lab_run(lab, "$R crash triple32");
    lab_assert_status(lab, 1);
    lab_assert_text(lab, "triple fault: #UD, then #NP(0x33)");
    lab_assert_text(lab, "then #DF");
    lab_assert_text(lab, "ud2");
    lab_assert_text(lab, "IDT at ");
    lab_assert_text(lab, " not present, interrupt gate, dpl 0");
    lab_assert_text(lab, "GDT at ");
    lab_assert_text(lab, "limit ffffffff 32-bit code, dpl 0");
    lab_assert_text(lab, "busy TSS");
    lab_run(lab, "$R crash --json triple32");
    lab_assert_text(lab, "\"kind\": \"triple-fault\"");
    lab_assert_text(lab, "\"present\": false");
}

/* ---- hostile kernels
 * -------------------------------------------------------------- */

static bool count_module(void *context, const struct windows_module *m)
{
    unsigned *count = context;
    assert_true(strlen(m->name) < sizeof m->name);
    return ++*count < 10000;
}

/* All that is asked of a kernel whose bytes may be anything. */
static bool look(struct machine *m)
{
    struct windows_kernel w;
    struct bugcheck b;
    struct frame frames[BACKTRACE_MAX];
    char text[300];
    unsigned modules = 0;
    if (!windows_kernel_find(&w, m))
        return false;
    (void)windows_bugcheck(&w, &b);
    windows_modules_each(&w, count_module, &modules);
    (void)windows_symbol(&w, w.image.base + 0x2010, text, sizeof text);
    unsigned count = backtrace_take(NULL, m, frames);
    assert_in_range(count, 1, BACKTRACE_MAX);
    return true;
}

static void a_damaged_kernel_is_survived(void **state)
{
    struct lab *lab = *state;
    char path[1200];
    size_t bytes;
    struct error err;
    struct machine_config config;
    uint8_t good[KERNEL_BYTES], bad[KERNEL_BYTES];
    unsigned found = 0;
    bool has_kernel;
    lab_needs(lab, "bugcheck64.bin");
    (void)snprintf(path, sizeof path, "%s/bugcheck64.bin", lab->guests);
    char *bios = lab_read(path, &bytes);
    const struct machine_media media = {.bios = {bios, bytes}};
    machine_config_init(&config);
    config.mem_bytes = 4 << 20;
    struct machine *m = machine_new(&config, &media, &err);
    assert_non_null(m);
    assert_int_equal(machine_run(m, 1000000), STOP_DEBUG_EXIT);
    phys_read(machine_phys(m), KERNEL, good, sizeof good);
    assert_true(look(m));
    for (unsigned round = 0; round < ROUNDS; round++) {
        memcpy(bad, good, sizeof good);
        for (unsigned n = lab_random() % 12 + 1; n > 0; n--) {
            unsigned at = (unsigned)(lab_random() % DATA_BYTES) & ~3u;
            store_le32(bad + at, lab_random() % 3 ? (uint32_t)lab_random()
                                                  : load_le32(bad + at) ^ 0x80);
        }
        phys_write(machine_phys(m), KERNEL, bad, sizeof bad);
        found += look(m);
        if (round % 16 == 0)
            assert_true(export_dmp(m, "damaged.dmp", &has_kernel, &err));
    }
    assert_in_range(found, ROUNDS / 10, ROUNDS);
    machine_free(m);
    free(bios);
}

/* ---- crash dumps
 * ------------------------------------------------------------------ */

static uint8_t *dump(struct lab *lab, const char *name, const char *at,
                     size_t *bytes)
{
    record(lab, name);
    lab_run(lab, "$R export %s %s --format dmp -o %s.dmp", name, at, name);
    lab_assert_status(lab, 0);
    char file[64];
    (void)snprintf(file, sizeof file, "%s.dmp", name);
    return (uint8_t *)lab_read(file, bytes);
}

/* Page 0 of a dump's memory is at the header's end; two runs, 1..0x9f behind
 * each other: bugcheck.h has 0..0x9f and 0x100..0x240. */
static const uint8_t *memory(const uint8_t *d, unsigned header, uint32_t paddr)
{
    return d + header + paddr;
}

static void a_64_bit_dump_says_what_the_kernel_does(void **state)
{
    size_t bytes;
    uint8_t *d = dump(*state, "bugcheck64", "", &bytes);
    assert_memory_equal(d, "PAGEDU64", 8);
    assert_int_equal(load_le32(d + 0x8), 0xf);
    assert_int_equal(load_le32(d + 0xc), 7601);
    assert_int_equal(load_le64(d + 0x10), 0x20000);
    assert_true(load_le64(d + 0x20) == ALIAS + MODULES);
    assert_int_equal(load_le32(d + 0x30), 0x8664);
    assert_int_equal(load_le32(d + 0x34), 1);
    assert_int_equal(load_le32(d + 0x38), 0x50);
    assert_true(load_le64(d + 0x40) == ALIAS + 0x500008);
    assert_int_equal(load_le64(d + 0x58), 7);
    assert_true(load_le64(d + 0x80) == ALIAS + KDBG);
    assert_int_equal(load_le32(d + 0x88), 2);
    assert_int_equal(load_le64(d + 0x90), PAGES);
    assert_int_equal(load_le64(d + 0x98), 0);
    assert_int_equal(load_le64(d + 0xa0), 0x9f);
    assert_int_equal(load_le64(d + 0xa8), 0x100);
    assert_int_equal(load_le64(d + 0xb0), 0x140);
    /* The context that the kernel kept, not the CPU's. */
    assert_int_equal(load_le32(d + 0x348 + 0x30), 0x10001f);
    assert_true(load_le64(d + 0x348 + 0xf8) == ALIAS + 0xb015);
    assert_true(load_le64(d + 0xf10) == ALIAS + 0xb015);
    assert_int_equal(load_le32(d + 0xf98), 1);
    assert_int_equal(bytes, 0x2000 + PAGES * 4096);
    assert_int_equal(load_le64(d + 0xfa0), bytes);
    assert_int_equal(load_le64(memory(d, 0x2000, BUGCHECK_DATA)), 0x50);
    assert_memory_equal(memory(d, 0x2000, KERNEL), "MZ", 2);
    free(d);
}

static void a_32_bit_dump_says_what_the_kernel_does(void **state)
{
    size_t bytes;
    uint8_t *d = dump(*state, "bugcheck32", "", &bytes);
    assert_memory_equal(d, "PAGEDUMP", 8);
    assert_int_equal(load_le32(d + 0xc), 7601);
    assert_int_equal(load_le32(d + 0x18), KERNEL + 0x888);
    assert_int_equal(load_le32(d + 0x1c), KERNEL + 0x890);
    assert_int_equal(load_le32(d + 0x20), 0x14c);
    assert_int_equal(load_le32(d + 0x28), 0x50);
    assert_int_equal(load_le32(d + 0x2c), 0x500008);
    assert_int_equal(load_le32(d + 0x38), 7);
    assert_int_equal(d[0x5c], 0); /* no PAE */
    assert_int_equal(load_le32(d + 0x60), KDBG);
    assert_int_equal(load_le32(d + 0x64), 2);
    assert_int_equal(load_le32(d + 0x68), PAGES);
    assert_int_equal(load_le32(d + 0x320), 0x1003f);
    assert_int_equal(load_le32(d + 0x320 + 0xb8), 0xb00f);
    assert_int_equal(load_le32(d + 0xf88), 1);
    assert_int_equal(bytes, 0x1000 + PAGES * 4096);
    assert_int_equal(load_le32(memory(d, 0x1000, BUGCHECK_DATA)), 0x50);
    free(d);
}

/* In front of the fault nothing has failed: the CPU's registers are the
 * context, and they lie in the processor block too, where debuggers look. */
static void a_dump_of_a_sound_kernel_has_the_registers(void **state)
{
    struct lab *lab = *state;
    size_t bytes;
    record(lab, "bugcheck64");
    lab_run(lab, "$R crash --json bugcheck64 | sed -n 's/ *\"tick\": "
                 "\\([0-9]*\\).*/\\1/p'");
    char at[64];
    (void)snprintf(at, sizeof at, "--at %d", atoi(lab->text));
    uint8_t *d = dump(lab, "bugcheck64", at, &bytes);
    const uint8_t *context = d + 0x348;
    assert_int_equal(load_le32(d + 0x38), 0x161);
    assert_true(load_le64(context + 0xf8) == ALIAS + 0xb015);
    assert_true(load_le64(context + 0x78) == ALIAS + 0x500000);
    assert_int_equal(load_le16(context + 0x38), 0x28);
    assert_int_equal(load_le16(context + 0x100), 0x40); /* x87 control */
    assert_int_equal(load_le32(memory(d, 0x2000, BUGCHECK_DATA)), 0);
    assert_memory_equal(memory(d, 0x2000, PCR + 0x180 + 0x120), context, 0x4d0);
    free(d);
}

static void a_dump_without_windows_is_announced(void **state)
{
    struct lab *lab = *state;
    record(lab, "rep");
    lab_run(lab, "$R export rep --format dmp -o rep.dmp");
    lab_assert_status(lab, 0);
    lab_assert_text(lab, "no Windows kernel was found");
    lab_run(lab, "head -c 8 rep.dmp");
    lab_assert_text(lab, "PAGEDUMP");
}

static void json_has_the_machine(void **state)
{
    struct lab *lab = *state;
    record(lab, "bugcheck64");
    lab_run(lab, "$R export bugcheck64 --format json -o m.json && cat m.json");
    lab_assert_status(lab, 0);
    lab_assert_text(lab, "\"mode\": \"4-level\"");
    lab_assert_text(lab, "\"vaddr\": \"0xffff800000000000\"");
    lab_assert_text(lab, "\"base\": \"0xffff800000028000\"");
    lab_assert_text(lab, "\"type\": \"64-bit code\"");
    lab_assert_text(lab, "\"chip\": \"PIT\"");
    lab_run(lab, "$R export bugcheck64 --format json -o /nonexistent/m");
    lab_assert_status(lab, 2);
    lab_assert_one_sentence(lab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bugcheck_is_explained),
        cmocka_unit_test(a_triple_fault_shows_its_chain_and_the_tables),
        cmocka_unit_test(a_damaged_kernel_is_survived),
        cmocka_unit_test(a_64_bit_dump_says_what_the_kernel_does),
        cmocka_unit_test(a_32_bit_dump_says_what_the_kernel_does),
        cmocka_unit_test(a_dump_of_a_sound_kernel_has_the_registers),
        cmocka_unit_test(a_dump_without_windows_is_announced),
        cmocka_unit_test(json_has_the_machine),
    };
    return cmocka_run_group_tests(tests, lab_open, lab_close);
}
