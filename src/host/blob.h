/* Whole files in memory: firmware, kernels, scripts, configurations. */
#ifndef RELIVE_HOST_BLOB_H
#define RELIVE_HOST_BLOB_H

#include "base/error.h"

#include <stddef.h>

/* Read a regular file of at most max_bytes. *data is malloc()ed, the caller
 * frees it; one NUL follows the contents. */
bool blob_read(const char *path, size_t max_bytes, void **data, size_t *bytes,
               struct error *err);

#endif
