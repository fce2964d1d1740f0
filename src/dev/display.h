/* What the display thread, screenshots and tests see of a video chip: pixels,
 * never guest-visible state. */
#ifndef RELIVE_DEV_DISPLAY_H
#define RELIVE_DEV_DISPLAY_H

#include <stdbool.h>
#include <stdint.h>

struct screen {
    uint32_t width, height; /* pixels */
    uint32_t *pixels;       /* 0x00RRGGBB, row by row, owned by the struct */
    uint32_t capacity;      /* pixels allocated */
};
void screen_fini(struct screen *s);
/* Makes room for width x height; false when out of memory. */
bool screen_resize(struct screen *s, uint32_t width, uint32_t height);

/* Text on the screen when the chip is in a text mode: rows joined by '\n',
 * trailing blanks cut, code page 437 to ASCII ('?' for the rest). */
struct screen_text {
    uint32_t columns, rows;
    char text[132 * 61 + 61 + 1];
};

#endif
