/* The block interface: what a disk, CD or floppy controller reads and writes.
 * src/host opens image files and implements it; guest writes go to a
 * copy-on-write layer, so a base image never changes. */
#ifndef RELIVE_DEV_BLOCK_H
#define RELIVE_DEV_BLOCK_H

#include "base/error.h"
#include "base/stream.h"

#include <stdbool.h>
#include <stdint.h>

struct block;

enum {
    BLOCK_SECTOR_BYTES = 512
};

/* The read-only base below a copy-on-write layer. */
struct block_base {
    uint64_t bytes; /* size of the medium, rounded up to 512 */
    void *context;
    /* Read [offset, offset+bytes) (multiples of 512, inside the medium). False:
     * the host could not read it; err says why. */
    bool (*read)(void *context, uint64_t offset, void *out, size_t bytes,
                 struct error *err);
    void (*close)(void *context);
    /* Host clock that times reads; NULL: they are not timed. */
    uint64_t (*now_ns)(void);
};

/* Takes ownership of base (closed by block_free). name is for sentences. */
struct block *block_new(const char *name, const struct block_base *base,
                        bool read_only, struct error *err);
void block_free(struct block *b);
uint64_t block_sectors(const struct block *b);
bool block_read_only(const struct block *b);

/* sector + count must be inside the medium: the chip checks (and reports the
 * error its data sheet gives). A host read error is fatal to the session: it is
 * remembered (block_failed), zeros are returned and the board stops. */
void block_read(struct block *b, uint64_t sector, uint32_t count, void *out);
void block_write(struct block *b, uint64_t sector, uint32_t count,
                 const void *in);
bool block_failed(const struct block *b, struct error *err);
/* Nanoseconds of the host in reads of the base; telemetry. */
uint64_t block_read_ns(const struct block *b);

/* ---- the layer, block by block, for snapshots ----------------------------- */

enum {
    BLOCK_LAYER_BYTES = 4096 /* the unit of change; blocks count from 0 */
};
uint64_t block_layer_blocks(const struct block *b);
/* What the guest has made of block n; NULL: it is as in the base. */
const uint8_t *block_contents(const struct block *b, uint64_t n);
/* Replace block n; contents NULL: make it as in the base again. */
void block_put(struct block *b, uint64_t n, const uint8_t *contents);

/* The blocks that entered, changed in or left the layer since block_new() or
 * block_forget_changes(), in no order; independent of digests. The list lives
 * until the next write or call. */
uint64_t block_changes(const struct block *b, const uint64_t **blocks);
void block_forget_changes(struct block *b);
/* block_forget_changes() has not been called yet: nobody knows this layer. */
bool block_is_new(const struct block *b);
/* fn is called when a block is about to enter that set, before its contents
 * change. NULL: nobody. */
typedef void block_first_write_fn(void *context, uint64_t n);
void block_on_first_write(struct block *b, block_first_write_fn *fn,
                          void *context);

/* The copy-on-write layer: changed blocks in ascending order, or nothing. */
void block_save(const struct block *b, struct writer *w);
bool block_load(struct block *b, struct reader *r, struct error *err);
/* Sum modulo 2^128 of XXH3-128(block number, contents) over changed blocks;
 * incremental, like phys_digest(). */
void block_digest(struct block *b, uint8_t out[16]);

#endif
