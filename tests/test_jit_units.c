/* Tier 1 keeps vector and x87 state in the host's units: what must not show.
 * Each piece of code runs in a loop in every mode at CPL 0 and 3, in one slice
 * and in many, from random unit state. */
#include "tests/lib_jitpair.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* Modes that map data at 500000h and nothing at 600000h. */
enum { PAGED = 1 << JP_LONG | 1 << JP_COMPAT | 1 << JP_PAGED32 | 1 << JP_PAE };

#define SAME(modes, code)                                                      \
    assert_true(jp_run_code(modes, code, sizeof(code) - 1, stdout))

static void misaligned_vectors_fault(void **state)
{
    (void)state;
    SAME(PAGED,
         "\xbb\x04\x10\x50\x00"              /* mov ebx, 0x501004 */
         "\x0f\x10\x0b"                      /* movups xmm1, [ebx] */
         "\x0f\x58\x4b\x0c"                  /* addps xmm1, [ebx+0xc] */
         "\x0f\x29\x4b\x0c"                  /* movaps [ebx+0xc], xmm1 */
         "\x0f\x13\x0b"                      /* movlps [ebx], xmm1 */
         "\x0f\x58\x0b"                      /* addps xmm1, [ebx] */
         "\x0f\x29\x0b");                    /* movaps [ebx], xmm1 */
}

static void mxcsr_flags_add_up_across_blocks(void **state)
{
    (void)state;
    SAME(PAGED,
         "\xbb\x00\x10\x50\x00"              /* mov ebx, 0x501000 */
         "\xf2\x0f\x2a\xc3"                  /* cvtsi2sd xmm0, ebx */
         "\xb8\x03\x00\x00\x00"              /* mov eax, 0x3 */
         "\xf2\x0f\x2a\xc8"                  /* cvtsi2sd xmm1, eax */
         "\xf2\x0f\x5e\xc1"                  /* divsd xmm0, xmm1 */
         "\xeb\x00"                          /* jmp 0x18 */
         "\x0f\xae\x1b"                      /* stmxcsr [ebx] */
         "\x8b\x13"                          /* mov edx, [ebx] */
         "\xf2\x0f\x51\xd0"                  /* sqrtsd xmm2, xmm0 */
         "\x0f\x57\xdb"                      /* xorps xmm3, xmm3 */
         "\x0f\x5e\xd3"                      /* divps xmm2, xmm3 */
         "\x0f\xae\x5b\x04"                  /* stmxcsr [ebx+0x4] */
         "\x8b\x73\x04");                    /* mov esi, [ebx+0x4] */
}

static void mxcsr_controls_take_effect(void **state)
{
    (void)state;
    SAME(PAGED,
         "\xbb\x00\x10\x50\x00"              /* mov ebx, 0x501000 */
         "\xc7\x03\x80\x7f\x00\x00"          /* mov [ebx], 0x7f80 */
         "\x0f\xae\x13"                      /* ldmxcsr [ebx] */
         "\xb8\x0a\x00\x00\x00"              /* mov eax, 0xa */
         "\xf3\x0f\x2a\xc0"                  /* cvtsi2ss xmm0, eax */
         "\xb9\x03\x00\x00\x00"              /* mov ecx, 0x3 */
         "\xf3\x0f\x2a\xc9"                  /* cvtsi2ss xmm1, ecx */
         "\xf3\x0f\x5e\xc1"                  /* divss xmm0, xmm1 */
         "\xc7\x03\x80\x3f\x00\x00"          /* mov [ebx], 0x3f80 */
         "\x0f\xae\x13"                      /* ldmxcsr [ebx] */
         "\xf3\x0f\x59\xc1"                  /* mulss xmm0, xmm1 */
         "\xf3\x0f\x2d\xd0"                  /* cvtss2si edx, xmm0 */
         "\xc7\x03\xc0\x9f\x00\x00"          /* mov [ebx], 0x9fc0 */
         "\x0f\xae\x13"                      /* ldmxcsr [ebx] */
         "\xf3\x0f\x59\xc1");                /* mulss xmm0, xmm1 */
}

