#include "replay/gdb_target.h"

#include "base/bytes.h"
#include "cpu/cpu.h"
#include "mem/phys.h"

#include <stdio.h>
#include <string.h>

enum kind {
    KIND_GENERAL, /* index: enum reg */
    KIND_PC,
    KIND_FLAGS,
    KIND_SELECTOR, /* index: enum seg, or one of the two below */
    KIND_BASE,
    KIND_ST,  /* index: stack slot */
    KIND_X87, /* index: enum x87_part */
    KIND_XMM,
    KIND_MXCSR,
    KIND_CR, /* index 0, 2, 3, 4, 8 */
    KIND_DR,
    KIND_EFER,
    KIND_KERNEL_GS,
    KIND_TABLE, /* index: 0 GDT base, 1 its limit, 2 IDT base, 3 its limit */
    KIND_TICK
};

enum { SEG_LDTR = SEG_COUNT, SEG_TR };

enum x87_part {
    X87_CONTROL,
    X87_STATUS,
    X87_TAGS,
    X87_CS,
    X87_IP,
    X87_DS,
    X87_DP,
    X87_OPCODE
};

struct reg_row {
    const char *name;
    uint8_t bits;
    uint8_t kind, index;
    const char *type;
    const char *group; /* NULL: as the type says */
};

#define SELECTORS                                                              \
    {"cs", 32, KIND_SELECTOR, SEG_CS, "int32", NULL},                          \
        {"ss", 32, KIND_SELECTOR, SEG_SS, "int32", NULL},                      \
        {"ds", 32, KIND_SELECTOR, SEG_DS, "int32", NULL},                      \
        {"es", 32, KIND_SELECTOR, SEG_ES, "int32", NULL},                      \
        {"fs", 32, KIND_SELECTOR, SEG_FS, "int32", NULL},                      \
    {                                                                          \
        "gs", 32, KIND_SELECTOR, SEG_GS, "int32", NULL                         \
    }
#define ST(n)                                                                  \
    {                                                                          \
        "st" #n, 80, KIND_ST, n, "i387_ext", NULL                              \
    }
#define STACK ST(0), ST(1), ST(2), ST(3), ST(4), ST(5), ST(6), ST(7)
#define CONTROLS                                                               \
    {"fctrl", 32, KIND_X87, X87_CONTROL, "int", "float"},                      \
        {"fstat", 32, KIND_X87, X87_STATUS, "int", "float"},                   \
        {"ftag", 32, KIND_X87, X87_TAGS, "int", "float"},                      \
        {"fiseg", 32, KIND_X87, X87_CS, "int", "float"},                       \
        {"fioff", 32, KIND_X87, X87_IP, "int", "float"},                       \
        {"foseg", 32, KIND_X87, X87_DS, "int", "float"},                       \
        {"fooff", 32, KIND_X87, X87_DP, "int", "float"},                       \
    {                                                                          \
        "fop", 32, KIND_X87, X87_OPCODE, "int", "float"                        \
    }
#define XMM(n)                                                                 \
    {                                                                          \
        "xmm" #n, 128, KIND_XMM, n, "vec128", NULL                             \
    }
#define XMM_LOW XMM(0), XMM(1), XMM(2), XMM(3), XMM(4), XMM(5), XMM(6), XMM(7)
#define XMM_HIGH                                                               \
    XMM(8), XMM(9), XMM(10), XMM(11), XMM(12), XMM(13), XMM(14), XMM(15)
#define MXCSR                                                                  \
    {                                                                          \
        "mxcsr", 32, KIND_MXCSR, 0, "i386_mxcsr", "vector"                     \
    }
