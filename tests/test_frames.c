/* Frame statistics by hand-made times and pictures, and the panel's pixels. */
#include "analysis/frames.h"
#include "analysis/hud.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MS UINT64_C(1000000)
enum { MHZ = 60, REFRESH = 1000000 }; /* ticks */

static bool near(double a, double b)
{
    return fabs(a - b) <= 1e-9 * (1 + fabs(b));
}

static void figures_are_those_of_the_definitions(void **state)
{
    (void)state;
    struct frames *f = frames_new(MHZ, 50);
    struct frame_figures r;
    assert_non_null(f);
    assert_true(frames_figures(f, &r));
    assert_true(r.count == 0 && r.avg_fps == 0 && r.cov == 0);
    /* 1 to 1000 ms, in an order that is not theirs. */
    for (unsigned n = 0; n < 1000; n++)
        frames_add(f, (n * 7 % 1000 + 1) * MS);
    assert_true(frames_figures(f, &r));
    assert_true(r.count == 1000);
    assert_true(near(r.total_time_s, 500.5));
    assert_true(near(r.avg_fps, 1000 / 500.5));
    assert_true(near(r.median_fps, 1000.0 / 500));
    assert_true(near(r.low_1_percent_fps, 1000.0 / 990));
    assert_true(near(r.low_01_percent_fps, 1000.0 / 999));
    assert_true(near(r.mean_ms, 500.5));
    assert_true(near(r.variance_ms2, (1000.0 * 1000 - 1) / 12));
    assert_true(near(r.stdev_ms, sqrt(r.variance_ms2)));
    assert_true(near(r.cov, r.stdev_ms / 500.5));
    assert_true(r.slow == 950);
    frames_free(f);
}

static void a_frame_is_a_refresh_that_changed_the_picture(void **state)
{
    (void)state;
    struct frames *f = frames_new(MHZ, 15);
    struct screen s = {0};
    struct frame_time t;
    struct machine_stats m = {0};
    assert_true(screen_resize(&s, 2, 1));
    s.pixels[0] = s.pixels[1] = 0;
    assert_true(frames_due(f, 0, 0));
    assert_false(frames_look(f, 0, MS, &s, &m, &t));
    assert_false(frames_due(f, REFRESH - 1, 900 * MS)); /* the same refresh */
    assert_false(frames_due(f, REFRESH, 49 * MS));      /* looks cost */
    assert_true(frames_due(f, REFRESH, 50 * MS));
    assert_true(frames_next_tick(f, REFRESH) == 2 * REFRESH);
    m.ticks = REFRESH; /* nothing has changed */
    assert_false(frames_look(f, 50 * MS, 50 * MS, &s, &m, &t));
    s.pixels[1] = 1;
    m = (struct machine_stats){.ticks = 3 * REFRESH,
                               .jit.tier1_ns = 4 * MS,
                               .device_ns = 10 * MS,
                               .image_read_ns = 7 * MS};
    assert_true(frames_look(f, 90 * MS, 90 * MS, &s, &m, &t));
    assert_true(t.span_ns == 40 * MS && t.ns == 20 * MS && t.is_slow);
    assert_true(t.jit_ns == 4 * MS && t.io_ns == 7 * MS);
    assert_true(t.device_ns == 3 * MS && t.cpu_ns == 26 * MS);
    /* Another size is another picture; an ejected medium takes its time along. */
    assert_true(screen_resize(&s, 1, 2));
    m.ticks = 4 * REFRESH;
    m.image_read_ns = 0;
    assert_true(frames_look(f, 95 * MS, 95 * MS, &s, &m, &t));
    assert_true(t.ns == 5 * MS && !t.is_slow && t.io_ns == 0);
    assert_true(t.cpu_ns == 5 * MS);
    screen_fini(&s);
    frames_free(f);
}

static const struct telemetry_view view = {
    .total = {.insns = 4, .tier_insns = {1, 3, 0}, .ram_bytes = 64 << 20},
    .mips = 7.5,
    .rates = {.mips = 12.5, .cache_hit_rate = 0.25}};
static const struct frame_figures figures = {.count = 3, .median_fps = 44.5};

static void the_panel_says_the_figures(void **state)
{
    (void)state;
    char text[HUD_TEXT];
    hud_text(&view, &figures, text);
    assert_non_null(strstr(text, "MIPS 12.5  AVERAGE 7.5\n"));
    assert_non_null(strstr(text, "TIERS 0 25.0%  1 75.0%  2 0.0%\n"));
    assert_non_null(strstr(text, "HIT RATE 25.0%"));
    assert_non_null(strstr(text, "MEMORY 0.0/64 MIB"));
    assert_non_null(strstr(text, "FRAMES 3  FPS 0.0  MEDIAN 44.5"));
}

/* On white, only the panel changes; what does not fit is cut. */
static void the_panel_is_drawn_inside_the_picture(void **state)
{
    (void)state;
    for (uint32_t width = 0; width <= 640; width += 20) {
        struct screen s = {0};
        unsigned ink = 0, white = 0;
        assert_true(screen_resize(&s, width, width / 2));
        size_t n = (size_t)width * (width / 2);
        memset(s.pixels, 0xff, n * sizeof *s.pixels);
        hud_draw(&s, &view, &figures);
        for (size_t i = 0; i < n; i++) {
            ink += s.pixels[i] == 0x7dff9b;
            white += s.pixels[i] == 0xffffffff;
        }
        assert_true(width < 20 || ink > 10);
        assert_true(width < 640 || (white > n / 3 && ink > 2000));
        /* The M of MIPS begins at 6, 6 with a dot. */
        assert_true(width < 20 || s.pixels[6 * width + 6] == 0x7dff9b);
        screen_fini(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(figures_are_those_of_the_definitions),
        cmocka_unit_test(a_frame_is_a_refresh_that_changed_the_picture),
        cmocka_unit_test(the_panel_says_the_figures),
        cmocka_unit_test(the_panel_is_drawn_inside_the_picture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
