/* What must agree, what the architecture leaves open, and how a difference is
 * shown. */
#include "tests/lib_oracle.h"

#include "base/bytes.h"
#include "cpu/cpu.h"

#include <cpuid.h>
#include <math.h>
#include <string.h>

#define LINUX_USER_END 0x7ffffffff000
enum {
    FETCH_ERROR = 0x10, /* I/D of a page fault's error code */
    FSW_TOP = 0x3800,
    FSW_C1 = 0x200,
    ARITH = FLAGS_ARITH
};

static const char *const register_names[16] = {
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
    "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};

struct view {
    const struct oracle_forms *forms;
    const struct oracle_shared *shared;
    const struct oracle_case *k;
    const struct oracle_result *host, *guest;
    ZydisDecodedInstruction zi;
    ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
    bool is_valid;
    bool retired;
    FILE *out; /* NULL while only counting */
    unsigned differences;
};

static void differ(struct view *v, const char *what, uint64_t host,
                   uint64_t guest)
{
    v->differences++;
    if (v->out)
        fprintf(v->out, "    %-10s host %016llx  tier 0 %016llx\n", what,
                (unsigned long long)host, (unsigned long long)guest);
}

/* ---- flags
 * -------------------------------------------------------------------------- */

static unsigned shift_count(const struct view *v)
{
    const ZydisDecodedOperand *o = &v->ops[v->zi.operand_count_visible - 1];
    uint64_t n = o->type == ZYDIS_OPERAND_TYPE_IMMEDIATE ? o->imm.value.u
                                                         : v->k->in.r[REG_RCX];
    return (unsigned)n & (v->ops[0].size == 64 ? 63 : 31);
}

/* The flags that the SDM (vol. 2, vol. 1 app. A) leaves undefined. */
static uint32_t undefined_flags(const struct view *v)
{
    const uint32_t no_cf = FLAG_OF | FLAG_SF | FLAG_AF | FLAG_PF;
    unsigned n;
    switch (v->zi.mnemonic) {
    case ZYDIS_MNEMONIC_AND:
    case ZYDIS_MNEMONIC_OR:
    case ZYDIS_MNEMONIC_XOR:
    case ZYDIS_MNEMONIC_TEST:
        return FLAG_AF;
    case ZYDIS_MNEMONIC_AAA:
    case ZYDIS_MNEMONIC_AAS:
        return FLAG_OF | FLAG_SF | FLAG_ZF | FLAG_PF;
    case ZYDIS_MNEMONIC_AAD:
    case ZYDIS_MNEMONIC_AAM:
        return FLAG_OF | FLAG_AF | FLAG_CF;
    case ZYDIS_MNEMONIC_DAA:
    case ZYDIS_MNEMONIC_DAS:
        return FLAG_OF;
    case ZYDIS_MNEMONIC_BSF:
    case ZYDIS_MNEMONIC_BSR:
        return no_cf | FLAG_CF;
    case ZYDIS_MNEMONIC_BT:
    case ZYDIS_MNEMONIC_BTS:
    case ZYDIS_MNEMONIC_BTR:
    case ZYDIS_MNEMONIC_BTC:
        return no_cf;
    case ZYDIS_MNEMONIC_MUL:
    case ZYDIS_MNEMONIC_IMUL:
        return FLAG_SF | FLAG_ZF | FLAG_AF | FLAG_PF;
    case ZYDIS_MNEMONIC_DIV:
    case ZYDIS_MNEMONIC_IDIV:
        return ARITH;
    case ZYDIS_MNEMONIC_ROL:
    case ZYDIS_MNEMONIC_ROR:
    case ZYDIS_MNEMONIC_RCL:
    case ZYDIS_MNEMONIC_RCR:
        return shift_count(v) > 1 ? FLAG_OF : 0;
    case ZYDIS_MNEMONIC_SHL:
    case ZYDIS_MNEMONIC_SHR:
    case ZYDIS_MNEMONIC_SAR:
        n = shift_count(v);
        if (n == 0)
            return 0;
        return FLAG_AF | (n > 1 ? FLAG_OF : 0) |
               (n >= v->ops[0].size && v->zi.mnemonic != ZYDIS_MNEMONIC_SAR
                    ? FLAG_CF
                    : 0);
    case ZYDIS_MNEMONIC_SHLD:
    case ZYDIS_MNEMONIC_SHRD:
        n = shift_count(v);
        if (n > v->ops[0].size)
            return ARITH;
        return n == 0 ? 0 : FLAG_AF | (n > 1 ? FLAG_OF : 0);
    default:
        return 0;
    }
}

/* The documented fixed values of cpu/flags.h, where they need no operand. */
static void check_fixed_flags(struct view *v)
{
    uint32_t in = (uint32_t)v->k->in.rflags,
             out = (uint32_t)v->guest->out.rflags;
    uint32_t zero = 0, same = 0;
    switch (v->zi.mnemonic) {
    case ZYDIS_MNEMONIC_AND:
    case ZYDIS_MNEMONIC_OR:
    case ZYDIS_MNEMONIC_XOR:
    case ZYDIS_MNEMONIC_TEST:
        zero = FLAG_AF;
        break;
    case ZYDIS_MNEMONIC_SHL:
    case ZYDIS_MNEMONIC_SHR:
    case ZYDIS_MNEMONIC_SHLD:
    case ZYDIS_MNEMONIC_SHRD:
        zero = shift_count(v) ? FLAG_AF : 0;
        break;
    case ZYDIS_MNEMONIC_SAR:
        zero = shift_count(v) ? FLAG_AF | FLAG_OF : 0;
        break;
    case ZYDIS_MNEMONIC_MUL:
    case ZYDIS_MNEMONIC_IMUL:
        zero = FLAG_ZF | FLAG_AF;
        break;
    case ZYDIS_MNEMONIC_DIV:
    case ZYDIS_MNEMONIC_IDIV:
        same = ARITH;
        break;
    case ZYDIS_MNEMONIC_BSF:
    case ZYDIS_MNEMONIC_BSR:
        zero = FLAG_CF | FLAG_OF | FLAG_SF | FLAG_AF | FLAG_PF;
        break;
    case ZYDIS_MNEMONIC_BT:
    case ZYDIS_MNEMONIC_BTS:
    case ZYDIS_MNEMONIC_BTR:
    case ZYDIS_MNEMONIC_BTC:
        same = FLAG_OF | FLAG_SF | FLAG_AF | FLAG_PF;
        break;
    case ZYDIS_MNEMONIC_AAA:
    case ZYDIS_MNEMONIC_AAS:
        zero = FLAG_OF | FLAG_SF | FLAG_ZF | FLAG_PF;
        break;
    case ZYDIS_MNEMONIC_AAM:
    case ZYDIS_MNEMONIC_AAD:
        zero = FLAG_CF | FLAG_OF | FLAG_AF;
        break;
    case ZYDIS_MNEMONIC_DAA:
    case ZYDIS_MNEMONIC_DAS:
        zero = FLAG_OF;
        break;
    default:
        break;
    }
    if (out & zero)
        differ(v, "fixed 0", 0, out & zero);
    if ((in ^ out) & same)
        differ(v, "fixed same", in & same, out & same);
}

static void compare_flags(struct view *v)
{
    uint64_t host = v->host->out.rflags, guest = v->guest->out.rflags;
    uint64_t open = 0;
    if (v->k->is_block) {
        open = FLAGS_ARITH & ~(uint64_t)(v->retired ? v->k->flags_defined
                                                    : v->k->flags_always);
    } else if (v->is_valid && v->retired) {
        open = undefined_flags(v);
        check_fixed_flags(v);
    }
    if ((host ^ guest) & ~open)
        differ(v, "rflags", host & ~open, guest & ~open);
}

/* ---- registers
 * ------------------------------------------------------------------------- */

/* A 16-bit double shift by more than 16 has an undefined result. */
static bool result_is_undefined(const struct view *v)
{
    if (v->zi.mnemonic != ZYDIS_MNEMONIC_SHLD &&
        v->zi.mnemonic != ZYDIS_MNEMONIC_SHRD)
        return false;
    return shift_count(v) > v->ops[0].size;
}

/* The host's way out of its kernel makes every null selector 0 (SDM vol. 2A
 * IRET, return to an outer privilege level). */
static uint16_t plain_selector(uint16_t selector)
{
    return selector < 4 ? 0 : selector;
}

static void compare_registers(struct view *v)
{
    static const char *const segments[6] = {"es", "cs", "ss", "ds", "fs", "gs"};
    const struct oracle_state *h = &v->host->out, *g = &v->guest->out;
    bool mode = v->k->mode || h->selector[SEG_CS] == ORACLE_CS32;
    uint64_t mask = mode ? UINT32_MAX : UINT64_MAX;
    int open = -1;
    if (v->is_valid && v->retired && result_is_undefined(v) &&
        v->ops[0].type == ZYDIS_OPERAND_TYPE_REGISTER)
        open = ZydisRegisterGetId(v->ops[0].reg.value);
    for (int n = 0; n < (v->k->mode ? 8 : 16); n++)
        if (n != open && ((h->r[n] ^ g->r[n]) & mask))
            differ(v, register_names[n], h->r[n] & mask, g->r[n] & mask);
    if (h->rip != g->rip)
        differ(v, "rip", h->rip, g->rip);
    for (unsigned n = 0; n < 6; n++)
        if (plain_selector(h->selector[n]) != plain_selector(g->selector[n]))
            differ(v, segments[n], h->selector[n], g->selector[n]);
}

/* ---- x87 and SSE
 * -------------------------------------------------------------------------- */

static bool is_transcendental(unsigned mnemonic)
{
    switch (mnemonic) {
    case ZYDIS_MNEMONIC_FSIN:
    case ZYDIS_MNEMONIC_FCOS:
    case ZYDIS_MNEMONIC_FSINCOS:
    case ZYDIS_MNEMONIC_FPTAN:
    case ZYDIS_MNEMONIC_FPATAN:
    case ZYDIS_MNEMONIC_F2XM1:
    case ZYDIS_MNEMONIC_FYL2X:
    case ZYDIS_MNEMONIC_FYL2XP1:
        return true;
    default:
        return false;
    }
}

/* Neighbours on the number line of one sign. */
static bool within_ulp(const uint8_t *a, const uint8_t *b)
{
    unsigned __int128 x = (unsigned __int128)(load_le16(a + 8) & 0x7fff) << 63 |
                          (load_le64(a) & ~(1ULL << 63));
    unsigned __int128 y = (unsigned __int128)(load_le16(b + 8) & 0x7fff) << 63 |
                          (load_le64(b) & ~(1ULL << 63));
    if ((a[9] ^ b[9]) & 0x80)
        return false;
    return x == y || x + 1 == y || y + 1 == x;
}

/* FYL2XP1 of an x beyond 1 - sqrt(2)/2 and F2XM1 of one beyond 1 have undefined
 * results (SDM vol. 2A). */
static bool is_out_of_domain(const struct view *v)
{
    unsigned exponent = load_le16(v->k->in.fx + 40) & 0x7fff;
    if (v->zi.mnemonic == ZYDIS_MNEMONIC_FYL2XP1)
        return exponent >= 0x3ffd;
    return v->zi.mnemonic == ZYDIS_MNEMONIC_F2XM1 && exponent >= 0x3fff;
}

/* RCPPS and RSQRTPS: a relative error up to 1.5 * 2^-12 (SDM vol. 2B), so two
 * answers are at most twice that apart. */
static bool is_approximation(unsigned mnemonic)
{
    return mnemonic == ZYDIS_MNEMONIC_RCPPS ||
           mnemonic == ZYDIS_MNEMONIC_RCPSS ||
           mnemonic == ZYDIS_MNEMONIC_RSQRTPS ||
           mnemonic == ZYDIS_MNEMONIC_RSQRTSS;
}

static bool approximately(const uint8_t *a, const uint8_t *b)
{
    for (unsigned k = 0; k < 16; k += 4) {
        float x, y;
        if (load_le32(a + k) == load_le32(b + k))
            continue;
        memcpy(&x, a + k, 4);
        memcpy(&y, b + k, 4);
        if (!(fabs((double)x - y) <= 3.0 / 4096 * fabs((double)x)))
            return false;
    }
    return true;
}

static void compare_bytes(struct view *v, const char *what, unsigned n,
                          const uint8_t *host, const uint8_t *guest,
                          unsigned bytes)
{
    if (memcmp(host, guest, bytes) == 0)
        return;
    v->differences++;
    if (!v->out)
        return;
    fprintf(v->out, "    %s%-2u  host ", what, n);
    for (unsigned k = bytes; k-- > 0;)
        fprintf(v->out, "%02x", host[k]);
    fprintf(v->out, "  tier 0 ");
    for (unsigned k = bytes; k-- > 0;)
        fprintf(v->out, "%02x", guest[k]);
    fputc('\n', v->out);
}

static bool has_mmx_operand(const struct view *v)
{
    for (unsigned n = 0; n < v->zi.operand_count_visible; n++)
        if (v->ops[n].type == ZYDIS_OPERAND_TYPE_REGISTER &&
            ZydisRegisterGetClass(v->ops[n].reg.value) == ZYDIS_REGCLASS_MMX)
            return true;
    return false;
}

/* Hosts have begun the switch to MMX (TOP 0, perhaps all tags valid) when an
 * MMX instruction faults, by paths of their own; the SDM is silent. So the
 * registers are compared by their physical number, TOP and tags not at all. */
static void compare_after_mmx_fault(struct view *v)
{
    const uint8_t *h = v->host->out.fx, *g = v->guest->out.fx;
    unsigned top_h = load_le16(h + 2) >> 11 & 7;
    unsigned top_g = load_le16(g + 2) >> 11 & 7;
    if ((load_le16(h + 2) ^ load_le16(g + 2)) & ~FSW_TOP)
        differ(v, "fsw", load_le16(h + 2), load_le16(g + 2));
    if (load_le32(h + 24) != load_le32(g + 24))
        differ(v, "mxcsr", load_le32(h + 24), load_le32(g + 24));
    for (unsigned k = 0; k < 8; k++)
        compare_bytes(v, "r", k, h + 32 + 16 * ((k - top_h) & 7),
                      g + 32 + 16 * ((k - top_g) & 7), 10);
    compare_bytes(v, "xmm", 0, h + 160, g + 160, v->k->mode ? 128 : 256);
}

/* FOP, FIP and FDP as the last instruction left them: where the host is not
 * Intel's they may be kept for unmasked exceptions only (AMD APM vol. 2 11.4),
 * and with CPUID.7.EBX[6] FDP is so on Intel's. */
static void compare_pointers(struct view *v, const uint8_t *h, const uint8_t *g)
{
    unsigned a, b, c, d;
    if (!__get_cpuid(0, &a, &b, &c, &d) || b != signature_INTEL_ebx)
        return;
    if (load_le16(h + 6) != load_le16(g + 6))
        differ(v, "fop", load_le16(h + 6), load_le16(g + 6));
    if (load_le64(h + 8) != load_le64(g + 8))
        differ(v, "fip", load_le64(h + 8), load_le64(g + 8));
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (b & 1 << 6))
        return;
    if (load_le64(h + 16) != load_le64(g + 16))
        differ(v, "fdp", load_le64(h + 16), load_le64(g + 16));
}

