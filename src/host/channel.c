#include "host/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    CLIENT_PATIENCE_MS = 1000 /* a client that takes nothing is dropped */
};

static bool has_prefix(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool channel_spec_ok(const char *spec, const char *what, struct error *err)
{
    if (strcmp(spec, "stdio") == 0 || strcmp(spec, "none") == 0)
        return true;
    if ((has_prefix(spec, "file:") || has_prefix(spec, "unix:")) && spec[5]) {
        if (spec[0] == 'f' || strlen(spec + 5) < CHANNEL_PATH)
            return true;
        return error_set(err, ERR_USAGE,
                         "%s: expected a socket path of at most %d bytes, "
                         "found %zu",
                         what, CHANNEL_PATH - 1, strlen(spec + 5));
    }
    return error_set(err, ERR_USAGE,
                     "%s: expected stdio, none, file:PATH or unix:PATH, found "
                     "'%.100s'",
                     what, spec);
}

static bool open_file(struct channel *c, const char *path, const char *what,
                      struct error *err)
{
    c->out_fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (c->out_fd < 0)
        return error_set(err, ERR_IO, "%s: %s: cannot write: %s", what, path,
                         strerror(errno));
    return true;
}

/* Does a living process answer at this socket? */
static bool someone_listens(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return true;
    bool answers =
        connect(fd, (const struct sockaddr *)address, sizeof *address) == 0;
    (void)close(fd);
    return answers;
}

static bool open_socket(struct channel *c, const char *path, const char *what,
                        struct error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat info;
    memcpy(address.sun_path, path, strlen(path) + 1);
    if (lstat(path, &info) == 0) {
        if (!S_ISSOCK(info.st_mode))
            return error_set(err, ERR_USAGE,
                             "%s: %s: expected a new path for a socket, found "
                             "a file",
                             what, path);
        if (someone_listens(&address))
            return error_set(err, ERR_USAGE,
                             "%s: %s: another process listens at this socket",
                             what, path);
        (void)unlink(path);
    }
    c->listen_fd =
        socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->listen_fd < 0 ||
        bind(c->listen_fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(c->listen_fd, 1) != 0)
        return error_set(err, ERR_IO, "%s: %s: cannot listen: %s", what, path,
                         strerror(errno));
    memcpy(c->path, path, strlen(path) + 1);
    return true;
}

bool channel_open(struct channel *c, const char *spec, const char *what,
                  struct error *err)
{
    memset(c, 0, sizeof *c);
    c->in_fd = c->out_fd = c->listen_fd = -1;
    if (!*spec)
        return true;
    if (!channel_spec_ok(spec, what, err))
        return false;
    if (strcmp(spec, "none") == 0)
        return true;
    if (strcmp(spec, "stdio") == 0) {
        c->kind = CHANNEL_STDIO;
        c->in_fd = STDIN_FILENO;
        c->out_fd = STDOUT_FILENO;
        return true;
    }
    c->kind = spec[0] == 'f' ? CHANNEL_FILE : CHANNEL_UNIX;
    if (c->kind == CHANNEL_FILE ? open_file(c, spec + 5, what, err)
                                : open_socket(c, spec + 5, what, err))
        return true;
    channel_close(c);
    return false;
}

static void drop_client(struct channel *c)
{
    if (c->in_fd >= 0)
        (void)close(c->in_fd);
    c->in_fd = c->out_fd = -1;
}

void channel_close(struct channel *c)
{
    if (c->kind == CHANNEL_NONE)
        return;
    channel_flush(c);
    if (c->kind == CHANNEL_FILE && c->out_fd >= 0)
        (void)close(c->out_fd);
    if (c->kind == CHANNEL_UNIX)
        drop_client(c);
    if (c->listen_fd >= 0)
        (void)close(c->listen_fd);
    if (c->path[0])
        (void)unlink(c->path);
    c->kind = CHANNEL_NONE;
    c->in_fd = c->out_fd = c->listen_fd = -1;
    c->path[0] = 0;
}

/* ---- output ---------------------------------------------------------------
 */

static void fail(struct channel *c)
{
    if (c->kind == CHANNEL_UNIX) {
        drop_client(c);
        return;
    }
    c->has_failed = true;
    error_set(&c->error, ERR_IO, "%s: cannot write what the guest sent: %s",
              c->kind == CHANNEL_STDIO ? "standard output" : "output file",
              strerror(errno));
}

static ssize_t put_some(struct channel *c, const char *bytes, size_t count)
{
    if (c->kind != CHANNEL_UNIX)
        return write(c->out_fd, bytes, count);
    struct pollfd wait = {.fd = c->out_fd, .events = POLLOUT};
    if (poll(&wait, 1, CLIENT_PATIENCE_MS) == 0) {
        errno = ETIMEDOUT;
        return -1;
    }
    return send(c->out_fd, bytes, count, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void channel_flush(struct channel *c)
{
    size_t at = 0;
    while (at < c->used && c->out_fd >= 0 && !c->has_failed) {
        ssize_t put = put_some(c, c->buffer + at, c->used - at);
        if (put >= 0)
            at += (size_t)put;
        else if (errno == EAGAIN && c->kind != CHANNEL_UNIX)
            (void)poll(&(struct pollfd){.fd = c->out_fd, .events = POLLOUT}, 1,
                       CLIENT_PATIENCE_MS);
        else if (errno != EINTR)
            fail(c);
    }
    c->used = 0;
}

void channel_write(struct channel *c, const void *bytes, size_t count)
{
    const char *from = bytes;
    if (c->kind == CHANNEL_NONE)
        return;
    while (count > 0) {
        size_t room = CHANNEL_BUFFER - c->used;
        size_t part = count < room ? count : room;
        memcpy(c->buffer + c->used, from, part);
        c->used += part;
        from += part;
        count -= part;
        if (c->used == CHANNEL_BUFFER)
            channel_flush(c);
    }
}

/* ---- input ----------------------------------------------------------------
 */

static bool is_readable(int fd)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    return poll(&wait, 1, 0) == 1 && (wait.revents & (POLLIN | POLLHUP));
}

static void accept_client(struct channel *c)
{
    int fd = accept4(c->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0)
        c->in_fd = c->out_fd = fd;
}

size_t channel_read(struct channel *c, void *bytes, size_t room)
{
    if (c->kind == CHANNEL_UNIX && c->in_fd < 0)
        accept_client(c);
    if (c->in_fd < 0 || c->in_ended || room == 0 || !is_readable(c->in_fd))
        return 0;
    ssize_t got = read(c->in_fd, bytes, room);
    if (got > 0)
        return (size_t)got;
    if (got < 0 && (errno == EINTR || errno == EAGAIN))
        return 0;
    if (c->kind == CHANNEL_UNIX)
        drop_client(c);
    else
        c->in_ended = true;
    return 0;
}

int channel_wait_fd(const struct channel *c)
{
    if (c->kind == CHANNEL_UNIX && c->in_fd < 0)
        return c->listen_fd;
    return c->in_ended ? -1 : c->in_fd;
}
