/* Who called: the return addresses of the stack as it is now.
 *
 * An amd64 Linux kernel describes its frames itself (ORC tables); elsewhere the
 * chain of frame pointers is followed. Frames that neither explains are found by
 * looking at the stack for addresses behind a call instruction, a guess. */
#ifndef RELIVE_ANALYSIS_UNWIND_H
#define RELIVE_ANALYSIS_UNWIND_H

#include "analysis/guest.h"

enum unwind_how {
    UNWIND_HERE,  /* the CPU's own instruction */
    UNWIND_ORC,   /* as the kernel describes it */
    UNWIND_FRAME, /* by frame pointers */
    UNWIND_GUESS
};

struct unwind_frame {
    uint64_t pc; /* the return address; of the first the current instruction */
    uint64_t sp; /* behind it */
    enum unwind_how how;
};

enum { UNWIND_MAX = 128 };

/* Frames from the innermost on, at least one; at most `max`. g has looked at m.
 * Stops where the kernel was entered from user mode, whose frames follow. */
unsigned unwind(struct guest *g, const struct guest_memory *m,
                struct unwind_frame *frames, unsigned max);

#endif
