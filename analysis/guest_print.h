/* Questions about the guest and their answers as text, for a debugger's prompt:
 * ps, lsmod, bt and symbol. */
#ifndef RELIVE_ANALYSIS_GUEST_PRINT_H
#define RELIVE_ANALYSIS_GUEST_PRINT_H

#include "analysis/guest.h"
#include "base/stream.h"

/* g is asked about the machine as it is now. argument: of symbol, a name or an
 * address. */
void guest_print(struct guest *g, struct machine *m, const char *question,
                 const char *argument, struct writer *out);

#endif
