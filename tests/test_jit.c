/* Tier 1 does what tier 0 does: single facts, and a bounded sample of random
 * guests; tests/jit_lockstep runs as long as asked. */
#include "tests/lib_jitpair.h"

#include "cpu/blocks.h"
#include "cpu/decode.h"
#include "cpu/model.h"
#include "jit/plan.h"
#include "mem/phys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum {
    FIRST_SEED = 20250101,
    SEEDS = 100,
    SEEDS_16 = 30,
    LONG = 1 << JP_LONG,
    BITS_32 = 1 << JP_COMPAT | 1 << JP_FLAT | 1 << JP_PAGED32 | 1 << JP_PAE,
    BITS_16 = 1 << JP_REAL | 1 << JP_V86 | 1 << JP_PROT16,
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

/* None of these ends the path of a trace. */
static void traces_hold_what_kernels_do(void **state)
{
    static const char code[] =
        "\xbe\x00\x00\x03\x00\xbc\x00\x10\x03\x00" /* mov esi, esp */
        "\x0f\xbc\xc3\x0f\xbd\xd3\xf3\x0f\xb8\xc3" /* bsf; bsr; popcnt */
        "\xf0\x0f\xb1\x1e\xf0\x0f\xc1\x1e"         /* cmpxchg; xadd */
        "\x0f\xba\x2e\x03\x86\x26"     /* bts [esi], 3; xchg ah, [esi] */
        "\xf9\xf5\x9f\x9c\x58\xfc\xfa" /* stc; cmc; lahf; pushf; pop; cld; cli */
        "\x00\xe5\x66\x0f\x2e\xc1\xf2\x0f\x2c\xc1" /* add; ucomisd; cvttsd2si */
        "\x66\x0f\x7e\xc8\x0f\x31\xad\xf3\x90"; /* movd; rdtsc; lods; pause */
    struct jit_stats stats;
    (void)state;
    assert_true(jp_run_traces(JP_FLAT, false, 1, code, sizeof code - 1, stdout,
                              &stats));
    assert_null(stats.cuts[0].mnemonic);
    assert_true(stats.tier2_ticks > 500);
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

/* SYSCALL goes to the start of this code. At CPL 3 it looks at SS, the flags and a
 * misaligned word, and calls; at CPL 0 at R11, and returns. */
#define FAST_CALLS(rcx_and_r11)                                                \
    "\x8c\xc8\xa8\x03\x74\x0b"             /* mov eax, cs; test al, 3; jz */ \
    "\x8c\xd2\x9c\x5e\xf9"                 /* mov edx, ss; pushf; pop */     \
    "\x8b\x7c\x24\x01\x0f\x05"             /* mov edi, [rsp+1]; syscall */   \
    "\x8c\xd3\x9c\x5f\x4c\x89\xdd\x49\x89\xc8" /* ...; mov rbp, r11 */        \
    rcx_and_r11 "\x48\x0f\x07\x0c\x40"      /* sysret; or al, 40h */

static void system_calls_change_rings(void **state)
{
    (void)state;
    SAME(LONG, FAST_CALLS("\x48\x8d\x0d\x09\x00\x00\x00" /* lea rcx, [after] */
                          "\x41\xbb\x97\x0e\x20\x00")); /* mov r11d, ... */
    /* Any flags, TF and AC too: rdtsc; imul eax, eax, ...; mov r11d, eax. */
    SAME(LONG, FAST_CALLS("\x48\x8d\x0d\x0e\x00\x00\x00"
                          "\x0f\x31\x69\xc0\xb1\x79\x37\x9e\x41\x89\xc3"));
    SAME(LONG, FAST_CALLS("\x48\xc1\xe1\x20" /* shl rcx, 32 */
                          "\x41\xbb\x02\x02\x00\x00"));
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

/* Accesses that share one look into the TLB, where the sum of register and
 * displacement wraps or the register alone has wrapped. */
static void addresses_of_32_bits_wrap(void **state)
{
    (void)state;
    SAME(BITS_32, "\xbb\xf0\xff\xff\xff"     /* mov ebx, fffffff0h */
                  "\x01\x43\x04\x11\x53\x08"  /* add [ebx+4], eax; adc */
                  "\x83\xc3\x20"             /* add ebx, 20h: 10h */
                  "\x01\x53\xec\x03\x43\xe4"); /* add [ebx-20], edx; add */
    SAME(BITS_32, "\xb9\x08\x00\x00\x00\x83\xc1\x01" /* mov ecx, 8; add */
                  "\x8d\x71\xf0"             /* lea esi, [ecx-16] */
                  "\x01\x06\x03\x46\x01"     /* add [esi], eax; add */
                  "\x01\x41\xf2\x03\x51\xf1"); /* add [ecx-14], eax; add */
    SAME(BITS_32, "\xbc\x04\x00\x00\x00"     /* mov esp, 4 */
                  "\x50\x52\x51\x5b\x5f\x5d"); /* push thrice; pop thrice */
    SAME(BITS_32, "\xbb\x00\x01\x50\x00"     /* mov ebx, 500100h */
                  "\x01\x03\x01\x53\x04\x8b\xf3\x83\xc6\x08\x01\x4e\x04"
                  "\x89\x5b\x0c\x8d\xbb\x00\xc1\xff\xff"
                  "\x01\x87\x00\x3f\x00\x00"); /* lea edi, [ebx-3f00h]; add */
}

/* What 64-bit code left in the upper half of a register is not in the registers
 * that 32-bit code makes of it. */
static void plans_tell_raw_registers_apart(void **state)
{
    static const uint8_t code[] = "\x8d\x73\x04" /* lea esi, [ebx + 4] */
                                  "\x01\x06"     /* add [esi], eax */
                                  "\x01\x46\x04" /* add [esi + 4], eax */
                                  "\x01\x43\x08" /* add [ebx + 8], eax */
                                  "\x01\x43\x0c" /* add [ebx + 12], eax */
                                  "\x01\x46\x0c"; /* add [esi + 12], eax */
    struct insn insns[6];
    struct plan p;
    unsigned at = 0;
    (void)state;
    for (unsigned n = 0; n < 6; n++) {
        assert_int_equal(decode_insn(code + at, sizeof code - at, MODE_32,
                                     &insns[n]),
                         DECODE_OK);
        at += insns[n].len;
    }
    plan_part(&p, insns, 6, 0, false);
    assert_int_equal(p.access[0].group, PLAN_NONE);
    assert_int_equal(p.access[1].group, p.access[2].group);
    assert_int_not_equal(p.access[3].group, p.access[1].group);
    assert_int_equal(p.access[3].group, p.access[4].group);
    assert_int_equal(p.group[p.access[1].group].writes, true);
    /* Looked at first through EBX, what is made of it may follow. */
    plan_part(&p, insns + 3, 3, 0, false);
    assert_int_equal(p.access[0].group, p.access[1].group);
    assert_int_equal(p.group[p.access[0].group].members, 2);
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

/* A trace whose head is what it cannot do leaves to tier 1, not to itself. */
static void guards_at_the_head_make_progress(void **state)
{
    (void)state;
    SAME(ALL, "\xbb\x07\x00\x00\x00\xb8\x64\x00\x00\x00" /* mov ebx, eax */
              "\xff\xc6\x89\xf2\xc1\xea\x04\x83\xe2\x01" /* edx: bit of esi */
              "\xeb\x00\xf7\xf3"                         /* jmp; div ebx */
              "\xeb\x00\x01\xd0\x01\xd0\x01\xd0"); /* jmp; add ... */
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

/* ---- long blocks
 * ---------------------------------------------------------------- */

/* As many instructions as fit: pointers walk over pages, flags and vector state
 * live across the borders of what is compiled together. */
static void blocks_of_a_thousand_instructions_are_compiled(void **state)
{
    static const char head[] = "\xbb\x00\x01\x50\x00\x89\xde"; /* mov ebx,
                                                      500100h; mov esi, ebx */
    static const char body[][8] = {
        "\x01\x43\x04",     /* add [rbx + 4], eax */
        "\x13\x46\x08",     /* adc eax, [rsi + 8] */
        "\x11\x53\xfc",     /* adc [rbx - 4], edx */
        "\x8d\x5b\x09",     /* lea ebx, [rbx + 9] */
        "\x0f\x10\x4b\x20", /* movups xmm1, [rbx + 32] */
        "\x0f\x58\xc1",     /* addps xmm0, xmm1 */
        "\x50\x5a\xd1\xd0",  /* push rax; pop rdx; rcl eax, 1 */
        "\xd9\xe8\xde\xc1",  /* fld1; faddp */
        "\x8d\x76\x07",     /* lea esi, [rsi + 7] */
        "\xf8",             /* clc */
    };
    char code[4000];
    unsigned used = sizeof head - 1, insns = 2;
    (void)state;
    memcpy(code, head, used);
    for (unsigned n = 0; insns < 990; n++) {
        const char *one = body[n % (sizeof body / sizeof body[0])];
        size_t bytes = strlen(one);
        memcpy(code + used, one, bytes);
        used += (unsigned)bytes;
        insns += bytes == 4 && one[0] != 0x0f ? 1 + (one[0] == 0x50) + 1 : 1;
    }
    assert_true(used < sizeof code - 8);
    assert_true(jp_run_code(LONG | 1 << JP_FLAT, code, used, stdout));
}

/* ---- the return stack: a prediction that any guest may belie
 * ---------------------------------------------------------- */

/* Of `code`, in tier 1. */
static uint64_t return_misses(const char *code, unsigned bytes)
{
    struct jit_stats stats;
    assert_true(jp_run_traces(JP_FLAT, false, 0, code, bytes, stdout, &stats));
    return stats.return_misses;
}

static void returns_go_where_calls_came_from(void **state)
{
    static const char code[] = "\xe8\x04\x00\x00\x00\x40\x90\xeb\x0e"
                               "\x83\xc3\x05\xe8\x04\x00\x00\x00\x40\xc3"
                               "\x90\x90\x40\xc3"; /* two deep */
    (void)state;
    SAME(BITS_32, code);
    assert_true(return_misses(code, sizeof code - 1) < 10);
}

static void calls_that_read_their_address_open_nothing(void **state)
{
    static const char code[] = "\xe8\x02\x00\x00\x00\xeb\x08" /* call f */
                               "\xe8\x00\x00\x00\x00\x58\x40\xc3"; /* f: call
                                                   next; pop eax; inc; ret */
    (void)state;
    SAME(BITS_32, code);
    assert_true(return_misses(code, sizeof code - 1) < 10);
}

static void returns_elsewhere_are_counted(void **state)
{
    /* call f; ...; f: add dword [esp], 1; ret */
    static const char code[] = "\xe8\x05\x00\x00\x00\x90\x40\x90\xeb\x05"
                               "\x83\x04\x24\x01\xc3";
    (void)state;
    SAME(BITS_32, code);
    assert_true(return_misses(code, sizeof code - 1) > 100);
}

static void calls_without_returns_fill_the_stack(void **state)
{
    /* call f over a nop; f: pop: 8192 times and more */
    static const char code[] =
        "\xe8\x01\x00\x00\x00\x90\x5a\xe8\x01\x00\x00\x00\x90\x5a";
    (void)state;
    SAME(ALL, code);
    SAME(ALL, "\xb9\x28\x00\x00\x00\xe8\x02\x00\x00\x00\xeb\x09" /* f(40) */
              "\xff\xc9\x74\x05\xe8\xf7\xff\xff\xff\xc3"); /* f: dec ecx; jz;
                                                          call f; ret */
}

static void returns_to_addresses_that_are_not_canonical_fault(void **state)
{
    (void)state;
    SAME(LONG, "\xe8\x02\x00\x00\x00\xeb\x12" /* call f; f: mov rax, ... */
               "\x48\xb8\x00\x00\x00\x00\x00\x80\x00\x00"
               "\x48\x89\x04\x24\xc2\x10\x00\x90"); /* mov [rsp], rax; ret */
}

/* A function on another page, which stores into its caller's code; and one that
 * maps its caller away is in the random guests. */
static void a_store_into_the_caller_is_seen_at_the_return(void **state)
{
    (void)state;
    SAME(1 << JP_FLAT,
         "\xb8\x00\x00\x02\x00"     /* mov eax, code */
         "\xe8\x04\x00\x00\x00"     /* call f */
         "\xb3\x00\xeb\x0b"         /* mov bl, n; jmp out */
         "\x8b\x14\x24\x8d\x76\x01" /* f: mov edx, [esp]; lea esi, [esi+1] */
         "\x88\x52\x01\xc3\x90");   /* mov [edx + 1], dl; ret */
}

/* ---- 16-bit code
 * ----------------------------------------------------------------- */

static void offsets_wrap_at_64_kib_and_operands_do_not(void **state)
{
    (void)state;
    SAME(BITS_16, "\xbb\xff\xff\xbe\x03\x00" /* mov bx, ffffh; mov si, 3 */
                  "\x8a\x00\x00\x40\x10"     /* mov al, [bx + si]; add [bx +
                                               si + 16], al */
                  "\x40\x8b\x07\x40");        /* mov ax, [bx]: beyond the end */
}

static void prefixes_make_operands_and_addresses_wide(void **state)
{
    (void)state;
    SAME(BITS_16,
         "\x66\xbb\xfc\xff\x00\x00\x66\xff\xc3" /* mov ebx, fffch; inc ebx */
         "\x67\x8b\x03\x67\x66\x01\x43\xf0" /* mov ax, [ebx]; add [ebx-16] */
         "\x66\x50\x66\x5a\x66\x68\x78\x56\x34\x12\x66\x5e" /* push, pop */
         "\x67\x8d\x7c\x1b\x05"               /* lea di, [ebx + ebx + 5] */
         "\x66\x8d\x7f\x05"                   /* lea edi, [bx + 5] */
         "\x67\x66\x8b\x43\x01");             /* at 10000h: beyond the end */
}

static void stacks_of_16_bits_wrap(void **state)
{
    (void)state;
    SAME(BITS_16, "\xbc\x00\x20\x66\xbd\x10\x1f\x34\x12" /* sp, ebp */
                  "\x50\xc9\x54\x5b\x9c\x58"  /* push; leave; push sp; ... */
                  "\xc8\x08\x00\x00\xc9\x60\x61" /* enter; leave; pusha... */
                  "\xbc\x00\x00\x50\x5b");    /* mov sp, 0; push ax; pop bx */
}

static void near_branches_of_both_sizes_chain(void **state)
{
    (void)state;
    SAME(BITS_16, "\xb9\x05\x00\xe8\x04\x00\xe2\xfb" /* call; loop */
                  "\xeb\x0d\x40\x66\xe8\x03\x00\x00\x00" /* f: call g, 32 bits */
                  "\xc3\x90\x90\x66\xc3\x90\x90"   /* ret; g: ret */
                  "\x41\xe3\xfd\x66\x0f\x85\x00\x00\x00\x00"); /* jcxz, jnz */
}

static void jumps_beyond_the_limit_fault(void **state)
{
    (void)state;
    SAME(BITS_16, "\x66\xb8\x00\x00\x01\x00" /* mov eax, 10000h */
                  "\x54\x5b\x66\xff\xd0");   /* push sp; pop bx; call eax */
    SAME(BITS_16, "\x66\x68\x34\x12\x01\x00\x66\xc3"); /* push; ret */
}

static void segment_registers_load_in_a_block(void **state)
{
    (void)state;
    SAME(BITS_16, "\x8c\xd8\x8e\xc0\x8e\xe0"     /* mov ax, ds; es; fs */
                  "\x26\x8b\x1e\x10\x00\x64\x01\x1e\x20\x00"
                  "\x16\x07\x26\xff\x0e\x00\x10" /* push ss; pop es; dec */
                  "\x66\x1e\x66\x07\x8c\x1e\x30\x00" /* wide; mov [30h], ds */
                  "\x8e\x06\x30\x00\x26\xfe\x06\x31\x00");
}

static void single_flags_change_alone(void **state)
{
    (void)state;
    SAME(ALL | BITS_16, "\x04\x7f\xf9\x9c\x58\xf5\x9f\xf8\x10\xc0" /* stc;
                                              pushf; pop; cmc; lahf; clc; adc */
                        "\x0c\x80\xf5\x9c\x5b\xfd\xfc\xf9\x9c\x5a");
}

static void strings_stop_at_the_end_of_their_segment(void **state)
{
    (void)state;
    SAME(BITS_16, "\xbe\xf0\xff\xbf\x00\x01\xb9\x0c\x00\xf3\xa4" /* inside */
                  "\xbe\x00\x02\xbf\xf6\xff\xb9\x10\x00\xf3\xa5"); /* ends */
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
    assert_true(t.evictions > 10);
    assert_true(t.traces > 100);
    assert_true(t.trace_ticks > 50000);
    assert_true(t.deopts > 100);
    assert_true(t.refusals > 100);
    assert_true(t.shutdowns < SEEDS / 5);
}

static void random_16_bit_guests_stay_in_lockstep(void **state)
{
    struct oracle_forms forms;
    struct jp_totals t = {0};
    (void)state;
    assert_true(oracle_forms_init(&forms));
    for (uint64_t seed = FIRST_SEED; t.programs < SEEDS_16; seed++)
        if (jp_is_16(seed))
            assert_true(jp_run(seed, &forms, false, stdout, &t));
    oracle_forms_fini(&forms);
    assert_true(t.compiled > 2000);
    assert_true(t.links > 1000);
    assert_true(t.compiled_insns > 50000);
    assert_true(t.shutdowns < SEEDS_16 / 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rotates_by_a_constant_give_of),
        cmocka_unit_test(shifts_by_zero_keep_all_flags),
        cmocka_unit_test(high_byte_registers_take_part),
        cmocka_unit_test(cuts_of_paths_are_counted),
        cmocka_unit_test(traces_hold_what_kernels_do),
        cmocka_unit_test(traces_hold_several_calls_of_a_function),
        cmocka_unit_test(logic_clears_af),
        cmocka_unit_test(pop_of_the_stack_pointer_takes_the_popped_value),
        cmocka_unit_test(code_segments_are_not_writable),
        cmocka_unit_test(segments_with_limits_are_checked),
        cmocka_unit_test(accesses_across_pages_take_the_slow_path),
        cmocka_unit_test(addresses_of_32_bits_wrap),
        cmocka_unit_test(plans_tell_raw_registers_apart),
        cmocka_unit_test(faults_in_a_block_are_precise),
        cmocka_unit_test(eip_runs_off_the_end_of_4_gib),
        cmocka_unit_test(branches_to_addresses_that_are_not_canonical_fault),
        cmocka_unit_test(guards_at_the_head_make_progress),
        cmocka_unit_test(calls_and_returns_chain),
        cmocka_unit_test(jumps_leave_from_the_middle),
        cmocka_unit_test(blocks_of_a_thousand_instructions_are_compiled),
        cmocka_unit_test(returns_go_where_calls_came_from),
        cmocka_unit_test(calls_that_read_their_address_open_nothing),
        cmocka_unit_test(returns_elsewhere_are_counted),
        cmocka_unit_test(calls_without_returns_fill_the_stack),
        cmocka_unit_test(returns_to_addresses_that_are_not_canonical_fault),
        cmocka_unit_test(a_store_into_the_caller_is_seen_at_the_return),
        cmocka_unit_test(offsets_wrap_at_64_kib_and_operands_do_not),
        cmocka_unit_test(prefixes_make_operands_and_addresses_wide),
        cmocka_unit_test(stacks_of_16_bits_wrap),
        cmocka_unit_test(near_branches_of_both_sizes_chain),
        cmocka_unit_test(jumps_beyond_the_limit_fault),
        cmocka_unit_test(segment_registers_load_in_a_block),
        cmocka_unit_test(single_flags_change_alone),
        cmocka_unit_test(system_calls_change_rings),
        cmocka_unit_test(strings_stop_at_the_end_of_their_segment),
        cmocka_unit_test(a_store_into_the_running_block_is_seen_at_once),
        cmocka_unit_test(a_cache_too_small_is_an_error),
        cmocka_unit_test(random_guests_stay_in_lockstep),
        cmocka_unit_test(random_16_bit_guests_stay_in_lockstep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
