#include "analysis/crash.h"

#include "base/bytes.h"
#include "cpu/cpu.h"
#include "replay/gdb_target.h"

#include <stdio.h>
#include <string.h>

enum {
    SAMPLES = 32,
    SAMPLE_TICKS = 1000003, /* a prime: no multiple of a loop's length */
    HITS_MAX = 500          /* exceptions to look at in front of a message */
};

const char *crash_kind_name(enum crash_kind kind)
{
    static const char *const names[] = {[CRASH_NONE] = "none",
                                        [CRASH_TRIPLE] = "triple-fault",
                                        [CRASH_LINUX] = "linux",
                                        [CRASH_HANG] = "hang"};
    return names[kind];
}

static bool go(struct travel *t, struct machine_place place, struct error *err)
{
    return travel_goto(t, place, err) != TRAVEL_FAILED;
}

/* ---- triple faults
 * ------------------------------------------------------------- */

/* The text of the chain comes into being when the guest ends: run into it. */
static bool describe_triple(struct travel *t, struct crash *out,
                            struct error *err)
{
    struct probe_hit hit;
    uint64_t end = travel_session(t)->end_tick;
    if (!go(t, (struct machine_place){end > 0 ? end - 1 : 0, 0}, err) ||
        travel_continue(t, NULL, 0, &hit, err) == TRAVEL_FAILED)
        return false;
    out->kind = CRASH_TRIPLE;
    out->place = travel_place(t);
    out->has_fault = true;
    (void)snprintf(out->text, sizeof out->text, "%s",
                   machine_fault_text(travel_machine(t)));
    return true;
}

/* ---- the fault in front of a message
 * ---------------------------------------------- */

/* Exceptions that make Linux print an oops, and whether they push an error
 * code. */
static const struct {
    uint8_t vector;
    bool has_error;
} deadly[] = {{0, false}, {3, false}, {6, false}, {8, true}, {10, true},
              {11, true}, {12, true}, {13, true}, {14, true}};
enum { DEADLY = sizeof deadly / sizeof deadly[0] };

/* Where the gate of a vector leads; 0: nowhere. */
static uint64_t handler_of(struct machine *m, unsigned vector)
{
    const struct cpu *c = machine_cpu(m);
    uint8_t gate[16] = {0};
    unsigned bytes = cpu_is_long(c) ? 16 : 8;
    if (gdb_memory_read(m, false, c->idtr.base + vector * bytes, gate, bytes) !=
            bytes ||
        !(gate[5] & 0x80))
        return 0;
    return load_le16(gate) | (uint64_t)load_le16(gate + 6) << 16 |
           (uint64_t)load_le32(gate + 8) << 32;
}

/* At the first instruction of a handler: was it the kernel that faulted? The
 * saved CS tells (SDM vol. 3A 6.12, 6.14). */
static bool came_from_kernel(struct machine *m, bool has_error)
{
    const struct cpu *c = machine_cpu(m);
    uint8_t cs[2];
    unsigned bytes = cpu_is_long(c) ? 8 : 4;
    uint64_t at =
        c->seg[SEG_SS].base + c->r[REG_RSP] + bytes * (1u + has_error);
    if (cpu_is_long(c))
        at = c->r[REG_RSP] + bytes * (1u + has_error);
    return gdb_memory_read(m, false, at, cs, 2) == 2 &&
           (load_le16(cs) & 3) == 0;
}

/* Go back from the message to the kernel's last exception. */
static bool find_fault(struct travel *t, struct crash *out, struct error *err)
{
    struct machine *m = travel_machine(t);
    struct probe probes[DEADLY];
    out->place = (struct machine_place){out->seen, 0};
    if (!go(t, out->place, err))
        return false;
    if (!out->has_fault)
        return true;
    out->has_fault = false;
    for (unsigned i = 0; i < DEADLY; i++)
        probes[i] = (struct probe){.vaddr = handler_of(m, deadly[i].vector),
                                   .kinds = PROBE_EXEC};
    for (unsigned n = 0; n < HITS_MAX; n++) {
        struct probe_hit hit;
        enum travel_stop stop =
            travel_continue_back(t, probes, DEADLY, &hit, err);
        if (stop == TRAVEL_FAILED)
            return false;
        if (stop != TRAVEL_HIT)
            break;
        if (hit.place.deliveries == 0 ||
            !came_from_kernel(m, deadly[hit.index].has_error))
            continue;
        out->has_fault = true;
        out->vector = deadly[hit.index].vector;
        out->place = hit.place;
        out->place.deliveries--;
        return go(t, out->place, err);
    }
    return go(t, out->place, err);
}

/* ---- hangs
 * ---------------------------------------------------------------------------
 */

/* Samples of the last stretch: is the CPU in one small place with interrupts
 * off all the time? */
static bool find_hang(struct travel *t, struct crash *out, struct error *err)
{
    struct machine *m = travel_machine(t);
    const struct cpu *c = machine_cpu(m);
    uint64_t end = travel_session(t)->end_tick;
    uint64_t low = UINT64_MAX, high = 0;
    if (end < (uint64_t)SAMPLES * SAMPLE_TICKS)
        return true;
    for (unsigned i = 0; i < SAMPLES; i++) {
        struct machine_place place = {
            end - (uint64_t)(SAMPLES - 1 - i) * SAMPLE_TICKS, 0};
        if (!go(t, place, err))
            return false;
        uint64_t pc = gdb_linear_pc(m);
        low = pc < low ? pc : low;
        high = pc > high ? pc : high;
        if ((c->flags & FLAG_IF) || high - low >= 4096)
            return true;
    }
    out->kind = CRASH_HANG;
    (void)snprintf(out->text, sizeof out->text,
                   "for at least %u ms of guest time %s between %#llx and "
                   "%#llx with interrupts off",
                   (unsigned)((uint64_t)SAMPLES * SAMPLE_TICKS /
                              machine_config(m)->cpu_mhz / 1000),
                   c->halted ? "halted" : "running", (unsigned long long)low,
                   (unsigned long long)high);
    return true;
}

/* ---- all of it
 * ------------------------------------------------------------------------- */

bool crash_find(struct travel *t, struct crash *out, struct error *err)
{
    const struct session *s = travel_session(t);
    struct machine_place end = {s->end_tick, 0};
    *out = (struct crash){.kind = CRASH_NONE, .place = end};
    if (!s->torn && s->end_reason == STOP_SHUTDOWN)
        return describe_triple(t, out, err);
    if (!go(t, end, err) || !crash_find_linux(t, out, err))
        return false;
    if (out->kind == CRASH_LINUX)
        return find_fault(t, out, err);
    bool is_over = !s->torn && (s->end_reason == STOP_POWER_OFF ||
                                s->end_reason == STOP_DEBUG_EXIT);
    if (!is_over && !find_hang(t, out, err))
        return false;
    return go(t, end, err);
}
