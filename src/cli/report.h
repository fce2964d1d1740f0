/* How a run ended, as sentences for people and scripts. */
#ifndef RELIVE_CLI_REPORT_H
#define RELIVE_CLI_REPORT_H

#include "board/machine.h"
#include "cli/session_loop.h"

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>

struct figures {
    uint64_t ticks, insns;
    uint32_t cpu_mhz;
    uint64_t host_ns;
    const char *log;    /* the session; NULL: none */
    uint64_t log_bytes; /* events, digests and output */
    uint64_t file_bytes;
    const char *digests_name; /* "digests", "digests compared" */
    uint64_t digests;
    uint64_t snapshots;   /* taken on the way; 0: said nothing of */
    uint64_t stop_ns_max; /* the guest stood still for one of them */
    struct machine *machine; /* for the digest of its state */
};

/* One sentence; where the end was a failure, to stderr as errors go. Returns
 * the exit status that it means. */
int report_end(FILE *to, const struct session_loop *l);

/* One line: ticks, instructions, seconds, MIPS, and what applies. */
void report_figures(FILE *to, const struct figures *f);

/* Print a JSON object to stdout, keys sorted. Takes it; NULL: there was no
 * memory for it, which is the error, too. */
bool report_json(json_t *o, struct error *err);

#endif
