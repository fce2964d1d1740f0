/* Call stacks from a flow of branches: calls push, returns pop. Threads are
 * told apart by where returns go: one that does not fit the current stack, but
 * the top of another, has switched to that. */
#ifndef RELIVE_ANALYSIS_TRACE_STACKS_H
#define RELIVE_ANALYSIS_TRACE_STACKS_H

#include <stdbool.h>
#include <stdint.h>

enum trace_turn {
    TRACE_TURN_JUMP,
    TRACE_TURN_CALL,
    TRACE_TURN_RETURN, /* RET */
    TRACE_TURN_LEAVE   /* IRET, SYSRET, SYSEXIT */
};
/* Of the instruction with these bytes; mode: enum cpu_mode. */
enum trace_turn trace_turn_of(const uint8_t *code, unsigned bytes,
                              unsigned mode);

enum { TRACE_STACK_DEPTH = 256 };
struct trace_frame {
    uint64_t entry; /* of the function */
    uint64_t back;  /* where it returns to */
    uint64_t tick;  /* of the call */
};
struct trace_stack {
    struct trace_frame frame[TRACE_STACK_DEPTH];
    unsigned depth; /* deeper frames are not kept, but counted in `lost` */
    unsigned lost;
    uint64_t used; /* a stamp */
};

struct trace_stacks;
struct trace_stacks *trace_stacks_new(void); /* NULL: out of memory */
void trace_stacks_free(struct trace_stacks *s);
const struct trace_stack *trace_stacks_now(const struct trace_stacks *s);

void trace_stacks_call(struct trace_stacks *s, uint64_t entry, uint64_t back,
                       uint64_t tick);
/* Returns to an address. The number of frames that ended, 0 when it went to
 * another stack or to none that is known. ended, if not NULL, is called for
 * each, before it goes. */
typedef void trace_frame_fn(void *context, const struct trace_frame *frame);
unsigned trace_stacks_return(struct trace_stacks *s, uint64_t to,
                             trace_frame_fn *ended, void *context);

#endif