/* Registers of a feature follow each other; the order is gdb's. */
static const struct reg_row core_64[] = {
    {"rax", 64, KIND_GENERAL, REG_RAX, "int64", NULL},
    {"rbx", 64, KIND_GENERAL, REG_RBX, "int64", NULL},
    {"rcx", 64, KIND_GENERAL, REG_RCX, "int64", NULL},
    {"rdx", 64, KIND_GENERAL, REG_RDX, "int64", NULL},
    {"rsi", 64, KIND_GENERAL, REG_RSI, "int64", NULL},
    {"rdi", 64, KIND_GENERAL, REG_RDI, "int64", NULL},
    {"rbp", 64, KIND_GENERAL, REG_RBP, "data_ptr", NULL},
    {"rsp", 64, KIND_GENERAL, REG_RSP, "data_ptr", NULL},
    {"r8", 64, KIND_GENERAL, 8, "int64", NULL},
    {"r9", 64, KIND_GENERAL, 9, "int64", NULL},
    {"r10", 64, KIND_GENERAL, 10, "int64", NULL},
    {"r11", 64, KIND_GENERAL, 11, "int64", NULL},
    {"r12", 64, KIND_GENERAL, 12, "int64", NULL},
    {"r13", 64, KIND_GENERAL, 13, "int64", NULL},
    {"r14", 64, KIND_GENERAL, 14, "int64", NULL},
    {"r15", 64, KIND_GENERAL, 15, "int64", NULL},
    {"rip", 64, KIND_PC, 0, "code_ptr", NULL},
    {"eflags", 32, KIND_FLAGS, 0, "i386_eflags", NULL},
    SELECTORS,
    STACK,
    CONTROLS,
};
static const struct reg_row sse_64[] = {XMM_LOW, XMM_HIGH, MXCSR};
static const struct reg_row segments_64[] = {
    {"fs_base", 64, KIND_BASE, SEG_FS, "int", NULL},
    {"gs_base", 64, KIND_BASE, SEG_GS, "int", NULL},
};
#define SYSTEM_ROWS(bits)                                                      \
    {"cs_base", bits, KIND_BASE, SEG_CS, "uint" #bits, "system"},              \
        {"ss_base", bits, KIND_BASE, SEG_SS, "uint" #bits, "system"},          \
        {"ds_base", bits, KIND_BASE, SEG_DS, "uint" #bits, "system"},          \
        {"es_base", bits, KIND_BASE, SEG_ES, "uint" #bits, "system"},          \
        {"cr0", bits, KIND_CR, 0, "uint" #bits, "system"},                     \
        {"cr2", bits, KIND_CR, 2, "uint" #bits, "system"},                     \
        {"cr3", bits, KIND_CR, 3, "uint" #bits, "system"},                     \
        {"cr4", bits, KIND_CR, 4, "uint" #bits, "system"},                     \
        {"dr0", bits, KIND_DR, 0, "uint" #bits, "system"},                     \
        {"dr1", bits, KIND_DR, 1, "uint" #bits, "system"},                     \
        {"dr2", bits, KIND_DR, 2, "uint" #bits, "system"},                     \
        {"dr3", bits, KIND_DR, 3, "uint" #bits, "system"},                     \
        {"dr6", bits, KIND_DR, 6, "uint" #bits, "system"},                     \
        {"dr7", bits, KIND_DR, 7, "uint" #bits, "system"},                     \
        {"gdtr_base", bits, KIND_TABLE, 0, "uint" #bits, "system"},            \
        {"gdtr_limit", 32, KIND_TABLE, 1, "uint32", "system"},                 \
        {"idtr_base", bits, KIND_TABLE, 2, "uint" #bits, "system"},            \
        {"idtr_limit", 32, KIND_TABLE, 3, "uint32", "system"},                 \
        {"ldtr", 32, KIND_SELECTOR, SEG_LDTR, "uint32", "system"},             \
        {"ldtr_base", bits, KIND_BASE, SEG_LDTR, "uint" #bits, "system"},      \
        {"tr", 32, KIND_SELECTOR, SEG_TR, "uint32", "system"},                 \
        {"tr_base", bits, KIND_BASE, SEG_TR, "uint" #bits, "system"},          \
        {"efer", 64, KIND_EFER, 0, "uint64", "system"},                        \
    {                                                                          \
        "tick", 64, KIND_TICK, 0, "uint64", "system"                           \
    }
static const struct reg_row system_64[] = {
    {"cr8", 64, KIND_CR, 8, "uint64", "system"},
    {"k_gs_base", 64, KIND_KERNEL_GS, 0, "uint64", "system"},
    SYSTEM_ROWS(64),
};

static const struct reg_row core_32[] = {
    {"eax", 32, KIND_GENERAL, REG_RAX, "int32", NULL},
    {"ecx", 32, KIND_GENERAL, REG_RCX, "int32", NULL},
    {"edx", 32, KIND_GENERAL, REG_RDX, "int32", NULL},
    {"ebx", 32, KIND_GENERAL, REG_RBX, "int32", NULL},
    {"esp", 32, KIND_GENERAL, REG_RSP, "data_ptr", NULL},
    {"ebp", 32, KIND_GENERAL, REG_RBP, "data_ptr", NULL},
    {"esi", 32, KIND_GENERAL, REG_RSI, "int32", NULL},
    {"edi", 32, KIND_GENERAL, REG_RDI, "int32", NULL},
    {"eip", 32, KIND_PC, 0, "code_ptr", NULL},
    {"eflags", 32, KIND_FLAGS, 0, "i386_eflags", NULL},
    SELECTORS,
    STACK,
    CONTROLS,
};
static const struct reg_row sse_32[] = {XMM_LOW, MXCSR};
static const struct reg_row system_32[] = {
    {"fs_base", 32, KIND_BASE, SEG_FS, "uint32", "system"},
    {"gs_base", 32, KIND_BASE, SEG_GS, "uint32", "system"},
    SYSTEM_ROWS(32),
};

struct feature {
    const char *name;
    const struct reg_row *rows;
    unsigned count;
    const char *types; /* definitions that its registers use */
};

static const char core_types[] =
    "<flags id=\"i386_eflags\" size=\"4\">"
    "<field name=\"\" start=\"22\" end=\"31\"/>"
    "<field name=\"CF\" start=\"0\" end=\"0\"/>"
    "<field name=\"\" start=\"1\" end=\"1\"/>"
    "<field name=\"PF\" start=\"2\" end=\"2\"/>"
    "<field name=\"AF\" start=\"4\" end=\"4\"/>"
    "<field name=\"ZF\" start=\"6\" end=\"6\"/>"
    "<field name=\"SF\" start=\"7\" end=\"7\"/>"
    "<field name=\"TF\" start=\"8\" end=\"8\"/>"
    "<field name=\"IF\" start=\"9\" end=\"9\"/>"
    "<field name=\"DF\" start=\"10\" end=\"10\"/>"
    "<field name=\"OF\" start=\"11\" end=\"11\"/>"
    "<field name=\"NT\" start=\"14\" end=\"14\"/>"
    "<field name=\"RF\" start=\"16\" end=\"16\"/>"
    "<field name=\"VM\" start=\"17\" end=\"17\"/>"
    "<field name=\"AC\" start=\"18\" end=\"18\"/>"
    "<field name=\"VIF\" start=\"19\" end=\"19\"/>"
    "<field name=\"VIP\" start=\"20\" end=\"20\"/>"
    "<field name=\"ID\" start=\"21\" end=\"21\"/></flags>";
static const char sse_types[] =
    "<vector id=\"v4f\" type=\"ieee_single\" count=\"4\"/>"
    "<vector id=\"v2d\" type=\"ieee_double\" count=\"2\"/>"
    "<vector id=\"v16i8\" type=\"int8\" count=\"16\"/>"
    "<vector id=\"v8i16\" type=\"int16\" count=\"8\"/>"
    "<vector id=\"v4i32\" type=\"int32\" count=\"4\"/>"
    "<vector id=\"v2i64\" type=\"int64\" count=\"2\"/>"
    "<union id=\"vec128\"><field name=\"v4_float\" type=\"v4f\"/>"
    "<field name=\"v2_double\" type=\"v2d\"/>"
    "<field name=\"v16_int8\" type=\"v16i8\"/>"
    "<field name=\"v8_int16\" type=\"v8i16\"/>"
    "<field name=\"v4_int32\" type=\"v4i32\"/>"
    "<field name=\"v2_int64\" type=\"v2i64\"/>"
    "<field name=\"uint128\" type=\"uint128\"/></union>"
    "<flags id=\"i386_mxcsr\" size=\"4\">"
    "<field name=\"IE\" start=\"0\" end=\"0\"/>"
    "<field name=\"DE\" start=\"1\" end=\"1\"/>"
    "<field name=\"ZE\" start=\"2\" end=\"2\"/>"
    "<field name=\"OE\" start=\"3\" end=\"3\"/>"
    "<field name=\"UE\" start=\"4\" end=\"4\"/>"
    "<field name=\"PE\" start=\"5\" end=\"5\"/>"
    "<field name=\"DAZ\" start=\"6\" end=\"6\"/>"
    "<field name=\"IM\" start=\"7\" end=\"7\"/>"
    "<field name=\"DM\" start=\"8\" end=\"8\"/>"
    "<field name=\"ZM\" start=\"9\" end=\"9\"/>"
    "<field name=\"OM\" start=\"10\" end=\"10\"/>"
    "<field name=\"UM\" start=\"11\" end=\"11\"/>"
    "<field name=\"PM\" start=\"12\" end=\"12\"/>"
    "<field name=\"FZ\" start=\"15\" end=\"15\"/></flags>";

#define ROWS(a) a, sizeof(a) / sizeof(a)[0]
enum { FEATURES = 4 };
static const struct feature features[2][FEATURES] = {
    [GDB_I386] = {{"org.gnu.gdb.i386.core", ROWS(core_32), core_types},
                  {"org.gnu.gdb.i386.sse", ROWS(sse_32), sse_types},
                  {"org.relive.i386.system", ROWS(system_32), ""}},
    [GDB_X86_64] = {{"org.gnu.gdb.i386.core", ROWS(core_64), core_types},
                    {"org.gnu.gdb.i386.sse", ROWS(sse_64), sse_types},
                    {"org.gnu.gdb.i386.segments", ROWS(segments_64), ""},
                    {"org.relive.x86-64.system", ROWS(system_64), ""}},
};

static const struct reg_row *row_of(enum gdb_arch arch, unsigned n)
{
    for (unsigned f = 0; f < FEATURES; f++) {
        const struct feature *feature = &features[arch][f];
        if (n < feature->count)
            return &feature->rows[n];
        n -= feature->count;
    }
    return NULL;
}

/* ---- the description
 * ----------------------------------------------------------- */

enum gdb_arch gdb_target_of(struct machine *m)
{
    return cpu_is_long(machine_cpu(m)) ? GDB_X86_64 : GDB_I386;
}

static void put(struct writer *w, const char *text)
{
    writer_bytes(w, text, strlen(text));
}

void gdb_target_xml(enum gdb_arch arch, struct writer *w)
{
    char line[200];
    put(w, "<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM "
           "\"gdb-target.dtd\"><target version=\"1.0\"><architecture>");
    put(w, arch == GDB_X86_64 ? "i386:x86-64" : "i386");
    put(w, "</architecture>");
    for (unsigned f = 0; f < FEATURES && features[arch][f].name; f++) {
        const struct feature *feature = &features[arch][f];
        (void)snprintf(line, sizeof line, "<feature name=\"%s\">",
                       feature->name);
        put(w, line);
        put(w, feature->types);
        for (unsigned n = 0; n < feature->count; n++) {
            const struct reg_row *r = &feature->rows[n];
            (void)snprintf(line, sizeof line,
                           "<reg name=\"%s\" bitsize=\"%u\" type=\"%s\"%s%s%s"
                           "/>",
                           r->name, r->bits, r->type,
                           r->group ? " group=\"" : "",
                           r->group ? r->group : "", r->group ? "\"" : "");
            put(w, line);
        }
        put(w, "</feature>");
    }
    put(w, "</target>");
}

unsigned gdb_register_count(enum gdb_arch arch)
{
    unsigned count = 0;
    for (unsigned f = 0; f < FEATURES; f++)
        count += features[arch][f].count;
    return count;
}

const char *gdb_register_name(enum gdb_arch arch, unsigned n)
{
    const struct reg_row *r = row_of(arch, n);
    return r ? r->name : NULL;
}

unsigned gdb_register_bytes(enum gdb_arch arch, unsigned n)
{
    const struct reg_row *r = row_of(arch, n);
    return r ? r->bits / 8u : 0;
}

/* ---- values
 * ---------------------------------------------------------------------- */

uint64_t gdb_linear_pc(struct machine *m)
{
    const struct cpu *c = machine_cpu(m);
    return (c->r[REG_RIP] + c->ea_base[SEG_CS]) & c->linear_mask;
}

/* The tag word of FNSAVE: 0 valid, 1 zero, 2 special, 3 empty (SDM vol. 1
 * 8.1.7). */
static uint16_t x87_tags(const struct x87 *x)
{
    uint16_t tags = 0;
    for (unsigned i = 0; i < 8; i++) {
        unsigned tag = 0, exponent = x->exponent[i] & 0x7fff;
        if (!(x->valid >> i & 1))
            tag = 3;
        else if (exponent == 0 && x->mantissa[i] == 0)
            tag = 1;
        else if (exponent == 0x7fff || !(x->mantissa[i] >> 63))
            tag = 2;
        tags |= (uint16_t)(tag << (2 * i));
    }
    return tags;
}

static uint64_t x87_get(const struct x87 *x, unsigned part)
{
    switch (part) {
    case X87_CONTROL:
        return x->control;
    case X87_STATUS:
        return (uint64_t)(x->status | x->top << 11);
    case X87_TAGS:
        return x87_tags(x);
    case X87_CS:
        return x->cs;
    case X87_IP:
        return x->ip;
    case X87_DS:
        return x->ds;
    case X87_DP:
        return x->dp;
    default:
        return x->opcode;
    }
}

static bool x87_set(struct x87 *x, unsigned part, uint64_t v)
{
    switch (part) {
    case X87_CONTROL:
        x->control = (uint16_t)((v & 0x1f3f) | 0x40);
        return true;
    case X87_STATUS:
        x->status = (uint16_t)(v & 0xc7ff);
        x->top = v >> 11 & 7;
        return true;
    case X87_TAGS:
        x->valid = 0;
        for (unsigned i = 0; i < 8; i++)
            x->valid |= (uint8_t)(((v >> (2 * i) & 3) != 3) << i);
        return true;
    case X87_CS:
        x->cs = (uint16_t)v;
        return true;
    case X87_IP:
        x->ip = v;
        return true;
    case X87_DS:
        x->ds = (uint16_t)v;
        return true;
    case X87_DP:
        x->dp = v;
        return true;
    default:
        x->opcode = v & 0x7ff;
        return true;
    }
}

static const struct segment *segment_of(const struct cpu *c, unsigned index)
{
    return index == SEG_LDTR ? &c->ldtr
           : index == SEG_TR ? &c->tr
                             : &c->seg[index];
}

static uint64_t control_get(const struct cpu *c, unsigned n)
{
    switch (n) {
    case 0:
        return c->cr0;
    case 2:
        return c->cr2;
    case 3:
        return c->cr3;
    case 4:
        return c->cr4;
    default:
        return c->board.tpr_read(c->board.context);
    }
}

static uint64_t table_get(const struct cpu *c, unsigned index)
{
    const struct table_register *t = index < 2 ? &c->gdtr : &c->idtr;
    return index & 1 ? t->limit : t->base;
}

static uint64_t number_get(struct machine *m, const struct reg_row *r)
{
    const struct cpu *c = machine_cpu(m);
    switch (r->kind) {
    case KIND_GENERAL:
        return c->r[r->index];
    case KIND_PC:
        return gdb_linear_pc(m);
    case KIND_FLAGS:
        return cpu_rflags(c);
    case KIND_SELECTOR:
        return segment_of(c, r->index)->selector;
    case KIND_BASE:
        return segment_of(c, r->index)->base;
    case KIND_X87:
        return x87_get(&c->x87, r->index);
    case KIND_MXCSR:
        return c->mxcsr;
    case KIND_CR:
        return control_get(c, r->index);
    case KIND_DR:
        return c->dr[r->index];
    case KIND_EFER:
        return c->efer;
    case KIND_KERNEL_GS:
        return c->kernel_gs_base;
    case KIND_TABLE:
        return table_get(c, r->index);
    default:
        return machine_tick(m);
    }
}

void gdb_register_get(struct machine *m, enum gdb_arch arch, unsigned n,
                      uint8_t value[GDB_REGISTER_BYTES])
{
    const struct cpu *c = machine_cpu(m);
    const struct reg_row *r = row_of(arch, n);
    memset(value, 0, GDB_REGISTER_BYTES);
    if (!r)
        return;
    if (r->kind == KIND_XMM) {
        memcpy(value, c->xmm[r->index].u8, 16);
    } else if (r->kind == KIND_ST) {
        unsigned at = (c->x87.top + r->index) & 7;
        store_le64(value, c->x87.mantissa[at]);
        store_le16(value + 8, c->x87.exponent[at]);
    } else {
        store_le64(value, number_get(m, r));
    }
}

/* ---- changing them
 * ----------------------------------------------------------------- */

static bool selector_set(struct cpu *c, unsigned index, uint64_t v)
{
    if (index >= SEG_COUNT)
        return false;
    if (cpu_is_real(c) || cpu_is_v86(c)) {
        cpu_set_real_segment(c, (enum seg)index, (uint16_t)v);
        cpu_update_mode(c);
        return true;
    }
    if (index == SEG_CS)
        return false; /* a change of privilege: not by hand */
    return cpu_load_segment(c, (enum seg)index, (uint16_t)v) == EXC_NONE;
}

static bool control_set(struct cpu *c, unsigned n, uint64_t v)
{
    switch (n) {
    case 0:
        return cpu_set_cr0(c, v) == EXC_NONE;
    case 2:
        c->cr2 = v;
        return true;
    case 3:
        return cpu_set_cr3(c, v) == EXC_NONE;
    case 4:
        return cpu_set_cr4(c, v) == EXC_NONE;
    default:
        if (v > 15)
            return false;
        c->board.tpr_write(c->board.context, (uint8_t)v);
        return true;
    }
}

static bool base_set(struct cpu *c, unsigned index, uint64_t v)
{
    if (index >= SEG_COUNT)
        return false;
    c->seg[index].base = v;
    cpu_update_mode(c);
    return true;
}

static bool number_set(struct cpu *c, const struct reg_row *r, uint64_t v)
{
    switch (r->kind) {
    case KIND_GENERAL:
        c->r[r->index] = v;
        return true;
    case KIND_PC:
        c->r[REG_RIP] = (v - c->ea_base[SEG_CS]) & c->linear_mask;
        return true;
    case KIND_FLAGS:
        /* VM switches modes: not by hand. */
        cpu_set_rflags(c, ((uint32_t)v & ~(uint32_t)FLAG_VM & 0x3f7fd7) |
                              (c->flags & FLAG_VM));
        return true;
    case KIND_SELECTOR:
        return selector_set(c, r->index, v);
    case KIND_BASE:
        return base_set(c, r->index, v);
    case KIND_X87:
        return x87_set(&c->x87, r->index, v);
    case KIND_MXCSR:
        c->mxcsr = (uint32_t)v & 0xffff;
        return true;
    case KIND_CR:
        return control_set(c, r->index, v);
    case KIND_KERNEL_GS:
        c->kernel_gs_base = v;
        return true;
    default:
        return false;
    }
}

bool gdb_register_set(struct machine *m, enum gdb_arch arch, unsigned n,
                      const uint8_t value[GDB_REGISTER_BYTES])
{
    struct cpu *c = machine_cpu(m);
    const struct reg_row *r = row_of(arch, n);
    if (!r)
        return false;
    if (r->kind == KIND_XMM) {
        memcpy(c->xmm[r->index].u8, value, 16);
        return true;
    }
    if (r->kind == KIND_ST) {
        unsigned at = (c->x87.top + r->index) & 7;
        c->x87.mantissa[at] = load_le64(value);
        c->x87.exponent[at] = load_le16(value + 8);
        return true;
    }
    uint64_t v = load_le64(value);
    return number_set(c, r, r->bits == 32 ? (uint32_t)v : v);
}

/* ---- memory
 * ------------------------------------------------------------------------- */

/* The page at an address, and how many of `bytes` lie in it; 0: none is there.
 */
static size_t find_page(struct machine *m, bool is_physical, uint64_t address,
                        unsigned how, size_t bytes, struct phys_page *page,
                        uint32_t *offset)
{
    uint64_t paddr = address;
    if (!is_physical && !mmu_peek(&machine_cpu(m)->mmu, address, &paddr))
        return 0;
    if (paddr >> PHYS_ADDRESS_BITS)
        return 0;
    *offset = paddr & (PAGE_BYTES - 1);
    phys_lookup(machine_phys(m), paddr - *offset, how, page);
    size_t room = PAGE_BYTES - *offset;
    return !page->host ? 0 : room < bytes ? room : bytes;
}

size_t gdb_memory_read(struct machine *m, bool is_physical, uint64_t address,
                       void *out, size_t bytes)
{
    size_t done = 0;
    while (done < bytes) {
        struct phys_page page;
        uint32_t offset;
        size_t n = find_page(m, is_physical, address + done, PHYS_READ,
                             bytes - done, &page, &offset);
        if (n == 0)
            break;
        memcpy((uint8_t *)out + done, page.host + offset, n);
        done += n;
    }
    return done;
}

size_t gdb_memory_write(struct machine *m, bool is_physical, uint64_t address,
                        const void *in, size_t bytes)
{
    size_t done = 0;
    while (done < bytes) {
        struct phys_page page;
        uint32_t offset;
        size_t n = find_page(m, is_physical, address + done, PHYS_READ,
                             bytes - done, &page, &offset);
        if (n == 0)
            break;
        phys_frame_write(machine_phys(m), page.frame, offset,
                         (const uint8_t *)in + done, (uint32_t)n);
        done += n;
    }
    return done;
}
