/* How a guest ended is found out, and the machine then stands there. */
#include "analysis/crash.h"
#include "analysis/export.h"
#include "lib_travelsession.h"
#include "replay/gdb_target.h"

#include "base/bytes.h"

#include <elf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { HANG_TICKS = 35000000 };

/* In protected mode: an IDT with a gate for #UD, a loop, UD2 at f0052h, and a
 * handler that prints what Linux would and loops:
 *
 *   start:
 *    cli
 *    lgdt [cs:gdtr]
 *    mov eax,1
 *    mov cr0,eax
 *    jmp dword 8:0xf0000+pm
 *   pm:
 *    mov ax,0x10
 *    mov ds,ax
 *    mov es,ax
 *    mov ss,ax
 *    mov esp,0x7000
 *    mov edi,0x2000+6*8
 *    mov word [edi],oops
 *    mov word [edi+2],8
 *    mov word [edi+4],0x8e00
 *    mov word [edi+6],0xf
 *    lidt [0xf0000+idtr]
 *    mov ecx,1000
 *   again:
 *    dec ecx
 *    jnz again
 *   bad:
 *    ud2
 *   oops:
 *    mov esi,0xf0000+text
 *    mov dx,0x3f8
 *   next:
 *    lodsb
 *    test al,al
 *    jz hang
 *    out dx,al
 *    jmp next
 *   hang:
 *    hlt
 *    hlt
 *   text: db "BUG: unable to handle page fault for address: 0",10,"Kernel panic
 * - not syncing: Fatal exception",10,0 align 8 gdt: dq 0, 0x00cf9a000000ffff,
 * 0x00cf92000000ffff gdtr: dw 23 dd 0xf0000+gdt idtr: dw 0x7ff dd 0x2000
 */
/* clang-format off */
static const uint8_t oops_code[] = {
    0xfa, 0x2e, 0x0f, 0x01, 0x16, 0xe0, 0x00, 0x66, 0xb8, 0x01, 0x00, 0x00,
    0x00, 0x0f, 0x22, 0xc0, 0x66, 0xea, 0x18, 0x00, 0x0f, 0x00, 0x08, 0x00,
    0x66, 0xb8, 0x10, 0x00, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0, 0xbc, 0x00,
    0x70, 0x00, 0x00, 0xbf, 0x30, 0x20, 0x00, 0x00, 0x66, 0xc7, 0x07, 0x54,
    0x00, 0x66, 0xc7, 0x47, 0x02, 0x08, 0x00, 0x66, 0xc7, 0x47, 0x04, 0x00,
    0x8e, 0x66, 0xc7, 0x47, 0x06, 0x0f, 0x00, 0x0f, 0x01, 0x1d, 0xe6, 0x00,
    0x0f, 0x00, 0xb9, 0xe8, 0x03, 0x00, 0x00, 0x49, 0x75, 0xfd, 0x0f, 0x0b,
    0xbe, 0x67, 0x00, 0x0f, 0x00, 0x66, 0xba, 0xf8, 0x03, 0xac, 0x84, 0xc0,
    0x74, 0x03, 0xee, 0xeb, 0xf8, 0xf4, 0xf4, 0x42, 0x55, 0x47, 0x3a, 0x20,
    0x75, 0x6e, 0x61, 0x62, 0x6c, 0x65, 0x20, 0x74, 0x6f, 0x20, 0x68, 0x61,
    0x6e, 0x64, 0x6c, 0x65, 0x20, 0x70, 0x61, 0x67, 0x65, 0x20, 0x66, 0x61,
    0x75, 0x6c, 0x74, 0x20, 0x66, 0x6f, 0x72, 0x20, 0x61, 0x64, 0x64, 0x72,
    0x65, 0x73, 0x73, 0x3a, 0x20, 0x30, 0x0a, 0x4b, 0x65, 0x72, 0x6e, 0x65,
    0x6c, 0x20, 0x70, 0x61, 0x6e, 0x69, 0x63, 0x20, 0x2d, 0x20, 0x6e, 0x6f,
    0x74, 0x20, 0x73, 0x79, 0x6e, 0x63, 0x69, 0x6e, 0x67, 0x3a, 0x20, 0x46,
    0x61, 0x74, 0x61, 0x6c, 0x20, 0x65, 0x78, 0x63, 0x65, 0x70, 0x74, 0x69,
    0x6f, 0x6e, 0x0a, 0x00, 0x90, 0x90, 0x90, 0x90, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0x00, 0x00, 0x00, 0x9a, 0xcf, 0x00,
    0xff, 0xff, 0x00, 0x00, 0x00, 0x92, 0xcf, 0x00, 0x17, 0x00, 0xc8, 0x00,
    0x0f, 0x00, 0xff, 0x07, 0x00, 0x20, 0x00, 0x00,
};
/* clang-format on */
enum { OOPS_UD2 = 0xf0052 };

