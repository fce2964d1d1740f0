#include "analysis/hud.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { GLYPH_WIDTH = 5, GLYPH_HEIGHT = 7, CELL_WIDTH = 6, CELL_HEIGHT = 10,
       MARGIN = 6 };

#define INK UINT32_C(0x7dff9b)

/* 5x7 dots: rows from above, bit 4 is the left dot. Capitals only. */
static const struct glyph {
    char c;
    uint8_t row[GLYPH_HEIGHT];
} font[] = {
    {'0', {0x0e, 0x11, 0x13, 0x15, 0x19, 0x11, 0x0e}},
    {'1', {0x04, 0x0c, 0x04, 0x04, 0x04, 0x04, 0x0e}},
    {'2', {0x0e, 0x11, 0x01, 0x06, 0x08, 0x10, 0x1f}},
    {'3', {0x0e, 0x11, 0x01, 0x06, 0x01, 0x11, 0x0e}},
    {'4', {0x02, 0x06, 0x0a, 0x12, 0x1f, 0x02, 0x02}},
    {'5', {0x1f, 0x10, 0x1e, 0x01, 0x01, 0x11, 0x0e}},
    {'6', {0x06, 0x08, 0x10, 0x1e, 0x11, 0x11, 0x0e}},
    {'7', {0x1f, 0x01, 0x02, 0x02, 0x04, 0x04, 0x04}},
    {'8', {0x0e, 0x11, 0x11, 0x0e, 0x11, 0x11, 0x0e}},
    {'9', {0x0e, 0x11, 0x11, 0x0f, 0x01, 0x02, 0x0c}},
    {'A', {0x04, 0x0a, 0x11, 0x11, 0x1f, 0x11, 0x11}},
    {'B', {0x1e, 0x11, 0x11, 0x1e, 0x11, 0x11, 0x1e}},
    {'C', {0x0e, 0x11, 0x10, 0x10, 0x10, 0x11, 0x0e}},
    {'D', {0x1e, 0x11, 0x11, 0x11, 0x11, 0x11, 0x1e}},
    {'E', {0x1f, 0x10, 0x10, 0x1e, 0x10, 0x10, 0x1f}},
    {'F', {0x1f, 0x10, 0x10, 0x1e, 0x10, 0x10, 0x10}},
    {'G', {0x0e, 0x11, 0x10, 0x17, 0x11, 0x11, 0x0f}},
    {'H', {0x11, 0x11, 0x11, 0x1f, 0x11, 0x11, 0x11}},
    {'I', {0x0e, 0x04, 0x04, 0x04, 0x04, 0x04, 0x0e}},
    {'J', {0x07, 0x02, 0x02, 0x02, 0x02, 0x12, 0x0c}},
    {'K', {0x11, 0x12, 0x14, 0x18, 0x14, 0x12, 0x11}},
    {'L', {0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x1f}},
    {'M', {0x11, 0x1b, 0x15, 0x15, 0x11, 0x11, 0x11}},
    {'N', {0x11, 0x19, 0x19, 0x15, 0x13, 0x13, 0x11}},
    {'O', {0x0e, 0x11, 0x11, 0x11, 0x11, 0x11, 0x0e}},
    {'P', {0x1e, 0x11, 0x11, 0x1e, 0x10, 0x10, 0x10}},
    {'Q', {0x0e, 0x11, 0x11, 0x11, 0x15, 0x12, 0x0d}},
    {'R', {0x1e, 0x11, 0x11, 0x1e, 0x14, 0x12, 0x11}},
    {'S', {0x0f, 0x10, 0x10, 0x0e, 0x01, 0x01, 0x1e}},
    {'T', {0x1f, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04}},
    {'U', {0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x0e}},
    {'V', {0x11, 0x11, 0x11, 0x11, 0x0a, 0x0a, 0x04}},
    {'W', {0x11, 0x11, 0x11, 0x15, 0x15, 0x1b, 0x11}},
    {'X', {0x11, 0x11, 0x0a, 0x04, 0x0a, 0x11, 0x11}},
    {'Y', {0x11, 0x11, 0x0a, 0x04, 0x04, 0x04, 0x04}},
    {'Z', {0x1f, 0x01, 0x02, 0x04, 0x08, 0x10, 0x1f}},
    {'.', {0x00, 0x00, 0x00, 0x00, 0x00, 0x0c, 0x0c}},
    {'/', {0x01, 0x01, 0x02, 0x04, 0x08, 0x10, 0x10}},
    {'%', {0x19, 0x19, 0x02, 0x04, 0x08, 0x13, 0x13}},
};

