#include "tests/lib_native.h"

#include "cpu/decode.h"
#include "cpu/x87.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

bool native_init(struct native *n)
{
    memset(n, 0, sizeof *n);
    n->seed = 88172645463325252u;
    n->code = mmap(NULL, 8192, PROT_READ | PROT_WRITE | PROT_EXEC,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (n->code == MAP_FAILED)
        return false;
    n->memory = n->code + 4096;
    n->cpu = calloc(1, sizeof *n->cpu);
    n->tlb = calloc(TLB_ENTRIES, sizeof *n->tlb);
    if (!n->cpu || !n->tlb)
        return false;
    for (unsigned k = 0; k < TLB_ENTRIES; k++)
        n->tlb[k].read_tag = n->tlb[k].write_tag = TLB_NONE;
    for (unsigned k = 0; k < 2; k++) {
        uint64_t page = (uint64_t)(uintptr_t)(n->code + 4096 * k);
        struct tlb_entry *t = &n->tlb[page >> PAGE_SHIFT & (TLB_ENTRIES - 1)];
        t->read_tag = t->write_tag = page;
    }
    return true;
}

void native_fini(struct native *n)
{
    munmap(n->code, 8192);
    free(n->cpu);
    free(n->tlb);
}

uint64_t native_random(struct native *n)
{
    n->seed ^= n->seed << 13;
    n->seed ^= n->seed >> 7;
    n->seed ^= n->seed << 17;
    return n->seed * 0x2545f4914f6cdd1du;
}

bool native_decode(const struct native *n, const uint8_t *bytes,
                   unsigned length, struct insn *out)
{
    (void)n;
    return decode_insn(bytes, length, MODE_64, out) == DECODE_OK &&
           out->len == length && insn_rule(out->mnemonic) != NULL;
}

/* image RDI, memory RSI, outcome RDX, registers RCX */
typedef void native_fn(const uint8_t *before, uint8_t *memory, uint8_t *after,
                       uint64_t *regs);

static unsigned put(uint8_t *at, const void *bytes, unsigned length)
{
    memcpy(at, bytes, length);
    return length;
}

/* Returns the offset of the instruction under test. */
static unsigned assemble(uint8_t *code, const uint8_t *bytes, unsigned length)
{
    /* stmxcsr [rcx+16]; fxrstor [rdi]; mov rdi,rsi; mov rax,[rcx+8];
     * push [rcx]; popf */
    static const uint8_t head[] = {0x0f, 0xae, 0x59, 0x10, 0x0f, 0xae, 0x0f,
                                   0x48, 0x89, 0xf7, 0x48, 0x8b, 0x41, 0x08,
                                   0xff, 0x31, 0x9d};
    /* fxsave [rdx]; pushf; pop [rcx]; mov [rcx+8],rax; fninit;
     * ldmxcsr [rcx+16]; cld; ret */
    static const uint8_t tail[] = {0x0f, 0xae, 0x02, 0x9c, 0x8f, 0x01, 0x48,
                                   0x89, 0x41, 0x08, 0xdb, 0xe3, 0x0f, 0xae,
                                   0x51, 0x10, 0xfc, 0xc3};
    unsigned at = put(code, head, sizeof head);
    unsigned start = at;

    at += put(code + at, bytes, length);
    put(code + at, tail, sizeof tail);
    return start;
}

static void cpu_from_image(struct cpu *c, const uint8_t *image)
{
    struct x87 *x = &c->x87;
    uint16_t status;
    uint32_t pointer;

    memset(x, 0, sizeof *x);
    memcpy(&x->control, image, 2);
    memcpy(&status, image + 2, 2);
    x->top = status >> 11 & 7;
    x->status = status & 0xc7ff;
    x->valid = image[4];
    memcpy(&pointer, image + 8, 4);
    x->ip = pointer;
    memcpy(&pointer, image + 16, 4);
    x->dp = pointer;
    memcpy(&c->mxcsr, image + 24, 4);
    for (unsigned k = 0; k < 8; k++) {
        memcpy(&x->mantissa[(x->top + k) & 7], image + 32 + 16 * k, 8);
        memcpy(&x->exponent[(x->top + k) & 7], image + 40 + 16 * k, 2);
    }
    memcpy(c->xmm, image + 160, 256);
}

static void image_from_cpu(const struct cpu *c, uint8_t *image)
{
    const struct x87 *x = &c->x87;
    uint16_t status = x87_status(c);

    memset(image, 0, 512);
    memcpy(image, &x->control, 2);
    memcpy(image + 2, &status, 2);
    image[4] = x->valid;
    memcpy(image + 6, &x->opcode, 2);
    memcpy(image + 8, &x->ip, 4);
    memcpy(image + 16, &x->dp, 4);
    memcpy(image + 24, &c->mxcsr, 4);
    for (unsigned k = 0; k < 8; k++) {
        memcpy(image + 32 + 16 * k, &x->mantissa[(x->top + k) & 7], 8);
        memcpy(image + 40 + 16 * k, &x->exponent[(x->top + k) & 7], 2);
    }
    memcpy(image + 160, c->xmm, 256);
}

static void cpu_prepare(struct native *n, const struct insn *i,
                        unsigned start)
{
    struct cpu *c = n->cpu;

    memset(c, 0, sizeof *c);
    c->mmu.tlb = n->tlb;
    c->mode = MODE_64;
    c->cpl = 3;
    c->efer = EFER_LME | EFER_LMA;
    c->cr0 = CR0_PE | CR0_NE | CR0_PG;
    c->cr4 = CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_PAE;
    c->linear_mask = c->sp_mask = UINT64_MAX;
    memset(c->ea_flat, 1, sizeof c->ea_flat);
    cpu_from_image(c, n->before);
    cpu_set_arith(c, (uint32_t)n->regs[0]);
    c->r[REG_RAX] = n->regs[1];
    c->r[REG_RSI] = c->r[REG_RDI] = (uint64_t)(uintptr_t)n->memory;
    c->r[REG_RIP] = (uint64_t)(uintptr_t)n->code + start + i->len;
}

enum exc native_run(struct native *n, const uint8_t *bytes, unsigned length)
{
    uint64_t regs[3] = {n->regs[0], n->regs[1], 0};
    uint8_t memory[512];
    native_fn *run;
    struct insn i;

    unsigned start = assemble(n->code, bytes, length);
    if (!native_decode(n, bytes, length, &i))
        return EXC_UD;
    cpu_prepare(n, &i, start);
    memcpy(memory, n->memory, 512);
    memcpy(&run, &n->code, sizeof run);
    memset(n->after, 0, 512);
    run(n->before, n->memory, n->after, regs);
    memcpy(n->host_memory, n->memory, 512);
    memcpy(n->memory, memory, 512);
    n->regs[0] = regs[0];
    n->regs[1] = regs[1];
    enum exc e = i.fn(n->cpu, &i);
    image_from_cpu(n->cpu, n->guest);
    return e;
}