static void reserved_mxcsr_bits_fault(void **state)
{
    (void)state;
    SAME(PAGED,
         "\xbb\x00\x10\x50\x00"              /* mov ebx, 0x501000 */
         "\xc7\x03\x80\x1f\x01\x00"          /* mov [ebx], 0x11f80 */
         "\x0f\xae\x5b\x04"                  /* stmxcsr [ebx+0x4] */
         "\x0f\xae\x13"                      /* ldmxcsr [ebx] */
         "\x0f\x58\xd1");                    /* addps xmm2, xmm1 */
}

static void unmasked_vector_exceptions_fault(void **state)
{
    (void)state;
    SAME(PAGED,
         "\xbb\x00\x10\x50\x00"              /* mov ebx, 0x501000 */
         "\xc7\x03\x80\x1f\x00\x00"          /* mov [ebx], 0x1f80 */
         "\x0f\xae\x13"                      /* ldmxcsr [ebx] */
         "\x0f\x57\xc0"                      /* xorps xmm0, xmm0 */
         "\x0f\x5e\xc8"                      /* divps xmm1, xmm0 */
         "\xc7\x03\x00\x1d\x00\x00"          /* mov [ebx], 0x1d00 */
         "\x0f\xae\x13"                      /* ldmxcsr [ebx] */
         "\x0f\x28\xd1"                      /* movaps xmm2, xmm1 */
         "\x0f\x5e\xd0"                      /* divps xmm2, xmm0 */
         "\x0f\xae\x1b"                      /* stmxcsr [ebx] */
         "\x8b\x13");                        /* mov edx, [ebx] */
}

static void a_vector_operand_that_faults_leaves_mxcsr(void **state)
{
    (void)state;
    SAME(PAGED,
         "\xbb\x00\x10\x50\x00"              /* mov ebx, 0x501000 */
         "\xbe\x00\x00\x60\x00"              /* mov esi, 0x600000 */
         "\xc7\x03\x80\x1f\x00\x00"          /* mov [ebx], 0x1f80 */
         "\x0f\xae\x13"                      /* ldmxcsr [ebx] */
         "\x0f\x5e\x0e"                      /* divps xmm1, [esi] */
         "\x0f\x5e\xc9");                    /* divps xmm1, xmm1 */
}

/* The fault's handler starts the code again. */
static void task_switched_units_fault(void **state)
{
    (void)state;
    SAME(PAGED,
         "\x0f\x06\x0f\x20\xc0"              /* clts; mov eax, cr0 */
         "\x0f\x58\xc8"                      /* addps xmm1, xmm0 */
         "\x83\xc8\x08\x0f\x22\xc0"          /* or eax, 8; mov cr0, eax */
         "\x0f\x58\xc8");                    /* addps xmm1, xmm0 */
    SAME(PAGED,
         "\x0f\x06\x0f\x20\xc0"              /* clts; mov eax, cr0 */
         "\xd9\xe8"                          /* fld1 */
         "\x83\xc8\x08\x0f\x22\xc0"          /* or eax, 8; mov cr0, eax */
         "\xd8\xc0");                        /* fadd st, st */
    SAME(PAGED,
         "\x0f\x06\x0f\x20\xc0"              /* clts; mov eax, cr0 */
         "\x0f\xfc\xc8"                      /* paddb mm1, mm0 */
         "\x83\xc8\x04\x0f\x22\xc0"          /* or eax, 4; mov cr0, eax */
         "\x0f\xfc\xc8");                    /* paddb mm1, mm0 */
}

static void comparisons_set_all_arithmetic_flags(void **state)
{
    (void)state;
    SAME(PAGED,
         "\x05\xff\xff\xff\x7f"              /* add eax, 0x7fffffff */
         "\x0f\x2e\xc8"                      /* ucomiss xmm1, xmm0 */
         "\x0f\x9a\xc2"                      /* setp dl */
         "\x9f"                              /* lahf */
         "\x66\x0f\x2f\xc9"                  /* comisd xmm1, xmm1 */
         "\x0f\x90\xc6"                      /* seto dh */
         "\x66\x0f\x38\x17\xda"              /* ptest xmm3, xmm2 */
         "\x0f\x92\xc1"                      /* setb cl */
         "\x66\x0f\x3a\x63\xd1\x18"          /* pcmpistri xmm2, xmm1, 0x18 */
         "\x0f\x90\xc5"                      /* seto ch */
         "\x0f\x98\xc3"                      /* sets bl */
         "\xdb\xf1"                          /* fcomi st, st(1) */
         "\x0f\x96\xc7");                    /* setbe bh */
}

