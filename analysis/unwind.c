#include "analysis/unwind.h"

#include "base/bytes.h"

#include <string.h>

/* Registers on the way out. */
struct frame {
    uint64_t pc, sp, bp;
    bool is_first; /* pc is an instruction, not a return address */
};

struct walk {
    const struct guest_memory *m;
    const struct symbols *symbols; /* NULL: none */
    uint64_t root;                 /* of the stack that is walked */
    uint64_t ips, entries;         /* ORC tables; 0: none */
    uint32_t count;
    uint64_t text, text_end; /* what they describe */
};

static bool is_kernel(const struct walk *w, uint64_t address)
{
    return w->m->cpu.is_long ? address >> 47 == 0x1ffff
                             : address >= 0x80000000;
}

/* ---- ORC: arch/x86/include/asm/orc_types.h of Linux
 * --------------------------------------------- */

enum {
    ORC_ENTRY_BYTES = 6,
    ORC_REG_PREV_SP = 1,
    ORC_REG_BP = 4,
    ORC_REG_SP = 5,
    ORC_REG_SP_INDIRECT = 9,
    ORC_CALL = 0,
    ORC_REGS = 1,
    ORC_REGS_PARTIAL = 2,
    PT_REGS_BP = 32,
    PT_REGS_IP = 128
};

static void find_orc(struct walk *w)
{
    struct symbol ips, ips_end, entries, text, text_end;
    if (!w->symbols || !w->m->cpu.is_long ||
        !symbols_find(w->symbols, "kernel!__start_orc_unwind_ip", &ips) ||
        !symbols_find(w->symbols, "kernel!__stop_orc_unwind_ip", &ips_end) ||
        !symbols_find(w->symbols, "kernel!__start_orc_unwind", &entries) ||
        !symbols_find(w->symbols, "kernel!_stext", &text) ||
        !symbols_find(w->symbols, "kernel!_etext", &text_end) ||
        ips_end.address <= ips.address ||
        ips_end.address - ips.address > 64 << 20)
        return;
    w->ips = ips.address;
    w->entries = entries.address;
    w->count = (uint32_t)((ips_end.address - ips.address) / 4);
    w->text = text.address;
    w->text_end = text_end.address;
}

/* The last entry at or below an address; each address in the table counts from
 * its own place. */
static bool find_entry(const struct walk *w, uint64_t pc,
                       uint8_t entry[ORC_ENTRY_BYTES])
{
    uint32_t low = 0, high = w->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2, offset;
        uint64_t at = w->ips + UINT64_C(4) * middle;
        if (!guest_read_u32(w->m, w->root, at, &offset))
            return false;
        if (at + (uint64_t)(int64_t)(int32_t)offset <= pc)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 &&
           guest_read_all(w->m, w->root,
                          w->entries + UINT64_C(6) * (low - 1), entry,
                          ORC_ENTRY_BYTES);
}

/* What an interrupt or a system call has saved. */
static bool step_saved(const struct walk *w, uint64_t regs, bool is_partial,
                       struct frame *f)
{
    uint64_t at = is_partial ? regs : regs + PT_REGS_IP;
    if (!guest_read_u64(w->m, w->root, at, &f->pc) ||
        !guest_read_u64(w->m, w->root, at + 24, &f->sp))
        return false;
    if (!is_partial &&
        !guest_read_u64(w->m, w->root, regs + PT_REGS_BP, &f->bp))
        return false;
    f->is_first = true;
    return true;
}

