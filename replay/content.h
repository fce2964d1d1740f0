/* Contents of media inside a session, so that it replays where the media are
 * not: firmware and kernels whole, of disks the blocks that the recording reads.
 *
 *   meta   "content/NN", NN of media/NN   value u32 raw bytes, zstd of: u64
 *          bytes of the medium, u32 count, (u32 block, hash of its
 *          PAGE_DATA_BYTES)*, ascending; hash 0: zeros
 *   pages  the blocks, beside those of snapshots; the last is padded with 0 */
#ifndef RELIVE_REPLAY_CONTENT_H
#define RELIVE_REPLAY_CONTENT_H

#include "base/error.h"
#include "dev/block.h"
#include "replay/session.h"
#include "replay/snapshot.h"
#include "replay/store.h"

#include <stdbool.h>
#include <stdint.h>

/* ---- reading ----------------------------------------------------------------
 */

struct content {
    uint64_t bytes;
    uint32_t count;
    const uint8_t *entries; /* SNAPSHOT_ENTRY_BYTES each; into raw */
    uint8_t *raw;           /* owned */
};
/* What the session has of its media[index]. */
enum store_found content_find(const struct session *s, unsigned index,
                              struct content *out, struct error *err);
void content_fini(struct content *c);
/* Validates a record that was read already. */
bool content_unpack(const struct store_bytes *v, struct content *out,
                    const char *where, struct error *err);
bool content_each_ref(const struct content *c, snapshot_ref_fn *fn,
                      void *context);

/* A base to give to block_new(): STORE_NONE when the session has no contents of
 * that medium. The session outlives its reads. */
enum store_found content_open(const struct session *s, unsigned index,
                              struct block_base *base, struct error *err);
/* The whole of a small medium, allocated. */
enum store_found content_blob(const struct session *s, unsigned index,
                              void **data, size_t *bytes, struct error *err);

/* ---- writing ----------------------------------------------------------------
 */

/* Which blocks of a medium are read. */
struct content_reads {
    struct block_base base; /* owned: the medium's own */
    uint8_t *is_read;       /* owned: by block */
};
/* base becomes one that notes what is read through it and reads `inner`, of
 * which it takes ownership. The result is the caller's, who frees it with
 * content_reads_free() when the machine is gone; NULL: err, inner is closed. */
struct content_reads *content_note_reads(const struct block_base *inner,
                                         struct block_base *base,
                                         struct error *err);
void content_reads_free(struct content_reads *r); /* takes NULL */

/* Put those blocks, or all of a blob, and the record into a batch, which is
 * committed to `out` when it is full. */
bool content_put_reads(struct store *out, struct store_batch *b, unsigned index,
                       const struct content_reads *r, struct error *err);
bool content_put_blob(struct store *out, struct store_batch *b, unsigned index,
                      const void *data, size_t bytes, struct error *err);

#endif