static void compare_fx(struct view *v)
{
    const uint8_t *h = v->host->out.fx, *g = v->guest->out.fx;
    if (v->is_valid && !v->retired && has_mmx_operand(v)) {
        compare_after_mmx_fault(v);
        return;
    }
    bool is_wave = v->is_valid && is_transcendental(v->zi.mnemonic);
    if (is_wave && is_out_of_domain(v))
        return;
    bool is_about = v->is_valid && is_approximation(v->zi.mnemonic);
    uint16_t status_open = is_wave ? FSW_C1 : 0;
    if (load_le16(h) != load_le16(g))
        differ(v, "fcw", load_le16(h), load_le16(g));
    if ((load_le16(h + 2) ^ load_le16(g + 2)) & ~status_open)
        differ(v, "fsw", load_le16(h + 2), load_le16(g + 2));
    if (h[4] != g[4])
        differ(v, "ftw", h[4], g[4]);
    compare_pointers(v, h, g);
    if (load_le32(h + 24) != load_le32(g + 24))
        differ(v, "mxcsr", load_le32(h + 24), load_le32(g + 24));
    for (unsigned k = 0; k < 8; k++)
        if (!is_wave || !within_ulp(h + 32 + 16 * k, g + 32 + 16 * k))
            compare_bytes(v, "st", k, h + 32 + 16 * k, g + 32 + 16 * k, 10);
    for (unsigned k = 0; k < (v->k->mode ? 8u : 16u); k++)
        if (!is_about || !approximately(h + 160 + 16 * k, g + 160 + 16 * k))
            compare_bytes(v, "xmm", k, h + 160 + 16 * k, g + 160 + 16 * k, 16);
}