/* lidt cs:[100h] (zeros); int3 */
static const uint8_t triple_code[] = {0x2e, 0x0f, 0x01, 0x1e, 0x00, 0x01, 0xcc};
static const uint8_t spin_code[] = {0xfa, 0x90, 0xeb, 0xfd};
static const uint8_t halt_code[] = {0xfa, 0xf4};
static const uint8_t busy_code[] = {0xfb, 0x90, 0xeb, 0xfd};

static int set_up(void **state)
{
    return travelsession_new(state, 2 << 20) ? 0 : -1;
}

/* Record the code from f000:0000 on, then stand at the session's start. */
static void record(struct travelsession *s, const void *code, size_t bytes)
{
    static const uint8_t reset[] = {0xea, 0x00, 0x00, 0x00, 0xf0};
    enum stop_reason reason;
    memcpy(s->bios, code, bytes);
    memcpy(s->bios + 0xfff0, reset, sizeof reset);
    assert_true(travelsession_record(s, NULL, HANG_TICKS, &reason));
    travelsession_open(s, false, true);
    assert_non_null(s->travel);
}

static struct crash find(struct travelsession *f)
{
    struct error err;
    struct crash c;
    if (!crash_find(f->travel, &c, &err))
        fail_msg("%s", err.text);
    return c;
}

static void a_triple_fault_is_explained(void **state)
{
    record(*state, triple_code, sizeof triple_code);
    struct crash c = find(*state);
    assert_int_equal(c.kind, CRASH_TRIPLE);
    assert_non_null(strstr(c.text, "triple fault: "));
    assert_int_equal(c.place.tick, 2);
}

static void an_oops_leads_to_the_instruction(void **state)
{
    struct travelsession *f = *state;
    record(f, oops_code, sizeof oops_code);
    struct crash c = find(f);
    assert_int_equal(c.kind, CRASH_LINUX);
    assert_true(c.has_fault);
    assert_int_equal(c.vector, 6);
    assert_non_null(strstr(c.text, "BUG: unable to handle page fault"));
    assert_true(c.place.tick < c.seen);
    assert_int_equal(gdb_linear_pc(f->machine), OOPS_UD2);
    assert_int_equal(travel_place(f->travel).tick, c.place.tick);
}

static void a_loop_with_interrupts_off_is_a_hang(void **state)
{
    record(*state, spin_code, sizeof spin_code);
    struct crash c = find(*state);
    assert_int_equal(c.kind, CRASH_HANG);
    assert_non_null(strstr(c.text, "running between 0xf0001 and 0xf0002"));
}

static void a_halt_with_interrupts_off_is_a_hang(void **state)
{
    record(*state, halt_code, sizeof halt_code);
    struct crash c = find(*state);
    assert_int_equal(c.kind, CRASH_HANG);
    assert_non_null(strstr(c.text, "halted between"));
}

