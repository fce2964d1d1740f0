/* Panics and oopses of Linux, told by their words: what the kernel prints has
 * not changed in many years (kernel/panic.c, arch/x86/mm/fault.c,
 * arch/x86/kernel/traps.c say them). */
#include "analysis/crash.h"
#include "mem/phys.h"
#include "replay/info.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_MAX_BYTES = 300 };

static const struct {
    const char *words;
    enum crash_line kind;
} phrases[] = {
    {"Kernel panic - not syncing", CRASH_LINE_PANIC},
    {"BUG: unable to handle", CRASH_LINE_OOPS},
    {"BUG: kernel NULL pointer dereference", CRASH_LINE_OOPS},
    {"kernel BUG at ", CRASH_LINE_OOPS},
    {"Oops: ", CRASH_LINE_OOPS},
    {"general protection fault", CRASH_LINE_OOPS},
    {"invalid opcode: ", CRASH_LINE_OOPS},
    {"divide error: ", CRASH_LINE_OOPS},
    {"stack segment: ", CRASH_LINE_OOPS},
    {"double fault: ", CRASH_LINE_OOPS},
};
enum { PHRASES = sizeof phrases / sizeof phrases[0] };

enum crash_line crash_line_kind(const char *line)
{
    uint64_t ip;
    /* "prog[7]: segfault at 0 ip 401136 sp ...", "traps: prog[7] general
     * protection fault ip:401136 sp:...": a program's, not the kernel's. */
    if (strstr(line, ": segfault at ") || strstr(line, "traps: "))
        return crash_line_ip(line, &ip) ? CRASH_LINE_PROGRAM : CRASH_LINE_OTHER;
    for (unsigned i = 0; i < PHRASES; i++)
        if (strstr(line, phrases[i].words))
            return phrases[i].kind;
    return CRASH_LINE_OTHER;
}

bool crash_line_ip(const char *line, uint64_t *ip)
{
    char *end;
    const char *at = strstr(line, " ip");
    if (!at || (at[3] != ' ' && at[3] != ':'))
        return false;
    *ip = strtoull(at + 4, &end, 16);
    return end != at + 4;
}

/* ---- the serial line
 * --------------------------------------------------------- */

struct serial {
    char line[LINE_MAX_BYTES];
    unsigned used;
    uint64_t tick[LINE_MAX_BYTES]; /* of each byte */
    bool has_oops, has_panic, has_program;
    uint64_t oops_tick, panic_tick, program_tick;
    char oops[LINE_MAX_BYTES], panic[LINE_MAX_BYTES], program[LINE_MAX_BYTES];
};

/* Where the kernel's message begins: a program may have been in the middle of a
 * line. The kernel's lines begin with a time, "[    1.234567] ". */
static const char *message_of(const char *line)
{
    for (const char *at = line; (at = strchr(at, '[')); at++) {
        size_t n = 1 + strspn(at + 1, " ");
        n += strspn(at + n, "0123456789");
        if (at[n] == '.' && at[n + 1 + strspn(at + n + 1, "0123456789")] == ']')
            return at;
    }
    return line;
}

static void end_line(struct serial *s)
{
    s->line[s->used] = 0;
    const char *message = message_of(s->line);
    uint64_t tick = s->tick[message - s->line];
    enum crash_line kind = crash_line_kind(message);
    s->used = 0;
    if (kind == CRASH_LINE_OOPS && !s->has_oops) {
        s->has_oops = true;
        s->oops_tick = tick;
        strcpy(s->oops, message);
    } else if (kind == CRASH_LINE_PANIC && !s->has_panic) {
        s->has_panic = true;
        s->panic_tick = tick;
        strcpy(s->panic, message);
    } else if (kind == CRASH_LINE_PROGRAM && !s->has_panic) {
        s->has_program = true; /* the last one in front of a panic */
        s->program_tick = tick;
        strcpy(s->program, message);
    }
}

/* An info_output_fn. */
static bool on_output(void *context, const struct output_chunk *chunk)
{
    struct serial *s = context;
    if (chunk->channel != OUT_SERIAL)
        return true;
    for (uint32_t i = 0; i < chunk->count; i++) {
        char c = (char)chunk->bytes[i];
        if (c == '\n' || s->used + 1 == sizeof s->line) {
            end_line(s);
            continue;
        }
        s->tick[s->used] = chunk->tick;
        if (c >= ' ' && c < 127)
            s->line[s->used++] = c;
    }
    return true;
}

