/* The records of a session: what the bytes of keys and values mean. One place
 * for recorder, replayer, info and check.
 *
 *   events    key tick, index      value u8 type, payload
 *   digests   key tick             value u64 insns, u32 events before it,
 *                                  3 x 16 bytes cpu, io, mem
 *   output    key tick, index      value u8 channel, u16 size of what follows
 *                                  before compression, zstd of chunks: varint
 *                                  ticks since the previous chunk, varint
 *                                  count, count bytes
 *   meta      "format"             "relive session\0", u32 version
 *             "config"             JSON of struct machine_config: CONFIG_MACHINE
 *             "engine"             the same: CONFIG_ENGINE; older sessions have
 *                                  none
 *             "build", "created"   text; i64 seconds since 1970
 *             "media/NN"           media_save()
 *             "commit"             struct commit_record: replaced every commit
 *             "seal"               hash of the file (seal.c), 0 until sealed
 *   snapshots, pages               snapshot.h
 * Integers in values are little-endian, in keys big-endian. */
#ifndef RELIVE_REPLAY_RECORD_H
#define RELIVE_REPLAY_RECORD_H

#include "base/error.h"
#include "base/stream.h"
#include "board/machine.h"
#include "replay/store.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    KEY_TICK_BYTES = 8,
    KEY_INDEXED_BYTES = 12,
    DIGEST_VALUE_BYTES = 60,
    OUTPUT_RAW_MAX = 8000 /* chunks in one record, before compression. A UART
                             sends bytes one by one, so ticks are most of it;
                             they shrink to about 1500 bytes, which fit
                             twice in an LMDB page */
};

void key_tick(uint8_t key[KEY_TICK_BYTES], uint64_t tick);
void key_indexed(uint8_t key[KEY_INDEXED_BYTES], uint64_t tick, uint32_t index);

struct digest_record {
    uint64_t tick;
    uint64_t insns;
    uint32_t events_before; /* events applied before the digest was taken */
    struct digest digest;
};

/* What the last commit covers. */
struct commit_record {
    uint64_t tick;  /* everything up to here is in the store */
    uint64_t insns; /* retired at the last digest or the end */
    uint32_t events, digests, outputs; /* records in each database */
    bool clean;                        /* the recording ended with END */
};

void event_record_put(struct store_batch *b, uint32_t index,
                      const struct event *e);
void digest_record_put(struct store_batch *b, const struct digest_record *d);
void commit_record_put(struct store_batch *b, const struct commit_record *c);

/* Decoding validates every size, type and order; where names the session. */
bool event_record_get(const struct store_bytes *k, const struct store_bytes *v,
                      uint32_t *index, struct event *e, const char *where,
                      struct error *err);
bool digest_record_get(const struct store_bytes *k, const struct store_bytes *v,
                       struct digest_record *d, const char *where,
                       struct error *err);
bool commit_record_get(const struct store_bytes *v, struct commit_record *c,
                       const char *where, struct error *err);

/* Gathers consecutive output of one channel into one record. */
struct output_gather {
    uint64_t first_tick, last_tick;
    uint32_t index; /* of the next record */
    uint8_t channel;
    uint16_t used; /* bytes of raw; 0: nothing gathered */
    uint8_t raw[OUTPUT_RAW_MAX];
};
/* Bytes that do not fit are put into b as records. */
void output_gather_add(struct output_gather *g, struct store_batch *b,
                       uint64_t tick, uint8_t channel, const void *bytes,
                       size_t count);
void output_gather_flush(struct output_gather *g, struct store_batch *b);

/* One chunk of a stored output record. */
struct output_chunk {
    uint64_t tick;
    enum output_channel channel;
    const uint8_t *bytes; /* into the iterator */
    uint32_t count;
};
/* Iterates the chunks of one record: begin, then next until false. After the
 * last, *err is untouched when the record was well formed and `ok` is true. */
struct output_chunks {
    const uint8_t *at, *end; /* into raw */
    uint8_t raw[OUTPUT_RAW_MAX];
    uint64_t tick;
    enum output_channel channel;
    bool ok;
};
bool output_chunks_begin(struct output_chunks *i, const struct store_bytes *k,
                         const struct store_bytes *v, uint32_t *index,
                         const char *where, struct error *err);
bool output_chunks_next(struct output_chunks *i, struct output_chunk *chunk);

#endif
