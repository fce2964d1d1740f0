/* Segmentation, events, task switches and system registers, by calling the
 * handlers on a CPU with flat memory. */
#include "base/bytes.h"
#include "cpu/access.h"
#include "cpu/model.h"
#include "cpu/op_system.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum {
    GDT = 0x1000,
    IDT = 0x2000,
    TSS = 0x3000,
    TSS2 = 0x4000,
    STACK0 = 0x8000,
    STACK3 = 0x9000,
    HANDLER = 0x5000,
    PML4 = 0x10000, /* identity: 1 GiB as 2 MiB pages */
    CODE0 = 0x08,
    DATA0 = 0x10,
    CODE3 = 0x1b,
    DATA3 = 0x23,
    SEL_TSS = 0x28,
    SEL_TSS2 = 0x30,
    SEL_CONFORMING = 0x38,
    SEL_GATE = 0x40,
    SEL_ABSENT = 0x48,
    SEL_LDT = 0x50,
    CODE64 = 0x58,
    SEL_DOWN = 0x60,
    SEL_CODE64_3 = 0x6b,
    SEL_DATA64_3 = 0x73,
    SEL_TASKGATE = 0x78,
    SEL_TSS64 = 0x80
};

struct world {
    struct phys *phys;
    struct cpu c;
    char fault_text[300];
    uint32_t port_value;
    uint16_t port;
    unsigned port_count;
    uint8_t tpr;
};

static uint32_t board_read(void *context, uint16_t port, unsigned bytes)
{
    struct world *w = context;
    (void)bytes;
    w->port = port;
    w->port_count++;
    return w->port_value++;
}
static void board_write(void *context, uint16_t port, uint32_t value,
                        unsigned bytes)
{
    struct world *w = context;
    (void)bytes;
    w->port = port;
    w->port_count++;
    w->port_value = value;
}
static uint8_t board_acknowledge(void *context)
{
    (void)context;
    return 0x20;
}
static uint8_t board_tpr_read(void *context)
{
    return ((struct world *)context)->tpr;
}
static void board_tpr_write(void *context, uint8_t cr8)
{
    ((struct world *)context)->tpr = cr8;
}
static void board_apic_base(void *context, uint64_t value)
{
    (void)context;
    (void)value;
}
static void board_ferr(void *context, bool level)
{
    (void)context;
    (void)level;
}
static void board_fault(void *context, const char *text)
{
    struct world *w = context;
    strncpy(w->fault_text, text, sizeof w->fault_text - 1);
}