static void a_loop_with_interrupts_on_is_none(void **state)
{
    record(*state, busy_code, sizeof busy_code);
    struct crash c = find(*state);
    assert_int_equal(c.kind, CRASH_NONE);
    assert_int_equal(c.place.tick, HANG_TICKS);
}

static void lines_of_the_kernel_are_known(void **state)
{
    (void)state;
    assert_int_equal(crash_line_kind("[ 1.0] Kernel panic - not syncing: x"),
                     CRASH_LINE_PANIC);
    assert_int_equal(crash_line_kind("Oops: 0002 [#1] PREEMPT SMP NOPTI"),
                     CRASH_LINE_OOPS);
    assert_int_equal(crash_line_kind("general protection fault, probably for"),
                     CRASH_LINE_OOPS);
    assert_int_equal(crash_line_kind("traps: a[7] general protection fault"),
                     CRASH_LINE_OTHER);
    assert_int_equal(crash_line_kind("guest# "), CRASH_LINE_OTHER);
}

/* What export writes of the oops, and how many bytes. */
static uint8_t *export_oops(struct travelsession *f,
                            bool (*export)(struct machine *m, const char *path,
                                           struct error *err),
                            size_t *bytes)
{
    struct error err;
    char path[80];
    record(f, oops_code, sizeof oops_code);
    (void)find(f);
    (void)snprintf(path, sizeof path, "%s/f", f->dir);
    assert_true(export(f->machine, path, &err));
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    uint8_t *data = malloc(4 << 20);
    assert_non_null(data);
    *bytes = fread(data, 1, 4 << 20, file);
    (void)fclose(file);
    return data;
}

static void raw_memory_is_as_big_as_ram(void **state)
{
    struct travelsession *f = *state;
    struct error err;
    size_t bytes;
    uint8_t *data = export_oops(f, export_raw_memory, &bytes);
    assert_int_equal(bytes, 2 << 20);
    assert_int_equal(load_le16(data + OOPS_UD2), 0x0b0f);
    assert_int_equal(load_le16(data + 0x2000 + 6 * 8 + 2), 8);
    free(data);
    assert_false(export_raw_memory(f->machine, "/nonexistent/f", &err));
}

static void a_core_holds_registers_and_memory(void **state)
{
    size_t bytes;
    uint8_t *data = export_oops(*state, export_elf_core, &bytes);
    Elf32_Ehdr e;
    Elf32_Phdr note, load;
    memcpy(&e, data, sizeof e);
    assert_memory_equal(e.e_ident, ELFMAG, SELFMAG);
    assert_int_equal(e.e_type, ET_CORE);
    assert_int_equal(e.e_machine, EM_386);
    assert_int_equal(e.e_phnum, 2);
    memcpy(&note, data + e.e_phoff, sizeof note);
    memcpy(&load, data + e.e_phoff + sizeof note, sizeof load);
    assert_int_equal(note.p_type, PT_NOTE);
    assert_int_equal(load.p_type, PT_LOAD);
    assert_int_equal(load.p_filesz, 2 << 20);
    assert_int_equal(bytes, load.p_offset + load.p_filesz);
    /* eip is the 13th register, behind 20 bytes of note and 72 of head. */
    assert_int_equal(load_le32(data + note.p_offset + 20 + 72 + 12 * 4),
                     OOPS_UD2);
    assert_int_equal(load_le16(data + load.p_offset + OOPS_UD2), 0x0b0f);
    free(data);
}

int main(void)
{
#define T(name)                                                                \
    cmocka_unit_test_setup_teardown(name, set_up, travelsession_remove)
    const struct CMUnitTest tests[] = {
        T(a_triple_fault_is_explained),
        T(an_oops_leads_to_the_instruction),
        T(a_loop_with_interrupts_off_is_a_hang),
        T(a_halt_with_interrupts_off_is_a_hang),
        T(a_loop_with_interrupts_on_is_none),
        cmocka_unit_test(lines_of_the_kernel_are_known),
        T(raw_memory_is_as_big_as_ram),
        T(a_core_holds_registers_and_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
