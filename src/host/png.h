/* Screenshots as PNG files. */
#ifndef RELIVE_HOST_PNG_H
#define RELIVE_HOST_PNG_H

#include "base/error.h"
#include "base/stream.h"
#include "dev/display.h"

/* Write an 8-bit RGB picture. On false no file is left at path. */
bool png_write_screen(const char *path, const struct screen *screen,
                      struct error *err);

/* The same, appended to out. */
bool png_encode_screen(const struct screen *screen, struct writer *out,
                       struct error *err);

#endif
