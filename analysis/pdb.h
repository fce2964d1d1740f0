/* Program databases of Microsoft's tools: symbols and structure layouts, read
 * as LLVM's "The PDB File Format" describes them. Every byte may be hostile. */
#ifndef RELIVE_ANALYSIS_PDB_H
#define RELIVE_ANALYSIS_PDB_H

#include "analysis/symbols.h"

struct pdb;

/* Does it begin as one does? */
bool pdb_is(const uint8_t *bytes, size_t count);

/* The bytes are borrowed. name is for sentences. NULL: err. */
struct pdb *pdb_open(const char *name, const uint8_t *bytes, size_t count,
                     struct error *err);
struct pdb *pdb_open_file(const char *path, struct error *err);
void pdb_close(struct pdb *p); /* takes NULL */

/* What ties it to an image (pe_pdb()). */
struct pdb_identity {
    uint8_t guid[16];
    uint32_t age;
};
bool pdb_identity(const struct pdb *p, struct pdb_identity *out);

/* Procedures and variables of modules, then public symbols, for an image at
 * base; finished. NULL: err. */
struct symbol_table *pdb_symbols(const struct pdb *p, const char *module,
                                 uint64_t base, struct error *err);
struct symbol_table *pdb_symbols_of_file(const char *module, const char *path,
                                         uint64_t base, struct error *err);

/* The offset in bytes of a member, "ApcState.Process" for one of a member.
 * False: there is none, or it is a bit field. */
bool pdb_member(const struct pdb *p, const char *type, const char *path,
                uint32_t *offset);
bool pdb_size(const struct pdb *p, const char *type, uint32_t *bytes);

#endif
