/* A socket on which one client at a time talks to us: TCP or Unix. */
#ifndef RELIVE_HOST_LISTENER_H
#define RELIVE_HOST_LISTENER_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

enum { LISTENER_NAME = 300, LISTENER_PATH = 108 };

struct listener {
    int listen_fd, client_fd; /* -1: none */
    char name[LISTENER_NAME]; /* what a client connects to, as gdb takes it */
    char path[LISTENER_PATH]; /* of a Unix socket, removed on close */
};

/* spec: "HOST:PORT" (port 0: a free one; an empty HOST: 127.0.0.1; an IPv6 HOST
 * in brackets) or "unix:PATH". what names the option for sentences. */
bool listener_open(struct listener *l, const char *spec, const char *what,
                   struct error *err);
void listener_close(struct listener *l); /* idempotent */

/* Does a client knock within so many milliseconds? */
bool listener_wait(const struct listener *l, int milliseconds);
/* Take the next client; waits for it. False: err; a signal is one too. */
bool listener_accept(struct listener *l, struct error *err);
/* Let the client go. */
void listener_hang_up(struct listener *l);

/* Bytes from the client: how many; 0: none now (without waits only); negative:
 * it is gone. */
long listener_receive(struct listener *l, void *bytes, size_t most, bool waits);
/* All of them; false: the client is gone. */
bool listener_send(struct listener *l, const void *bytes, size_t count);

#endif
