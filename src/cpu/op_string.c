/* String instructions (SDM vol. 2, REP/REPE/REPZ/REPNE/REPNZ and each string
 * instruction). A repeated one counts a tick for each iteration and may stop
 * between two iterations when the tick limit is reached: it then returns
 * EXC_REP_BREAK with its registers at the next iteration. */
#include "cpu/access.h"
#include "cpu/flags.h"
#include "cpu/op_int.h"

#define REPEATED(i) ((i)->prefix & (PREFIX_REP | PREFIX_REPNE))

static uint64_t address_mask(const struct insn *i)
{
    return i->addr == 8 ? UINT64_MAX : i->addr == 4 ? 0xffffffff : 0xffff;
}

/* rSI, rDI and rCX at the address size; a 32-bit write clears the upper half. */
static uint64_t index_get(const struct cpu *c, unsigned reg,
                          const struct insn *i)
{
    return c->r[reg] & address_mask(i);
}

static void index_add(struct cpu *c, unsigned reg, const struct insn *i,
                      int64_t by)
{
    reg_set(c, reg, c->r[reg] + (uint64_t)by, i->addr);
}

static int64_t index_step(const struct cpu *c, const struct insn *i)
{
    return c->flags & FLAG_DF ? -(int64_t)i->opsize : (int64_t)i->opsize;
}

/* ---- single iterations --------------------------------------------------------- */

static enum exc movs_once(struct cpu *c, const struct insn *i)
{
    uint64_t v = 0;
    enum exc e = cpu_read(c, i->seg, index_get(c, REG_RSI, i), &v, i->opsize);
    if (UNLIKELY(e))
        return e;
    e = cpu_write(c, SEG_ES, index_get(c, REG_RDI, i), &v, i->opsize);
    if (UNLIKELY(e))
        return e;
    int64_t step = index_step(c, i);
    index_add(c, REG_RSI, i, step);
    index_add(c, REG_RDI, i, step);
    return EXC_NONE;
}

static enum exc stos_once(struct cpu *c, const struct insn *i)
{
    enum exc e = cpu_write(c, SEG_ES, index_get(c, REG_RDI, i),
                           &c->r[REG_RAX], i->opsize);
    if (UNLIKELY(e))
        return e;
    index_add(c, REG_RDI, i, index_step(c, i));
    return EXC_NONE;
}

static enum exc lods_once(struct cpu *c, const struct insn *i)
{
    uint64_t v = 0;
    enum exc e = cpu_read(c, i->seg, index_get(c, REG_RSI, i), &v, i->opsize);
    if (UNLIKELY(e))
        return e;
    reg_set(c, REG_RAX, v, i->opsize);
    index_add(c, REG_RSI, i, index_step(c, i));
    return EXC_NONE;
}

static void compare(struct cpu *c, uint64_t a, uint64_t b, unsigned bytes)
{
    switch (bytes) {
    case 1:
        (void)alu_sub8(c, (uint8_t)a, (uint8_t)b);
        break;
    case 2:
        (void)alu_sub16(c, (uint16_t)a, (uint16_t)b);
        break;
    case 4:
        (void)alu_sub32(c, (uint32_t)a, (uint32_t)b);
        break;
    default:
        (void)alu_sub64(c, a, b);
        break;
    }
}

/* Processors read ES:[rDI] first, which shows when both operands fault. */
static enum exc cmps_once(struct cpu *c, const struct insn *i)
{
    uint64_t a = 0, b = 0;
    enum exc e = cpu_read(c, SEG_ES, index_get(c, REG_RDI, i), &b, i->opsize);
    if (UNLIKELY(e))
        return e;
    e = cpu_read(c, i->seg, index_get(c, REG_RSI, i), &a, i->opsize);
    if (UNLIKELY(e))
        return e;
    compare(c, a, b, i->opsize);
    int64_t step = index_step(c, i);
    index_add(c, REG_RSI, i, step);
    index_add(c, REG_RDI, i, step);
    return EXC_NONE;
}

