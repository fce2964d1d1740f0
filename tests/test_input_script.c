/* Input scripts: what they may say, what is refused, and when events come. */
#include "base/bytes.h"
#include "base/duration.h"
#include "host/input_player.h"
#include "host/keymap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- parsing --------------------------------------------------------------
 */

static bool parse(const char *text, struct input_script *s, struct error *err)
{
    return input_script_parse("boot.txt", text, strlen(text), s, err);
}

static void every_action_is_understood(void **state)
{
    static const char text[] = "# comment\n"
                               "\n"
                               "at 2.5s type \"root\\n\"   # log in\n"
                               "at 3s key ctrl-alt-del\n"
                               "at 4s mouse move 10 -3\n"
                               "mouse down left\n"
                               "mouse up\n"
                               "mouse click middle\n"
                               "mouse wheel -1\n"
                               "after 0.5s serial \"ls\\x00\\n\"\r\n"
                               "wait serial \"login:\" within 1m\n"
                               "wait screen \"C:\\\\>\"\n"
                               "screenshot a.png\n"
                               "screenshot \"b c.png\"\n"
                               "press shift\n"
                               "release shift\n"
                               "power\n"
                               "reset\n"
                               "eject cdrom\n"
                               "insert floppy x.img\n"
                               "quit";
    static const enum input_kind kinds[] = {
        INPUT_TYPE,        INPUT_KEY,        INPUT_MOUSE_MOVE,
        INPUT_MOUSE_DOWN,  INPUT_MOUSE_UP,   INPUT_MOUSE_CLICK,
        INPUT_MOUSE_WHEEL, INPUT_SERIAL,     INPUT_WAIT_SERIAL,
        INPUT_WAIT_SCREEN, INPUT_SCREENSHOT, INPUT_SCREENSHOT,
        INPUT_PRESS,       INPUT_RELEASE,    INPUT_POWER,
        INPUT_RESET,       INPUT_EJECT,      INPUT_INSERT,
        INPUT_QUIT};
    struct input_script s;
    struct error err = {0};
    (void)state;
    if (!parse(text, &s, &err))
        fail_msg("%s", err.text);
    assert_int_equal(s.count, sizeof kinds / sizeof kinds[0]);
    for (size_t i = 0; i < s.count; i++)
        assert_int_equal(s.actions[i].kind, kinds[i]);
    assert_int_equal(s.actions[0].when, INPUT_AT);
    assert_int_equal(s.actions[0].when_ns, 2500000000u);
    assert_string_equal(s.actions[0].text, "root\n");
    assert_int_equal(s.actions[1].keys, 3);
    assert_int_equal(s.actions[1].key[2], 0x153);
    assert_int_equal(s.actions[2].dx, 10);
    assert_int_equal(s.actions[2].dy, -3);
    assert_int_equal(s.actions[4].buttons, 7);
    assert_int_equal(s.actions[7].when, INPUT_AFTER);
    assert_int_equal(s.actions[7].text_bytes, 4);
    assert_memory_equal(s.actions[7].text, "ls\0\n", 4);
    assert_int_equal(s.actions[8].within_ns, UINT64_C(60000000000));
    assert_string_equal(s.actions[9].text, "C:\\>");
    assert_string_equal(s.actions[11].text, "b c.png");
    assert_int_equal(s.actions[17].drive, 1);
    assert_int_equal(s.actions[18].line, 21);
    input_script_fini(&s);
}

