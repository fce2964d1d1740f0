/* Scenes of 16-bit code: real mode with its vectors and handlers, virtual-8086
 * mode, and 16-bit segments of protected mode. */
#include "tests/lib_jitpair.h"

#include "base/bytes.h"

#include <string.h>

enum {
    HANDLERS = 0x1000, /* base of the handlers' segment in real mode */
    MOST_IP = 0x10000
};

static struct jp_segment paragraph(uint64_t linear)
{
    return (struct jp_segment){(uint16_t)(linear >> 4), (uint32_t)linear & ~15u};
}

/* ---- real mode ----------------------------------------------------------- */

static unsigned append(uint8_t *at, unsigned n, const char *bytes,
                       unsigned count)
{
    memcpy(at + n, bytes, count);
    return n + count;
}
#define APPEND(at, n, bytes) append(at, n, bytes, sizeof(bytes) - 1)

static unsigned append_offset(uint8_t *at, unsigned n, unsigned address)
{
    store_le16(at + n, (uint16_t)(address - HANDLERS));
    return n + 2;
}

/* Count, then go on at the next entry. */
static void put_fault_handler(uint8_t *at)
{
    unsigned n = 0;
    n = APPEND(at, n, "\x55\x89\xe5\x50\x53\x2e\xff\x06"); /* push bp; mov bp, sp;
                                  push ax; push bx; inc word cs:[counter] */
    n = append_offset(at, n, JP_COUNTERS);
    n = APPEND(at, n, "\x2e\x8b\x1e"); /* mov bx, cs:[counter] */
    n = append_offset(at, n, JP_COUNTERS);
    n = APPEND(at, n, "\x83\xe3\x1f\xc1\xe3\x03\x2e\x8b\x87"); /* and bx, 31; shl
                                  bx, 3; mov ax, cs:[bx + entries] */
    n = append_offset(at, n, JP_ENTRIES);
    n = APPEND(at, n, "\x89\x46\x02\x2e\x8b\x87"); /* mov [bp + 2], ax; ... */
    n = append_offset(at, n, JP_ENTRIES + 4);
    (void)APPEND(at, n, "\x89\x46\x04\x5b\x58\x5d\xcf");
}

/* Count and return; every 16th time as a fault. */
static void put_event_handler(uint8_t *at, unsigned from, unsigned fault)
{
    unsigned n = 0;
    n = APPEND(at, n, "\x2e\xff\x06");
    n = append_offset(at, n, JP_COUNTERS + 8);
    n = APPEND(at, n, "\x2e\xf6\x06"); /* test byte cs:[counter], 15 */
    n = append_offset(at, n, JP_COUNTERS + 8);
    n = APPEND(at, n, "\x0f\x75\x03\xe9"); /* the 15; jnz over the jmp */
    store_le16(at + n, (uint16_t)(fault - (from + n + 2)));
    at[n + 2] = 0xcf;
}

/* #DB: clear TF in the frame every 16th time. */
static void put_debug_handler(uint8_t *at)
{
    unsigned n = 0;
    n = APPEND(at, n, "\x2e\xff\x06");
    n = append_offset(at, n, JP_COUNTERS + 16);
    n = APPEND(at, n, "\x2e\xf6\x06");
    n = append_offset(at, n, JP_COUNTERS + 16);
    /* the 15; jnz; push bp; mov bp, sp; and byte [bp + 7], ~1; pop bp */
    (void)APPEND(at, n, "\x0f\x75\x08\x55\x89\xe5\x80\x66\x07\xfe\x5d\xcf");
}

static void put_vectors(struct jp_scene *s)
{
    unsigned fault = JP_COMMON, event = JP_COMMON + 0x100,
             debug = JP_COMMON + 0x200;
    put_fault_handler(s->ram + fault);
    put_event_handler(s->ram + event, event, fault);
    put_debug_handler(s->ram + debug);
    for (unsigned v = 0; v < 256; v++) {
        bool is_event = v >= 32 || v == 2 || v == 3 || v == 4;
        unsigned to = v == 1 ? debug : is_event ? event : fault;
        store_le16(s->ram + 4 * v, (uint16_t)(to - HANDLERS));
        store_le16(s->ram + 4 * v + 2, HANDLERS >> 4);
    }
}

/* ---- segments ------------------------------------------------------------ */

