#include "analysis/crash.h"

#include "analysis/guest.h"
#include "analysis/tables.h"
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
    static const char *const names[] = {
        [CRASH_NONE] = "none",       [CRASH_TRIPLE] = "triple-fault",
        [CRASH_LINUX] = "linux",     [CRASH_WINDOWS] = "windows",
        [CRASH_PROGRAM] = "program", [CRASH_HANG] = "hang"};
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

/* Exceptions that a kernel may die of, and whether they push an error code. */
static const struct {
    uint8_t vector;
    bool has_error;
} deadly[] = {{0, false}, {3, false}, {6, false}, {8, true}, {10, true},
              {11, true}, {12, true}, {13, true}, {14, true}};
enum { DEADLY = sizeof deadly / sizeof deadly[0] };

/* Where the gate of a vector leads; 0: nowhere. */
static uint64_t handler_of(struct machine *m, unsigned vector)
{
    struct gate gate;
    return tables_gate(m, vector, &gate) && gate.is_present ? gate.offset : 0;
}

/* At the first instruction of a handler: was it the program, or the kernel,
 * that is looked for? The saved CS and RIP tell (SDM vol. 3A 6.12, 6.14). */
static bool is_culprit(struct machine *m, bool has_error,
                       const struct crash *out)
{
    const struct cpu *c = machine_cpu(m);
    unsigned word = cpu_is_long(c) ? 8 : 4;
    uint8_t frame[16] = {0}; /* IP, CS */
    uint64_t at = c->r[REG_RSP] + word * has_error;
    if (!cpu_is_long(c))
        at += c->seg[SEG_SS].base;
    if (gdb_memory_read(m, false, at, frame, 2 * word) != 2 * word)
        return false;
    bool is_user = (frame[word] & 3) != 0;
    uint64_t ip = word == 8 ? load_le64(frame) : load_le32(frame);
    return out->by_program ? is_user && ip == out->program_ip : !is_user;
}

/* A panic without an exception: to the call of panic(), when the kernel's own
 * symbols tell where that is. The machine is at the message. */
static bool find_panic(struct travel *t, struct crash *out, struct error *err)
{
    struct guest_memory memory;
    struct probe probe = {.kinds = PROBE_EXEC};
    struct probe_hit hit;
    struct symbol symbol;
    struct guest *g = guest_new();
    if (!g)
        return error_set(err, ERR_NOMEM, "out of memory");
    guest_memory_of(&memory, travel_machine(t));
    bool is_known = guest_look(g, &memory) == GUEST_LINUX && guest_symbols(g) &&
                    symbols_find(guest_symbols(g), "panic", &symbol);
    if (is_known)
        probe.vaddr = symbol.address;
    guest_free(g);
    if (!is_known)
        return true;
    enum travel_stop stop = travel_continue_back(t, &probe, 1, &hit, err);
    if (stop == TRAVEL_FAILED)
        return false;
    if (stop == TRAVEL_HIT)
        out->place = hit.place;
    return go(t, out->place, err);
}

/* Go back from the message, or from the place that is known, to the exception
 * that led there. */
static bool find_fault(struct travel *t, struct crash *out, struct error *err)
{
    struct machine *m = travel_machine(t);
    struct probe probes[DEADLY];
    if (out->kind != CRASH_WINDOWS)
        out->place = (struct machine_place){out->seen, 0};
    if (!go(t, out->place, err))
        return false;
    if (!out->has_fault)
        return out->kind != CRASH_LINUX || find_panic(t, out, err);
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
            !is_culprit(m, deadly[hit.index].has_error, out))
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
    bool is_over = !s->torn && (s->end_reason == STOP_POWER_OFF ||
                                s->end_reason == STOP_DEBUG_EXIT);
    if (!go(t, end, err) || !crash_find_windows(t, is_over, out, err))
        return false;
    if (out->kind == CRASH_NONE &&
        (!go(t, end, err) || !crash_find_linux(t, out, err)))
        return false;
    if (out->kind != CRASH_NONE)
        return find_fault(t, out, err);
    if (!is_over && !find_hang(t, out, err))
        return false;
    return go(t, end, err);
}
