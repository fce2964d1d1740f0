/* relive help input: the language of input scripts. */
#include "cli/commands.h"
#include "host/keymap.h"

#include <stdio.h>
#include <string.h>

static const char text[] =
    "An input script (--input FILE) is a text file with one action a line:\n"
    "\n"
    "    # log in, look around, switch off\n"
    "    wait serial \"login: \" within 60s\n"
    "    serial \"root\\n\"\n"
    "    after 0.5s type \"dir /w\\n\"\n"
    "    at 30s key ctrl-alt-del\n"
    "    at 40s mouse move 10 -3\n"
    "    mouse click left\n"
    "    screenshot desktop.png\n"
    "    power\n"
    "\n"
    "Times are guest time: 2.5s, 300ms, 20us, 5ns, 1m. 'at T' waits until T\n"
    "since power-on (at once when T has passed); times of 'at' ascend through\n"
    "the file. 'after T' waits for T since the action before was done. "
    "Without\n"
    "either, an action follows the one before immediately. # starts a "
    "comment.\n"
    "Texts stand in double quotes and know \\n \\t \\r \\b \\e \\\\ \\\" "
    "\\xHH.\n"
    "\n"
    "Actions:\n"
    "    type \"TEXT\"            type it on a US keyboard, 15 ms a key event\n"
    "    key CHORD              press the keys in order, release in reverse\n"
    "    press CHORD            press and hold\n"
    "    release CHORD          release\n"
    "    mouse move DX DY       counts; right and down are positive\n"
    "    mouse wheel N          positive: towards the user\n"
    "    mouse down BUTTON      left, right or middle\n"
    "    mouse up [BUTTON]      all when none is named\n"
    "    mouse click BUTTON     down, and up 50 ms later\n"
    "    serial \"TEXT\"          bytes that COM1 receives\n"
    "    wait serial \"TEXT\"     until COM1 has sent TEXT since the last "
    "such\n"
    "                           wait ended\n"
    "    wait screen \"TEXT\"     until a text screen shows TEXT in one row\n"
    "    screenshot FILE        write the screen to a PNG file\n"
    "    power                  press the power button\n"
    "    reset                  press the reset button\n"
    "    eject cdrom|floppy     take the medium out\n"
    "    insert cdrom|floppy FILE\n"
    "                           put a medium in\n"
    "    quit                   end the run\n"
    "\n"
    "A wait may end in 'within T': when the text has not come by then, the "
    "run\n"
    "ends with exit status 1. Waits look at the guest at fixed guest times\n"
    "(serial every 1 ms, screen every 50 ms), so that the same machine, "
    "script\n"
    "and --rtc give the same events at the same ticks.\n"
    "\n"
    "A CHORD is keys joined by -, as in ctrl-alt-del: characters of an\n"
    "unshifted US keyboard, and\n";

void help_input(void)
{
    const char *name;
    size_t column = 0;
    (void)fputs(text, stdout);
    for (unsigned i = 0; (name = keymap_name_at(i)); i++) {
        if (column == 0 || column + strlen(name) + 1 > 76) {
            (void)fputs(column ? "\n   " : "   ", stdout);
            column = 3;
        }
        (void)printf(" %s", name);
        column += strlen(name) + 1;
    }
    (void)fputc('\n', stdout);
}
