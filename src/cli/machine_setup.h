/* From a configuration to a machine: opens firmware, kernels and images, and
 * says which they were. */
#ifndef RELIVE_CLI_MACHINE_SETUP_H
#define RELIVE_CLI_MACHINE_SETUP_H

#include "base/error.h"
#include "board/machine.h"
#include "cli/options.h"
#include "replay/content.h"
#include "replay/media.h"
#include "replay/recorder.h"
#include "replay/replayer.h"

struct machine_setup {
    struct machine *machine; /* owned */
    struct media_identity media[MEDIA_MAX];
    unsigned media_count;
    /* Whom the opener of inserted media asks and tells; borrowed, may be
     * NULL. */
    struct recorder *recorder;
    const struct replayer *replayer;
    /* Of a recorded machine; borrowed. */
    const struct session *session;
    const char *media_dir; /* borrowed; where recorded media may be now, by name;
                              NULL: where they were */
    bool notes_reads; /* of disks: what the machine reads goes into reads */
    struct content_reads *reads[MEDIA_MAX]; /* owned; as session->media */
    struct machine_engine engine; /* what the machine runs by */
    struct perf_map *perf_map; /* owned; NULL: nobody asked */
};

/* Fill in Debian's firmware where the configuration names none, and what stands
 * for limits that are not given, and make every path absolute. Not for a recorded configuration, which is complete. */
bool machine_setup_defaults(struct machine_config *config, struct error *err);

/* Build the machine that config describes. setup must not move afterwards: it
 * is the context of the machine's media opener. */
bool machine_setup_open(struct machine_setup *setup,
                        const struct machine_config *config, struct error *err);
/* The same for the machine of a session, with the contents of media that the
 * session itself has. */
bool machine_setup_open_session(struct machine_setup *setup,
                                const struct session *session, bool notes_reads,
                                const char *media_dir, struct error *err);
/* How the machine runs code: the engine of o, where o is silent that of the
 * machine's configuration, and what profilers are told. */
bool machine_setup_engine(struct machine_setup *setup,
                          const struct cli_options *o, struct error *err);
void machine_setup_close(struct machine_setup *setup); /* zeroed is fine */

/* Save the machine and load the bytes back into it: nothing may change. */
bool machine_setup_reload(struct machine_setup *setup, struct error *err);

#endif