/* ---- memory and faults
 * ------------------------------------------------------------------- */

/* The FOP, FCS, FIP, FDS and FDP fields of an image in memory are not compared:
 * FCS and FDS are 0 on newer processors (CPUID.7.EBX[13]), FDP may be kept only
 * for unmasked exceptions (EBX[6]) and FOP too (IA32_MISC_ENABLE[2]). */
static void pointer_fields(const struct view *v, unsigned *from, unsigned *to)
{
    bool is_short = v->zi.operand_width == 16;
    *from = *to = 0;
    switch (v->zi.mnemonic) {
    case ZYDIS_MNEMONIC_FXSAVE:
    case ZYDIS_MNEMONIC_FXSAVE64:
        *from = 6;
        *to = 24;
        break;
    case ZYDIS_MNEMONIC_FNSAVE:
    case ZYDIS_MNEMONIC_FNSTENV:
        *from = is_short ? 6 : 12;
        *to = is_short ? 14 : 28;
        break;
    default:
        break;
    }
}

static uint64_t operand_address(const struct view *v)
{
    ZydisRegisterContext context;
    uint64_t at = 0;
    memset(&context, 0, sizeof context);
    for (unsigned n = 0; n < 16; n++) {
        context.values[ZYDIS_REGISTER_RAX + n] = v->k->in.r[n];
        context.values[ZYDIS_REGISTER_EAX + n] = (uint32_t)v->k->in.r[n];
        context.values[ZYDIS_REGISTER_AX + n] = (uint16_t)v->k->in.r[n];
    }
    for (unsigned n = 0; n < v->zi.operand_count_visible; n++)
        if (v->ops[n].type == ZYDIS_OPERAND_TYPE_MEMORY) {
            (void)ZydisCalcAbsoluteAddressEx(&v->zi, &v->ops[n], v->k->in.rip,
                                             &context, &at);
            at += oracle_segment_base(v->k->mode, v->ops[n].mem.segment);
        }
    return at;
}

