/* Pages in the store, compressed where that saves room. LMDB gives a value of more than half a page
 * pages of its own, 4096 bytes of which hold 4072 of ours: one that is longer,
 * as the compressed form of incompressible bytes is, would take two. Such a
 * value is split: its head is under the page's hash, its tail beside it. Older
 * sessions have it in one piece. */
#ifndef RELIVE_REPLAY_PAGE_VALUE_H
#define RELIVE_REPLAY_PAGE_VALUE_H

#include "replay/page_map.h"
#include "replay/store.h"

enum {
    PAGE_VALUE_MAX = 4096 + 512, /* bytes of a compressed page */
    PAGE_HEAD_BYTES = 4072,
    PAGE_TAIL_KEY_BYTES = PAGE_HASH_BYTES + 1 /* hash, 0 */
};

/* The value of a page into out; returns its bytes, 0: out of memory. A page that
 * would not fit into half a page of the file, and so save nothing, is stored as
 * it is, in a frame of zstd all the same. zip is working memory. */
struct ZSTD_CCtx_s;
size_t page_value_pack(struct ZSTD_CCtx_s *zip,
                       const uint8_t page[PAGE_DATA_BYTES],
                       uint8_t out[PAGE_VALUE_MAX]);

/* bytes  at most PAGE_VALUE_MAX */
void page_value_put(struct store_batch *b, const uint8_t hash[PAGE_HASH_BYTES],
                    const void *value, size_t bytes);
void page_value_delete(struct store_batch *b,
                       const uint8_t hash[PAGE_HASH_BYTES]);

/* As store_get(). What value points to lives until store_close(), or lies in
 * the buffer. */
enum store_found page_value_get(struct store *s,
                                const uint8_t hash[PAGE_HASH_BYTES],
                                uint8_t buffer[PAGE_VALUE_MAX],
                                struct store_bytes *value, struct error *err);

#endif