static void set_paragraphs(struct jp_scene *s)
{
    const uint64_t below = oracle_below(&s->r, 0x800) & ~15u;
    s->codes[0] = paragraph(s->code);
    s->codes[1] = paragraph(s->code - below);
    s->codes[2] = paragraph(s->code + 0x800 + below);
    s->codes[3] = paragraph(s->code - 0xf100 - below); /* ends inside it */
    s->datas[0] = paragraph(s->data);
    s->datas[1] = paragraph(s->data - below);
    s->datas[2] = paragraph(s->data + 0x4000);
    s->datas[3] = paragraph(s->stack);
    s->datas[4] = paragraph(s->data + below);
    s->datas[5] = s->codes[0];
    s->datas[6] = s->codes[1];
    s->datas[7] = paragraph(0xffff0); /* ... and the device */
    s->stack16 = paragraph(s->stack);
}

static void set_selectors(struct jp_scene *s)
{
    const uint32_t code = (uint32_t)s->code, data = (uint32_t)s->data;
    const struct jp_segment all[] = {
        {JP_SEL_CODE16 | 3, code},  {JP_SEL_CODE16 | 3, code},
        {JP_SEL_SHORT16 | 3, code}, {JP_SEL_OTHER16 | 3, code + 0x2345},
        {JP_SEL_DATA16 | 3, data},  {JP_SEL_DATA16 | 3, data},
        {JP_SEL_SMALL | 3, data},   {JP_SEL_BASED | 3, data},
        {JP_SEL_ALIAS16 | 3, code}, {JP_SEL_DOWN16 | 3, data},
        {JP_SEL_RO | 3, 0},         {JP_SEL_CODE16 | 3, code}};
    memcpy(s->codes, all, sizeof s->codes);
    memcpy(s->datas, all + 4, sizeof s->datas);
    s->stack16 =
        (struct jp_segment){JP_SEL_STACK16 | 3, (uint32_t)s->stack};
}

void jp_lay_out_16(struct jp_scene *s)
{
    if (s->mode == JP_PROT16)
        set_selectors(s);
    else
        set_paragraphs(s);
    if (s->mode == JP_REAL)
        put_vectors(s);
}

uint64_t jp_entry_16(struct jp_scene *s, unsigned offset)
{
    uint64_t linear = s->code + offset;
    const struct jp_segment *cs = &s->codes[oracle_below(&s->r, 8) & 3];
    if (linear < cs->base || linear - cs->base >= MOST_IP)
        cs = &s->codes[0];
    return (linear - cs->base) | (uint64_t)cs->selector << 32;
}

/* ---- registers ----------------------------------------------------------- */

static struct segment real_segment(const struct jp_segment *from, unsigned attr)
{
    return (struct segment){.selector = from->selector,
                            .base = from->base,
                            .limit = 0xffff,
                            .attr = (uint16_t)attr};
}

static struct segment protected_segment(const struct jp_scene *s,
                                        const struct jp_segment *from)
{
    uint64_t d = load_le64(s->ram + JP_GDT + (from->selector & ~7u));
    return (struct segment){
        .selector = from->selector,
        .base = from->base,
        .limit = (uint32_t)(d & 0xffff),
        .attr = (uint16_t)((d >> 40 & 0xff) | (d >> 52 & 15) << 12)};
}

void jp_registers_16(const struct jp_scene *s, struct cpu *c)
{
    uint16_t cs = (uint16_t)(s->entries[0] >> 32);
    struct jp_segment code = s->codes[0];
    for (unsigned n = 0; n < 4; n++)
        if (s->codes[n].selector == cs)
            code = s->codes[n];
    for (unsigned n = 0; n < SEG_COUNT; n++) {
        const struct jp_segment *from = n == SEG_CS   ? &code
                                        : n == SEG_SS ? &s->stack16
                                                      : &s->datas[n & 1];
        c->seg[n] = s->mode == JP_PROT16
                        ? protected_segment(s, from)
                        : real_segment(from, s->mode == JP_V86 ? 0xf3
                                             : n == SEG_CS     ? 0x9b
                                                               : 0x93);
    }
    c->r[REG_RIP] = s->entries[0] & 0xffff;
    c->r[REG_RSP] = 0x2000;
    if (s->mode == JP_V86)
        c->flags |= FLAG_VM;
    if (s->mode != JP_REAL)
        return;
    c->cr0 &= ~(uint64_t)CR0_PE;
    c->flags &= ~(uint32_t)FLAG_AC;
    c->idtr = (struct table_register){.base = 0, .limit = 0x3ff};
}