static void errors_name_line_expected_and_found(void **state)
{
    static const struct {
        const char *text, *sentence;
    } bad[] = {
        {"\n\nfly home", "boot.txt:3: expected an action"},
        {"at", "boot.txt:1: expected a time like 2.5s or 300ms, found the end"},
        {"at 3 power", "expected a time like 2.5s or 300ms, found '3'"},
        {"at 1s", "expected an action"},
        {"type root", "expected a text in double quotes, found 'root'"},
        {"type \"root", "expected a closing quote"},
        {"type \"a\\q\"", "after a backslash"},
        {"type \"a\\x4\"", "after a backslash"},
        {"type \"\\xe4\"", "found byte 0xe4"},
        {"type \"\"", "expected a text in double quotes"},
        {"key hyper-x", "expected keys like ctrl-alt-del"},
        {"key a-", "found 'a-'"},
        {"key A", "expected keys like"},
        {"key a-b-c-d-e-f-g-h-i", "expected keys like"},
        {"mouse", "expected mouse move, wheel, down, up or click"},
        {"mouse move 1", "expected a whole number, found the end"},
        {"mouse move 1 x", "expected a whole number, found 'x'"},
        {"mouse move 1 99999", "expected a whole number, found '99999'"},
        {"mouse down", "expected left, right or middle, found the end"},
        {"wait", "expected wait serial or wait screen"},
        {"wait serial \"a\" for 3s",
         "expected the end of the line, found 'for'"},
        {"wait serial \"a\" within", "expected a time"},
        {"power now", "expected the end of the line, found 'now'"},
        {"eject tape", "expected cdrom or floppy, found 'tape'"},
        {"insert cdrom", "expected a file name, found the end"},
        {"screenshot", "expected a file name"},
        {"at 2s power\nat 1s power", "boot.txt:2: expected times in ascending"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct input_script s;
        struct error err = {0};
        assert_false(parse(bad[i].text, &s, &err));
        if (!strstr(err.text, bad[i].sentence))
            fail_msg("'%s' gave: %s", bad[i].text, err.text);
        assert_int_equal(err.code, ERR_USAGE);
        assert_null(s.actions);
    }
}

/* Whatever the bytes: an answer, no crash. */
static void broken_scripts_are_survived(void **state)
{
    static const char base[] =
        "at 1s type \"a\\n\\x41\"\nwait serial \"x\" within 2s\nkey ctrl-a\n";
    (void)state;
    for (size_t cut = 0; cut < sizeof base; cut++)
        for (unsigned flip = 0; flip < 256; flip += 5) {
            char text[sizeof base];
            struct input_script s;
            memcpy(text, base, sizeof base);
            text[cut] = (char)flip;
            if (input_script_parse(
                    "f", text,
                    cut + flip % 7 > sizeof base ? sizeof base : cut + flip % 7,
                    &s, NULL))
                input_script_fini(&s);
        }
}

static void durations_are_exact_decimals(void **state)
{
    static const struct {
        const char *text;
        uint64_t ns;
    } good[] = {{"2.5s", 2500000000u},
                {"0.000000001s", 1},
                {"300ms", 300000000},
                {"20us", 20000},
                {"5ns", 5},
                {"0s", 0},
                {"1.5m", UINT64_C(90000000000)}};
    static const char *const bad[] = {"",
                                      "s",
                                      "1",
                                      "1.s",
                                      ".5s",
                                      "-1s",
                                      "1 s",
                                      "1h",
                                      "1e3s",
                                      "1.0000000001s",
                                      "99999999999999999999s",
                                      "9223372036854775807s"};
    uint64_t ns;
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_true(duration_parse(good[i].text, &ns));
        assert_int_equal(ns, good[i].ns);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (duration_parse(bad[i], &ns))
            fail_msg("took '%s'", bad[i]);
    assert_int_equal(duration_ticks(2500000000u, 2400), UINT64_C(6000000000));
    assert_int_equal(duration_ns(UINT64_C(6000000000), 2400), 2500000000u);
    assert_int_equal(duration_ticks(UINT64_MAX, 2400), UINT64_MAX);
}

static void every_printable_character_has_a_key(void **state)
{
    uint16_t key;
    bool shift;
    (void)state;
    for (int c = 0x20; c < 0x7f; c++)
        assert_true(keymap_char((char)c, &key, &shift));
    assert_true(keymap_char('A', &key, &shift));
    assert_int_equal(key, 0x1e);
    assert_true(shift);
    assert_true(keymap_char('\n', &key, &shift));
    assert_int_equal(key, 0x1c);
    assert_false(shift);
    assert_false(keymap_char('\0', &key, &shift));
    assert_false(keymap_char('\xe4', &key, &shift));
}

/* ---- playing --------------------------------------------------------------
 */

enum { MHZ = 1000, LOG_EVENTS = 64 };
#define MS UINT64_C(1000000) /* ticks */

/* A guest that notes what it gets. */
struct fake {
    uint64_t tick;
    unsigned count;
    struct event events[LOG_EVENTS];
    const char *screen; /* NULL: graphics */
    char shot[64];
    bool refuses;
};

static bool fake_inject(void *context, const struct event *e, struct error *err)
{
    struct fake *f = context;
    if (f->refuses)
        return error_set(err, ERR_IO, "refused");
    assert_true(event_payload_ok(e));
    assert_in_range(f->count, 0, LOG_EVENTS - 1);
    f->events[f->count] = *e;
    f->events[f->count++].tick = f->tick;
    return true;
}

static bool fake_screenshot(void *context, const char *path, struct error *err)
{
    struct fake *f = context;
    (void)err;
    (void)snprintf(f->shot, sizeof f->shot, "%s", path);
    return true;
}

static bool fake_text(void *context, struct screen_text *text)
{
    struct fake *f = context;
    if (!f->screen)
        return false;
    (void)snprintf(text->text, sizeof text->text, "%s", f->screen);
    return true;
}

struct play {
    struct fake fake;
    struct input_sink sink;
    struct input_script script;
    struct input_player *player;
    struct error err;
};

static struct play *start(const char *text)
{
    struct play *p = calloc(1, sizeof *p);
    assert_non_null(p);
    p->sink = (struct input_sink){.context = &p->fake,
                                  .inject = fake_inject,
                                  .screenshot = fake_screenshot,
                                  .screen_text = fake_text};
    if (!parse(text, &p->script, &p->err))
        fail_msg("%s", p->err.text);
    p->player = input_player_new(&p->script, &p->sink, MHZ, &p->err);
    assert_non_null(p->player);
    return p;
}

static void stop(struct play *p)
{
    input_player_free(p->player);
    input_script_fini(&p->script);
    free(p);
}

/* Steps at every due tick up to `until`. */
static enum input_state play(struct play *p, uint64_t until)
{
    enum input_state s = INPUT_RUNNING;
    while (input_player_next(p->player) <= until) {
        p->fake.tick = input_player_next(p->player);
        s = input_player_step(p->player, p->fake.tick, &p->err);
    }
    return s;
}

static void expect_key(const struct play *p, unsigned n, uint64_t tick,
                       unsigned key, bool press)
{
    const struct event *e = &p->fake.events[n];
    assert_in_range(n, 0, p->fake.count - 1);
    assert_int_equal(e->type, EVENT_TYPE_KEY);
    assert_int_equal(e->tick, tick);
    assert_int_equal(load_le16(e->payload), key);
    assert_int_equal(e->payload[2], press);
}

static void typing_is_paced_and_uses_shift(void **state)
{
    struct play *p = start("at 100ms type \"aB\"\n");
    (void)state;
    assert_int_equal(play(p, 1000 * MS), INPUT_DONE);
    assert_int_equal(p->fake.count, 6);
    expect_key(p, 0, 100 * MS, 0x1e, true);
    expect_key(p, 1, 115 * MS, 0x1e, false);
    expect_key(p, 2, 130 * MS, 0x2a, true);
    expect_key(p, 3, 145 * MS, 0x30, true);
    expect_key(p, 4, 160 * MS, 0x30, false);
    expect_key(p, 5, 175 * MS, 0x2a, false);
    stop(p);
}

static void chords_release_in_reverse(void **state)
{
    struct play *p = start("key ctrl-alt-del\n");
    (void)state;
    assert_int_equal(play(p, 1000 * MS), INPUT_DONE);
    assert_int_equal(p->fake.count, 6);
    expect_key(p, 0, 0, 0x1d, true);
    expect_key(p, 2, 30 * MS, 0x153, true);
    expect_key(p, 3, 45 * MS, 0x153, false);
    expect_key(p, 5, 75 * MS, 0x1d, false);
    stop(p);
}

static void times_follow_at_after_and_the_action_before(void **state)
{
    struct play *p = start("at 10ms key a\nserial \"x\"\nafter 5ms serial "
                           "\"y\"\nat 20ms serial \"z\"\nat 100ms power\n");
    (void)state;
    assert_int_equal(play(p, 1000 * MS), INPUT_DONE);
    assert_int_equal(p->fake.count, 6);
    assert_int_equal(p->fake.events[2].tick, 40 * MS); /* 10 + 2 * 15 */
    assert_int_equal(p->fake.events[3].tick, 45 * MS);
    assert_int_equal(p->fake.events[4].tick, 45 * MS); /* 20 has passed */
    assert_int_equal(p->fake.events[5].tick, 100 * MS);
    assert_int_equal(p->fake.events[5].type, EVENT_TYPE_POWER);
    stop(p);
}

static void long_moves_are_split_and_buttons_are_held(void **state)
{
    struct play *p = start("mouse down left\nmouse move -250 3\nmouse up\n");
    (void)state;
    assert_int_equal(play(p, 1000 * MS), INPUT_DONE);
    assert_int_equal(p->fake.count, 5);
    int dx = 0, dy = 0;
    for (unsigned i = 1; i < 4; i++) {
        dx += (int16_t)load_le16(p->fake.events[i].payload);
        dy += (int16_t)load_le16(p->fake.events[i].payload + 2);
        assert_int_equal(p->fake.events[i].payload[5], 1);
    }
    assert_int_equal(dx, -250);
    assert_int_equal(dy, 3);
    assert_int_equal(p->fake.events[4].payload[5], 0);
    stop(p);
}

static void serial_waits_consume_what_they_match(void **state)
{
    struct play *p = start("wait serial \"# \"\nserial \"ls\"\nwait serial \"# "
                           "\"\nquit\n");
    (void)state;
    assert_int_equal(play(p, 10 * MS), INPUT_RUNNING);
    input_player_saw_serial(p->player, "boot\n#", 6);
    assert_int_equal(play(p, 20 * MS), INPUT_RUNNING);
    assert_int_equal(p->fake.count, 0);
    input_player_saw_serial(p->player, " ", 1);
    assert_int_equal(play(p, 30 * MS), INPUT_RUNNING);
    assert_int_equal(p->fake.count, 1);
    assert_int_equal(p->fake.events[0].tick, 21 * MS); /* on the 1 ms grid */
    input_player_saw_serial(p->player, "x\n# ", 4);
    assert_int_equal(play(p, 40 * MS), INPUT_QUITS);
    assert_int_equal(input_player_step(p->player, 50 * MS, NULL), INPUT_QUITS);
    stop(p);
}

static void much_output_does_not_hide_a_match(void **state)
{
    struct play *p = start("wait serial \"login:\"\nquit\n");
    char noise[3000];
    (void)state;
    memset(noise, 'n', sizeof noise);
    for (unsigned i = 0; i < 100; i++)
        input_player_saw_serial(p->player, noise, sizeof noise);
    input_player_saw_serial(p->player, "login:", 6);
    assert_int_equal(play(p, MS), INPUT_QUITS);
    stop(p);
}

static void screen_waits_look_at_text(void **state)
{
    struct play *p = start("wait screen \"C:\\\\>\"\nscreenshot s.png\n");
    (void)state;
    assert_int_equal(play(p, 100 * MS), INPUT_RUNNING);
    p->fake.screen = "hello\nC:\\>\n";
    assert_int_equal(play(p, 200 * MS), INPUT_DONE);
    assert_string_equal(p->fake.shot, "s.png");
    assert_int_equal(p->fake.tick, 150 * MS);
    stop(p);
}

static void waits_that_take_too_long_name_the_line(void **state)
{
    struct play *p = start("\nwait serial \"never\" within 30ms\nquit\n");
    (void)state;
    assert_int_equal(play(p, 29 * MS), INPUT_RUNNING);
    assert_int_equal(play(p, 1000 * MS), INPUT_TIMEOUT);
    assert_non_null(strstr(p->err.text, "boot.txt:2: the guest did not send "
                                        "'never'"));
    stop(p);
}

static void refused_events_end_the_script(void **state)
{
    struct play *p = start("insert cdrom missing.iso\nquit\n");
    (void)state;
    p->fake.refuses = true;
    assert_int_equal(play(p, MS), INPUT_FAILED);
    assert_string_equal(p->err.text, "refused");
    assert_int_equal(input_player_next(p->player), UINT64_MAX);
    stop(p);
}

static void media_events_carry_drive_and_path(void **state)
{
    struct play *p = start("insert floppy a.img\neject cdrom\n");
    (void)state;
    assert_int_equal(play(p, MS), INPUT_DONE);
    assert_int_equal(p->fake.events[0].payload[0], 1);
    assert_int_equal(p->fake.events[0].bytes, 6);
    assert_memory_equal(p->fake.events[0].payload + 1, "a.img", 5);
    assert_int_equal(p->fake.events[1].payload[0], 0);
    assert_int_equal(p->fake.events[1].bytes, 1);
    stop(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_action_is_understood),
        cmocka_unit_test(errors_name_line_expected_and_found),
        cmocka_unit_test(broken_scripts_are_survived),
        cmocka_unit_test(durations_are_exact_decimals),
        cmocka_unit_test(every_printable_character_has_a_key),
        cmocka_unit_test(typing_is_paced_and_uses_shift),
        cmocka_unit_test(chords_release_in_reverse),
        cmocka_unit_test(times_follow_at_after_and_the_action_before),
        cmocka_unit_test(long_moves_are_split_and_buttons_are_held),
        cmocka_unit_test(serial_waits_consume_what_they_match),
        cmocka_unit_test(much_output_does_not_hide_a_match),
        cmocka_unit_test(screen_waits_look_at_text),
        cmocka_unit_test(waits_that_take_too_long_name_the_line),
        cmocka_unit_test(refused_events_end_the_script),
        cmocka_unit_test(media_events_carry_drive_and_path),
    };
    return cmocka_run_group_tests_name("input script", tests, NULL, NULL);
}