static bool step_orc(const struct walk *w, struct frame *f)
{
    uint8_t entry[ORC_ENTRY_BYTES];
    uint64_t pc = f->is_first ? f->pc : f->pc - 1, sp;
    if (!w->ips || pc < w->text || pc >= w->text_end ||
        !find_entry(w, pc, entry))
        return false;
    int16_t sp_offset = (int16_t)load_le16(entry);
    int16_t bp_offset = (int16_t)load_le16(entry + 2);
    unsigned sp_reg = entry[4] & 15, bp_reg = entry[4] >> 4;
    if (sp_reg == ORC_REG_SP)
        sp = f->sp + (uint64_t)(int64_t)sp_offset;
    else if (sp_reg == ORC_REG_BP)
        sp = f->bp + (uint64_t)(int64_t)sp_offset;
    else if (sp_reg == ORC_REG_SP_INDIRECT) {
        if (!guest_read_u64(w->m, w->root, f->sp, &sp))
            return false;
        sp += (uint64_t)(int64_t)sp_offset;
    } else
        return false;
    unsigned type = entry[5] & 3;
    if (type == ORC_REGS || type == ORC_REGS_PARTIAL)
        return step_saved(w, sp, type == ORC_REGS_PARTIAL, f);
    if (type != ORC_CALL || sp <= f->sp ||
        !guest_read_u64(w->m, w->root, sp - 8, &f->pc))
        return false;
    if (bp_reg == ORC_REG_PREV_SP &&
        !guest_read_u64(w->m, w->root, sp + (uint64_t)(int64_t)bp_offset,
                        &f->bp))
        return false;
    f->sp = sp;
    f->is_first = false;
    return true;
}

/* ---- frame pointers and guesses
 * ----------------------------------------------------------------- */

/* Is it behind a call? e8 rel32, ff /2 with up to 6 more bytes. */
static bool is_behind_call(const struct walk *w, uint64_t pc)
{
    uint8_t b[7];
    if (pc < 7 || !guest_read_all(w->m, w->root, pc - 7, b, sizeof b))
        return false;
    if (b[2] == 0xe8)
        return true;
    for (unsigned n = 2; n <= 7; n++) /* /2: register or memory */
        if (b[7 - n] == 0xff && (b[8 - n] >> 3 & 7) == 2)
            return true;
    return false;
}

enum { FRAME_MAX_BYTES = 1 << 16, GUESS_WORDS = 64 };

static bool step_pointer(const struct walk *w, struct frame *f)
{
    unsigned word = guest_word(w->m);
    uint64_t pc, bp;
    if (f->bp < f->sp || f->bp - f->sp > FRAME_MAX_BYTES || f->bp % word ||
        !guest_read_word(w->m, w->root, f->bp, &bp) ||
        !guest_read_word(w->m, w->root, f->bp + word, &pc) ||
        !is_behind_call(w, pc))
        return false;
    f->sp = f->bp + 2 * word;
    f->bp = bp;
    f->pc = pc;
    f->is_first = false;
    return true;
}

static bool step_guess(const struct walk *w, struct frame *f)
{
    unsigned word = guest_word(w->m);
    struct symbol_place place;
    for (unsigned i = 0; i < GUESS_WORDS; i++) {
        uint64_t value, at = f->sp + i * word;
        if (!guest_read_word(w->m, w->root, at, &value))
            return false;
        if (!w->symbols || !symbols_lookup(w->symbols, value, &place) ||
            place.symbol.kind != SYMBOL_CODE || !is_behind_call(w, value))
            continue;
        f->pc = value;
        f->sp = at + word;
        f->is_first = false;
        return true;
    }
    return false;
}

unsigned unwind(struct guest *g, const struct guest_memory *m,
                struct unwind_frame *frames, unsigned max)
{
    struct walk w = {.m = m,
                     .symbols = guest_symbols(g),
                     .root = guest_kernel_root(g)};
    struct frame f = {m->cpu.rip, m->cpu.rsp, m->cpu.rbp, true};
    bool is_inside = is_kernel(&w, f.pc);
    if (!is_inside || !w.root)
        w.root = m->cpu.cr3;
    find_orc(&w);
    frames[0] = (struct unwind_frame){f.pc, f.sp, UNWIND_HERE};
    unsigned n = 1;
    while (n < max) {
        enum unwind_how how = UNWIND_ORC;
        if (!step_orc(&w, &f)) {
            how = UNWIND_FRAME;
            if (!step_pointer(&w, &f)) {
                how = UNWIND_GUESS;
                if (!is_inside || !step_guess(&w, &f))
                    break;
            }
        }
        if (f.pc == 0)
            break;
        frames[n++] = (struct unwind_frame){f.pc, f.sp, how};
        if (is_inside && !is_kernel(&w, f.pc)) {
            is_inside = false;
            w.root = m->cpu.cr3;
        }
    }
    return n;
}
