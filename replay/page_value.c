#include "replay/page_value.h"

#include "base/bytes.h"

#include <string.h>
#include <zstd.h>

enum {
    LEVEL = -1, /* of zstd: all that a guest writes goes through it */
    LENGTH_BYTES = 4,
    SEEN_BITS = 10,
    WORDS = PAGE_DATA_BYTES / 4,
    REPEATED_MIN = WORDS / 4
};

/* Are enough aligned words the same as one shortly before? Of the pages that a
 * Linux boot and the programs of bench/linux.sh write, half have fewer; one in
 * 150 of those would have become smaller than half a page at level 1. Looking
 * takes a tenth of the time of compressing. */
static bool is_worth_compressing(const uint8_t page[PAGE_DATA_BYTES])
{
    uint32_t seen[1 << SEEN_BITS] = {0};
    unsigned repeated = 0;
    for (unsigned i = 0; i < WORDS; i++) {
        uint32_t word = load_le32(page + (size_t)i * 4);
        uint32_t *last = &seen[word * 2654435761u >> (32 - SEEN_BITS)];
        repeated += *last == word;
        *last = word;
    }
    return repeated >= REPEATED_MIN;
}

size_t page_value_pack(ZSTD_CCtx *zip, const uint8_t page[PAGE_DATA_BYTES],
                       uint8_t out[PAGE_VALUE_MAX])
{
    int level = is_worth_compressing(page) ? LEVEL : ZSTD_minCLevel();
    store_le32(out, PAGE_DATA_BYTES);
    size_t got = ZSTD_compressCCtx(zip, out + LENGTH_BYTES,
                                   PAGE_VALUE_MAX - LENGTH_BYTES, page,
                                   PAGE_DATA_BYTES, level);
    return ZSTD_isError(got) ? 0 : got + LENGTH_BYTES;
}

static void tail_key(uint8_t key[PAGE_TAIL_KEY_BYTES],
                     const uint8_t hash[PAGE_HASH_BYTES])
{
    memcpy(key, hash, PAGE_HASH_BYTES);
    key[PAGE_HASH_BYTES] = 0;
}

void page_value_put(struct store_batch *b, const uint8_t hash[PAGE_HASH_BYTES],
                    const void *value, size_t bytes)
{
    uint8_t key[PAGE_TAIL_KEY_BYTES];
    size_t head = bytes < PAGE_HEAD_BYTES ? bytes : PAGE_HEAD_BYTES;
    tail_key(key, hash);
    store_batch_put(b, STORE_PAGES, hash, PAGE_HASH_BYTES, value, head);
    if (bytes > head)
        store_batch_put(b, STORE_PAGES, key, sizeof key,
                        (const uint8_t *)value + head, bytes - head);
}

void page_value_delete(struct store_batch *b,
                       const uint8_t hash[PAGE_HASH_BYTES])
{
    uint8_t key[PAGE_TAIL_KEY_BYTES];
    tail_key(key, hash);
    store_batch_delete(b, STORE_PAGES, hash, PAGE_HASH_BYTES);
    store_batch_delete(b, STORE_PAGES, key, sizeof key);
}

enum store_found page_value_get(struct store *s,
                                const uint8_t hash[PAGE_HASH_BYTES],
                                uint8_t buffer[PAGE_VALUE_MAX],
                                struct store_bytes *value, struct error *err)
{
    uint8_t key[PAGE_TAIL_KEY_BYTES];
    struct store_bytes tail;
    enum store_found found =
        store_get(s, STORE_PAGES, hash, PAGE_HASH_BYTES, value, err);
    if (found != STORE_FOUND || value->bytes != PAGE_HEAD_BYTES)
        return found;
    tail_key(key, hash);
    found = store_get(s, STORE_PAGES, key, sizeof key, &tail, err);
    if (found == STORE_NONE) /* this long by chance */
        return STORE_FOUND;
    if (found != STORE_FOUND)
        return found;
    if (tail.bytes > PAGE_VALUE_MAX - PAGE_HEAD_BYTES) {
        error_set(err, ERR_INPUT,
                  "%s: pages: expected a tail of at most %d bytes, found %zu",
                  store_path(s), PAGE_VALUE_MAX - PAGE_HEAD_BYTES, tail.bytes);
        return STORE_BAD;
    }
    memcpy(buffer, value->data, PAGE_HEAD_BYTES);
    memcpy(buffer + PAGE_HEAD_BYTES, tail.data, tail.bytes);
    *value = (struct store_bytes){buffer, PAGE_HEAD_BYTES + tail.bytes};
    return STORE_FOUND;
}
