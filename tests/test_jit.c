/* Tier 1 does what tier 0 does: single facts, and a bounded sample of random
 * guests; tests/jit_lockstep runs as long as asked. */
#include "tests/lib_jitpair.h"

#include "cpu/blocks.h"
#include "cpu/model.h"
#include "mem/phys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum {
    FIRST_SEED = 20250101,
    SEEDS = 100,
    LONG = 1 << JP_LONG,
    BITS_32 = 1 << JP_COMPAT | 1 << JP_FLAT | 1 << JP_PAGED32 | 1 << JP_PAE,
    ALL = LONG | BITS_32
};

#define SAME(modes, code)                                                      \
    assert_true(jp_run_code(modes, code, sizeof(code) - 1, stdout))

/* ---- instructions
 * --------------------------------------------------------------- */

/* Intel processors keep OF in rotates by an immediate count other than 1. */
static void rotates_by_a_constant_give_of(void **state)
{
    (void)state;
    SAME(ALL, "\xb8\x03\x43\x50\x00"       /* mov eax, 504303h */
              "\xc1\xc8\x03"               /* ror eax, 3 */
              "\x0f\x90\xc3"               /* seto bl */
              "\xc1\xc8\x43"               /* ror eax, 67 */
              "\x9c\x5a"                   /* pushf; pop rdx */
              "\xc0\xc0\x08"               /* rol al, 8 */
              "\x9c\x59"                   /* pushf; pop rcx */
              "\x66\xc1\xc0\x1f\x9c\x5e"); /* rol ax, 31; pushf; pop rsi */
}

static void shifts_by_zero_keep_all_flags(void **state)
{
    (void)state;
    SAME(ALL, "\x31\xc9\xf9"                 /* xor ecx, ecx; stc */
              "\xd3\xe0\x0f\x92\xc2"         /* shl eax, cl; setc dl */
              "\xf9\xc1\xe0\x20\x0f\x92\xc6" /* stc; shl eax, 32; setc dh */
              "\x04\x7f\xd2\xf8\x9c\x5b");   /* add al, 127; sar al, cl */
}

static void high_byte_registers_take_part(void **state)
{
    (void)state;
    SAME(ALL, "\xb4\x7f\xfe\xc4\x00\xe5" /* mov ah, 127; inc ah; add ch, ah */
              "\x88\xe3\x38\xfc\x0f\x9f\xc7\x86\xec" /* mov bl, ah; cmp ah, bh;
                                                 setg bh; xchg ah, ch */
              "\x0f\xb6\xcc\x9c\x5a"); /* movzx ecx, ah; pushf; pop rdx */
}

/* What no trace holds is counted by its mnemonic. */
static void cuts_of_paths_are_counted(void **state)
{
    static const char code[] = "\x31\xc0\x0f\xa2\x40"; /* xor; cpuid; inc */
    struct jit_stats stats;
    (void)state;
    assert_true(jp_run_traces(JP_FLAT, false, 1, code, 5, stdout, &stats));
    assert_non_null(stats.cuts[0].mnemonic);
    assert_string_equal(stats.cuts[0].mnemonic, "cpuid");
    assert_true(stats.cuts[0].paths >= 1);
}

/* A trace follows a function as often as it is called; only a call of one that
 * has not returned is recursion. */
static void traces_hold_several_calls_of_a_function(void **state)
{
    static const char code[] =
        "\xe8\x08\x00\x00\x00\xe8\x03\x00\x00\x00" /* call f; call f */
        "\x40\xeb\x04\x83\xc3\x05\xc3"; /* inc; jmp; f: add ebx, 5; ret */
    struct jit_stats stats;
    (void)state;
    assert_true(jp_run_traces(JP_FLAT, false, 40, code, 17, stdout, &stats));
    assert_true(stats.tier2_ticks > 1000); /* of about 2000 */
}

static void logic_clears_af(void **state)
{
    (void)state;
    SAME(ALL, "\xb0\x0f\x04\x01"               /* mov al, 15; add al, 1: AF */
              "\x0c\x01\x9c\x5a"               /* or al, 1; pushf; pop rdx */
              "\xb0\x0f\x04\x01\x84\xc0\x9f"); /* ...; test al, al; lahf */
}