/* State images take many accesses, in an order of the processor's own (hosts
 * look at the last byte first), which CR2 and the error code show. */
static bool is_image(unsigned mnemonic)
{
    switch (mnemonic) {
    case ZYDIS_MNEMONIC_FNSAVE:
    case ZYDIS_MNEMONIC_FNSTENV:
    case ZYDIS_MNEMONIC_FRSTOR:
    case ZYDIS_MNEMONIC_FLDENV:
    case ZYDIS_MNEMONIC_FXSAVE:
    case ZYDIS_MNEMONIC_FXSAVE64:
    case ZYDIS_MNEMONIC_FXRSTOR:
    case ZYDIS_MNEMONIC_FXRSTOR64:
        return true;
    default:
        return false;
    }
}

/* Stores of many parts that fault may leave some of them behind; the SDM lets
 * them, since the instruction is restarted. */
static bool is_partial_store(const struct view *v)
{
    return !v->retired && v->is_valid &&
           (is_image(v->zi.mnemonic) ||
            v->zi.mnemonic == ZYDIS_MNEMONIC_FBSTP ||
            (v->zi.mnemonic == ZYDIS_MNEMONIC_FSTP && v->ops[0].size == 80));
}

static void compare_memory(struct view *v)
{
    unsigned from = 0, to = 0, shown = 0;
    uint64_t operand = 0;
    if ((!v->host->wrote && !v->guest->wrote) || is_partial_store(v))
        return;
    if (v->is_valid) {
        operand = operand_address(v) - ORACLE_DATA;
        pointer_fields(v, &from, &to);
    }
    for (size_t k = 0; k < ORACLE_DATA_BYTES; k++) {
        if (v->host->memory[k] == v->guest->memory[k] ||
            (k - operand >= from && k - operand < to))
            continue;
        if (shown++ >= 8) {
            v->differences++;
            continue;
        }
        char name[32];
        (void)snprintf(name, sizeof name, "[%llx]",
                       (unsigned long long)(ORACLE_DATA + k));
        differ(v, name, v->host->memory[k], v->guest->memory[k]);
    }
}