static void x87_pointers_are_kept(void **state)
{
    (void)state;
    SAME(PAGED,
         "\xbb\x00\x10\x50\x00"              /* mov ebx, 0x501000 */
         "\xdb\xe3"                          /* fninit */
         "\xd9\xe8"                          /* fld1 */
         "\xdd\x43\x40"                      /* fld [ebx+0x40] */
         "\xd8\x4b\x08"                      /* fmul [ebx+0x8] */
         "\xeb\x00"                          /* jmp 0x11 */
         "\x0f\xae\x83\x00\x02\x00\x00"      /* fxsave [ebx+0x200] */
         "\xd9\xe8"                          /* fld1 */
         "\xd9\xe1"                          /* fabs */
         "\xbe\x00\x00\x60\x00"              /* mov esi, 0x600000 */
         "\x0f\xae\x83\x00\x04\x00\x00"      /* fxsave [ebx+0x400] */
         "\x8b\x83\x08\x02\x00\x00"          /* mov eax, [ebx+0x208] */
         "\x8b\x93\x10\x02\x00\x00"          /* mov edx, [ebx+0x210] */
         "\xd9\xfa"                          /* fsqrt */
         "\xd8\x06");                        /* fadd [esi] */
}

static void x87_stack_faults_are_masked(void **state)
{
    (void)state;
    SAME(PAGED,
         "\xdb\xe3"                          /* fninit */
         "\xd9\xe8"                          /* fld1 */
         "\xd9\xee"                          /* fldz */
         "\xd9\xeb"                          /* fldpi */
         "\xd9\xea"                          /* fldl2e */
         "\xd9\xe9"                          /* fldl2t */
         "\xd9\xec"                          /* fldlg2 */
         "\xd9\xed"                          /* fldln2 */
         "\xd9\xe8"                          /* fld1 */
         "\xd9\xe8"                          /* fld1 */
         "\xdf\xe0"                          /* fnstsw ax */
         "\xdd\xd8"                          /* fstp st(0) */
         "\xdd\xc2"                          /* ffree st(2) */
         "\xd8\xc2"                          /* fadd st, st(2) */
         "\xdf\xe0"                          /* fnstsw ax */
         "\x9e"                              /* sahf */
         "\xde\xd9"                          /* fcompp */
         "\xd9\xf7"                          /* fincstp */
         "\xd9\xe5"                          /* fxam */
         "\xdf\xe0");                        /* fnstsw ax */
}

static void unmasked_x87_exceptions_are_reported_by_the_next(void **state)
{
    (void)state;
    SAME(PAGED,
         "\xbb\x00\x10\x50\x00"              /* mov ebx, 0x501000 */
         "\xdb\xe3"                          /* fninit */
         "\xd9\xe8"                          /* fld1 */
         "\xd9\xee"                          /* fldz */
         "\xd8\xf9"                          /* fdivr st, st(1) */
         "\x66\xc7\x03\x7b\x03"              /* mov [ebx], 0x37b */
         "\xdb\xe2"                          /* fnclex */
         "\xd9\x2b"                          /* fldcw [ebx] */
         "\xd9\xee"                          /* fldz */
         "\xd8\xfa"                          /* fdivr st, st(2) */
         "\x89\xda"                          /* mov edx, ebx */
         "\xd9\xe8"                          /* fld1 */
         "\xdb\xe2");                        /* fnclex */
}

static void x87_controls_take_effect(void **state)
{
    (void)state;
    SAME(PAGED,
         "\xbb\x00\x10\x50\x00"              /* mov ebx, 0x501000 */
         "\xdb\xe3"                          /* fninit */
         "\x66\xc7\x03\x7f\x02"              /* mov [ebx], 0x27f */
         "\x66\xc7\x43\x02\x7f\x0f"          /* mov [ebx+0x2], 0xf7f */
         "\xd9\xeb"                          /* fldpi */
         "\xd9\x2b"                          /* fldcw [ebx] */
         "\xd8\xc8"                          /* fmul st, st(0) */
         "\xd9\x6b\x02"                      /* fldcw [ebx+0x2] */
         "\xdb\x53\x04"                      /* fist [ebx+0x4] */
         "\xd9\x7b\x08"                      /* fnstcw [ebx+0x8] */
         "\x66\x8b\x43\x08"                  /* mov ax, [ebx+0x8] */
         "\xdf\x7b\x10"                      /* fistp [ebx+0x10] */
         "\xdf\xe0");                        /* fnstsw ax */
}

