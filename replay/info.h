/* `relive info` and `relive events`: what is in a session, as iterators and as
 * JSON. */
#ifndef RELIVE_REPLAY_INFO_H
#define RELIVE_REPLAY_INFO_H

#include "base/error.h"
#include "replay/record.h"
#include "replay/session.h"

#include <stdbool.h>
#include <stdint.h>

struct info {
    uint64_t file_bytes; /* data.mdb */
    struct store_stats db[STORE_DBS];
    uint32_t events_by_type[EVENT_TYPE_COUNT];
    uint64_t output_bytes[OUT_CHANNELS];
    uint64_t insns;    /* retired at the last digest */
    uint64_t guest_ns; /* length in guest time */
    uint64_t last_digest_tick;
};
bool info_gather(struct session *s, struct info *out, struct error *err);

/* The whole as JSON text with sorted keys; the caller frees it. NULL: no
 * memory. */
char *info_json(const struct session *s, const struct info *info);

/* Callbacks return false to stop early, which is not an error. Ticks from..to
 * inclusive. */
typedef bool info_event_fn(void *context, uint32_t index,
                           const struct event *event);
bool info_each_event(const struct session *s, uint64_t from, uint64_t to,
                     info_event_fn *fn, void *context, struct error *err);
typedef bool info_digest_fn(void *context, const struct digest_record *digest);
bool info_each_digest(const struct session *s, uint64_t from, uint64_t to,
                      info_digest_fn *fn, void *context, struct error *err);
typedef bool info_output_fn(void *context, const struct output_chunk *chunk);
bool info_each_output(const struct session *s, uint64_t from, uint64_t to,
                      info_output_fn *fn, void *context, struct error *err);

/* One event as one line of JSON (no newline); the caller frees it. */
char *info_event_json(uint32_t index, const struct event *event);

#endif
