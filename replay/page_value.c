#include "replay/page_value.h"

#include <string.h>

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
