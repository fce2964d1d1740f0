/* The page about a session says what other commands say of it, needs nothing
 * from elsewhere, and a browser shows it. */
#include "lib_program.h"

#include <jansson.h>
#include <png.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { POINTS = 50 };

/* The report that is in the page; the caller drops it. */
static json_t *report_of(const char *page)
{
    json_error_t error;
    const char *from = strstr(page, "id=\"report\">");
    assert_non_null(from);
    from += strlen("id=\"report\">");
    const char *to = strstr(from, "</script>");
    assert_non_null(to);
    json_t *j = json_loadb(from, (size_t)(to - from), 0, &error);
    if (!j)
        fail_msg("%s", error.text);
    return j;
}

static json_int_t number(const json_t *j, const char *key)
{
    const json_t *n = json_object_get(j, key);
    assert_true(json_is_integer(n));
    return json_integer_value(n);
}

static json_int_t sum(const json_t *array)
{
    json_int_t n = 0;
    assert_int_equal(json_array_size(array), POINTS);
    for (size_t i = 0; i < json_array_size(array); i++)
        n += json_integer_value(json_array_get(array, i));
    return n;
}

/* What a script counts in another way. */
static json_int_t counted(struct lab *lab, const char *what)
{
    lab_run(lab, "$R query s -e 'local n = 0; for _ in session:%s{} do n = n + "
                 "1 end; return n' 2>/dev/null", what);
    lab_assert_status(lab, 0);
    return strtoll(lab->text, NULL, 10);
}

static void record_and_view(struct lab *lab)
{
    lab_write("in.txt", "wait serial \"ready\" within 2s\n"
                        "after 20ms key h\n"
                        "after 20ms serial \"hello\"\n"
                        "after 20ms mouse move 3 -4\n"
                        "after 50ms serial \"q\"\n");
    lab_run(lab, "rm -rf s; $R record -o s --bios $G/echo.bin --vgabios none "
                 "--mem 16M --rtc 2026-01-31T12:00:00 --input in.txt "
                 "--serial file:serial.txt");
    lab_assert_status(lab, 33);
    lab_run(lab, "$R view s --points %d -o page.html", POINTS);
    lab_assert_status(lab, 0);
    lab_assert_text(lab, "page.html");
}

static void check_text(const json_t *report)
{
    char all[4096] = "";
    size_t bytes, used = 0;
    const json_t *serial = json_object_get(report, "serial");
    char *sent = lab_read("serial.txt", &bytes);
    for (size_t i = 0; i < json_array_size(serial); i++)
        used += (size_t)snprintf(
            all + used, sizeof all - used, "%s",
            json_string_value(
                json_array_get(json_array_get(serial, i), 1)));
    /* Only what is no text is missing. */
    size_t at = 0;
    for (size_t i = 0; i < bytes; i++)
        if ((sent[i] >= ' ' && sent[i] <= '~') || sent[i] == '\n')
            assert_int_equal(all[at++], sent[i]);
    assert_int_equal(at, used);
    assert_non_null(strstr(all, "ready"));
    free(sent);
}

static void says_what_others_say(void **state)
{
    struct lab *lab = *state;
    json_error_t error;
    size_t bytes;
    record_and_view(lab);
    char *page = lab_read("page.html", &bytes);
    json_t *report = report_of(page);
    lab_run(lab, "$R info s --json");
    json_t *info = json_loads(lab->text, 0, &error);
    assert_non_null(info);
    const json_t *points = json_object_get(report, "points");
    assert_int_equal(json_array_size(points), POINTS + 1);
    const json_t *last = json_array_get(points, POINTS);
    lab_run(lab, "$R replay s");
    assert_int_equal(number(last, "tick"), lab_figure(lab, "ticks"));
    assert_int_equal(number(last, "insns"),
                     lab_figure(lab, "instructions"));
    lab_run(lab, "$R events s | wc -l");
    assert_int_equal(json_array_size(json_object_get(report, "events")),
                     strtoull(lab->text, NULL, 10));
    assert_int_equal(sum(json_object_get(report, "interrupts")),
                     counted(lab, "interrupts"));
    assert_int_equal(sum(json_object_get(report, "exceptions")),
                     counted(lab, "exceptions"));
    assert_string_equal(
        json_string_value(json_object_get(report, "reason")), "debug-exit");
    assert_string_equal(
        json_string_value(
            json_object_get(json_object_get(report, "crash"), "kind")),
        "none");
    check_text(report);
    /* Nothing is fetched: no address but the name of SVG. */
    char *svg = strstr(page, "http://www.w3.org/2000/svg");
    assert_non_null(svg);
    memset(svg, ' ', 4);
    assert_null(strstr(page, "http:"));
    assert_null(strstr(page, "https:"));
    assert_null(strstr(page, "src=\""));
    json_decref(report);
    json_decref(info);
    free(page);
}

/* Skips the test where there is no browser. */
static void needs_chromium(struct lab *lab)
{
    lab_run(lab, "command -v chromium");
    if (lab->status != 0) {
        print_message("chromium is not installed: no browser to show it\n");
        skip();
    }
}

