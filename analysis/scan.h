/* Searching a session in time: forwards or backwards, lazily, at the speed of
 * the engine. A scan runs the machine over a part of the session with probes or
 * an observer armed, gathers hits, and hands them out one by one; when they are
 * used up it goes on with the next part. Between calls the machine may be moved
 * anywhere: each part begins with a seek. */
#ifndef RELIVE_ANALYSIS_SCAN_H
#define RELIVE_ANALYSIS_SCAN_H

#include "base/error.h"
#include "board/probe.h"
#include "replay/travel.h"

#include <stdbool.h>
#include <stdint.h>

enum scan_kind {
    SCAN_EXEC, /* instructions that start in [first, last]. Wide ranges
                  run in tier 0 */
    SCAN_READ, /* of linear addresses [first, last], in any space */
    SCAN_WRITE,
    SCAN_STORE,     /* into physical memory [first, last], by whomever */
    SCAN_IO,        /* ports [first, last] */
    SCAN_MMIO,      /* device memory, physical addresses [first, last] */
    SCAN_INTERRUPT, /* hardware, vectors [first, last] */
    SCAN_EXCEPTION,
    SCAN_CR3,     /* loads of a value in [first, last] */
    SCAN_SYSCALL, /* numbers in [first, last]: SYSCALL, SYSENTER, and INT 80h
                     and 2Eh from user mode */
    SCAN_KINDS
};

enum { SCAN_ARGUMENTS = 6 };

struct scan_query {
    enum scan_kind kind;
    uint64_t from, to; /* ticks, from <= tick < to */
    uint64_t first, last;
    bool has_value, has_cr3;
    uint64_t value;     /* of the access, all its bytes */
    uint64_t cr3;       /* at that time */
    bool reads, writes; /* of IO and MMIO; neither: both */
    bool backwards;
    uint64_t limit;  /* hits; 0: no limit */
    unsigned buffer; /* hits gathered at once; 0: a good number */
};
/* Everything of a kind. */
struct scan_query scan_query_all(enum scan_kind kind);

struct scan_hit {
    struct machine_place place; /* in front of what did it */
    uint64_t rip;               /* linear, of the instruction; with is_dma: 0 */
    uint64_t cr3;
    uint64_t address; /* of the access; the vector; the new CR3; the number of a
                         system call; else rip */
    uint64_t value; /* read or written (8 bytes at most); CR2 of page faults */
    uint64_t old;   /* SCAN_WRITE, SCAN_STORE: what was there */
    uint64_t argument[SCAN_ARGUMENTS]; /* of a system call */
    uint64_t back;                     /* where one returns to; 0: not known */
    uint64_t rsp;
    uint32_t error;
    uint32_t bytes;
    uint8_t cpl;
    bool is_write, is_dma, has_error;
};

struct scan;

/* t is borrowed. NULL: err. */
struct scan *scan_new(struct travel *t, const struct scan_query *q,
                      struct error *err);
void scan_free(struct scan *s); /* takes NULL */

enum scan_found {
    SCAN_HIT,
    SCAN_DONE,
    SCAN_INTERRUPTED, /* travel's poll function said so; ask again to go on */
    SCAN_FAILED       /* err */
};
enum scan_found scan_next(struct scan *s, struct scan_hit *hit,
                          struct error *err);

/* What a system call that was found gave back, and where it had: the first time
 * behind it that the same space comes back to hit->back with the same RSP.
 * Moves the machine. SCAN_DONE: it did not, before tick `to`. */
enum scan_found scan_syscall_result(struct travel *t,
                                    const struct scan_hit *hit, uint64_t to,
                                    uint64_t *value,
                                    struct machine_place *place,
                                    struct error *err);

#endif
