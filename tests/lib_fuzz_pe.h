/* PE images of the tests' own making, in memory, as a loader would lay them
 * out. */
#ifndef RELIVE_TESTS_LIB_FUZZ_PE_H
#define RELIVE_TESTS_LIB_FUZZ_PE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PEIMAGE_BYTES = 0x4000, /* headers, .text, .rdata, .data: a page each */
    PEIMAGE_TEXT = 0x1000,
    PEIMAGE_RDATA = 0x2000,
    PEIMAGE_DATA = 0x3000,
    PEIMAGE_TIMESTAMP = 0x4ce7951a,
    PEIMAGE_AGE = 2
};
#define PEIMAGE_PDB "ntkrnlmp.pdb"

/* One export; an rva of 0 makes it a forwarder to "hal.Other". */
struct peimage_export {
    const char *name;
    uint32_t rva;
};

/* Fill image with one of those exports, which are in order of their names, and
 * the module name given. */
void peimage_make(uint8_t image[PEIMAGE_BYTES], bool is_64, const char *module,
                  const struct peimage_export *exports, unsigned count);

#endif