static enum exc scas_once(struct cpu *c, const struct insn *i)
{
    uint64_t b = 0;
    enum exc e = cpu_read(c, SEG_ES, index_get(c, REG_RDI, i), &b, i->opsize);
    if (UNLIKELY(e))
        return e;
    compare(c, reg_get(c, REG_RAX, i->opsize), b, i->opsize);
    index_add(c, REG_RDI, i, index_step(c, i));
    return EXC_NONE;
}

/* ---- bulk: many iterations on directly accessible memory ----------------------- */

/* Iterations that stay inside the page of `linear`, going upwards. */
static uint64_t iterations_in_page(uint64_t linear, unsigned bytes)
{
    return (PAGE_BYTES - (linear & (PAGE_BYTES - 1))) / bytes;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* The linear address of an upward run, or false when segmentation or an address
 * wrap makes the run anything but one flat range. */
static bool flat_run(const struct cpu *c, unsigned seg, uint64_t offset,
                     const struct insn *i, uint64_t *linear)
{
    bool is_inside = c->ea_flat[seg] || offset + PAGE_BYTES <= c->ea_end[seg];
    if (!is_inside || offset > address_mask(i) - PAGE_BYTES)
        return false;
    *linear = (offset + c->ea_base[seg]) & c->linear_mask;
    return true;
}

/* Store `count` elements of `bytes` bytes. Most fills are of one byte's value. */
static void fill(uint8_t *to, uint64_t value, uint64_t count, unsigned bytes)
{
    static const uint64_t every[9] = {[1] = 0xff, [2] = 0xffff,
                                      [4] = 0xffffffff, [8] = UINT64_MAX};
    if (((value ^ (value & 0xff) * 0x0101010101010101) & every[bytes]) == 0) {
        memset(to, (int)(value & 0xff), count * bytes);
        return;
    }
    for (uint64_t k = 0; k < count; k++)
        memcpy(to + k * bytes, &value, bytes);
}

/* Do up to `most` iterations at once; 0 when not possible here. */
static uint64_t stos_bulk(struct cpu *c, const struct insn *i, uint64_t most)
{
    uint64_t linear;
    if ((c->flags & FLAG_DF) ||
        !flat_run(c, SEG_ES, index_get(c, REG_RDI, i), i, &linear))
        return 0;
    uint64_t n = smaller(most, iterations_in_page(linear, i->opsize));
    uint8_t *to = n ? cpu_tlb_write_hit(c, linear, (unsigned)n * i->opsize)
                    : NULL;
    if (!to)
        return 0;
    fill(to, c->r[REG_RAX], n, i->opsize);
    index_add(c, REG_RDI, i, (int64_t)(n * i->opsize));
    return n;
}

static uint64_t movs_bulk(struct cpu *c, const struct insn *i, uint64_t most)
{
    uint64_t from, to;
    if ((c->flags & FLAG_DF) ||
        !flat_run(c, i->seg, index_get(c, REG_RSI, i), i, &from) ||
        !flat_run(c, SEG_ES, index_get(c, REG_RDI, i), i, &to))
        return 0;
    uint64_t n = smaller(most, iterations_in_page(from, i->opsize));
    n = smaller(n, iterations_in_page(to, i->opsize));
    if (n == 0)
        return 0;
    unsigned bytes = (unsigned)n * i->opsize;
    const uint8_t *source = cpu_tlb_read_hit(c, from, bytes);
    uint8_t *target = cpu_tlb_write_hit(c, to, bytes);
    /* Overlap upwards repeats a pattern: element by element is the meaning. */
    if (!source || !target || (target > source && target < source + bytes))
        return 0;
    memmove(target, source, bytes);
    index_add(c, REG_RSI, i, bytes);
    index_add(c, REG_RDI, i, bytes);
    return n;
}

/* How many elements of `bytes` bytes, of n, are equal before one differs. */
static uint64_t equal_run(const uint8_t *a, const uint8_t *b, uint64_t n,
                          unsigned bytes)
{
    uint64_t at = 0, end = n * bytes;
    uint64_t x, y;
    for (; at + 8 <= end; at += 8) {
        memcpy(&x, a + at, 8);
        memcpy(&y, b + at, 8);
        if (x != y)
            return (at + (unsigned)__builtin_ctzll(x ^ y) / 8) / bytes;
    }
    while (at < end && a[at] == b[at])
        at++;
    return at / bytes;
}

/* The element at p, zero-extended. */
static uint64_t element(const uint8_t *p, unsigned bytes)
{
    uint64_t v = 0;
    memcpy(&v, p, bytes);
    return v;
}

/* How many elements, of n, are `value` before one is not. */
static uint64_t value_run(const uint8_t *p, uint64_t value, uint64_t n,
                          unsigned bytes)
{
    static const uint64_t ones[9] = {[1] = 0x0101010101010101,
                                     [2] = 0x0001000100010001,
                                     [4] = 0x0000000100000001,
                                     [8] = 1};
    uint64_t at = 0, end = n * bytes, x, pattern = value * ones[bytes];
    for (; at + 8 <= end; at += 8) {
        memcpy(&x, p + at, 8);
        if (x != pattern)
            return (at + (unsigned)__builtin_ctzll(x ^ pattern) / 8) / bytes;
    }
    while (at < end && element(p + at, bytes) == value)
        at += bytes;
    return at / bytes;
}

/* How many elements, of n, come before one that is `value`. */
#define DISTANCE(type)                                                         \
    for (uint64_t k = 0; k < n; k++) {                                         \
        type v;                                                                \
        memcpy(&v, p + k * sizeof v, sizeof v);                                \
        if (v == value)                                                        \
            return k;                                                          \
    }                                                                          \
    return n
static uint64_t distance16(const uint8_t *p, uint64_t value, uint64_t n)
{
    DISTANCE(uint16_t);
}
static uint64_t distance32(const uint8_t *p, uint64_t value, uint64_t n)
{
    DISTANCE(uint32_t);
}
static uint64_t distance64(const uint8_t *p, uint64_t value, uint64_t n)
{
    DISTANCE(uint64_t);
}

static uint64_t distance(const uint8_t *p, uint64_t value, uint64_t n,
                         unsigned bytes)
{
    if (bytes == 1) {
        const uint8_t *hit = memchr(p, (int)value, n);
        return hit ? (uint64_t)(hit - p) : n;
    }
    return bytes == 2   ? distance16(p, value, n)
           : bytes == 4 ? distance32(p, value, n)
                        : distance64(p, value, n);
}

/* Iterations when `found` of n pass before one that ends the instruction. */
static uint64_t with_last(uint64_t found, uint64_t n)
{
    return found < n ? found + 1 : n;
}

static uint64_t cmps_bulk(struct cpu *c, const struct insn *i, uint64_t most)
{
    uint64_t from, to, found = 0;
    unsigned bytes = i->opsize;
    if ((c->flags & FLAG_DF) ||
        !flat_run(c, i->seg, index_get(c, REG_RSI, i), i, &from) ||
        !flat_run(c, SEG_ES, index_get(c, REG_RDI, i), i, &to))
        return 0;
    uint64_t n = smaller(most, iterations_in_page(from, bytes));
    n = smaller(n, iterations_in_page(to, bytes));
    if (n == 0)
        return 0;
    const uint8_t *a = cpu_tlb_read_hit(c, from, (unsigned)n * bytes);
    const uint8_t *b = cpu_tlb_read_hit(c, to, (unsigned)n * bytes);
    if (!a || !b)
        return 0;
    if (!(i->prefix & PREFIX_REPNE))
        found = equal_run(a, b, n, bytes);
    else
        while (found < n && memcmp(a + found * bytes, b + found * bytes, bytes))
            found++;
    n = with_last(found, n);
    compare(c, element(a + (n - 1) * bytes, bytes),
            element(b + (n - 1) * bytes, bytes), bytes);
    index_add(c, REG_RSI, i, (int64_t)(n * bytes));
    index_add(c, REG_RDI, i, (int64_t)(n * bytes));
    return n;
}

static uint64_t scas_bulk(struct cpu *c, const struct insn *i, uint64_t most)
{
    uint64_t linear, value = reg_get(c, REG_RAX, i->opsize);
    unsigned bytes = i->opsize;
    if ((c->flags & FLAG_DF) ||
        !flat_run(c, SEG_ES, index_get(c, REG_RDI, i), i, &linear))
        return 0;
    uint64_t n = smaller(most, iterations_in_page(linear, bytes));
    const uint8_t *b =
        n ? cpu_tlb_read_hit(c, linear, (unsigned)n * bytes) : NULL;
    if (!b)
        return 0;
    uint64_t found = i->prefix & PREFIX_REPNE ? distance(b, value, n, bytes)
                                              : value_run(b, value, n, bytes);
    n = with_last(found, n);
    compare(c, value, element(b + (n - 1) * bytes, bytes), bytes);
    index_add(c, REG_RDI, i, (int64_t)(n * bytes));
    return n;
}

/* ---- repetition ------------------------------------------------------------------ */

typedef enum exc once_fn(struct cpu *c, const struct insn *i);
typedef uint64_t bulk_fn(struct cpu *c, const struct insn *i, uint64_t most);

enum until {
    UNTIL_COUNT, /* rCX reaches 0 */
    UNTIL_FLAG   /* or ZF differs from what REPE (F3) or REPNE (F2) wants */
};

/* The flags of CMPS and SCAS become architectural with the last iteration: what
 * stops a repeated one before finds those from before it (SDM vol. 2B REP). */
static inline enum exc repeat(struct cpu *c, const struct insn *i,
                              once_fn *once, bulk_fn *bulk, enum until until)
{
    if (!REPEATED(i))
        return once(c, i);
    uint16_t before = c->aflags;
    uint64_t left = index_get(c, REG_RCX, i);
    if (left == 0)
        return EXC_NONE;
    for (;;) {
        uint64_t room = c->limit > c->tick ? c->limit - c->tick : 1;
        uint64_t done = bulk ? bulk(c, i, smaller(left, room)) : 0;
        if (done == 0) {
            enum exc e = once(c, i);
            if (UNLIKELY(e)) {
                c->aflags = before;
                return e;
            }
            done = 1;
        }
        left -= done;
        index_add(c, REG_RCX, i, -(int64_t)done);
        bool is_last = left == 0;
        if (until == UNTIL_FLAG &&
            ((c->aflags & AF_ZF) != 0) != ((i->prefix & PREFIX_REPNE) == 0))
            is_last = true;
        /* The last iteration's tick is the instruction's own. */
        c->tick += done - is_last;
        c->skew += done - is_last;
        if (is_last)
            return EXC_NONE;
        if (c->tick >= c->limit) {
            c->aflags = before;
            return EXC_REP_BREAK;
        }
    }
}

/* REP MOVS and REP STOS with 32-bit addresses clear the upper halves of their
 * index registers even when no iteration completes, as Intel processors do. */
static void clear_upper(struct cpu *c, const struct insn *i, unsigned reg)
{
    if (REPEATED(i) && i->addr == 4)
        c->r[reg] = (uint32_t)c->r[reg];
}

enum exc op_movs(struct cpu *c, const struct insn *i)
{
    clear_upper(c, i, REG_RSI);
    clear_upper(c, i, REG_RDI);
    return repeat(c, i, movs_once, movs_bulk, UNTIL_COUNT);
}

enum exc op_stos(struct cpu *c, const struct insn *i)
{
    clear_upper(c, i, REG_RDI);
    return repeat(c, i, stos_once, stos_bulk, UNTIL_COUNT);
}

enum exc op_lods(struct cpu *c, const struct insn *i)
{
    return repeat(c, i, lods_once, NULL, UNTIL_COUNT);
}

enum exc op_cmps(struct cpu *c, const struct insn *i)
{
    return repeat(c, i, cmps_once, cmps_bulk, UNTIL_FLAG);
}

enum exc op_scas(struct cpu *c, const struct insn *i)
{
    return repeat(c, i, scas_once, scas_bulk, UNTIL_FLAG);
}
