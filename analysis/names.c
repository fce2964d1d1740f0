#include "analysis/names.h"

#include "analysis/guest.h"
#include "analysis/unwind.h"
#include "analysis/windows_kernel.h"
#include "base/bytes.h"
#include "cpu/cpu.h"
#include "replay/gdb_target.h"

#include <stdlib.h>
#include <string.h>

struct names {
    struct guest *guest; /* owned */
    struct windows_kernel windows;
    bool is_windows;
};

struct names *names_new(struct machine *m)
{
    struct guest_memory memory;
    struct names *n = calloc(1, sizeof *n);
    if (!n)
        return NULL;
    n->is_windows = windows_kernel_find(&n->windows, m);
    n->guest = guest_new();
    if (!n->guest) {
        names_free(n);
        return NULL;
    }
    guest_memory_of(&memory, m);
    (void)guest_look(n->guest, &memory);
    return n;
}

void names_free(struct names *n)
{
    if (!n)
        return;
    guest_free(n->guest);
    free(n);
}

bool names_of(const struct names *n, uint64_t address, char *text, size_t bytes)
{
    const struct symbols *s = guest_symbols(n->guest);
    struct symbol_place place;
    if (s && symbols_lookup(s, address, &place)) {
        symbols_format(s, address, text, bytes);
        return true;
    }
    return n->is_windows && windows_symbol(&n->windows, address, text, bytes);
}

/* ---- backtraces
 * --------------------------------------------------------------- */

/* Is a CALL in front of it? E8 rel32, or FF /2 with 2 to 7 bytes (SDM vol. 2A
 * CALL). */
static bool is_behind_call(struct machine *m, uint64_t address)
{
    uint8_t code[7];
    if (gdb_memory_read(m, false, address - sizeof code, code, sizeof code) !=
        sizeof code)
        return false;
    if (code[2] == 0xe8)
        return true;
    for (unsigned n = 2; n <= 7; n++)
        if (n != 5 && code[7 - n] == 0xff && (code[8 - n] & 0x38) == 0x10)
            return true;
    return false;
}

static bool read_word(struct machine *m, uint64_t at, unsigned bytes,
                      uint64_t *value)
{
    uint8_t word[8] = {0};
    if (gdb_memory_read(m, false, at, word, bytes) != bytes)
        return false;
    *value = load_le64(word);
    return true;
}

/* By the kernel's own tables; 0: it has none for this place. */
static unsigned take_described(const struct names *n, struct machine *m,
                               struct frame out[BACKTRACE_MAX])
{
    struct unwind_frame frames[BACKTRACE_MAX];
    struct guest_memory memory;
    guest_memory_of(&memory, m);
    unsigned count = unwind(n->guest, &memory, frames, BACKTRACE_MAX);
    if (count < 2 || frames[1].how != UNWIND_ORC)
        return 0;
    for (unsigned i = 0; i < count; i++)
        out[i] = (struct frame){i ? frames[i].sp - 8 : 0, frames[i].pc,
                                frames[i].how != UNWIND_GUESS};
    return count;
}

unsigned backtrace_take(const struct names *n, struct machine *m,
                        struct frame out[BACKTRACE_MAX])
{
    unsigned described = n ? take_described(n, m, out) : 0;
    if (described)
        return described;
    const struct cpu *c = machine_cpu(m);
    unsigned word = gdb_target_of(m) == GDB_X86_64 ? 8 : 4, count = 1;
    uint64_t base = word == 8 ? 0 : c->seg[SEG_SS].base;
    uint64_t stack = base + c->r[REG_RSP], frame = base + c->r[REG_RBP];
    out[0] = (struct frame){0, gdb_linear_pc(m), true};
    if (cpu_is_real(c) || cpu_is_v86(c))
        return count;
    for (unsigned i = 0; i < BACKTRACE_WORDS && count < BACKTRACE_MAX; i++) {
        uint64_t at = stack + (uint64_t)i * word, value, next;
        if (!read_word(m, at, word, &value))
            break;
        bool is_sure = at == frame + word;
        if (is_sure && read_word(m, frame, word, &next))
            frame = base + next;
        if (is_behind_call(m, value))
            out[count++] = (struct frame){at, value, is_sure};
    }
    return count;
}