static void put(struct world *w, uint64_t at, uint64_t v, unsigned bytes)
{
    phys_write(w->phys, at, &v, bytes);
}
static uint64_t get(struct world *w, uint64_t at, unsigned bytes)
{
    uint64_t v = 0;
    phys_read(w->phys, at, &v, bytes);
    return v;
}
static void descriptor(struct world *w, unsigned selector, uint32_t base,
                       uint32_t limit, unsigned access, unsigned flags)
{
    uint64_t d = (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 |
                 (uint64_t)access << 40 | (uint64_t)(limit >> 16 & 15) << 48 |
                 (uint64_t)flags << 52 | (uint64_t)(base >> 24) << 56;
    put(w, GDT + (selector & 0xfff8), d, 8);
}
static void gate(struct world *w, uint64_t at, unsigned selector,
                 uint32_t offset, unsigned access, unsigned words)
{
    put(w, at,
        (offset & 0xffff) | (uint64_t)selector << 16 | (uint64_t)words << 32 |
            (uint64_t)access << 40 | (uint64_t)(offset >> 16) << 48,
        8);
}

static void build_gdt(struct world *w)
{
    descriptor(w, CODE0, 0, 0xfffff, 0x9a, 0xc);
    descriptor(w, DATA0, 0, 0xfffff, 0x92, 0xc);
    descriptor(w, CODE3, 0, 0xfffff, 0xfa, 0xc);
    descriptor(w, DATA3, 0, 0xfffff, 0xf2, 0xc);
    descriptor(w, SEL_TSS, TSS, 0x2067, 0x89, 0);
    descriptor(w, SEL_TSS2, TSS2, 0x67, 0x89, 0);
    descriptor(w, SEL_CONFORMING, 0, 0xfffff, 0x9e, 0xc);
    descriptor(w, SEL_ABSENT, 0, 0xfffff, 0x12, 0xc);
    descriptor(w, SEL_LDT, 0x6000, 0xff, 0x82, 0);
    descriptor(w, CODE64, 0, 0xfffff, 0x9a, 0xa);
    descriptor(w, SEL_DOWN, 0, 0xf, 0x96, 0xc);
    descriptor(w, SEL_CODE64_3, 0, 0xfffff, 0xfa, 0xa);
    descriptor(w, SEL_DATA64_3, 0, 0xfffff, 0xf2, 0xc);
    put(w, GDT + SEL_TASKGATE, (uint64_t)SEL_TSS2 << 16 | 0xe5ULL << 40, 8);
    descriptor(w, SEL_TSS64, TSS, 0x67, 0x89, 0);
    put(w, GDT + SEL_TSS64 + 8, 0, 8);
}

static int setup(void **state)
{
    static const struct cpu_board board = {
        .io_read = board_read,
        .io_write = board_write,
        .acknowledge = board_acknowledge,
        .tpr_read = board_tpr_read,
        .tpr_write = board_tpr_write,
        .apic_base_write = board_apic_base,
        .ferr = board_ferr,
        .a_fault = board_fault,
    };
    struct world *w = test_calloc(1, sizeof *w);
    struct cpu_board b = board;
    struct error err;
    b.context = w;
    w->phys = phys_new(4 << 20, &err);
    assert_non_null(w->phys);
    uint32_t frame = phys_add_memory(w->phys, "ram", 2 << 20, false);
    phys_map_memory(w->phys, 0, 2 << 20, frame, PHYS_READ | PHYS_WRITE);
    assert_true(
        cpu_init(&w->c, w->phys, cpu_model_find(CPU_MODEL_DEFAULT), &b, &err));
    phys_set_a20(w->phys, true);
    build_gdt(w);
    w->c.gdtr = (struct table_register){GDT, 0xff};
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    cpu_fini(&w->c);
    phys_free(w->phys);
    test_free(w);
    return 0;
}

static enum exc jump(struct world *w, unsigned selector, uint32_t offset)
{
    struct insn i = {.form = FORM_I, .opsize = 4};
    i.imm = offset | (uint64_t)selector << 32;
    return op_jmp_far(&w->c, &i);
}
static enum exc call(struct world *w, unsigned selector, uint32_t offset)
{
    struct insn i = {.form = FORM_I, .opsize = 4};
    i.imm = offset | (uint64_t)selector << 32;
    return op_call_far(&w->c, &i);
}
static enum exc run(struct world *w, insn_fn *fn, unsigned opsize)
{
    struct insn i = {.opsize = (uint8_t)opsize,
                     .addr = 4,
                     .base = REG_ZERO,
                     .index = REG_ZERO};
    return fn(&w->c, &i);
}
static enum exc run_imm(struct world *w, insn_fn *fn, uint64_t imm)
{
    struct insn i = {.form = FORM_I, .opsize = 4, .imm = imm};
    return fn(&w->c, &i);
}
static enum exc run_selector(struct world *w, insn_fn *fn, unsigned selector)
{
    struct insn i = {.form = FORM_R, .size = 2, .opsize = 4, .dst = REG_RBX};
    w->c.r[REG_RBX] = selector;
    return fn(&w->c, &i);
}
static enum exc wrmsr(struct world *w, uint32_t index, uint64_t value)
{
    return cpu_wrmsr(&w->c, index, value);
}

/* Ring 0, 32-bit, flat, with an IDT whose vectors all go to HANDLER + vector.
 */
static void protected(struct world *w)
{
    struct cpu *c = &w->c;
    assert_int_equal(cpu_set_cr0(c, CR0_PE), EXC_NONE);
    assert_int_equal(jump(w, CODE0, 0x7000), EXC_NONE);
    for (unsigned s = 0; s < SEG_COUNT; s++)
        if (s != SEG_CS)
            assert_int_equal(cpu_load_segment(c, s, DATA0), EXC_NONE);
    c->r[REG_RSP] = STACK0;
    for (unsigned v = 0; v < 256; v++)
        gate(w, IDT + 8 * v, CODE0, HANDLER + v, v == 0x80 ? 0xee : 0x8e, 0);
    c->idtr = (struct table_register){IDT, 0x7ff};
    put(w, TSS + 4, STACK0, 4);
    put(w, TSS + 8, DATA0, 2);
    put(w, TSS + 102, 0x88, 2); /* the I/O map, behind the redirection map */
    assert_int_equal(run_selector(w, op_ltr, SEL_TSS), EXC_NONE);
}

/* From there to ring 3 by IRET. */
static void to_ring3(struct world *w, uint32_t eflags)
{
    uint32_t frame[5] = {0x7100, CODE3, eflags, STACK3, DATA3};
    w->c.r[REG_RSP] = STACK0 - sizeof frame;
    phys_write(w->phys, STACK0 - sizeof frame, frame, sizeof frame);
    assert_int_equal(run(w, op_iret, 4), EXC_NONE);
    assert_int_equal(w->c.cpl, 3);
}

static void to_v86(struct world *w, uint32_t eflags)
{
    uint32_t frame[9] = {0x100,  0x700,  eflags | FLAG_VM | 2,
                         0xff0,  0x900,  0x1111,
                         0x2222, 0x3333, 0x4444};
    w->c.r[REG_RSP] = STACK0 - sizeof frame;
    phys_write(w->phys, STACK0 - sizeof frame, frame, sizeof frame);
    assert_int_equal(run(w, op_iret, 4), EXC_NONE);
    assert_true(cpu_is_v86(&w->c));
}

/* 64-bit mode, ring 0, identity-mapped; vectors at HANDLER + vector. */
static void long_mode(struct world *w)
{
    struct cpu *c = &w->c;
    protected(w);
    put(w, PML4, (PML4 + 0x1000) | 7, 8);
    put(w, PML4 + 0x1000, (PML4 + 0x2000) | 7, 8);
    for (unsigned k = 0; k < 512; k++)
        put(w, PML4 + 0x2000 + 8 * k, (uint64_t)k << 21 | 0x87, 8);
    assert_int_equal(cpu_set_cr4(c, CR4_PAE), EXC_NONE);
    assert_int_equal(cpu_set_cr3(c, PML4), EXC_NONE);
    assert_int_equal(wrmsr(w, 0xc0000080, EFER_LME | EFER_SCE | EFER_NXE),
                     EXC_NONE);
    assert_int_equal(cpu_set_cr0(c, CR0_PE | CR0_PG), EXC_NONE);
    assert_int_equal(jump(w, CODE64, 0x7000), EXC_NONE);
    assert_int_equal(c->mode, MODE_64);
    for (unsigned v = 0; v < 128; v++) {
        gate(w, IDT + 16 * v, CODE64, HANDLER + v, 0x8e, 0);
        put(w, IDT + 16 * v + 8, 0, 8);
    }
    c->idtr = (struct table_register){IDT, 0x7ff};
    assert_int_equal(run_selector(w, op_ltr, SEL_TSS64), EXC_NONE);
    put(w, TSS + 4, STACK0 - 8, 8); /* RSP0, not aligned */
    put(w, TSS + 36, 0xa008, 8);    /* IST1 */
}

/* ---- segments -------------------------------------------------------------
 */

static void loading_a_segment_sets_its_accessed_bit(void **state)
{
    struct world *w = *state;
    protected(w);
    assert_int_equal(get(w, GDT + DATA0 + 5, 1), 0x93);
    assert_int_equal(w->c.seg[SEG_DS].limit, 0xffffffff);
    assert_int_equal(w->c.seg[SEG_DS].attr, 0xc093);
}

static void loading_bad_segments_faults_with_the_selector(void **state)
{
    struct world *w = *state;
    struct cpu *c = &w->c;
    protected(w);
    assert_int_equal(cpu_load_segment(c, SEG_DS, 0x2000), EXC_GP);
    assert_int_equal(c->exc_error, 0x2000);
    assert_int_equal(cpu_load_segment(c, SEG_DS, SEL_ABSENT), EXC_NP);
    assert_int_equal(c->exc_error, SEL_ABSENT);
    assert_int_equal(cpu_load_segment(c, SEG_SS, 0), EXC_GP);
    assert_int_equal(c->exc_error, 0);
    assert_int_equal(cpu_load_segment(c, SEG_SS, CODE0), EXC_GP);
    assert_int_equal(cpu_load_segment(c, SEG_ES, SEL_TSS), EXC_GP);
    assert_int_equal(cpu_load_segment(c, SEG_ES, 0), EXC_NONE);
    assert_int_equal(cpu_segment_check(c, SEG_ES, 0, 1, false), EXC_GP);
    assert_int_equal(c->seg[SEG_DS].selector, DATA0);
}

static void expand_down_segments_cover_what_is_above_the_limit(void **state)
{
    struct world *w = *state;
    protected(w);
    assert_int_equal(cpu_load_segment(&w->c, SEG_ES, SEL_DOWN), EXC_NONE);
    assert_int_equal(cpu_segment_check(&w->c, SEG_ES, 0xffff, 1, true), EXC_GP);
    assert_int_equal(cpu_segment_check(&w->c, SEG_ES, 0x10000, 4, true),
                     EXC_NONE);
    assert_int_equal(cpu_segment_check(&w->c, SEG_ES, 0xffffffff, 2, true),
                     EXC_GP);
    assert_int_equal(cpu_segment_check(&w->c, SEG_CS, 0, 1, true), EXC_GP);
}

static void real_mode_keeps_a_big_limit(void **state)
{
    struct world *w = *state;
    protected(w);
    assert_int_equal(cpu_set_cr0(&w->c, 0), EXC_NONE);
    assert_int_equal(cpu_load_segment(&w->c, SEG_DS, 0x1234), EXC_NONE);
    assert_int_equal(w->c.seg[SEG_DS].base, 0x12340);
    assert_int_equal(w->c.seg[SEG_DS].limit, 0xffffffff);
}

static void lar_and_lsl_see_what_privilege_allows(void **state)
{
    struct world *w = *state;
    struct insn i = {
        .form = FORM_RR, .opsize = 4, .dst = REG_RAX, .src = REG_RBX};
    protected(w);
    w->c.r[REG_RBX] = SEL_TSS2;
    assert_int_equal(op_lar(&w->c, &i), EXC_NONE);
    assert_int_equal(w->c.r[REG_RAX], 0x8900);
    assert_int_equal(op_lsl(&w->c, &i), EXC_NONE);
    assert_int_equal(w->c.r[REG_RAX], 0x67);
    assert_true(cpu_rflags(&w->c) & FLAG_ZF);
    to_ring3(w, 2);
    assert_int_equal(op_lar(&w->c, &i), EXC_NONE);
    assert_false(cpu_rflags(&w->c) & FLAG_ZF);
}

static void ltr_marks_the_tss_busy_once(void **state)
{
    struct world *w = *state;
    protected(w);
    assert_int_equal(get(w, GDT + SEL_TSS + 5, 1), 0x8b);
    assert_int_equal(run_selector(w, op_ltr, SEL_TSS), EXC_GP);
    assert_int_equal(w->c.exc_error, SEL_TSS);
    assert_int_equal(run_selector(w, op_lldt, SEL_LDT), EXC_NONE);
    assert_int_equal(w->c.ldtr.base, 0x6000);
    assert_int_equal(run_selector(w, op_lldt, DATA0), EXC_GP);
}

/* ---- far transfers
 * ----------------------------------------------------------- */

static void call_gate_switches_stacks_and_copies_parameters(void **state)
{
    struct world *w = *state;
    struct cpu *c = &w->c;
    protected(w);
    gate(w, GDT + SEL_GATE, CODE0, 0x1234, 0xec, 2);
    to_ring3(w, 2);
    c->r[REG_RSP] = STACK3 - 8;
    put(w, STACK3 - 8, 0xaaaa, 4);
    put(w, STACK3 - 4, 0xbbbb, 4);
    assert_int_equal(call(w, SEL_GATE | 3, 0), EXC_NONE);
    assert_int_equal(c->cpl, 0);
    assert_int_equal(c->r[REG_RIP], 0x1234);
    assert_int_equal(c->r[REG_RSP], STACK0 - 24);
    assert_int_equal(get(w, STACK0 - 24, 4), 0x7100);
    assert_int_equal(get(w, STACK0 - 20, 4), CODE3);
    assert_int_equal(get(w, STACK0 - 16, 4), 0xaaaa);
    assert_int_equal(get(w, STACK0 - 12, 4), 0xbbbb);
    assert_int_equal(get(w, STACK0 - 8, 4), STACK3 - 8);
    assert_int_equal(get(w, STACK0 - 4, 4), DATA3);

    assert_int_equal(run_imm(w, op_ret_far, 8), EXC_NONE);
    assert_int_equal(c->cpl, 3);
    assert_int_equal(c->r[REG_RSP], STACK3);
    assert_int_equal(c->seg[SEG_DS].selector, 0); /* ring 0 data dropped */
}

static void conforming_code_keeps_the_caller_privilege(void **state)
{
    struct world *w = *state;
    protected(w);
    to_ring3(w, 2);
    assert_int_equal(call(w, SEL_CONFORMING, 0x500), EXC_NONE);
    assert_int_equal(w->c.cpl, 3);
    assert_int_equal(w->c.seg[SEG_CS].selector, SEL_CONFORMING | 3);
    assert_int_equal(jump(w, CODE0, 0x500), EXC_GP);
    assert_int_equal(w->c.exc_error, CODE0);
}

static void far_jump_beyond_the_limit_changes_nothing(void **state)
{
    struct world *w = *state;
    descriptor(w, SEL_DOWN, 0, 0xff, 0x9a, 4);
    protected(w);
    assert_int_equal(jump(w, SEL_DOWN, 0x100), EXC_GP);
    assert_int_equal(w->c.exc_error, 0);
    assert_int_equal(w->c.seg[SEG_CS].selector, CODE0);
}

/* ---- events
 * ------------------------------------------------------------------ */

static void real_mode_interrupts_use_the_vector_table(void **state)
{
    struct world *w = *state;
    struct cpu *c = &w->c;
    put(w, 0x21 * 4, 0x12345678, 4);
    c->idtr = (struct table_register){0, 0x3ff};
    cpu_set_real_segment(c, SEG_SS, 0x500);
    c->r[REG_RSP] = 0x1000;
    c->r[REG_RIP] = 0x42;
    cpu_set_rflags(c, FLAG_IF | FLAG_TF | FLAG_CF);
    assert_int_equal(run_imm(w, op_int, 0x21), EXC_DELIVERED);
    assert_int_equal(c->seg[SEG_CS].base, 0x12340);
    assert_int_equal(c->r[REG_RIP], 0x5678);
    assert_int_equal(get(w, 0x5000 + 0xffa, 2), 0x42);
    assert_int_equal(get(w, 0x5000 + 0xffc, 2), 0xf000);
    assert_int_equal(get(w, 0x5000 + 0xffe, 2), 0x303);
    assert_int_equal(cpu_rflags(c) & (FLAG_IF | FLAG_TF), 0);
    assert_int_equal(run(w, op_iret, 2), EXC_NONE);
    assert_int_equal(c->r[REG_RIP], 0x42);
    assert_int_equal(cpu_rflags(c), 0x303);
}

static void fault_from_ring3_pushes_stack_flags_with_rf_and_error(void **state)
{
    struct world *w = *state;
    struct cpu *c = &w->c;
    protected(w);
    to_ring3(w, FLAG_IF | 2);
    cpu_deliver(c, cpu_fault(c, EXC_GP, 0x1234));
    assert_int_equal(c->cpl, 0);
    assert_int_equal(c->r[REG_RIP], HANDLER + 13);
    assert_int_equal(c->r[REG_RSP], STACK0 - 24);
    assert_int_equal(get(w, STACK0 - 24, 4), 0x1234);
    assert_int_equal(get(w, STACK0 - 20, 4), 0x7100);
    assert_int_equal(get(w, STACK0 - 16, 4), CODE3);
    assert_int_equal(get(w, STACK0 - 12, 4), FLAG_RF | FLAG_IF | 2);
    assert_int_equal(get(w, STACK0 - 8, 4), STACK3);
    assert_int_equal(get(w, STACK0 - 4, 4), DATA3);
    assert_false(c->flags & FLAG_IF);
}

static void int_n_checks_the_gate_privilege(void **state)
{
    struct world *w = *state;
    protected(w);
    to_ring3(w, 2);
    assert_int_equal(run_imm(w, op_int, 0x30), EXC_GP);
    assert_int_equal(w->c.exc_error, 0x30 * 8 + 2);
    assert_int_equal(run_imm(w, op_int, 0x80), EXC_DELIVERED);
    assert_int_equal(w->c.r[REG_RIP], HANDLER + 0x80);
}

static void hardware_events_set_ext_in_error_codes(void **state)
{
    struct world *w = *state;
    protected(w);
    put(w, IDT + 8 * 0x40 + 5, 0x0e, 1); /* not present */
    cpu_event(&w->c, 0x40, EVENT_HARDWARE);
    assert_int_equal(w->c.r[REG_RIP], HANDLER + 11);
    assert_int_equal(get(w, STACK0 - 16, 4), 0x40 * 8 + 3);
}

static void contributory_faults_make_a_double_fault(void **state)
{
    struct world *w = *state;
    protected(w);
    put(w, IDT + 8 * 13 + 5, 0x0e, 1);
    cpu_deliver(&w->c, cpu_fault(&w->c, EXC_GP, 0));
    assert_int_equal(w->c.r[REG_RIP], HANDLER + 8);
    assert_int_equal(get(w, STACK0 - 16, 4), 0);
    assert_false(w->c.shutdown);
}

static void triple_fault_shuts_down_and_names_the_chain(void **state)
{
    struct world *w = *state;
    protected(w);
    w->c.idtr.limit = 0;
    cpu_deliver(&w->c, cpu_fault(&w->c, EXC_UD, 0));
    assert_true(w->c.shutdown);
    assert_non_null(strstr(w->fault_text, "#UD"));
    assert_non_null(strstr(w->fault_text, "#DF"));
}

static void page_fault_sets_cr2(void **state)
{
    struct world *w = *state;
    uint32_t v;
    long_mode(w);
    enum exc e = cpu_read(&w->c, SEG_DS, 0x7fff00001234, &v, 4);
    assert_int_equal(e, EXC_PF);
    cpu_deliver(&w->c, e);
    assert_int_equal(w->c.cr2, 0x7fff00001234);
    assert_int_equal(w->c.r[REG_RIP], HANDLER + 14);
}

static void long_mode_frames_are_aligned_and_complete(void **state)
{
    struct world *w = *state;
    struct cpu *c = &w->c;
    long_mode(w);
    c->r[REG_RSP] = STACK0 - 5;
    cpu_event(c, 0x20, EVENT_HARDWARE);
    assert_int_equal(c->r[REG_RSP], STACK0 - 16 - 40);
    assert_int_equal(get(w, STACK0 - 16 - 16, 8), STACK0 - 5);
    assert_int_equal(get(w, STACK0 - 16 - 8, 8), DATA0);
    assert_int_equal(run(w, op_iret, 8), EXC_NONE);
    assert_int_equal(c->r[REG_RSP], STACK0 - 5);
    assert_int_equal(c->r[REG_RIP], 0x7000);
}

static void ist_replaces_the_stack(void **state)
{
    struct world *w = *state;
    long_mode(w);
    put(w, IDT + 16 * 2 + 4, 1, 1);
    cpu_event(&w->c, 2, EVENT_HARDWARE);
    assert_int_equal(w->c.r[REG_RSP], 0xa000 - 40);
}

static void inner_stack_in_long_mode_has_a_null_ss(void **state)
{
    struct world *w = *state;
    struct cpu *c = &w->c;
    uint64_t frame[5] = {0x7100, SEL_CODE64_3, 2, STACK3, SEL_DATA64_3};
    long_mode(w);
    c->r[REG_RSP] = 0x8800;
    phys_write(w->phys, 0x8800, frame, sizeof frame);
    assert_int_equal(run(w, op_iret, 8), EXC_NONE);
    assert_int_equal(c->cpl, 3);
    cpu_deliver(c, cpu_fault(c, EXC_UD, 0));
    assert_int_equal(c->cpl, 0);
    assert_int_equal(c->seg[SEG_SS].selector, 0);
    assert_int_equal(c->r[REG_RSP], STACK0 - 16 - 40);
    assert_int_equal(run(w, op_iret, 8), EXC_NONE);
    assert_int_equal(c->cpl, 3);
    assert_int_equal(c->seg[SEG_SS].selector, SEL_DATA64_3);
    assert_int_equal(c->r[REG_RSP], STACK3);
}

static void full_inner_stack_names_its_selector(void **state)
{
    struct world *w = *state;
    protected(w);
    descriptor(w, SEL_DOWN, 0, 0xf, 0x92, 4); /* 16 bytes */
    put(w, TSS + 4, 0x10, 4);
    put(w, TSS + 8, SEL_DOWN, 2);
    to_ring3(w, 2);
    assert_int_equal(run_imm(w, op_int, 0x80), EXC_SS);
    assert_int_equal(w->c.exc_error, SEL_DOWN);
    assert_int_equal(w->c.r[REG_RSP], STACK3);
    assert_int_equal(w->c.cpl, 3);
}

/* ---- virtual-8086
 * --------------------------------------------------------------- */

static void iret_enters_v86_and_a_fault_leaves_it(void **state)
{
    struct world *w = *state;
    struct cpu *c = &w->c;
    protected(w);
    to_v86(w, 0);
    assert_int_equal(c->seg[SEG_DS].base, 0x22220);
    assert_int_equal(c->seg[SEG_GS].selector, 0x4444);
    assert_int_equal(run_imm(w, op_int, 0x10), EXC_GP);
    cpu_deliver(c, EXC_GP);
    assert_false(cpu_is_v86(c));
    assert_int_equal(c->cpl, 0);
    assert_int_equal(c->seg[SEG_DS].selector, 0);
    assert_int_equal(c->r[REG_RSP], STACK0 - 40);
    assert_int_equal(get(w, STACK0 - 4, 4), 0x4444);
    assert_int_equal(get(w, STACK0 - 8, 4), 0x3333);
    assert_int_equal(get(w, STACK0 - 12, 4), 0x2222);
    assert_int_equal(get(w, STACK0 - 16, 4), 0x1111);
    assert_int_equal(get(w, STACK0 - 40, 4), 0);
}

static void vme_redirects_int_n_and_virtualises_if(void **state)
{
    struct world *w = *state;
    struct cpu *c = &w->c;
    protected(w);
    assert_int_equal(cpu_set_cr4(c, CR4_VME), EXC_NONE);
    put(w, 0x10 * 4, 0x0300 << 16 | 0x55, 4);
    to_v86(w, 0);
    assert_int_equal(run(w, op_sti, 2), EXC_NONE);
    assert_true(c->flags & FLAG_VIF);
    assert_int_equal(run_imm(w, op_int, 0x10), EXC_DELIVERED);
    assert_true(cpu_is_v86(c));
    assert_int_equal(c->r[REG_RIP], 0x55);
    assert_false(c->flags & FLAG_VIF);
    assert_int_equal(get(w, 0x9000 + 0xff0 - 2, 2), 0x3202);
    assert_int_equal(run(w, op_iret, 2), EXC_NONE);
    assert_true(c->flags & FLAG_VIF);
}

static void sti_with_vip_faults(void **state)
{
    struct world *w = *state;
    protected(w);
    assert_int_equal(cpu_set_cr4(&w->c, CR4_VME), EXC_NONE);
    to_v86(w, FLAG_VIP);
    assert_int_equal(run(w, op_sti, 2), EXC_GP);
    assert_int_equal(run(w, op_cli, 2), EXC_NONE);
}

/* ---- tasks
 * --------------------------------------------------------------------- */

static void fill_tss2(struct world *w)
{
    put(w, TSS2 + 28, 0, 4);
    put(w, TSS2 + 32, 0x7777, 4);
    put(w, TSS2 + 36, 2, 4);
    put(w, TSS2 + 40, 0xabcd, 4); /* EAX */
    put(w, TSS2 + 56, 0xb000, 4); /* ESP */
    put(w, TSS2 + 72, DATA0, 4);
    put(w, TSS2 + 76, CODE0, 4);
    put(w, TSS2 + 80, DATA0, 4);
    put(w, TSS2 + 84, DATA0, 4);
}

static void task_call_and_return_restore_both_tasks(void **state)
{
    struct world *w = *state;
    struct cpu *c = &w->c;
    protected(w);
    fill_tss2(w);
    c->r[REG_RAX] = 0x1111;
    assert_int_equal(call(w, SEL_TASKGATE, 0), EXC_NONE);
    assert_int_equal(c->tr.selector, SEL_TSS2);
    assert_int_equal(c->r[REG_RIP], 0x7777);
    assert_int_equal(c->r[REG_RAX], 0xabcd);
    assert_true(c->flags & FLAG_NT);
    assert_true(c->cr0 & CR0_TS);
    assert_int_equal(get(w, TSS2, 2), SEL_TSS);
    assert_int_equal(get(w, TSS + 40, 4), 0x1111);
    assert_int_equal(get(w, GDT + SEL_TSS + 5, 1), 0x8b);
    assert_int_equal(get(w, GDT + SEL_TSS2 + 5, 1), 0x8b);

    assert_int_equal(run(w, op_iret, 4), EXC_NONE);
    assert_int_equal(c->tr.selector, SEL_TSS);
    assert_int_equal(c->r[REG_RAX], 0x1111);
    assert_int_equal(c->r[REG_RIP], 0x7000);
    assert_int_equal(get(w, GDT + SEL_TSS2 + 5, 1), 0x89);
    assert_int_equal(get(w, TSS2 + 36, 4) & FLAG_NT, 0);
}

static void task_jump_frees_the_old_task(void **state)
{
    struct world *w = *state;
    protected(w);
    fill_tss2(w);
    assert_int_equal(jump(w, SEL_TSS2, 0), EXC_NONE);
    assert_int_equal(get(w, GDT + SEL_TSS + 5, 1), 0x89);
    assert_false(w->c.flags & FLAG_NT);
    assert_int_equal(jump(w, SEL_TSS2, 0), EXC_GP); /* busy */
}

static void double_fault_through_a_task_gate_pushes_zero(void **state)
{
    struct world *w = *state;
    protected(w);
    fill_tss2(w);
    put(w, IDT + 8 * 8, (uint64_t)SEL_TSS2 << 16 | 0x85ULL << 40, 8);
    cpu_deliver(&w->c, EXC_DF);
    assert_int_equal(w->c.r[REG_RIP], 0x7777);
    assert_int_equal(w->c.r[REG_RSP], 0xb000 - 4);
    assert_int_equal(get(w, TSS + 32, 4), 0x7000);
    assert_true(get(w, TSS + 36, 4) & FLAG_RF);
}

static void bad_segment_in_a_new_task_is_its_first_fault(void **state)
{
    struct world *w = *state;
    protected(w);
    fill_tss2(w);
    put(w, TSS2 + 84, 0x2000, 4);
    assert_int_equal(jump(w, SEL_TSS2, 0), EXC_TS);
    assert_int_equal(w->c.exc_error, 0x2000);
    assert_int_equal(w->c.tr.selector, SEL_TSS2);
}

/* ---- registers
 * ------------------------------------------------------------------ */

static void control_registers_refuse_reserved_combinations(void **state)
{
    struct world *w = *state;
    struct cpu *c = &w->c;
    assert_int_equal(cpu_set_cr0(c, CR0_PG), EXC_GP);
    assert_int_equal(cpu_set_cr0(c, CR0_NW), EXC_GP);
    assert_int_equal(cpu_set_cr0(c, 1ULL << 32), EXC_GP);
    assert_int_equal(cpu_set_cr4(c, 1u << 13), EXC_GP);
    assert_int_equal(wrmsr(w, 0xc0000080, EFER_LME), EXC_NONE);
    assert_int_equal(cpu_set_cr0(c, CR0_PE | CR0_PG), EXC_GP); /* no PAE */
    assert_int_equal(cpu_set_cr0(c, 0), EXC_NONE);
    assert_int_equal(c->cr0, CR0_ET);
}

static void long_mode_keeps_its_own_rules(void **state)
{
    struct world *w = *state;
    struct cpu *c = &w->c;
    long_mode(w);
    assert_true(c->efer & EFER_LMA);
    assert_int_equal(cpu_set_cr4(c, 0), EXC_GP);
    assert_int_equal(cpu_set_cr0(c, CR0_PE), EXC_GP);
    assert_int_equal(cpu_set_cr3(c, 1ULL << 41), EXC_GP);
    assert_int_equal(wrmsr(w, 0xc0000080, 0), EXC_GP);
    assert_int_equal(jump(w, CODE0, 0x7000), EXC_NONE); /* compatibility */
    assert_int_equal(c->mode, MODE_32);
    assert_int_equal(cpu_set_cr0(c, CR0_PE), EXC_NONE);
    assert_false(c->efer & EFER_LMA);
}

static void pae_loads_and_checks_the_pdptes(void **state)
{
    struct world *w = *state;
    struct cpu *c = &w->c;
    put(w, 0xc000, 0xd000 | 1, 8);
    assert_int_equal(cpu_set_cr4(c, CR4_PAE), EXC_NONE);
    assert_int_equal(cpu_set_cr3(c, 0xc000), EXC_NONE);
    assert_int_equal(cpu_set_cr0(c, CR0_PE | CR0_PG), EXC_NONE);
    assert_int_equal(c->pdpte[0], 0xd001);
    put(w, 0xc020, 0xd000 | 3, 8); /* bit 1 is reserved */
    assert_int_equal(cpu_set_cr3(c, 0xc020), EXC_GP);
    assert_int_equal(c->cr3, 0xc000);
}

static void cr8_is_the_task_priority(void **state)
{
    struct world *w = *state;
    struct insn i = {.form = FORM_RR, .dst = 8, .src = REG_RAX};
    long_mode(w);
    w->c.r[REG_RAX] = 5;
    assert_int_equal(op_mov_to_control(&w->c, &i), EXC_NONE);
    assert_int_equal(w->tpr, 5);
    w->c.r[REG_RAX] = 16;
    assert_int_equal(op_mov_to_control(&w->c, &i), EXC_GP);
}

static void guarded_debug_registers_fault(void **state)
{
    struct world *w = *state;
    struct cpu *c = &w->c;
    struct insn i = {.form = FORM_RR, .dst = 7, .src = REG_RAX};
    protected(w);
    c->r[REG_RAX] = 0x2000;
    assert_int_equal(op_mov_to_debug(c, &i), EXC_NONE);
    assert_int_equal(c->dr[7], 0x2400);
    assert_int_equal(op_mov_to_debug(c, &i), EXC_DB);
    cpu_deliver(c, EXC_DB);
    assert_int_equal(c->dr[6], 0xffff2ff0);
    assert_int_equal(c->dr[7], 0x400);
    assert_int_equal(c->r[REG_RIP], HANDLER + 1);
    i.dst = 4; /* DR6, until CR4.DE */
    c->r[REG_RAX] = 0;
    assert_int_equal(op_mov_to_debug(c, &i), EXC_NONE);
    assert_int_equal(c->dr[6], 0xffff0ff0);
    assert_int_equal(cpu_set_cr4(c, CR4_DE), EXC_NONE);
    assert_int_equal(op_mov_to_debug(c, &i), EXC_UD);
}

static void msrs_check_their_values(void **state)
{
    struct world *w = *state;
    uint64_t v = 0;
    assert_int_equal(cpu_rdmsr(&w->c, 0xfe, &v), EXC_NONE);
    assert_int_equal(v, 0x508);
    assert_int_equal(wrmsr(w, 0xfe, 0), EXC_GP);
    assert_int_equal(wrmsr(w, 0x277, 0x02), EXC_GP); /* PAT type 2 */
    assert_int_equal(wrmsr(w, 0x277, 0x0007010600070106), EXC_NONE);
    assert_int_equal(wrmsr(w, 0xc0000082, 1ULL << 50), EXC_GP);
    assert_int_equal(wrmsr(w, 0xc0000080, 2), EXC_GP);
    assert_int_equal(wrmsr(w, 0x20f, 0xff80000800), EXC_NONE);
    assert_int_equal(cpu_rdmsr(&w->c, 0x20f, &v), EXC_NONE);
    assert_int_equal(v, 0xff80000800);
    assert_int_equal(wrmsr(w, 0x401, 1), EXC_GP);
    assert_int_equal(cpu_rdmsr(&w->c, 0x400 + 39, &v), EXC_NONE);
    assert_int_equal(cpu_rdmsr(&w->c, 0x400 + 40, &v), EXC_GP);
    assert_int_equal(cpu_rdmsr(&w->c, 0x17, &v), EXC_NONE);
    assert_int_equal(cpu_rdmsr(&w->c, 0x12345, &v), EXC_GP);
    assert_int_equal(wrmsr(w, 0x10, 1000), EXC_NONE);
    w->c.tick += 5;
    assert_int_equal(cpu_tsc(&w->c), 1005);
}

static void cpuid_shows_the_model(void **state)
{
    struct world *w = *state;
    struct cpu *c = &w->c;
    c->r[REG_RAX] = 0;
    assert_int_equal(run(w, op_cpuid, 4), EXC_NONE);
    assert_int_equal(c->r[REG_RBX], 0x756e6547);
    assert_int_equal(c->r[REG_RAX], 7);
    c->r[REG_RAX] = 1;
    assert_int_equal(run(w, op_cpuid, 4), EXC_NONE);
    assert_int_equal(c->r[REG_RDX], 0x078bfbff);
    assert_int_equal(c->r[REG_RCX], 0x00982201);
    assert_int_equal(wrmsr(w, 0x1b, 0xfee00100), EXC_NONE);
    c->r[REG_RAX] = 1;
    assert_int_equal(run(w, op_cpuid, 4), EXC_NONE);
    assert_false(c->r[REG_RDX] & 1 << 9); /* APIC off */
    c->r[REG_RAX] = 0x80000001;
    assert_int_equal(run(w, op_cpuid, 4), EXC_NONE);
    assert_int_equal(c->r[REG_RDX], 1u << 20 | 1u << 27 | 1u << 29);
    c->r[REG_RAX] = 0x40000000; /* no hypervisor: the last basic leaf */
    assert_int_equal(run(w, op_cpuid, 4), EXC_NONE);
    assert_int_equal(c->r[REG_RAX] | c->r[REG_RBX], 0);
}

static void the_32_bit_model_has_no_long_mode(void **state)
{
    struct world *w = *state;
    w->c.model = cpu_model_find("relive32");
    assert_non_null(w->c.model);
    assert_int_equal(wrmsr(w, 0xc0000080, EFER_LME), EXC_GP);
    assert_int_equal(wrmsr(w, 0xc0000080, EFER_NXE), EXC_NONE);
    assert_int_equal(wrmsr(w, 0xc0000082, 0), EXC_GP);
    assert_false(cpu_model_has(w->c.model, 0x80000001, CPUID_EDX, 29));
    assert_null(cpu_model_find("pentium"));
}

/* ---- fast calls, ports, flags
 * --------------------------------------------------- */

static void syscall_and_sysret_round_trip(void **state)
{
    struct world *w = *state;
    struct cpu *c = &w->c;
    long_mode(w);
    assert_int_equal(wrmsr(w, 0xc0000081, 0x5bULL << 48 | 0x58ULL << 32),
                     EXC_NONE);
    assert_int_equal(wrmsr(w, 0xc0000082, 0xffff800000001000), EXC_NONE);
    assert_int_equal(wrmsr(w, 0xc0000084, FLAG_IF), EXC_NONE);
    c->r[REG_RIP] = 0x7123;
    cpu_set_rflags(c, FLAG_IF | 2);
    assert_int_equal(run(w, op_syscall, 4), EXC_NONE);
    assert_int_equal(c->r[REG_RIP], 0xffff800000001000);
    assert_int_equal(c->r[REG_RCX], 0x7123);
    assert_int_equal(c->r[11], FLAG_IF | 2);
    assert_false(c->flags & FLAG_IF);
    assert_int_equal(run(w, op_sysret, 8), EXC_NONE);
    assert_int_equal(c->cpl, 3);
    assert_int_equal(c->seg[SEG_CS].selector, 0x6b);
    assert_int_equal(c->seg[SEG_SS].selector, 0x63);
    assert_int_equal(c->r[REG_RIP], 0x7123);
    assert_int_equal(run(w, op_sysret, 8), EXC_GP);
}

static void sysenter_needs_a_selector(void **state)
{
    struct world *w = *state;
    struct cpu *c = &w->c;
    protected(w);
    assert_int_equal(run(w, op_sysenter, 4), EXC_GP);
    assert_int_equal(wrmsr(w, 0x174, CODE0), EXC_NONE);
    assert_int_equal(wrmsr(w, 0x175, 0x8888), EXC_NONE);
    assert_int_equal(wrmsr(w, 0x176, 0x4242), EXC_NONE);
    to_ring3(w, FLAG_IF | 2);
    assert_int_equal(run(w, op_sysenter, 4), EXC_NONE);
    assert_int_equal(c->cpl, 0);
    assert_int_equal(c->r[REG_RIP], 0x4242);
    assert_int_equal(c->r[REG_RSP], 0x8888);
    c->r[REG_RDX] = 0x7200;
    c->r[REG_RCX] = STACK3;
    assert_int_equal(run(w, op_sysexit, 4), EXC_NONE);
    assert_int_equal(c->cpl, 3);
    assert_int_equal(c->seg[SEG_CS].selector, CODE0 + 16 + 3);
}

static void the_io_bitmap_decides_in_ring3(void **state)
{
    struct world *w = *state;
    protected(w);
    put(w, TSS + 0x88 + 0x60 / 8, 0x02, 1); /* port 61h denied */
    to_ring3(w, 2);
    assert_int_equal(cpu_check_io(&w->c, 0x60, 1), EXC_NONE);
    assert_int_equal(cpu_check_io(&w->c, 0x61, 1), EXC_GP);
    assert_int_equal(cpu_check_io(&w->c, 0x60, 2), EXC_GP);
    assert_int_equal(cpu_check_io(&w->c, 0x5f, 4), EXC_GP);
    w->c.tr.limit = 0x88 + 0x60 / 8;
    assert_int_equal(cpu_check_io(&w->c, 0x60, 1), EXC_GP);
}

static void rep_ins_counts_ticks_and_stops_at_the_limit(void **state)
{
    struct world *w = *state;
    struct cpu *c = &w->c;
    struct insn i = {.opsize = 2, .addr = 4, .prefix = PREFIX_REP};
    protected(w);
    c->r[REG_RCX] = 5;
    c->r[REG_RDI] = 0xe000;
    c->r[REG_RDX] = 0x1f0;
    c->tick = 100;
    c->limit = 103;
    w->port_value = 7;
    assert_int_equal(op_ins(c, &i), EXC_REP_BREAK);
    assert_int_equal(c->tick, 103);
    assert_int_equal(c->skew, 3);
    assert_int_equal(c->r[REG_RCX], 2);
    c->limit = 0; /* one iteration at least */
    assert_int_equal(op_ins(c, &i), EXC_REP_BREAK);
    assert_int_equal(op_ins(c, &i), EXC_NONE);
    assert_int_equal(c->tick, 104);
    assert_int_equal(c->r[REG_RCX], 0);
    assert_int_equal(c->r[REG_RDI], 0xe00a);
    assert_int_equal(get(w, 0xe008, 2), 11);
    assert_int_equal(w->port_count, 5);
}

static void popf_respects_iopl(void **state)
{
    struct world *w = *state;
    struct cpu *c = &w->c;
    protected(w);
    to_ring3(w, FLAG_IF | 2);
    put(w, STACK3 - 4, FLAG_CF | FLAG_IOPL | FLAG_VM, 4);
    c->r[REG_RSP] = STACK3 - 4;
    assert_int_equal(run(w, op_popf, 4), EXC_NONE);
    assert_int_equal(cpu_rflags(c), FLAG_IF | FLAG_CF | 2);
    assert_int_equal(c->r[REG_RSP], STACK3);
    assert_int_equal(run(w, op_cli, 4), EXC_GP);
    assert_int_equal(run(w, op_hlt, 4), EXC_GP);
}

static void sti_and_mov_ss_open_a_shadow(void **state)
{
    struct world *w = *state;
    struct insn i = {.form = FORM_RR, .dst = SEG_SS, .src = REG_RAX};
    protected(w);
    assert_int_equal(run(w, op_sti, 4), EXC_NONE);
    assert_int_equal(w->c.shadow, 1);
    w->c.r[REG_RAX] = DATA0;
    assert_int_equal(op_mov_to_segment(&w->c, &i), EXC_NONE);
    assert_int_equal(w->c.shadow, 2);
    assert_int_equal(w->c.limit, 0);
}

/* ---- through the decoder and the run loop
 * ----------------------------------------- */

/* Real mode at 0:7000h with these bytes; vector v goes to 0:(6000h + v * 16),
 * where a HLT stands. */
static void real_code(struct world *w, const uint8_t *code, unsigned bytes)
{
    struct cpu *c = &w->c;
    for (unsigned v = 0; v < 256; v++) {
        put(w, v * 4, 0x6000 + v * 16, 4);
        put(w, 0x6000 + v * 16, 0xf4, 1);
    }
    c->idtr = (struct table_register){0, 0x3ff};
    phys_write(w->phys, 0x7000, code, bytes);
    for (unsigned s = 0; s < SEG_COUNT; s++)
        cpu_set_real_segment(c, s, 0);
    c->r[REG_RSP] = 0x5000;
    c->r[REG_RIP] = 0x7000;
}

static void run_until_halt(struct world *w)
{
    for (unsigned k = 0; k < 20 && !w->c.halted; k++)
        cpu_run(&w->c, 1000);
    assert_true(w->c.halted);
}

static void int_and_iret_retire_once_each(void **state)
{
    static const uint8_t code[] = {0xcd, 0x21, 0xf4};
    struct world *w = *state;
    real_code(w, code, sizeof code);
    put(w, 0x6000 + 0x21 * 16, 0xcf, 1);
    run_until_halt(w);
    assert_int_equal(w->c.r[REG_RIP], 0x7003);
    assert_int_equal(w->c.tick, 3);
}

static void interrupt_after_sti_waits_for_one_instruction(void **state)
{
    static const uint8_t code[] = {0xfb, 0x90, 0x90, 0xf4};
    struct world *w = *state;
    real_code(w, code, sizeof code);
    w->c.intr = true;
    run_until_halt(w);
    assert_int_equal(w->c.r[REG_RIP], 0x6000 + 0x20 * 16 + 1);
    assert_int_equal(get(w, 0x5000 - 6, 2), 0x7002);
}

/* Of a repeated instruction it waits for one iteration, however far the run may
 * go. */
static void interrupt_after_sti_waits_for_one_iteration(void **state)
{
    struct world *w = *state;
    static const uint8_t code[] = {0xfb, 0xf3, 0xaa, 0xf4}; /* sti; rep stosb */
    for (uint64_t slice = 1; slice <= 1000; slice += 333) {
        struct cpu *c = &w->c;
        real_code(w, code, sizeof code);
        cpu_set_rflags(c, 2);
        c->halted = false;
        c->intr = true;
        c->r[REG_RCX] = 40;
        c->r[REG_RDI] = 0x3000;
        for (unsigned k = 0; k < 100 && !c->halted; k++)
            cpu_run(c, c->tick + slice);
        assert_true(c->halted);
        assert_int_equal(c->r[REG_RCX], 39);
        assert_int_equal(c->r[REG_RDI], 0x3001);
    }
}

static void interrupt_after_mov_ss_waits_for_one_instruction(void **state)
{
    static const uint8_t code[] = {0x8e, 0xd0, 0x90, 0x90, 0xf4};
    struct world *w = *state;
    real_code(w, code, sizeof code);
    cpu_set_rflags(&w->c, FLAG_IF | 2);
    w->c.shadow = 1; /* so that MOV SS comes first */
    w->c.intr = true;
    run_until_halt(w);
    assert_int_equal(get(w, 0x5000 - 6, 2), 0x7003);
}

static void trap_flag_traps_behind_the_instruction(void **state)
{
    static const uint8_t code[] = {0x90, 0x90};
    struct world *w = *state;
    real_code(w, code, sizeof code);
    cpu_set_rflags(&w->c, FLAG_TF | 2);
    run_until_halt(w);
    assert_int_equal(w->c.r[REG_RIP], 0x6000 + 16 + 1);
    assert_int_equal(get(w, 0x5000 - 6, 2), 0x7001);
    assert_int_equal(w->c.dr[6] & 0x4000, 0x4000);
}

static void int_n_under_the_trap_flag_does_not_trap(void **state)
{
    static const uint8_t code[] = {0xcd, 0x21};
    struct world *w = *state;
    real_code(w, code, sizeof code);
    cpu_set_rflags(&w->c, FLAG_TF | 2);
    run_until_halt(w);
    assert_int_equal(w->c.r[REG_RIP], 0x6000 + 0x21 * 16 + 1);
}

static void absent_instructions_are_undefined(void **state)
{
    static const uint8_t codes[][3] = {{0x0f, 0x0b, 0xf4},  /* UD2 */
                                       {0x0f, 0xaa, 0xf4},  /* RSM */
                                       {0x0f, 0x01, 0xc8},  /* MONITOR */
                                       {0x0f, 0x01, 0xd0},  /* XGETBV */
                                       {0x0f, 0x05, 0xf4}}; /* SYSCALL */
    struct world *w = *state;
    for (unsigned k = 0; k < sizeof codes / sizeof codes[0]; k++) {
        real_code(w, codes[k], 3);
        w->c.halted = false;
        run_until_halt(w);
        assert_int_equal(w->c.r[REG_RIP], 0x6000 + 6 * 16 + 1);
        assert_int_equal(get(w, 0x5000 - 6, 2), 0x7000);
    }
}

static void rep_outs_can_stop_between_iterations(void **state)
{
    static const uint8_t code[] = {0xf3, 0x6e, 0xf4};
    struct world *w = *state;
    struct cpu *c = &w->c;
    real_code(w, code, sizeof code);
    c->r[REG_RCX] = 10;
    cpu_run(c, 4);
    assert_int_equal(c->tick, 4);
    assert_int_equal(c->r[REG_RIP], 0x7000);
    assert_int_equal(c->r[REG_RCX], 6);
    run_until_halt(w);
    assert_int_equal(c->tick, 11);
    assert_int_equal(c->tick - c->skew, 2);
    assert_int_equal(w->port_count, 10);
}

/* The way a boot loader enters protected mode, in bytes. */
static void mode_switch_by_instructions(void **state)
{
    static const uint8_t code[] = {
        0x0f, 0x20,  0xc0,              /* mov eax, cr0 */
        0x0c, 0x01,                     /* or al, 1 */
        0x0f, 0x22,  0xc0,              /* mov cr0, eax */
        0xea, 0x0d,  0x70, CODE0, 0,    /* jmp CODE0:700Dh */
        0xb8, DATA0, 0,    0,     0,    /* mov eax, DATA0 */
        0x8e, 0xd8,                     /* mov ds, eax */
        0xa1, 0x00,  0x00, 0x01,  0x00, /* mov eax, [10000h] */
        0xf4,
    };
    struct world *w = *state;
    real_code(w, code, sizeof code);
    put(w, 0x10000, 0xcafe, 4);
    run_until_halt(w);
    assert_int_equal(w->c.mode, MODE_32);
    assert_int_equal(w->c.r[REG_RAX], 0xcafe);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(loading_a_segment_sets_its_accessed_bit),
        TEST(loading_bad_segments_faults_with_the_selector),
        TEST(expand_down_segments_cover_what_is_above_the_limit),
        TEST(real_mode_keeps_a_big_limit),
        TEST(lar_and_lsl_see_what_privilege_allows),
        TEST(ltr_marks_the_tss_busy_once),
        TEST(call_gate_switches_stacks_and_copies_parameters),
        TEST(conforming_code_keeps_the_caller_privilege),
        TEST(far_jump_beyond_the_limit_changes_nothing),
        TEST(real_mode_interrupts_use_the_vector_table),
        TEST(fault_from_ring3_pushes_stack_flags_with_rf_and_error),
        TEST(int_n_checks_the_gate_privilege),
        TEST(hardware_events_set_ext_in_error_codes),
        TEST(contributory_faults_make_a_double_fault),
        TEST(triple_fault_shuts_down_and_names_the_chain),
        TEST(page_fault_sets_cr2),
        TEST(long_mode_frames_are_aligned_and_complete),
        TEST(ist_replaces_the_stack),
        TEST(inner_stack_in_long_mode_has_a_null_ss),
        TEST(full_inner_stack_names_its_selector),
        TEST(iret_enters_v86_and_a_fault_leaves_it),
        TEST(vme_redirects_int_n_and_virtualises_if),
        TEST(sti_with_vip_faults),
        TEST(task_call_and_return_restore_both_tasks),
        TEST(task_jump_frees_the_old_task),
        TEST(double_fault_through_a_task_gate_pushes_zero),
        TEST(bad_segment_in_a_new_task_is_its_first_fault),
        TEST(control_registers_refuse_reserved_combinations),
        TEST(long_mode_keeps_its_own_rules),
        TEST(pae_loads_and_checks_the_pdptes),
        TEST(cr8_is_the_task_priority),
        TEST(guarded_debug_registers_fault),
        TEST(msrs_check_their_values),
        TEST(cpuid_shows_the_model),
        TEST(the_32_bit_model_has_no_long_mode),
        TEST(syscall_and_sysret_round_trip),
        TEST(sysenter_needs_a_selector),
        TEST(the_io_bitmap_decides_in_ring3),
        TEST(rep_ins_counts_ticks_and_stops_at_the_limit),
        TEST(popf_respects_iopl),
        TEST(sti_and_mov_ss_open_a_shadow),
        TEST(int_and_iret_retire_once_each),
        TEST(interrupt_after_sti_waits_for_one_instruction),
        TEST(interrupt_after_sti_waits_for_one_iteration),
        TEST(interrupt_after_mov_ss_waits_for_one_instruction),
        TEST(trap_flag_traps_behind_the_instruction),
        TEST(int_n_under_the_trap_flag_does_not_trap),
        TEST(absent_instructions_are_undefined),
        TEST(rep_outs_can_stop_between_iterations),
        TEST(mode_switch_by_instructions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