/* Does an image of the most bytes there reach out of canonical space, or round
 * the end of 64 KiB? */
static bool crosses_canonical(const struct view *v)
{
    uint64_t at = operand_address(v);
    if (v->zi.address_width == 16)
        return (at & 0xffff) + ORACLE_PATCH > 0xffff;
    return at >> 47 != (at + ORACLE_PATCH) >> 47;
}

/* 80-bit operands are two accesses too. */
static bool has_80_bits(const struct view *v)
{
    for (unsigned n = 0; n < v->zi.operand_count_visible; n++)
        if (v->ops[n].type == ZYDIS_OPERAND_TYPE_MEMORY && v->ops[n].size == 80)
            return true;
    return false;
}

/* Where two vectors are right. */
static bool is_open_vector(const struct view *v)
{
    const struct oracle_result *h = v->host, *g = v->guest;
    /* An undefined opcode whose other bytes are in a page that faults: whether
     * they are fetched at all is the decoder's own matter. */
    if (!v->is_valid)
        return h->trap == 14 && (h->error & FETCH_ERROR) && g->trap == 6;
    /* FXSAVE and FXRSTOR at odd addresses: "signaling of #AC is not guaranteed
     * and may vary with implementation", else #GP (SDM vol. 2A FXSAVE). */
    if ((is_image(v->zi.mnemonic) || has_80_bits(v)) && crosses_canonical(v))
        return true;
    return (h->trap == 17 || h->trap == 13) &&
           (g->trap == 17 || g->trap == 13) && is_image(v->zi.mnemonic);
}

