#include "analysis/trace_stacks.h"

#include "cpu/decode.h"

#include <Zydis/Mnemonic.h>
#include <stdlib.h>

enum { STACKS = 64, UNWIND_MAX = 64 };

struct trace_stacks {
    struct trace_stack stack[STACKS];
    unsigned now;
    uint64_t stamp;
};

enum trace_turn trace_turn_of(const uint8_t *code, unsigned bytes,
                              unsigned mode)
{
    struct insn i;
    if (decode_insn(code, bytes, (enum cpu_mode)mode, &i) != DECODE_OK)
        return TRACE_TURN_JUMP;
    switch (i.mnemonic) {
    case ZYDIS_MNEMONIC_CALL:
        return TRACE_TURN_CALL;
    case ZYDIS_MNEMONIC_RET:
        return TRACE_TURN_RETURN;
    case ZYDIS_MNEMONIC_IRET:
    case ZYDIS_MNEMONIC_IRETD:
    case ZYDIS_MNEMONIC_IRETQ:
    case ZYDIS_MNEMONIC_SYSRET:
    case ZYDIS_MNEMONIC_SYSEXIT:
        return TRACE_TURN_LEAVE;
    default:
        return TRACE_TURN_JUMP;
    }
}

struct trace_stacks *trace_stacks_new(void)
{
    return calloc(1, sizeof(struct trace_stacks));
}

void trace_stacks_free(struct trace_stacks *s)
{
    free(s);
}

const struct trace_stack *trace_stacks_now(const struct trace_stacks *s)
{
    return &s->stack[s->now];
}

void trace_stacks_call(struct trace_stacks *s, uint64_t entry, uint64_t back,
                       uint64_t tick)
{
    struct trace_stack *k = &s->stack[s->now];
    k->used = ++s->stamp;
    if (k->depth == TRACE_STACK_DEPTH)
        k->lost++;
    else
        k->frame[k->depth++] = (struct trace_frame){entry, back, tick};
}

/* How many frames a return to `to` ends; 0: none. */
static unsigned fits(const struct trace_stack *k, uint64_t to, unsigned most)
{
    for (unsigned n = 1; n <= k->depth && n <= most; n++)
        if (k->frame[k->depth - n].back == to)
            return n;
    return 0;
}

/* Another stack whose top returns there, or the longest unused one, emptied. */
static void change_stack(struct trace_stacks *s, uint64_t to)
{
    unsigned oldest = s->now == 0;
    for (unsigned i = 0; i < STACKS; i++) {
        if (i == s->now)
            continue;
        if (fits(&s->stack[i], to, 1)) {
            s->now = i;
            s->stack[i].depth--;
            return;
        }
        if (s->stack[i].used < s->stack[oldest].used)
            oldest = i;
    }
    s->now = oldest;
    s->stack[oldest].depth = s->stack[oldest].lost = 0;
}

unsigned trace_stacks_return(struct trace_stacks *s, uint64_t to,
                             trace_frame_fn *ended, void *context)
{
    struct trace_stack *k = &s->stack[s->now];
    k->used = ++s->stamp;
    if (k->lost) {
        k->lost--;
        return 0;
    }
    if (k->depth == 0) /* it was entered before the trace began */
        return 0;
    unsigned n = fits(k, to, UNWIND_MAX);
    if (n == 0) {
        change_stack(s, to);
        s->stack[s->now].used = ++s->stamp;
        return 0;
    }
    for (unsigned i = 0; i < n; i++) {
        k->depth--;
        if (ended)
            ended(context, &k->frame[k->depth]);
    }
    return n;
}