static void pop_of_the_stack_pointer_takes_the_popped_value(void **state)
{
    (void)state;
    SAME(ALL, "\x54\x54\x5c\x58\x50\x5b"); /* push sp twice; pop sp; ... */
}

/* ---- memory
 * --------------------------------------------------------------------- */

static void code_segments_are_not_writable(void **state)
{
    (void)state;
    SAME(BITS_32, "\xbb\x00\x01\x50\x00" /* mov ebx, 500100h */
                  "\x2e\x8b\x03\x40"     /* mov eax, cs:[ebx]; inc eax */
                  "\x2e\x89\x03");       /* mov cs:[ebx], eax: #GP */
}

static void segments_with_limits_are_checked(void **state)
{
    (void)state;
    SAME(ALL, "\xbb\xf8\x3f\x00\x00\x90"     /* mov ebx, 3ff8h */
              "\x64\x8b\x03\x64\x01\x43\x04" /* mov eax, fs:[ebx]; add */
              "\x64\xff\x43\x05"             /* inc dword fs:[ebx + 5] */
              "\x65\x01\x03");               /* add gs:[ebx], eax */
}

static void accesses_across_pages_take_the_slow_path(void **state)
{
    (void)state;
    SAME(LONG | 1 << JP_PAGED32 | 1 << JP_PAE | 1 << JP_COMPAT,
         "\xbb\xfd\x0f\x50\x00"                 /* mov ebx, 500ffdh */
         "\x01\x03\x83\x13\x05\x9c\x59\x87\x03" /* add [rbx], eax; adc; ... */
         "\x66\xff\x43\x02\x8b\x53\x01");
}

static void faults_in_a_block_are_precise(void **state)
{
    (void)state;
    SAME(LONG | 1 << JP_PAGED32 | 1 << JP_PAE,
         "\xbb\x00\x00\x60\x00\x40\x05\x01\x01\x00\x00" /* not present */
         "\x50\x5a\x01\x03\xf7\xd0\x40");
}

/* ---- branches
 * -------------------------------------------------------------------- */

static void eip_runs_off_the_end_of_4_gib(void **state)
{
    (void)state;
    SAME(1 << JP_PAGED32 | 1 << JP_PAE | 1 << JP_COMPAT,
         "\xbb\xfe\xff\xff\xff\xc6\x03\x40\xc6\x43\x01\x40" /* inc eax twice at
                                                          the end */
         "\xff\xd3");                                       /* call ebx */
}

static void branches_to_addresses_that_are_not_canonical_fault(void **state)
{
    (void)state;
    SAME(LONG, "\x48\xb8\xfe\xff\xff\xff\xff\x7f\x00\x00" /* mov rax, end */
               "\x48\x83\xc0\x02\x54\xff\xe0"); /* add rax, 2; jmp rax */
    SAME(LONG, "\x48\xb8\x00\x00\x00\x00\x00\x80\x00\x00\x50\xc3"); /* ret */
    SAME(LONG, "\x48\xb8\x00\x00\x00\x00\x00\x80\xff\xfe\xff\xd0"); /* call */
}

static void calls_and_returns_chain(void **state)
{
    (void)state;
    SAME(ALL, "\xe8\x04\x00\x00\x00\x40\x90\xeb\x0a" /* call +4; inc; jmp */
              "\x83\xc3\x05\xe8\x01\x00\x00\x00\xc3"
              "\xc3\x90\x90\x90");
}

/* Blocks compiled as one: flags, ticks and memory where a jump leaves from the
 * middle, and a store into a part behind it. */
static void jumps_leave_from_the_middle(void **state)
{
    (void)state;
    SAME(ALL, "\x83\xc3\x01\x89\xda"     /* add ebx, 1; mov edx, ebx */
              "\x83\xe2\x0f\x74\x06"     /* and edx, 15; je +6 */
              "\x50\x83\xea\x03\x58"     /* push; sub edx, 3; pop eax */
              "\x78\x01\x40"             /* js +1; inc eax (REX) */
              "\x9c\x59\x01\xc8");       /* pushf; pop; add eax, ecx */
    SAME(LONG | 1 << JP_PAGED32 | 1 << JP_PAE,
         "\xbe\x00\x00\x40\x00"         /* mov esi, 400000h */
         "\x83\xc3\x01\xf6\xc3\x0f"     /* add ebx, 1; test bl, 15 */
         "\x75\x03\xfe\x46\x13"         /* jne +3; inc byte [esi + 19] */
         "\x85\xdb\x90\xb0\x05\x00\xc2"); /* mov al, 5; add dl, al */
}