#define CHROMIUM                                                              \
    "timeout 120 chromium --headless --no-sandbox --disable-gpu "             \
    "--user-data-dir=$PWD/profile --window-size=1200,1400 "                   \
    "--virtual-time-budget=5000 "

static unsigned count_text(const char *text, const char *what)
{
    unsigned n = 0;
    for (; (text = strstr(text, what)); text += strlen(what))
        n++;
    return n;
}

static void a_browser_shows_it(void **state)
{
    struct lab *lab = *state;
    static const char *const ids[] = {"screens", "mips", "tiers", "interrupts",
                                      "events", "processes", "jit", "serial"};
    char id[40], command[80];
    needs_chromium(lab);
    record_and_view(lab);
    /* A click on the last event copies the command for its tick. */
    lab_run(lab, "cp -r s 's<i>&'; $R view 's<i>&' -o clicked.html; echo \"<script>const q=document."
                 "querySelectorAll('.event');q[q.length-1].dispatchEvent(new "
                 "Event('click'));</script>\" >>clicked.html; " CHROMIUM
                 "--dump-dom file://$PWD/clicked.html 2>/dev/null");
    lab_assert_text(lab, "data-ready=\"yes\"");
    for (unsigned i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        (void)snprintf(id, sizeof id, "<section id=\"%s\"", ids[i]);
        lab_assert_text(lab, id);
    }
    lab_assert_text(lab, "ready");
    lab_assert_text(lab, "<h1 id=\"title\">s&lt;i&gt;&amp;</h1>");
    /* One line of speed, three of tiers, two of interrupts. */
    assert_int_equal(count_text(lab->text, "class=\"series\""), 6);
    char *dom = strdup(lab->text);
    size_t bytes;
    char *page = lab_read("page.html", &bytes);
    json_t *report = report_of(page);
    const json_t *events = json_object_get(report, "events");
    const json_t *last = json_array_get(events, json_array_size(events) - 1);
    (void)snprintf(command, sizeof command,
                   "relive debug s&lt;i&gt;&amp; --at %lld<",
                   (long long)json_integer_value(json_array_get(last, 0)));
    json_decref(report);
    free(page);
    assert_non_null(strstr(dom, command));
    free(dom);
}

/* Pixels of the screenshot by colour: how many, and the range of their rows. */
static unsigned count_pixels(const png_image *image, const uint8_t *rgb,
                             uint32_t colour, unsigned *first)
{
    unsigned n = 0;
    *first = UINT32_MAX;
    for (unsigned y = 0; y < image->height; y++)
        for (unsigned x = 0; x < image->width; x++) {
            const uint8_t *p = rgb + 3 * ((size_t)y * image->width + x);
            if (((uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2]) != colour)
                continue;
            *first = y < *first ? y : *first;
            n++;
        }
    return n;
}

static void the_picture_has_its_parts(void **state)
{
    struct lab *lab = *state;
    png_image image = {.version = PNG_IMAGE_VERSION};
    unsigned header, sections, dark, chart;
    needs_chromium(lab);
    record_and_view(lab);
    lab_run(lab, CHROMIUM "--screenshot=$PWD/page.png file://$PWD/page.html");
    assert_true(png_image_begin_read_from_file(&image, "page.png"));
    image.format = PNG_FORMAT_RGB;
    uint8_t *rgb = malloc(PNG_IMAGE_SIZE(image));
    assert_non_null(rgb);
    assert_true(png_image_finish_read(&image, NULL, rgb, 0, NULL));
    unsigned pixels = image.width * image.height;
    assert_int_equal(image.width, 1200);
    /* A dark band at the top, white sections below, a line in a chart, the
     * serial line's dark box at the end. */
    unsigned n = count_pixels(&image, rgb, 0x1c2430, &header);
    assert_true(n > pixels / 50 && header == 0);
    n = count_pixels(&image, rgb, 0xffffff, &sections);
    assert_true(n > pixels / 5);
    n = count_pixels(&image, rgb, 0x2471a3, &chart);
    assert_true(n >= 9 && chart > 40);
    n = count_pixels(&image, rgb, 0x10151d, &dark);
    assert_true(n > pixels / 200 && dark > chart);
    free(rgb);
}

static void bad_options_are_refused(void **state)
{
    struct lab *lab = *state;
    lab_run(lab, "$R view s --points 1");
    lab_assert_status(lab, 2);
    lab_assert_one_sentence(lab);
    lab_run(lab, "$R view nowhere");
    lab_assert_status(lab, 2);
    lab_assert_one_sentence(lab);
    lab_run(lab, "$R view s -o /nowhere/page.html");
    lab_assert_status(lab, 2);
    lab_assert_one_sentence(lab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_what_others_say),
        cmocka_unit_test(a_browser_shows_it),
        cmocka_unit_test(the_picture_has_its_parts),
        cmocka_unit_test(bad_options_are_refused),
    };
    return cmocka_run_group_tests(tests, lab_open, lab_close);
}