/* Masked stores: whether bytes with a zero mask are probed, and which access
 * faults first, is implementation dependent (SDM vol. 2B MASKMOVDQU). */
static bool is_masked_fault(const struct view *v)
{
    if (v->zi.mnemonic != ZYDIS_MNEMONIC_MASKMOVQ &&
        v->zi.mnemonic != ZYDIS_MNEMONIC_MASKMOVDQU)
        return false;
    return !v->retired || (v->guest->trap != 1 && v->guest->trap != 3);
}

static void compare_fault(struct view *v)
{
    const struct oracle_result *h = v->host, *g = v->guest;
    uint32_t error = h->error;
    if (h->trap != g->trap && is_open_vector(v))
        return;
    if (h->trap != g->trap) {
        differ(v, "vector", h->trap, g->trap);
        return;
    }
    /* Linux sets P for addresses beyond its user space, so as to tell nothing
     * of what is there. */
    if (h->trap == 14 && h->cr2 >= LINUX_USER_END)
        error &= ~1u;
    if (h->trap == 14 && v->is_valid && is_image(v->zi.mnemonic))
        return;
    if (error != g->error)
        differ(v, "error", error, g->error);
    if (h->trap == 14 && h->cr2 != g->cr2)
        differ(v, "cr2", h->cr2, g->cr2);
}

