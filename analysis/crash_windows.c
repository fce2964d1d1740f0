/* Bugchecks of Windows. The kernel keeps code and parameters in KiBugCheckData;
 * the call that brought them is found by going back to it. */
#include "analysis/crash.h"
#include "analysis/tables.h"

#include <stdio.h>

enum {
    PROBE_CALL, /* indexes of probes */
    PROBE_DATA,
    PROBE_TRAPS, /* of the vectors below */
    TRAPS = 6,
    PROBES = PROBE_TRAPS + TRAPS,
    HITS = 64 /* writes of the data, and calls with another code */
};

static const uint8_t traps[TRAPS] = {0, 6, 8, 12, 13, 14};

static void describe(struct crash *out)
{
    const struct bugcheck *b = &out->bugcheck;
    const char *name = bugcheck_name(b->code);
    (void)snprintf(out->text, sizeof out->text,
                   "bugcheck %#x%s%s (%#llx, %#llx, %#llx, %#llx)", b->code,
                   name ? " " : "", name ? name : "",
                   (unsigned long long)b->parameter[0],
                   (unsigned long long)b->parameter[1],
                   (unsigned long long)b->parameter[2],
                   (unsigned long long)b->parameter[3]);
    out->kind = CRASH_WINDOWS;
    out->has_fault = bugcheck_is_fault(b->code);
}

static void set_probes(const struct windows_kernel *w, uint64_t call,
                       struct probe probes[PROBES])
{
    struct gate gate;
    probes[PROBE_CALL] = (struct probe){.vaddr = call, .kinds = PROBE_EXEC};
    probes[PROBE_DATA] = (struct probe){.vaddr = w->bugcheck_data,
                                        .bytes = w->is_64 ? 8 : 4,
                                        .kinds = PROBE_WRITE};
    for (unsigned i = 0; i < TRAPS; i++) {
        bool is_there = tables_gate(w->machine, traps[i], &gate);
        probes[PROBE_TRAPS + i] = (struct probe){
            .vaddr = is_there ? gate.offset : 0, .kinds = PROBE_EXEC};
    }
}

/* Back to the call. The data may be written without one: the kernel's own traps
 * call what lies below KeBugCheckEx; so behind the write, an exception ends the
 * search. */
static bool find_call(struct travel *t, const struct windows_kernel *w,
                      bool is_known, struct crash *out, struct error *err)
{
    struct probe probes[PROBES];
    unsigned count = w->bugcheck_data ? PROBE_DATA + 1 : PROBE_CALL + 1;
    uint64_t call;
    if (!pe_export(&w->image, "KeBugCheckEx", &call))
        return true;
    set_probes(w, call, probes);
    for (unsigned n = 0; n < HITS; n++) {
        struct bugcheck arguments;
        struct probe_hit hit;
        enum travel_stop stop =
            travel_continue_back(t, probes, count, &hit, err);
        if (stop == TRAVEL_FAILED)
            return false;
        if (stop != TRAVEL_HIT || hit.index >= PROBE_TRAPS)
            break;
        if (hit.index == PROBE_CALL &&
            (!windows_bugcheck_arguments(w, &arguments) ||
             (is_known && arguments.code != out->bugcheck.code)))
            continue;
        out->place = hit.place;
        out->seen = hit.place.tick;
        count = PROBES;
        if (hit.index == PROBE_CALL) {
            out->bugcheck = arguments;
            describe(out);
            break;
        }
    }
    return true;
}

bool crash_find_windows(struct travel *t, bool is_over, struct crash *out,
                        struct error *err)
{
    struct windows_kernel w;
    if (!windows_kernel_find(&w, travel_machine(t)))
        return true;
    bool is_known = windows_bugcheck(&w, &out->bugcheck);
    if (is_known)
        describe(out);
    else if (w.bugcheck_data || is_over)
        return true;
    return find_call(t, &w, is_known, out, err);
}
