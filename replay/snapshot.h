/* Snapshots: the complete state of a machine at a tick, as a record that names
 * pages by content hash, and those pages, shared by all snapshots.
 *
 *   snapshots  key tick   value u32 raw bytes, zstd of: u64 tick, u64 insns,
 *                         u32 events before it, sections DEVS, FRMS (u32 frame,
 *                         16-byte hash)*, BLKS (u32 drive, u64 bytes,
 *                         u32 chunks, 16-byte hash * chunks)*
 *   pages      key XXH3-128 of the contents (canonical)   value u32 raw bytes,
 *                         zstd of at most SNAPSHOT_CHUNK bytes */
#ifndef RELIVE_REPLAY_SNAPSHOT_H
#define RELIVE_REPLAY_SNAPSHOT_H

#include "base/error.h"
#include "board/machine.h"
#include "replay/store.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    SNAPSHOT_CHUNK = 65536, /* most bytes of one page record */
    SNAPSHOT_HASH_BYTES = 16,
    SNAPSHOT_FRAME_BYTES = 20,
    SNAPSHOT_RAW_MAX = 1 << 30
};

/* Write the machine's state now, under its tick. The pages are committed first,
 * in batches, then the record that names them: a crash leaves no dangling name.
 * Writing over an existing snapshot of the same tick replaces it. */
bool snapshot_take(struct store *s, struct machine *m, uint32_t events_before,
                   struct error *err);

/* A snapshot record, unpacked and validated. */
struct snapshot {
    uint64_t tick, insns;
    uint32_t events_before;
    uint8_t *raw; /* owned */
    const uint8_t *devices;
    size_t devices_bytes;
    const uint8_t *frames; /* SNAPSHOT_FRAME_BYTES each, ascending */
    size_t frame_count;
    const uint8_t *blocks;
    size_t blocks_bytes;
};
bool snapshot_unpack(const struct store_bytes *k, const struct store_bytes *v,
                     struct snapshot *out, const char *where,
                     struct error *err);
void snapshot_fini(struct snapshot *s);

/* The snapshot at or below `tick`, or exactly at it. STORE_NONE: there is
 * none. */
enum store_found snapshot_find(struct store *s, uint64_t tick, bool exact,
                               struct snapshot *out, struct error *err);

/* Put the state into a machine of the same configuration and media. On false
 * the machine is unusable. */
bool snapshot_load(struct store *s, const struct snapshot *snap,
                   struct machine *m, struct error *err);

/* The contents of one page record; out holds SNAPSHOT_CHUNK bytes. Verifies
 * decompression and content hash. */
bool snapshot_page(struct store *s, const uint8_t hash[SNAPSHOT_HASH_BYTES],
                   uint8_t *out, size_t *bytes, struct error *err);
/* The same for a value already read. */
bool snapshot_page_unpack(const uint8_t hash[SNAPSHOT_HASH_BYTES],
                          const struct store_bytes *v, uint8_t *out,
                          size_t *bytes, const char *where, struct error *err);

/* Calls fn for every page hash the snapshot names. False as soon as fn gives
 * false. */
typedef bool snapshot_ref_fn(void *context,
                             const uint8_t hash[SNAPSHOT_HASH_BYTES]);
bool snapshot_each_ref(const struct snapshot *s, snapshot_ref_fn *fn,
                       void *context);

/* The first thing in which the machine differs from the snapshot: a device
 * field (machine_first_difference) or a frame. False: none found. */
bool snapshot_first_difference(struct store *s, const struct snapshot *snap,
                               struct machine *m, char *text,
                               size_t text_bytes);

#endif