static double share(uint64_t part, uint64_t whole)
{
    return whole ? 100.0 * (double)part / (double)whole : 0.0;
}

static double mib(uint64_t bytes)
{
    return (double)bytes / 1048576.0;
}

void hud_text(const struct telemetry_view *v, const struct frame_figures *f,
              char text[HUD_TEXT])
{
    const struct machine_stats *s = &v->total;
    const struct jit_stats *j = &s->jit;
    (void)snprintf(
        text, HUD_TEXT,
        "MIPS %.1f  AVERAGE %.1f\n"
        "TIERS 0 %.1f%%  1 %.1f%%  2 %.1f%%\n"
        "JIT TIER 1 %" PRIu64 " BLOCKS %.1f MS\n"
        "JIT TIER 2 %" PRIu64 " BLOCKS %.1f MS\n"
        "CODE CACHE %.1f/%.0f MIB  DEOPT %" PRIu64 "\n"
        "HIT RATE %.1f%%  COMPILE %.1f MS/S  %.0f BLOCKS/S\n"
        "MEMORY %.1f/%.0f MIB\n"
        "PORTS %" PRIu64 "  MMIO %" PRIu64 "  DMA %.1f MIB\n"
        "DEVICES %.1f MS  IMAGE READS %.1f MS\n"
        "FRAMES %" PRIu64 "  FPS %.1f  MEDIAN %.1f\n"
        "1%% LOW %.1f  0.1%% LOW %.1f  STDEV %.2f MS",
        v->rates.mips, v->mips, share(s->tier_insns[0], s->insns),
        share(s->tier_insns[1], s->insns), share(s->tier_insns[2], s->insns),
        j->blocks_compiled, (double)j->tier1_ns / 1e6,
        j->tier2_blocks_compiled, (double)j->tier2_ns / 1e6,
        mib(j->code_bytes), mib(j->capacity_bytes), j->deopts,
        100.0 * v->rates.cache_hit_rate, v->rates.compile_ms_per_s,
        v->rates.blocks_compiled_per_s, mib(s->ram_touched_bytes),
        mib(s->ram_bytes), s->port_reads + s->port_writes,
        s->mmio_reads + s->mmio_writes,
        mib(s->dma_read_bytes + s->dma_write_bytes), (double)s->device_ns / 1e6,
        (double)s->image_read_ns / 1e6, f->count, f->avg_fps, f->median_fps,
        f->low_1_percent_fps, f->low_01_percent_fps, f->stdev_ms);
}

static void draw_glyph(struct screen *s, uint32_t left, uint32_t top, char c)
{
    for (size_t g = 0; g < sizeof font / sizeof font[0]; g++)
        for (uint32_t y = 0; font[g].c == c && y < GLYPH_HEIGHT; y++)
            for (uint32_t x = 0; x < GLYPH_WIDTH; x++)
                if (font[g].row[y] >> (GLYPH_WIDTH - 1 - x) & 1 &&
                    left + x < s->width && top + y < s->height)
                    s->pixels[(size_t)(top + y) * s->width + left + x] = INK;
}

/* A quarter of the picture's brightness is left behind the text. */
static void darken(struct screen *s, uint32_t width, uint32_t height)
{
    for (uint32_t y = 0; y < height && y < s->height; y++)
        for (uint32_t x = 0; x < width && x < s->width; x++) {
            uint32_t *p = &s->pixels[(size_t)y * s->width + x];
            *p = *p >> 2 & 0x3f3f3f;
        }
}

void hud_draw(struct screen *screen, const struct telemetry_view *view,
              const struct frame_figures *frames)
{
    char text[HUD_TEXT];
    uint32_t lines = 1, columns = 0, column = 0, line = 0;
    hud_text(view, frames, text);
    for (const char *c = text; *c; c++) {
        column = *c == '\n' ? 0 : column + 1;
        lines += *c == '\n';
        columns = column > columns ? column : columns;
    }
    darken(screen, 2 * MARGIN + columns * CELL_WIDTH,
           2 * MARGIN + lines * CELL_HEIGHT);
    column = 0;
    for (const char *c = text; *c; c++) {
        if (*c == '\n') {
            column = 0;
            line++;
            continue;
        }
        draw_glyph(screen, MARGIN + column++ * CELL_WIDTH,
                   MARGIN + line * CELL_HEIGHT, *c);
    }
}