/* ---- the report
 * ----------------------------------------------------------------------------
 */

void oracle_print_case(const struct oracle_forms *f,
                       const struct oracle_case *k, FILE *out)
{
    static const char *const mode_names[] = {"64", "32", "16"};
    char text[128] = "(invalid)";
    ZydisDecodedInstruction zi;
    ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
    ZydisFormatter formatter;
    (void)ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL);
    if (ZYAN_SUCCESS(ZydisDecoderDecodeFull(&f->decoder[k->mode], k->bytes, 15,
                                            &zi, ops)))
        (void)ZydisFormatterFormatInstruction(&formatter, &zi, ops,
                                              zi.operand_count_visible, text,
                                              sizeof text, k->in.rip, NULL);
    for (unsigned n = 0; n < k->length; n++)
        fprintf(out, "%02x", k->bytes[n]);
    fprintf(out, "  %s  (%s, %s, at %llx)\n", text, mode_names[k->mode],
            k->stepped ? "TF" : "INT3", (unsigned long long)k->in.rip);
}

void oracle_print_input(const struct oracle_case *k, FILE *out)
{
    const uint8_t *fx = k->in.fx;
    fprintf(out, "    in:");
    for (unsigned n = 0; n < (k->mode ? 8 : 16); n++)
        fprintf(out, " %s %llx", register_names[n],
                (unsigned long long)k->in.r[n]);
    fprintf(out, " flags %llx fcw %x fsw %x ftw %x mxcsr %x\n",
            (unsigned long long)k->in.rflags, load_le16(fx), load_le16(fx + 2),
            fx[4], load_le32(fx + 24));
}

static void print_operand(const struct view *v)
{
    const struct oracle_case *k = v->k;
    uint64_t at = v->is_valid ? operand_address(v) : 0;
    if (at < ORACLE_DATA || at + 16 > ORACLE_DATA + ORACLE_DATA_BYTES)
        return;
    uint8_t bytes[16];
    memcpy(bytes, v->shared->base + (at - ORACLE_DATA), 16);
    for (unsigned n = 0; n < 16; n++)
        if (at + n >= k->patch_at && at + n < k->patch_at + k->patch_bytes)
            bytes[n] = k->patch[at + n - k->patch_at];
    fprintf(v->out, "    in: [%llx] =", (unsigned long long)at);
    for (unsigned n = 0; n < 16; n++)
        fprintf(v->out, " %02x", bytes[n]);
    fputc('\n', v->out);
}

static void compare_all(struct view *v)
{
    if (v->is_valid && is_masked_fault(v))
        return;
    compare_fault(v);
    compare_flags(v);
    compare_registers(v);
    compare_fx(v);
    compare_memory(v);
}

bool oracle_compare(const struct oracle_forms *f, const struct oracle_shared *s,
                    const struct oracle_case *k,
                    const struct oracle_result *host,
                    const struct oracle_result *guest, FILE *out)
{
    struct view v = {
        .forms = f, .shared = s, .k = k, .host = host, .guest = guest};
    v.is_valid = !k->is_block && ZYAN_SUCCESS(ZydisDecoderDecodeFull(
        &f->decoder[k->mode], k->bytes, 15, &v.zi, v.ops));
    v.retired = host->trap == 1 || host->trap == 3 ||
                (host->trap == 14 && (host->error & FETCH_ERROR) &&
                 host->out.rip == k->in.rip + k->length);
    compare_all(&v);
    if (v.differences && out) {
        v.out = out;
        oracle_print_case(f, k, out);
        oracle_print_input(k, out);
        print_operand(&v);
        compare_all(&v);
        fprintf(out, "    out: vector %u error %x cr2 %llx rip %llx\n",
                host->trap, host->error, (unsigned long long)host->cr2,
                (unsigned long long)host->out.rip);
    }
    return v.differences == 0;
}
