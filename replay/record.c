#include "replay/record.h"

#include "base/bytes.h"

#include <string.h>
#include <zstd.h>

enum {
    COMMIT_VALUE_BYTES = 29,
    CHUNK_HEAD_MAX = 12 /* two varints: 10 of ticks, 2 of a count < 16384 */
};

void key_tick(uint8_t key[KEY_TICK_BYTES], uint64_t tick)
{
    store_be64(key, tick);
}

void key_indexed(uint8_t key[KEY_INDEXED_BYTES], uint64_t tick, uint32_t index)
{
    store_be64(key, tick);
    store_be32(key + 8, index);
}

/* ---- events, digests, commit ----------------------------------------------
 */

void event_record_put(struct store_batch *b, uint32_t index,
                      const struct event *e)
{
    uint8_t key[KEY_INDEXED_BYTES];
    uint8_t value[1 + EVENT_PAYLOAD_MAX];
    key_indexed(key, e->tick, index);
    value[0] = (uint8_t)e->type;
    memcpy(value + 1, e->payload, e->bytes);
    store_batch_put(b, STORE_EVENTS, key, sizeof key, value, 1u + e->bytes);
}

bool event_record_get(const struct store_bytes *k, const struct store_bytes *v,
                      uint32_t *index, struct event *e, const char *where,
                      struct error *err)
{
    if (k->bytes != KEY_INDEXED_BYTES)
        return error_set(err, ERR_INPUT,
                         "%s: events: expected a key of %d bytes, found %zu",
                         where, KEY_INDEXED_BYTES, k->bytes);
    e->tick = load_be64(k->data);
    *index = load_be32((const uint8_t *)k->data + 8);
    if (v->bytes < 1 || v->bytes > 1 + EVENT_PAYLOAD_MAX)
        return error_set(err, ERR_INPUT,
                         "%s: event %u at tick %llu: expected 1 to %d bytes, "
                         "found %zu",
                         where, *index, (unsigned long long)e->tick,
                         1 + EVENT_PAYLOAD_MAX, v->bytes);
    const uint8_t *p = v->data;
    e->type = (enum event_type)p[0];
    e->bytes = (uint16_t)(v->bytes - 1);
    memcpy(e->payload, p + 1, e->bytes);
    if (!event_payload_ok(e))
        return error_set(err, ERR_INPUT,
                         "%s: event %u at tick %llu: type %u with %u bytes is "
                         "no event of this format",
                         where, *index, (unsigned long long)e->tick, p[0],
                         e->bytes);
    return true;
}

void digest_record_put(struct store_batch *b, const struct digest_record *d)
{
    uint8_t key[KEY_TICK_BYTES];
    uint8_t value[DIGEST_VALUE_BYTES];
    key_tick(key, d->tick);
    store_le64(value, d->insns);
    store_le32(value + 8, d->events_before);
    memcpy(value + 12, d->digest.cpu, 16);
    memcpy(value + 28, d->digest.io, 16);
    memcpy(value + 44, d->digest.mem, 16);
    store_batch_put(b, STORE_DIGESTS, key, sizeof key, value, sizeof value);
}

bool digest_record_get(const struct store_bytes *k, const struct store_bytes *v,
                       struct digest_record *d, const char *where,
                       struct error *err)
{
    if (k->bytes != KEY_TICK_BYTES || v->bytes != DIGEST_VALUE_BYTES)
        return error_set(err, ERR_INPUT,
                         "%s: digests: expected a key of %d and a value of %d "
                         "bytes, found %zu and %zu",
                         where, KEY_TICK_BYTES, DIGEST_VALUE_BYTES, k->bytes,
                         v->bytes);
    const uint8_t *p = v->data;
    d->tick = load_be64(k->data);
    d->insns = load_le64(p);
    d->events_before = load_le32(p + 8);
    memcpy(d->digest.cpu, p + 12, 16);
    memcpy(d->digest.io, p + 28, 16);
    memcpy(d->digest.mem, p + 44, 16);
    return true;
}

void commit_record_put(struct store_batch *b, const struct commit_record *c)
{
    uint8_t value[COMMIT_VALUE_BYTES];
    store_le64(value, c->tick);
    store_le64(value + 8, c->insns);
    store_le32(value + 16, c->events);
    store_le32(value + 20, c->digests);
    store_le32(value + 24, c->outputs);
    value[28] = c->clean;
    store_batch_put(b, STORE_META, "commit", 6, value, sizeof value);
}

bool commit_record_get(const struct store_bytes *v, struct commit_record *c,
                       const char *where, struct error *err)
{
    const uint8_t *p = v->data;
    if (v->bytes != COMMIT_VALUE_BYTES || p[28] > 1)
        return error_set(err, ERR_INPUT,
                         "%s: commit record: expected %d bytes, found %zu",
                         where, COMMIT_VALUE_BYTES, v->bytes);
    c->tick = load_le64(p);
    c->insns = load_le64(p + 8);
    c->events = load_le32(p + 16);
    c->digests = load_le32(p + 20);
    c->outputs = load_le32(p + 24);
    c->clean = p[28];
    return true;
}