static void take(struct crash *out, uint64_t tick, bool is_oops,
                 const char *text)
{
    out->kind = CRASH_LINUX;
    out->has_fault = is_oops;
    out->seen = tick;
    (void)snprintf(out->text, sizeof out->text, "%s", text);
}

static bool search_serial(struct travel *t, struct crash *out,
                          struct error *err)
{
    struct serial s = {0};
    if (!info_each_output(travel_session(t), 0, UINT64_MAX, on_output, &s, err))
        return false;
    end_line(&s);
    bool kills_init = s.has_panic && strstr(s.panic, "Attempted to kill init");
    if (s.has_oops && (!s.has_panic || s.oops_tick <= s.panic_tick))
        take(out, s.oops_tick, true, s.oops);
    else if (s.has_panic)
        take(out, s.panic_tick, kills_init && s.has_program, s.panic);
    else if (s.has_program)
        take(out, s.program_tick, true, s.program);
    if (out->kind == CRASH_NONE || s.has_oops)
        return true;
    if (!s.has_panic)
        out->kind = CRASH_PROGRAM;
    out->by_program =
        out->has_fault && crash_line_ip(s.program, &out->program_ip);
    return true;
}

/* ---- the log in memory
 * ---------------------------------------------------------- */

/* Text that a phrase begins, up to something unprintable. The phrase also lies
 * in the kernel as a format string, which goes on with a conversion or stops.
 */
static bool is_message(const uint8_t *at, size_t left, size_t phrase,
                       char text[LINE_MAX_BYTES])
{
    size_t n = 0;
    while (n < left && n + 1 < LINE_MAX_BYTES && at[n] >= ' ' && at[n] < 127) {
        text[n] = (char)at[n];
        n++;
    }
    text[n] = 0;
    return n > phrase + 2 && !strchr(text, '%');
}

enum { UNMISTAKABLE = 4 }; /* phrases that nothing else contains */

static bool find_phrase(struct machine *m, const char *words,
                        char text[LINE_MAX_BYTES])
{
    struct phys *phys = machine_phys(m);
    size_t n = strlen(words);
    for (uint32_t f = 0; f < phys_frames(phys); f++) {
        if (!(phys_frame_flags(phys, f) & FRAME_TOUCHED))
            continue;
        const uint8_t *from = phys_frame_host(phys, f);
        const uint8_t *end = from + PAGE_BYTES;
        while ((from = memmem(from, (size_t)(end - from), words, n))) {
            if (is_message(from, (size_t)(end - from), n, text))
                return true;
            from += n;
        }
    }
    return false;
}

/* A message in RAM, which a log without a serial console keeps. */
static bool find_in_memory(struct machine *m, bool *is_oops,
                           char text[LINE_MAX_BYTES])
{
    for (unsigned i = UNMISTAKABLE; i-- > 0;)
        if (find_phrase(m, phrases[i].words, text)) {
            *is_oops = phrases[i].kind == CRASH_LINE_OOPS;
            return true;
        }
    return false;
}

/* The tick at which the message came into memory, by halving; to about 1 ms. */
static bool date_message(struct travel *t, uint64_t end, uint64_t *tick,
                         struct error *err)
{
    char text[LINE_MAX_BYTES];
    bool is_oops;
    uint64_t low = 0, high = end;
    while (high - low > 1000000) {
        struct machine_place middle = {low + (high - low) / 2, 0};
        enum travel_stop stop = travel_goto(t, middle, err);
        if (stop == TRAVEL_FAILED)
            return false;
        if (find_in_memory(travel_machine(t), &is_oops, text))
            high = middle.tick;
        else
            low = middle.tick;
    }
    *tick = high;
    return true;
}

bool crash_find_linux(struct travel *t, struct crash *out, struct error *err)
{
    char text[LINE_MAX_BYTES];
    bool is_oops;
    uint64_t tick, end = travel_session(t)->end_tick;
    if (!search_serial(t, out, err))
        return false;
    if (out->kind != CRASH_NONE ||
        !find_in_memory(travel_machine(t), &is_oops, text))
        return true;
    if (!date_message(t, end, &tick, err))
        return false;
    take(out, tick, is_oops, text);
    return true;
}
