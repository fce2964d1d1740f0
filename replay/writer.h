/* The log writer: a thread that drains the recorder's ring and commits in
 * batches. Host time is used here; none of it is visible to the guest. */
#ifndef RELIVE_REPLAY_WRITER_H
#define RELIVE_REPLAY_WRITER_H

#include "base/error.h"
#include "replay/media.h"
#include "replay/record.h"
#include "replay/store.h"

#include <stdbool.h>
#include <stdint.h>

struct log_writer;

struct log_writer_stats {
    uint64_t file_bytes; /* data.mdb at the last commit */
    uint64_t log_bytes;  /* committed keys and values but those of meta */
    uint64_t committed_tick;
};

/* Start the thread. store is borrowed and belongs to the thread until
 * log_writer_stop(). NULL: err. */
struct log_writer *log_writer_new(struct store *store, struct error *err);
void log_writer_free(struct log_writer *w); /* stops it; takes NULL */

/* From the producer thread alone. Waits while the ring is full. After a failure
 * records are dropped. */
void log_writer_event(struct log_writer *w, const struct event *e);
void log_writer_digest(struct log_writer *w, const struct digest_record *d);
void log_writer_output(struct log_writer *w, uint64_t tick,
                       enum output_channel channel, const void *bytes,
                       size_t count);
void log_writer_media(struct log_writer *w, unsigned index,
                      const struct media_identity *media);

/* All records with ticks up to `tick` have been handed over. */
void log_writer_progress(struct log_writer *w, uint64_t tick);

/* Commit all that was handed over and end the thread. False: the writer has
 * failed, err says why. Idempotent. */
bool log_writer_stop(struct log_writer *w, struct error *err);

/* Any thread: is everything committed up to `tick`, and as many events? */
bool log_writer_reached(const struct log_writer *w, uint64_t tick,
                        uint32_t events);

/* Any thread. err as above. */
bool log_writer_failed(const struct log_writer *w, struct error *err);
void log_writer_stats(const struct log_writer *w, struct log_writer_stats *out);

#endif
