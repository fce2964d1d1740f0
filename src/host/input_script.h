/* Input scripts: a text file of timed actions, one per line, as `relive help
 * input` documents it. Parsing only; input_player.h performs them. */
#ifndef RELIVE_HOST_INPUT_SCRIPT_H
#define RELIVE_HOST_INPUT_SCRIPT_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

enum input_kind {
    INPUT_TYPE,    /* text: characters of a US keyboard */
    INPUT_KEY,     /* keys: down in order, up in reverse */
    INPUT_PRESS,   /* keys: down */
    INPUT_RELEASE, /* keys: up */
    INPUT_MOUSE_MOVE,
    INPUT_MOUSE_WHEEL,
    INPUT_MOUSE_DOWN,
    INPUT_MOUSE_UP,
    INPUT_MOUSE_CLICK,
    INPUT_SERIAL,      /* text: bytes that COM1 receives */
    INPUT_WAIT_SERIAL, /* text: bytes that COM1 sends */
    INPUT_WAIT_SCREEN, /* text: on the screen in a text mode */
    INPUT_SCREENSHOT,  /* text: file name */
    INPUT_POWER,
    INPUT_RESET,
    INPUT_EJECT,  /* drive */
    INPUT_INSERT, /* drive, text: file name */
    INPUT_QUIT
};

enum input_when {
    INPUT_NEXT, /* as soon as the action before is done */
    INPUT_AT,   /* not before this guest time */
    INPUT_AFTER /* this long after the action before */
};

enum {
    INPUT_KEYS = 8,            /* most keys of one chord */
    INPUT_SCRIPT_MAX = 1 << 20 /* bytes of a file */
};

struct input_action {
    enum input_kind kind;
    enum input_when when;
    uint64_t when_ns;
    uint64_t within_ns; /* of a wait; 0: for ever */
    unsigned line;
    unsigned drive;   /* as in a MEDIA event: 0 CD, 1 floppy */
    unsigned buttons; /* bits as in a MOUSE event */
    int dx, dy;       /* dy also: wheel */
    unsigned keys;
    uint16_t key[INPUT_KEYS];
    char *text; /* owned; may contain NUL; one NUL follows */
    size_t text_bytes;
};

struct input_script {
    char *name; /* owned */
    struct input_action *actions;
    size_t count;
};

/* name is what sentences call the text ("boot.txt"); they name the line, what
 * was expected and what was found. */
bool input_script_parse(const char *name, const char *text, size_t bytes,
                        struct input_script *out, struct error *err);
bool input_script_read(const char *path, struct input_script *out,
                       struct error *err);
void input_script_fini(struct input_script *s);

#endif
