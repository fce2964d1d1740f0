#include "host/terminal.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { CTRL_A = 1 };

void terminal_init(struct terminal *t)
{
    memset(t, 0, sizeof *t);
    t->fd = -1;
}

bool terminal_is_tty(int fd)
{
    return isatty(fd) == 1;
}

bool terminal_raw(struct terminal *t, int fd, struct error *err)
{
    struct termios raw;
    if (tcgetattr(fd, &t->cooked) != 0)
        return error_set(err, ERR_IO, "terminal: cannot read its mode: %s",
                         strerror(errno));
    raw = t->cooked;
    cfmakeraw(&raw);
    raw.c_oflag |= t->cooked.c_oflag & OPOST;
    if (tcsetattr(fd, TCSANOW, &raw) != 0)
        return error_set(err, ERR_IO, "terminal: cannot set raw mode: %s",
                         strerror(errno));
    t->fd = fd;
    t->is_raw = true;
    return true;
}

void terminal_restore(struct terminal *t)
{
    if (!t->is_raw)
        return;
    t->is_raw = false;
    (void)tcsetattr(t->fd, TCSANOW, &t->cooked);
}

size_t terminal_filter(struct terminal *t, char *bytes, size_t count,
                       enum terminal_key *key)
{
    size_t kept = 0;
    *key = TERMINAL_NONE;
    for (size_t i = 0; i < count; i++) {
        char c = bytes[i];
        if (!t->escape && c == CTRL_A) {
            t->escape = true;
            continue;
        }
        if (!t->escape) {
            bytes[kept++] = c;
            continue;
        }
        t->escape = false;
        if (c == 'x' || c == 'X')
            *key = TERMINAL_QUIT;
        else if (c == 'h' || c == 'H' || c == '?')
            *key = TERMINAL_HELP;
        else
            bytes[kept++] = c == 'a' ? CTRL_A : c;
    }
    return kept;
}
