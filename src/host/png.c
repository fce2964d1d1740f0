#include "host/png.h"

#include <errno.h>
#include <png.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static uint8_t *rgb_rows(const struct screen *s)
{
    size_t pixels = (size_t)s->width * s->height;
    uint8_t *rgb = malloc(pixels * 3);
    if (!rgb)
        return NULL;
    for (size_t i = 0; i < pixels; i++) {
        rgb[3 * i] = (uint8_t)(s->pixels[i] >> 16);
        rgb[3 * i + 1] = (uint8_t)(s->pixels[i] >> 8);
        rgb[3 * i + 2] = (uint8_t)s->pixels[i];
    }
    return rgb;
}

bool png_write_screen(const char *path, const struct screen *screen,
                      struct error *err)
{
    png_image image = {.version = PNG_IMAGE_VERSION,
                       .width = screen->width,
                       .height = screen->height,
                       .format = PNG_FORMAT_RGB};
    if (screen->width == 0 || screen->height == 0)
        return error_set(err, ERR_INPUT,
                         "%s: the screen is off, there is nothing to write",
                         path);
    FILE *f = fopen(path, "wb");
    if (!f)
        return error_set(err, ERR_IO, "%s: cannot write: %s", path,
                         strerror(errno));
    uint8_t *rgb = rgb_rows(screen);
    bool ok = true;
    if (!rgb)
        ok = error_set(err, ERR_NOMEM, "%s: out of memory", path);
    else if (!png_image_write_to_stdio(&image, f, 0, rgb, 0, NULL))
        ok =
            error_set(err, ERR_IO, "%s: cannot write: %s", path, image.message);
    free(rgb);
    png_image_free(&image);
    if (fclose(f) != 0 && ok)
        ok = error_set(err, ERR_IO, "%s: cannot write: %s", path,
                       strerror(errno));
    if (!ok)
        (void)unlink(path);
    return ok;
}

bool png_encode_screen(const struct screen *screen, struct writer *out,
                       struct error *err)
{
    png_image image = {.version = PNG_IMAGE_VERSION,
                       .width = screen->width,
                       .height = screen->height,
                       .format = PNG_FORMAT_RGB};
    png_alloc_size_t bytes = PNG_IMAGE_PNG_SIZE_MAX(image);
    uint8_t *rgb = rgb_rows(screen), *file = malloc(bytes);
    bool ok = rgb && file;
    if (!ok)
        error_set(err, ERR_NOMEM, "out of memory for a picture");
    else if (!png_image_write_to_memory(&image, file, &bytes, 0, rgb, 0, NULL))
        ok = error_set(err, ERR_IO, "a picture cannot be encoded: %s",
                       image.message);
    if (ok)
        writer_bytes(out, file, bytes);
    png_image_free(&image);
    free(rgb);
    free(file);
    return ok;
}
