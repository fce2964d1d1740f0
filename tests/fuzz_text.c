/* Text from users and recordings: configurations in JSON and input scripts;
 * and payloads of logged events. The first byte chooses. */
#include "lib_fuzz.h"

#include "board/config.h"
#include "host/input_script.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    TEXT_MAX = 8192
};

static const char script_text[] =
    "# boot\n"
    "at 2.5s type \"root\\n\\x41\\\\\"\n"
    "at 3s key ctrl-alt-del\n"
    "after 100ms press a\n"
    "release a\n"
    "at 4s mouse move 10 -3\n"
    "mouse down left\n"
    "mouse up left\n"
    "mouse click right\n"
    "mouse wheel -1\n"
    "serial \"ls\\n\"\n"
    "wait serial \"login:\" within 10s\n"
    "wait screen \"C:\\\\>\"\n"
    "screenshot a.png\n"
    "insert cdrom \"b.iso\"\n"
    "eject floppy\n"
    "power\n"
    "reset\n"
    "quit\n";

static void try_config(const char *text)
{
    struct machine_config *c = malloc(sizeof *c), *again = malloc(sizeof *c);
    struct error err = {0};
    if (!c || !again)
        fuzz_fail("out of memory");
    machine_config_init(c);
    if (machine_config_from_json(c, text, "config", &err)) {
        (void)machine_config_check(c, &err);
        char *json = machine_config_to_json(c, CONFIG_ALL);
        machine_config_init(again);
        if (json && (!machine_config_from_json(again, json, "again", &err) ||
                     memcmp(c, again, sizeof *c) != 0))
            fuzz_fail("written and read is not the same: %s", json);
        free(json);
    } else if (!err.text[0]) {
        fuzz_fail("refused without a sentence");
    }
    free(c);
    free(again);
}

static void try_script(const char *text, size_t bytes)
{
    struct input_script script;
    struct error err = {0};
    /* Exactly as long as it is: the parser must not look for a NUL. */
    char *exact = malloc(bytes + !bytes);
    if (!exact)
        fuzz_fail("out of memory");
    memcpy(exact, text, bytes);
    if (input_script_parse("script", exact, bytes, &script, &err)) {
        for (size_t n = 0; n < script.count; n++)
            if (script.actions[n].keys > INPUT_KEYS ||
                script.actions[n].drive > 1)
                fuzz_fail("action %zu cannot be performed", n);
        input_script_fini(&script);
    } else if (!err.text[0]) {
        fuzz_fail("refused without a sentence");
    }
    free(exact);
}

static void try_event(struct fuzz *f)
{
    struct event e = {.type = fuzz_u8(f)};
    char text[200];
    e.bytes = fuzz_u16(f) % (EVENT_PAYLOAD_MAX + 1);
    fuzz_bytes(f, e.payload, e.bytes);
    unsigned room = fuzz_u8(f) % sizeof text + 1u;
    event_describe(&e, text, room);
    if (strnlen(text, room) == room)
        fuzz_fail("a description without an end");
    (void)event_payload_ok(&e);
    struct machine *m = fuzz_machine(FUZZ_CDROM, 100);
    struct error err = {0};
    if (!machine_inject(m, &e, &err) && !err.text[0])
        fuzz_fail("refused without a sentence");
    (void)machine_run(m, 1000);
    machine_free(m);
}

static size_t base_text(uint8_t how, char *text)
{
    struct machine_config *c = malloc(sizeof *c);
    char *json = NULL;
    if (c) {
        machine_config_init(c);
        json = machine_config_to_json(c, CONFIG_ALL);
    }
    free(c);
    const char *from = how & 1 ? script_text : json ? json : "{}";
    size_t bytes = strlen(from);
    memcpy(text, from, bytes + 1);
    free(json);
    return bytes;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz f = fuzz_begin(data, size);
    char text[TEXT_MAX + 1];
    uint8_t how = fuzz_u8(&f);
    size_t bytes = 0;
    if (how >= 0xf0) {
        try_event(&f);
        return 0;
    }
    if (how & 2) {
        bytes = (size_t)(f.end - f.at);
        bytes = bytes < TEXT_MAX ? bytes : TEXT_MAX;
        fuzz_bytes(&f, text, bytes);
    } else {
        bytes = base_text(how, text);
        fuzz_edit(&f, (uint8_t *)text, &bytes, TEXT_MAX);
    }
    text[bytes] = '\0';
    if (how & 1)
        try_script(text, bytes);
    else
        try_config(text);
    return 0;
}
