/* From a configuration to a machine: opens firmware, kernels and images, and
 * says which they were. */
#ifndef RELIVE_CLI_MACHINE_SETUP_H
#define RELIVE_CLI_MACHINE_SETUP_H

#include "base/error.h"
#include "board/machine.h"
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
};

/* Fill in Debian's firmware where the configuration names none, and make every
 * path absolute. Not for a recorded configuration, which is complete. */
bool machine_setup_defaults(struct machine_config *config, struct error *err);

/* Build the machine that config describes. setup must not move afterwards: it
 * is the context of the machine's media opener. */
bool machine_setup_open(struct machine_setup *setup,
                        const struct machine_config *config, struct error *err);
void machine_setup_close(struct machine_setup *setup); /* zeroed is fine */

/* Save the machine and load the bytes back into it: nothing may change. */
bool machine_setup_reload(struct machine_setup *setup, struct error *err);

#endif
