/* Reading stored traces: opening one, its chunks, and queries that open only
 * those chunks that can match. */
#ifndef RELIVE_ANALYSIS_TRACE_READ_H
#define RELIVE_ANALYSIS_TRACE_READ_H

#include "analysis/trace_blocks.h"
#include "analysis/trace_chunk.h"
#include "analysis/trace_index.h"
#include "base/error.h"
#include "replay/session.h"
#include "replay/trace_record.h"

#include <stdbool.h>
#include <stdint.h>

struct trace;

/* name NULL: the session's last trace. s is borrowed. False: err; ERR_USAGE
 * when there is no such trace. Reads the dictionary. */
bool trace_open(const struct session *s, const char *name, struct trace **out,
                struct error *err);
void trace_close(struct trace *t); /* takes NULL */

const struct trace_head *trace_head_of(const struct trace *t);
const struct trace_blocks *trace_blocks_of(const struct trace *t);

/* Borrowed, until trace_close(). NULL: err. */
const struct trace_index *trace_index_of(struct trace *t, uint32_t chunk,
                                         struct error *err);
/* Decode columns (bits 1 << TRACE_COLUMN_*) of a chunk into c, which is emptied
 * first. Columns that the trace does not have are left out. */
bool trace_load(struct trace *t, uint32_t chunk, unsigned columns,
                struct trace_chunk *c, struct error *err);

/* Decode everything; counts what there is. */
struct trace_check_report {
    uint64_t traces, unfinished, chunks, rows;
};
bool trace_check(const struct session *s, struct trace_check_report *report,
                 struct error *err);

/* ---- queries ----------------------------------------------------------------
 */

enum trace_table {
    TRACE_INSNS,
    TRACE_BRANCHES, /* instructions behind which execution went on elsewhere */
    TRACE_ACCESSES,
    TRACE_DEVICE_ROWS,
    TRACE_EVENT_ROWS
};

/* Zeroed but for `to`, `rip`, `address`: everything. */
struct trace_query {
    enum trace_table table;
    uint64_t from, to;           /* ticks, from <= tick < to */
    struct trace_bounds rip;     /* of the instruction, linear */
    struct trace_bounds address; /* data, or port, or device memory: overlap */
    unsigned accesses;           /* TRACE_PAGE_READ, _WRITTEN; 0: both */
    bool has_value, has_cr3, has_vector, has_kind;
    uint64_t value, cr3;
    uint8_t vector, kind; /* of events */
    bool backwards;
    uint64_t limit; /* rows; 0: no limit */
};
/* Everything, of one table. */
struct trace_query trace_query_all(enum trace_table table);

struct trace_row {
    uint64_t tick, rip;
    uint64_t cr3;
    uint64_t address; /* of data, port; of branches: the target, 0 unknown */
    uint64_t value;
    uint32_t chunk, row; /* row: in the chunk */
    uint32_t block, error;
    uint16_t insn; /* of the block */
    uint8_t cpl, bytes, flags, kind, vector, length;
};

enum trace_found { TRACE_ROW, TRACE_DONE, TRACE_BAD };

struct trace_cursor;
/* t is borrowed. NULL: err; ERR_USAGE when the trace does not hold the table.
 */
struct trace_cursor *trace_select(struct trace *t, const struct trace_query *q,
                                  struct error *err);
enum trace_found trace_next(struct trace_cursor *c, struct trace_row *row,
                            struct error *err);
/* How many chunks were opened so far. */
uint32_t trace_chunks_opened(const struct trace_cursor *c);
void trace_cursor_free(struct trace_cursor *c); /* takes NULL */

/* The registers in front of a row of TRACE_INSNS, _BRANCHES or _ACCESSES that c
 * gave: RAX.. R15, RFLAGS. False: err, or the trace holds none. */
bool trace_registers(struct trace_cursor *c, const struct trace_row *row,
                     uint64_t regs[TRACE_REGISTERS], struct error *err);

/* The code bytes of a row's instruction: row->length of them, borrowed. */
const uint8_t *trace_code(const struct trace *t, const struct trace_row *row);

#endif