/* ---- output
 * ------------------------------------------------------------------ */

enum {
    OUTPUT_HEAD_BYTES = 3,
    OUTPUT_LEVEL = 3 /* zstd's default */
};

static unsigned put_varint(uint8_t *out, uint64_t v)
{
    unsigned n = 0;
    for (; v >= 0x80; v >>= 7)
        out[n++] = (uint8_t)(v | 0x80);
    out[n++] = (uint8_t)v;
    return n;
}

static bool get_varint(const uint8_t **at, const uint8_t *end, uint64_t *v)
{
    *v = 0;
    for (unsigned shift = 0; shift < 64 && *at < end; shift += 7) {
        uint8_t byte = *(*at)++;
        *v |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return true;
    }
    return false;
}

void output_gather_flush(struct output_gather *g, struct store_batch *b)
{
    uint8_t key[KEY_INDEXED_BYTES];
    uint8_t value[OUTPUT_HEAD_BYTES + ZSTD_COMPRESSBOUND(OUTPUT_RAW_MAX)];
    if (g->used == 0)
        return;
    value[0] = g->channel;
    store_le16(value + 1, g->used);
    size_t packed = ZSTD_compress(value + OUTPUT_HEAD_BYTES,
                                  sizeof value - OUTPUT_HEAD_BYTES, g->raw,
                                  g->used, OUTPUT_LEVEL);
    /* Out of memory is its only failure here: the batch must fail with it. */
    if (ZSTD_isError(packed)) {
        b->bytes.failed = true;
        return;
    }
    key_indexed(key, g->first_tick, g->index++);
    store_batch_put(b, STORE_OUTPUT, key, sizeof key, value,
                    OUTPUT_HEAD_BYTES + packed);
    g->used = 0;
}

void output_gather_add(struct output_gather *g, struct store_batch *b,
                       uint64_t tick, uint8_t channel, const void *bytes,
                       size_t count)
{
    const uint8_t *from = bytes;
    while (count > 0) {
        if (g->used && (g->channel != channel ||
                        g->used + CHUNK_HEAD_MAX + 1 > OUTPUT_RAW_MAX))
            output_gather_flush(g, b);
        if (g->used == 0) {
            g->first_tick = g->last_tick = tick;
            g->channel = channel;
        }
        size_t room = OUTPUT_RAW_MAX - CHUNK_HEAD_MAX - (size_t)g->used;
        size_t take = count < room ? count : room;
        g->used += put_varint(g->raw + g->used, tick - g->last_tick);
        g->used += put_varint(g->raw + g->used, take);
        memcpy(g->raw + g->used, from, take);
        g->used += (uint16_t)take;
        g->last_tick = tick;
        from += take;
        count -= take;
    }
}

bool output_chunks_begin(struct output_chunks *i, const struct store_bytes *k,
                         const struct store_bytes *v, uint32_t *index,
                         const char *where, struct error *err)
{
    if (k->bytes != KEY_INDEXED_BYTES || v->bytes <= OUTPUT_HEAD_BYTES)
        return error_set(err, ERR_INPUT,
                         "%s: output: expected a key of %d bytes and a value, "
                         "found %zu and %zu bytes",
                         where, KEY_INDEXED_BYTES, k->bytes, v->bytes);
    const uint8_t *p = v->data;
    *index = load_be32((const uint8_t *)k->data + 8);
    i->at = i->end = i->raw;
    i->tick = load_be64(k->data);
    i->channel = (enum output_channel)p[0];
    i->ok = true;
    if (p[0] >= OUT_CHANNELS)
        return error_set(err, ERR_INPUT,
                         "%s: output record %u: unknown channel %u", where,
                         *index, p[0]);
    size_t raw = ZSTD_decompress(i->raw, sizeof i->raw, p + OUTPUT_HEAD_BYTES,
                                 v->bytes - OUTPUT_HEAD_BYTES);
    if (ZSTD_isError(raw) || raw != load_le16(p + 1) || raw == 0)
        return error_set(err, ERR_INPUT,
                         "%s: output record %u: expected %u compressed bytes, "
                         "found others",
                         where, *index, load_le16(p + 1));
    i->end = i->raw + raw;
    return true;
}

bool output_chunks_next(struct output_chunks *i, struct output_chunk *chunk)
{
    uint64_t ticks, count;
    if (!i->ok || i->at == i->end)
        return false;
    i->ok = get_varint(&i->at, i->end, &ticks) &&
            get_varint(&i->at, i->end, &count) && count > 0 &&
            count <= (size_t)(i->end - i->at) && ticks <= UINT64_MAX - i->tick;
    if (!i->ok)
        return false;
    i->tick += ticks;
    *chunk = (struct output_chunk){.tick = i->tick,
                                   .channel = i->channel,
                                   .bytes = i->at,
                                   .count = (uint32_t)count};
    i->at += count;
    return true;
}
