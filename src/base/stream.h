/* struct writer and struct reader: the only way state becomes bytes.
 * Everything is little-endian and written field by field (no struct goes out
 * whole), so equal state gives equal bytes on every host and in every build. */
#ifndef RELIVE_BASE_STREAM_H
#define RELIVE_BASE_STREAM_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

/* A growing byte buffer. Out of memory is remembered in `failed` and makes
 * every later call a no-op: check once at the end. */
struct writer {
    uint8_t *data;   /* owned */
    size_t used;     /* bytes */
    size_t capacity; /* bytes */
    bool failed;
};

void writer_init(struct writer *w);
void writer_fini(struct writer *w);
void writer_reset(struct writer *w); /* forget the bytes, keep the memory */
void writer_bytes(struct writer *w, const void *bytes, size_t count);
void writer_u8(struct writer *w, uint8_t v);
void writer_u16(struct writer *w, uint16_t v);
void writer_u32(struct writer *w, uint32_t v);
void writer_u64(struct writer *w, uint64_t v);

/* A section is {u32 tag, u32 length, payload}; sections may nest.
 * Returns the position that writer_end_section() takes. */
size_t writer_begin_section(struct writer *w, const char tag[4]);
void writer_end_section(struct writer *w, size_t position);

/* Reads borrowed bytes. The first short read sets `failed`; later reads give
 * zeros, so a loader checks reader_ok() once at its end. */
struct reader {
    const uint8_t *data; /* borrowed */
    size_t size;
    size_t at;
    bool failed;
};

void reader_init(struct reader *r, const void *data, size_t size);
void reader_bytes(struct reader *r, void *bytes, size_t count);
uint8_t reader_u8(struct reader *r);
uint16_t reader_u16(struct reader *r);
uint32_t reader_u32(struct reader *r);
uint64_t reader_u64(struct reader *r);

/* Enter a section: on success *inner covers its payload and r stands behind
 * it. Fails with a sentence that names the expected and the found tag. */
bool reader_section(struct reader *r, const char tag[4], struct reader *inner,
                    struct error *err);

/* True when nothing was short; what names the object for the sentence. */
bool reader_ok(const struct reader *r, const char *what, struct error *err);

/* As reader_ok(), and all bytes must have been consumed. */
bool reader_done(const struct reader *r, const char *what, struct error *err);

#endif
