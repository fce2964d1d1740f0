/* Snapshots: the complete state of a machine at a tick, as a record that names
 * pages by content hash, and those pages, shared by all snapshots, RAM and disk
 * layers alike.
 *
 *   snapshots  key tick   value u32 raw bytes, zstd of: u64 tick, u64 insns,
 *                         u32 events before it, sections DEVS, BASE (u64 tick),
 *                         PAGS (u8 list, u8 whole, u32 count, entries)*
 *   pages      key XXH3-128 of the contents (canonical)   value u32 raw bytes,
 *                         zstd of PAGE_DATA_BYTES; see page_value.h
 *
 * List 0 is the frames, list 1 + n the copy-on-write layer of drive n. An entry
 * is a u32 number and the hash of its contents; hash 0: a frame of zeros, a
 * block as in the base image. A list that is not whole says what has changed
 * since the snapshot that BASE names; one that is not there says nothing has.
 * BASE SNAPSHOT_WHOLE: every list is whole, one that is not there is empty. */
#ifndef RELIVE_REPLAY_SNAPSHOT_H
#define RELIVE_REPLAY_SNAPSHOT_H

#include "base/error.h"
#include "board/machine.h"
#include "replay/page_map.h"
#include "replay/store.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    SNAPSHOT_ENTRY_BYTES = 4 + PAGE_HASH_BYTES,
    SNAPSHOT_RAW_MAX = 1 << 30,
    SNAPSHOT_FRAMES = 0, /* list; then the drives */
    SNAPSHOT_LISTS = 1 + MACHINE_BLOCKS
};
#define SNAPSHOT_WHOLE UINT64_MAX

struct snapshot_list {
    bool whole;
    uint32_t count;
    const uint8_t *entries; /* ascending numbers; into raw */
};

/* A snapshot record, unpacked and validated. */
struct snapshot {
    uint64_t tick, insns;
    uint32_t events_before;
    uint64_t base; /* an earlier tick, or SNAPSHOT_WHOLE */
    uint8_t *raw;  /* owned */
    const uint8_t *devices;
    size_t devices_bytes;
    struct snapshot_list list[SNAPSHOT_LISTS];
};
bool snapshot_unpack(const struct store_bytes *k, const struct store_bytes *v,
                     struct snapshot *out, const char *where,
                     struct error *err);
void snapshot_fini(struct snapshot *s);

/* The snapshot at or below `tick`, or exactly at it. STORE_NONE: there is none.
 * (One of format version 1 is as good as none.) */
enum store_found snapshot_find(struct store *s, uint64_t tick, bool exact,
                               struct snapshot *out, struct error *err);

/* The tick of the nearest snapshot at or below `tick`, unread. */
enum store_found snapshot_floor(struct store *s, uint64_t tick, uint64_t *floor,
                                struct error *err);

/* The tick of the first snapshot above `tick`, unread. */
enum store_found snapshot_ceiling(struct store *s, uint64_t tick,
                                  uint64_t *ceiling, struct error *err);

/* A snapshot into a value ready to be put under key_tick(tick): appended to out,
 * whose failure is the writer's. */
bool snapshot_pack(const struct snapshot *s, struct writer *out,
                   struct error *err);

/* What `newer`, whose base is `older`, says when it stands on older's base
 * instead. out owns new memory. dropped (NULL: none) is told each hash of
 * `older` that out no longer names. */
typedef void snapshot_hash_fn(void *context,
                              const uint8_t hash[PAGE_HASH_BYTES]);
bool snapshot_merge(const struct snapshot *older, const struct snapshot *newer,
                    struct snapshot *out, snapshot_hash_fn *dropped,
                    void *context, struct error *err);

/* Calls fn for every page hash the record names. False as soon as fn gives
 * false. */
typedef bool snapshot_ref_fn(void *context,
                             const uint8_t hash[PAGE_HASH_BYTES]);
bool snapshot_each_ref(const struct snapshot *s, snapshot_ref_fn *fn,
                       void *context);

bool snapshot_hash_is_none(const uint8_t hash[PAGE_HASH_BYTES]);
bool snapshot_is_zero(const uint8_t *page); /* PAGE_DATA_BYTES of it */

/* The contents of one page record; out holds PAGE_DATA_BYTES. Verifies
 * decompression and content hash. unzip is working memory that the caller
 * keeps: making it takes longer than using it. */
struct ZSTD_DCtx_s;
bool snapshot_page(struct store *s, struct ZSTD_DCtx_s *unzip,
                   const uint8_t hash[PAGE_HASH_BYTES], uint8_t *out,
                   struct error *err);
/* The same for a value already read. */
bool snapshot_page_unpack(struct ZSTD_DCtx_s *unzip,
                          const uint8_t hash[PAGE_HASH_BYTES],
                          const struct store_bytes *v, uint8_t *out,
                          const char *where, struct error *err);

#endif