/* ---- code that changes
 * ---------------------------------------------------------- */

static void a_store_into_the_running_block_is_seen_at_once(void **state)
{
    (void)state;
    /* inc byte [the immediate of the next instruction but one] */
    SAME(LONG | 1 << JP_PAGED32 | 1 << JP_PAE,
         "\xbb\x00\x00\x40\x00"     /* mov ebx, 400000h */
         "\x8d\x73\x01\xfe\x43\x0d" /* lea esi, [rbx + 1]; inc [ebx + 13] */
         "\x90\xb0\x05\x00\xc2\xfe\x4b\x0d\xfe\x43\x0d");
    SAME(1 << JP_FLAT, "\xbb\x00\x00\x02\x00\x8d\x73\x01\xfe\x43\x0d"
                       "\x90\xb0\x05\x00\xc2");
}

/* ---- the code cache
 * ------------------------------------------------------------- */

static uint8_t no_vector(void *context)
{
    (void)context;
    return 0;
}

static void a_cache_too_small_is_an_error(void **state)
{
    static struct cpu c;
    const struct cpu_board board = {.acknowledge = no_vector};
    const struct jit_options o = {.cache_bytes = 1};
    struct error err = {0};
    struct phys *p = phys_new(1 << 20, &err);
    (void)state;
    assert_non_null(p);
    assert_true(
        cpu_init(&c, p, cpu_model_find(CPU_MODEL_DEFAULT), &board, &err));
    struct jit *j = jit_new(&c, &o, &err);
    /* A page holds the fixed parts; were that to change, it must say so. */
    if (!j)
        assert_true(err.text[0] != '\0');
    jit_free(j);
    assert_null(c.engine.run);
    cpu_fini(&c);
    phys_free(p);
}

/* ---- random guests
 * ---------------------------------------------------------------- */

static void random_guests_stay_in_lockstep(void **state)
{
    struct oracle_forms forms;
    struct jp_totals t = {0};
    (void)state;
    assert_true(oracle_forms_init(&forms));
    for (uint64_t seed = FIRST_SEED; seed < FIRST_SEED + SEEDS; seed++)
        assert_true(jp_run(seed, &forms, false, stdout, &t));
    oracle_forms_fini(&forms);
    /* The sample is worth something. */
    assert_true(t.compiled > 5000);
    assert_true(t.joined > 50);
    assert_true(t.links > 1000);
    assert_true(t.flushes > 100);
    assert_true(t.traces > 100);
    assert_true(t.trace_ticks > 50000);
    assert_true(t.deopts > 100);
    assert_true(t.refusals > 100);
    assert_true(t.shutdowns < SEEDS / 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rotates_by_a_constant_give_of),
        cmocka_unit_test(shifts_by_zero_keep_all_flags),
        cmocka_unit_test(high_byte_registers_take_part),
        cmocka_unit_test(cuts_of_paths_are_counted),
        cmocka_unit_test(traces_hold_several_calls_of_a_function),
        cmocka_unit_test(logic_clears_af),
        cmocka_unit_test(pop_of_the_stack_pointer_takes_the_popped_value),
        cmocka_unit_test(code_segments_are_not_writable),
        cmocka_unit_test(segments_with_limits_are_checked),
        cmocka_unit_test(accesses_across_pages_take_the_slow_path),
        cmocka_unit_test(faults_in_a_block_are_precise),
        cmocka_unit_test(eip_runs_off_the_end_of_4_gib),
        cmocka_unit_test(branches_to_addresses_that_are_not_canonical_fault),
        cmocka_unit_test(calls_and_returns_chain),
        cmocka_unit_test(jumps_leave_from_the_middle),
        cmocka_unit_test(a_store_into_the_running_block_is_seen_at_once),
        cmocka_unit_test(a_cache_too_small_is_an_error),
        cmocka_unit_test(random_guests_stay_in_lockstep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
