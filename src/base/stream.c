#include "base/stream.h"

#include "base/bytes.h"

#include <stdlib.h>
#include <string.h>

void writer_init(struct writer *w)
{
    *w = (struct writer){0};
}

void writer_fini(struct writer *w)
{
    free(w->data);
    *w = (struct writer){0};
}

void writer_reset(struct writer *w)
{
    w->used = 0;
    w->failed = false;
}

static bool writer_reserve(struct writer *w, size_t count)
{
    if (w->failed)
        return false;
    if (w->capacity - w->used >= count)
        return true;
    size_t want = w->capacity ? w->capacity : 256;
    while (want - w->used < count)
        want *= 2;
    uint8_t *grown = realloc(w->data, want);
    if (!grown) {
        w->failed = true;
        return false;
    }
    w->data = grown;
    w->capacity = want;
    return true;
}

void writer_bytes(struct writer *w, const void *bytes, size_t count)
{
    if (count == 0 || !writer_reserve(w, count))
        return;
    memcpy(w->data + w->used, bytes, count);
    w->used += count;
}

void writer_u8(struct writer *w, uint8_t v)
{
    writer_bytes(w, &v, 1);
}

void writer_u16(struct writer *w, uint16_t v)
{
    uint8_t b[2];
    store_le16(b, v);
    writer_bytes(w, b, sizeof b);
}

void writer_u32(struct writer *w, uint32_t v)
{
    uint8_t b[4];
    store_le32(b, v);
    writer_bytes(w, b, sizeof b);
}

void writer_u64(struct writer *w, uint64_t v)
{
    uint8_t b[8];
    store_le64(b, v);
    writer_bytes(w, b, sizeof b);
}

size_t writer_begin_section(struct writer *w, const char tag[4])
{
    writer_bytes(w, tag, 4);
    writer_u32(w, 0);
    return w->used;
}

void writer_end_section(struct writer *w, size_t position)
{
    if (!w->failed)
        store_le32(w->data + position - 4, (uint32_t)(w->used - position));
}

void reader_init(struct reader *r, const void *data, size_t size)
{
    *r = (struct reader){.data = data, .size = size};
}

void reader_bytes(struct reader *r, void *bytes, size_t count)
{
    if (r->failed || r->size - r->at < count) {
        r->failed = true;
        memset(bytes, 0, count);
        return;
    }
    if (count)
        memcpy(bytes, r->data + r->at, count);
    r->at += count;
}

uint8_t reader_u8(struct reader *r)
{
    uint8_t v;
    reader_bytes(r, &v, 1);
    return v;
}

uint16_t reader_u16(struct reader *r)
{
    uint8_t b[2];
    reader_bytes(r, b, sizeof b);
    return load_le16(b);
}

uint32_t reader_u32(struct reader *r)
{
    uint8_t b[4];
    reader_bytes(r, b, sizeof b);
    return load_le32(b);
}

uint64_t reader_u64(struct reader *r)
{
    uint8_t b[8];
    reader_bytes(r, b, sizeof b);
    return load_le64(b);
}

bool reader_section(struct reader *r, const char tag[4], struct reader *inner,
                    struct error *err)
{
    char found[4];
    reader_bytes(r, found, 4);
    uint32_t length = reader_u32(r);
    if (r->failed)
        return error_set(err, ERR_INPUT,
                         "expected section '%.4s', found the end of the data "
                         "at byte %zu",
                         tag, r->at);
    if (memcmp(found, tag, 4) != 0)
        return error_set(err, ERR_INPUT,
                         "expected section '%.4s' at byte %zu, found bytes "
                         "%02x %02x %02x %02x",
                         tag, r->at - 8, (uint8_t)found[0], (uint8_t)found[1],
                         (uint8_t)found[2], (uint8_t)found[3]);
    if (length > r->size - r->at)
        return error_set(err, ERR_INPUT,
                         "section '%.4s' claims %u bytes, only %zu are left",
                         tag, length, r->size - r->at);
    reader_init(inner, r->data + r->at, length);
    r->at += length;
    return true;
}

bool reader_ok(const struct reader *r, const char *what, struct error *err)
{
    if (r->failed)
        return error_set(err, ERR_INPUT,
                         "%s: expected more than %zu bytes, found the end",
                         what, r->size);
    return true;
}

bool reader_done(const struct reader *r, const char *what, struct error *err)
{
    if (!reader_ok(r, what, err))
        return false;
    if (r->at != r->size)
        return error_set(err, ERR_INPUT,
                         "%s: expected %zu bytes, found %zu", what, r->at,
                         r->size);
    return true;
}
