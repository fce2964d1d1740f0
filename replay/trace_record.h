/* How stored traces lie in a session: keys, and the head of each trace. What
 * their columns mean is analysis/trace_code.h's business.
 *
 *   traces   key trace u32, column u8, chunk u32
 *            column 0, chunk 0: the head; it is written first, and again with
 *            every batch of chunks */
#ifndef RELIVE_REPLAY_TRACE_RECORD_H
#define RELIVE_REPLAY_TRACE_RECORD_H

#include "base/error.h"
#include "replay/store.h"

#include <stdbool.h>
#include <stdint.h>

enum { TRACE_FORMAT = 1, TRACE_KEY_BYTES = 9, TRACE_NAME_MAX = 63 };

struct trace_head {
    uint32_t id;
    uint32_t what;     /* bits: analysis/trace_chunk.h */
    uint64_t from, to; /* ticks; of an unfinished one: as far as it goes */
    uint64_t rows, accesses, devices, events;
    uint64_t bytes; /* of all columns, compressed */
    uint32_t chunks, blocks;
    bool is_finished;
    char name[TRACE_NAME_MAX + 1];
};

/* Letters, digits and -_.: 1 to TRACE_NAME_MAX. */
bool trace_name_ok(const char *name);

void trace_key(uint8_t key[TRACE_KEY_BYTES], uint32_t id, unsigned column,
               uint32_t chunk);
bool trace_key_get(const struct store_bytes *k, uint32_t *id, unsigned *column,
                   uint32_t *chunk);

void trace_head_put(struct store_batch *b, const struct trace_head *head);
/* where names the session. */
bool trace_head_get(const struct store_bytes *k, const struct store_bytes *v,
                    struct trace_head *head, const char *where,
                    struct error *err);

/* The head of the first trace with a number of at least `id`. */
enum store_found trace_head_find(struct store *s, uint32_t id,
                                 struct trace_head *head, struct error *err);

/* Remove all records of a trace. The store is store_open_update()'s. */
bool trace_delete(struct store *s, uint32_t id, struct error *err);

#endif
