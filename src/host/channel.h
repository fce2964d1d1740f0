/* Where the guest's serial line or debug console ends on the host: the
 * program's own stdin and stdout, a file, or a listening Unix socket. */
#ifndef RELIVE_HOST_CHANNEL_H
#define RELIVE_HOST_CHANNEL_H

#include "base/error.h"

#include <stddef.h>

enum channel_kind {
    CHANNEL_NONE,
    CHANNEL_STDIO,
    CHANNEL_FILE, /* output only */
    CHANNEL_UNIX  /* one client at a time; output without one is dropped */
};

enum { CHANNEL_BUFFER = 16384, CHANNEL_PATH = 108 };

struct channel {
    enum channel_kind kind;
    int in_fd, out_fd; /* -1: none (now) */
    int listen_fd;
    size_t used;     /* of buffer */
    bool in_ended;   /* end of file was read */
    bool has_failed; /* error is filled; later output is dropped */
    struct error error;
    char path[CHANNEL_PATH]; /* of a socket, removed on close */
    char buffer[CHANNEL_BUFFER];
};

/* spec: "stdio", "none" (or empty), "file:PATH", "unix:PATH". what names the
 * option for sentences. The file is created or emptied; a socket that a dead
 * process left is replaced. */
bool channel_open(struct channel *c, const char *spec, const char *what,
                  struct error *err);
/* Without touching a file: is spec one of the above? */
bool channel_spec_ok(const char *spec, const char *what, struct error *err);
void channel_close(struct channel *c); /* flushes; takes a zeroed channel */

/* Buffered. A failure shows in has_failed. */
void channel_write(struct channel *c, const void *bytes, size_t count);
void channel_flush(struct channel *c);

/* What has arrived, without waiting: 0 for nothing. Accepts a client. */
size_t channel_read(struct channel *c, void *bytes, size_t room);

/* The descriptor to wait on for input or a client; -1: none. */
int channel_wait_fd(const struct channel *c);

#endif
