#include "dev/display.h"

#include <stdlib.h>

void screen_fini(struct screen *s)
{
    free(s->pixels);
    *s = (struct screen){0};
}

bool screen_resize(struct screen *s, uint32_t width, uint32_t height)
{
    uint64_t need = (uint64_t)width * height;
    if (need > UINT32_MAX / sizeof *s->pixels)
        return false;
    if (need > s->capacity || !s->pixels) {
        uint32_t *grown =
            realloc(s->pixels, (need ? need : 1) * sizeof *s->pixels);
        if (!grown)
            return false;
        s->pixels = grown;
        s->capacity = (uint32_t)need;
    }
    s->width = width;
    s->height = height;
    return true;
}
