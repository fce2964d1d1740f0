/* Recording a stored trace: replay a part of a session in tier 0 with a hook in
 * front of every block, gather chunks, and compress and store them on a thread
 * of its own. Traces of devices and events alone need no hook, and run at full
 * speed. */
#ifndef RELIVE_ANALYSIS_TRACE_MAKE_H
#define RELIVE_ANALYSIS_TRACE_MAKE_H

#include "base/error.h"
#include "replay/replayer.h"
#include "replay/trace_record.h"

#include <stdbool.h>
#include <stdint.h>

struct trace_wish {
    const char *name;
    unsigned what;       /* bits: analysis/trace_chunk.h */
    uint64_t from, to;   /* ticks; `to` may lie behind the end */
    uint32_t chunk_rows; /* 0: a good number */
};

/* rp's session is session_open_update()'s and m is attached to it. The trace is
 * complete, or as far as machine_request_stop() let it come. False: err; what
 * was committed stays, as an unfinished trace. head: what was stored. */
bool trace_make(struct replayer *rp, struct machine *m,
                const struct trace_wish *wish, struct trace_head *head,
                struct error *err);

/* "insn,branch,mem,io,irq,regs" into bits. */
bool trace_what_parse(const char *text, unsigned *what, struct error *err);
/* The other way: at least 40 bytes of text. */
void trace_what_text(unsigned what, char *text, size_t text_bytes);

#endif
