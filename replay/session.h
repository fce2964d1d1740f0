/* An opened session: the store and what its meta database says. */
#ifndef RELIVE_REPLAY_SESSION_H
#define RELIVE_REPLAY_SESSION_H

#include "base/error.h"
#include "board/config.h"
#include "board/machine.h"
#include "replay/media.h"
#include "replay/record.h"
#include "replay/store.h"

#include <stdbool.h>
#include <stdint.h>

struct session {
    struct store *store; /* owned */
    uint32_t format;
    struct machine_config config;
    char build[256];
    int64_t created; /* seconds since 1970, from the recorder's caller */
    struct media_identity media[MEDIA_MAX];
    unsigned media_count;
    struct commit_record commit;
    uint64_t start_tick; /* 0, but in a session cut out of another */
    uint64_t end_tick; /* of END, or the committed tick of a torn session */
    bool torn;   /* no END: the recorder was killed or its disk was full */
    bool sealed; /* the whole file is what was sealed (store_check_seal) */
    enum stop_reason end_reason; /* when not torn */
    uint32_t end_value;          /* isa-debug-exit's, when it was that */
};

/* Open for reading; a sealed file is compared with its seal. Every failure is
 * one sentence. The struct is large: callers
 * on small stacks allocate it. */
bool session_open(const char *path, struct session **out, struct error *err);
/* As session_open(); the store is store_open_update()'s. */
bool session_open_update(const char *path, struct session **out,
                         struct error *err);
void session_close(struct session *s); /* takes NULL */

/* The one-line warning for a torn session, or "" for a clean one. */
void session_warning(const struct session *s, char *text, size_t text_bytes);

/* "power-off", "debug-exit", ... of enum stop_reason; "unknown" outside it. */
const char *stop_reason_name(enum stop_reason reason);

#endif
