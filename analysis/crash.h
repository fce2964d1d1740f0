/* How the guest of a session ended, and where to stand to see why. */
#ifndef RELIVE_ANALYSIS_CRASH_H
#define RELIVE_ANALYSIS_CRASH_H

#include "analysis/windows_kernel.h"
#include "base/error.h"
#include "replay/travel.h"

#include <stdbool.h>
#include <stdint.h>

enum crash_kind {
    CRASH_NONE,    /* nothing says that it failed */
    CRASH_TRIPLE,  /* triple fault */
    CRASH_LINUX,   /* a panic or oops of Linux */
    CRASH_WINDOWS, /* a bugcheck of Windows */
    CRASH_PROGRAM, /* Linux killed a program that faulted */
    CRASH_HANG     /* no progress with interrupts off */
};

struct crash {
    enum crash_kind kind;
    struct machine_place place; /* in front of the instruction that failed, or
                                   where the guest was at its end */
    bool has_fault;      /* place is in front of a faulting instruction */
    unsigned vector;     /* of that exception; not of a triple fault's */
    bool by_program;     /* a program faulted, not the kernel, */
    uint64_t program_ip; /* at this address */
    uint64_t seen;       /* tick of the guest's own message, or of its call of
                            KeBugCheckEx; 0: none */
    struct bugcheck bugcheck; /* of CRASH_WINDOWS */
    char text[400]; /* the fault chain, the message, or what was observed */
};

/* Finds out, and leaves the machine at the place. False: err. */
bool crash_find(struct travel *t, struct crash *out, struct error *err);

/* "triple-fault", "linux", ... */
const char *crash_kind_name(enum crash_kind kind);

/* ---- crash_linux.c ----------------------------------------------------------
 */

/* Looks for a panic or oops, first in what COM1 sent, then in the kernel's log
 * in memory at the end (the travel stands there). Sets kind, seen, text, and
 * has_fault when the message is an exception's. */
bool crash_find_linux(struct travel *t, struct crash *out, struct error *err);

/* Is this line the start of a Linux oops, a panic, or about a program that
 * faulted? */
enum crash_line {
    CRASH_LINE_OTHER,
    CRASH_LINE_OOPS,
    CRASH_LINE_PANIC,
    CRASH_LINE_PROGRAM
};
enum crash_line crash_line_kind(const char *line);
/* Where the program of such a line was: "... ip 0000000000401136 sp ...". */
bool crash_line_ip(const char *line, uint64_t *ip);

/* ---- crash_windows.c
 * -------------------------------------------------------- */

/* Looks for a bugcheck in the kernel's memory (the travel stands at the end),
 * then for the call of KeBugCheckEx: seen, and place is in front of it.
 * has_fault when an exception leads to such a bugcheck. is_over: the guest
 * ended as it wanted; then a kernel that says nothing is believed. */
bool crash_find_windows(struct travel *t, bool is_over, struct crash *out,
                        struct error *err);

#endif