static void mmx_and_x87_share_registers(void **state)
{
    (void)state;
    SAME(PAGED,
         "\xbb\x00\x10\x50\x00"              /* mov ebx, 0x501000 */
         "\xdb\xe3"                          /* fninit */
         "\xd9\xe8"                          /* fld1 */
         "\xd9\xeb"                          /* fldpi */
         "\x0f\x6f\xc7"                      /* movq mm0, mm7 */
         "\x0f\xfc\x43\x08"                  /* paddb mm0, [ebx+0x8] */
         "\x0f\xd7\xc0"                      /* pmovmskb eax, mm0 */
         "\x0f\x6e\xd8"                      /* movd mm3, eax */
         "\x0f\xae\x83\x00\x02\x00\x00"      /* fxsave [ebx+0x200] */
         "\x0f\x77"                          /* emms */
         "\xd9\xe8"                          /* fld1 */
         "\xde\xc1"                          /* faddp st(1), st */
         "\x0f\x7f\x03"                      /* movq [ebx], mm0 */
         "\xdf\xe0");                        /* fnstsw ax */
}

/* The slow path of a trace calls C, which has vector registers of its own. */
static void vectors_survive_a_miss_in_a_trace(void **state)
{
    (void)state;
    SAME(PAGED,
         "\xbb\x00\x10\x50\x00"              /* mov ebx, 501000h */
         "\xbe\x00\x20\x50\x00"              /* mov esi, 502000h */
         "\x0f\x10\x0b"                      /* movups xmm1, [ebx] */
         "\x0f\x58\x0e"                      /* addps xmm1, [esi] */
         "\x66\x0f\xef\xd1"                  /* pxor xmm2, xmm1 */
         "\x66\x0f\xfc\xd0"                  /* paddb xmm2, xmm0 */
         "\x0f\x11\x53\x10"                  /* movups [ebx+16], xmm2 */
         "\x66\x0f\xf4\x56\x20"              /* pmuludq xmm2, [esi+32] */
         "\x66\x0f\x6f\x5b\x30");            /* movdqa xmm3, [ebx+48] */
}

/* An operand that is misaligned in one turn of 64. */
static void alignment_can_change_between_turns(void **state)
{
    (void)state;
    SAME(PAGED,
         "\x81\xe3\xf0\x00\x00\x00"          /* and ebx, f0h */
         "\x81\xcb\x00\x10\x50\x00"          /* or ebx, 501000h */
         "\xff\xc1\xf6\xc1\x3f"              /* inc ecx; test cl, 63 */
         "\x0f\x94\xc0\xc0\xe0\x02\x00\xc3"  /* sete al; shl al, 2; add bl, al */
         "\x0f\x58\x0b"                      /* addps xmm1, [ebx] */
         "\x66\x0f\x6f\x53\x10"              /* movdqa xmm2, [ebx+16] */
         "\x0f\x29\x4b\x20"                  /* movaps [ebx+32], xmm1 */
         "\x83\xc3\x10");                    /* add ebx, 16 */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(misaligned_vectors_fault),
        cmocka_unit_test(mxcsr_flags_add_up_across_blocks),
        cmocka_unit_test(mxcsr_controls_take_effect),
        cmocka_unit_test(reserved_mxcsr_bits_fault),
        cmocka_unit_test(unmasked_vector_exceptions_fault),
        cmocka_unit_test(a_vector_operand_that_faults_leaves_mxcsr),
        cmocka_unit_test(task_switched_units_fault),
        cmocka_unit_test(comparisons_set_all_arithmetic_flags),
        cmocka_unit_test(x87_pointers_are_kept),
        cmocka_unit_test(x87_stack_faults_are_masked),
        cmocka_unit_test(unmasked_x87_exceptions_are_reported_by_the_next),
        cmocka_unit_test(x87_controls_take_effect),
        cmocka_unit_test(mmx_and_x87_share_registers),
        cmocka_unit_test(vectors_survive_a_miss_in_a_trace),
        cmocka_unit_test(alignment_can_change_between_turns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
