/* A gdb remote server over a session: what stock gdb needs to go through it
 * forwards and backwards ("Debugging with GDB", appendix "GDB Remote Serial
 * Protocol"; reverse execution by bs and bc). One client, one thread (the CPU).
 *
 * Breakpoints are probes, never bytes in memory. A write watchpoint that is
 * reached backwards stops in front of the writer. */
#ifndef RELIVE_REPLAY_GDB_SERVER_H
#define RELIVE_REPLAY_GDB_SERVER_H

#include "base/error.h"
#include "base/stream.h"
#include "replay/gdb_target.h"
#include "replay/travel.h"

#include <stdbool.h>
#include <stddef.h>

/* What the server needs of its surroundings; borrowed. */
struct gdb_host {
    void *context;
    /* Bytes from the client: how many, 0 when there are none now (without
     * waits only), negative when it is gone. */
    long (*receive)(void *context, void *bytes, size_t most, bool waits);
    /* False: the client is gone. */
    bool (*send)(void *context, const void *bytes, size_t count);
    /* Write the screen to a PNG file. NULL: not possible. */
    bool (*screenshot)(void *context, struct machine *m, const char *path,
                       struct error *err);
    /* Where the guest failed; the machine may stand anywhere afterwards. NULL:
     * not possible. */
    bool (*find_crash)(void *context, struct machine_place *place,
                       struct error *err);
    /* Append the answer to "ps", "lsmod", "bt" or "symbol" about the guest's
     * system. NULL: not possible. */
    void (*ask_guest)(void *context, struct machine *m, const char *question,
                      const char *argument, struct writer *out);
    /* A line for whoever watches the server; no newline. May be NULL. */
    void (*announce)(void *context, const char *line);
};

struct gdb_server;

/* t and host are borrowed. NULL: err. */
struct gdb_server *gdb_server_new(struct travel *t, enum gdb_arch arch,
                                  const struct gdb_host *host,
                                  struct error *err);
void gdb_server_free(struct gdb_server *s); /* takes NULL */

enum gdb_end { GDB_DETACHED, GDB_KILLED, GDB_GONE };
/* Serve one client until it leaves. Breakpoints go with it. */
enum gdb_end gdb_server_serve(struct gdb_server *s);

#endif
