/* What the files of the PDB reader share. */
#ifndef RELIVE_ANALYSIS_PDB_INTERNAL_H
#define RELIVE_ANALYSIS_PDB_INTERNAL_H

#include "analysis/pdb.h"

/* A stream put together, owned by its holder. */
struct pdb_stream {
    uint8_t *bytes;
    uint32_t count;
};

enum { PDB_STREAM_INFO = 1, PDB_STREAM_TYPES = 2, PDB_STREAM_DEBUG = 3 };

struct pdb {
    char *name;
    const uint8_t *bytes; /* borrowed, or the same as `owned` */
    uint8_t *owned;
    size_t count;
    uint32_t block_bytes, blocks;
    struct pdb_stream directory;
    uint32_t streams;
    struct pdb_stream types;
    uint32_t *type_at; /* owned; where each type record is in types */
    uint32_t type_first, type_count;
};

/* ---- pdb_msf.c
 * --------------------------------------------------------------------------- */

/* False: there is no such stream, it does not fit the file, or no memory. */
bool pdb_stream_open(const struct pdb *p, uint32_t index,
                     struct pdb_stream *out);
void pdb_stream_close(struct pdb_stream *s);

/* ---- pdb_types.c
 * ------------------------------------------------------------------------- */

/* Index the types. False: no memory; a database without types has none. */
bool pdb_types_open(struct pdb *p);

#endif
