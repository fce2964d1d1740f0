/* Names of addresses in a guest, whatever its system: the symbols that the
 * guest's kernel carries itself, for Windows the exports of the images in
 * memory; and a backtrace with them. */
#ifndef RELIVE_ANALYSIS_NAMES_H
#define RELIVE_ANALYSIS_NAMES_H

#include "board/machine.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct names;

/* Of the machine as it is now (borrowed); to be made again when it has moved.
 * NULL: no memory. */
struct names *names_new(struct machine *m);
void names_free(struct names *n); /* takes NULL */

/* "vfs_write+0x1c". False: the address has no name that is known. */
bool names_of(const struct names *n, uint64_t address, char *text,
              size_t bytes);

/* The program counter, then what on the stack looks like return addresses: the
 * address behind a CALL. Those on the chain of frame pointers are sure; kernels
 * keep none, so that stale ones may be among the others. */
struct frame {
    uint64_t at; /* address of the word; 0: the program counter */
    uint64_t address;
    bool is_sure;
};
enum { BACKTRACE_MAX = 24, BACKTRACE_WORDS = 512 };
/* Returns how many, at most BACKTRACE_MAX. In a kernel that describes its frames
 * (analysis/unwind.h) they are its callers alone. n: NULL, or of m as it is. */
unsigned backtrace_take(const struct names *n, struct machine *m,
                        struct frame out[BACKTRACE_MAX]);

#endif
