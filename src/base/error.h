/* The error value that every fallible call outside the guest fills.
 * A guest fault is not an error: see enum exc in cpu/cpu.h. */
#ifndef RELIVE_BASE_ERROR_H
#define RELIVE_BASE_ERROR_H

#include <stdbool.h>

enum error_code {
    ERR_NONE,
    ERR_NOMEM,   /* the host is out of memory */
    ERR_IO,      /* a host file operation failed */
    ERR_FULL,    /* no space left for the session */
    ERR_USAGE,   /* a flag, script or configuration is malformed */
    ERR_INPUT,   /* a file's contents are not what its format says */
    ERR_VERSION, /* written by a newer relive */
    ERR_MISMATCH /* media or firmware differ from the recorded ones */
};

struct error {
    enum error_code code;
    char text[1000]; /* one sentence: expected, found, where; no newline */
};

/* Fill err (NULL is allowed) with a code and a printf-formatted sentence.
 * Always returns false, so that callers write `return error_set(...)`. */
bool error_set(struct error *err, enum error_code code, const char *format,
               ...) __attribute__((format(printf, 3, 4)));

#endif
