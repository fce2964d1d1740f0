#include "host/listener.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static bool host_error(const char *what, const char *spec, const char *why,
                       struct error *err)
{
    return error_set(err, ERR_IO, "%s %.300s: %s", what, spec, why);
}

/* A socket that a dead process left is replaced; any other file is not. */
static bool remove_stale(const char *path)
{
    struct stat st;
    if (lstat(path, &st) != 0)
        return errno == ENOENT;
    if (!S_ISSOCK(st.st_mode)) {
        errno = EEXIST;
        return false;
    }
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    (void)snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool is_alive =
        fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) == 0;
    if (fd >= 0)
        (void)close(fd);
    errno = EADDRINUSE;
    return !is_alive && unlink(path) == 0;
}

static bool open_unix(struct listener *l, const char *path, const char *what,
                      struct error *err)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    if (!*path || strlen(path) >= sizeof l->path)
        return error_set(err, ERR_USAGE,
                         "%s: expected unix:PATH with a path of 1 to %zu "
                         "bytes, found '%.200s'",
                         what, sizeof l->path - 1, path);
    (void)snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    if (!remove_stale(path))
        return host_error(what, path, strerror(errno), err);
    l->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (l->listen_fd < 0 ||
        bind(l->listen_fd, (struct sockaddr *)&a, sizeof a) != 0)
        return host_error(what, path, strerror(errno), err);
    (void)snprintf(l->path, sizeof l->path, "%s", path);
    (void)snprintf(l->name, sizeof l->name, "%s", path);
    if (listen(l->listen_fd, 1) != 0)
        return host_error(what, path, strerror(errno), err);
    return true;
}

static bool try_address(struct listener *l, const struct addrinfo *a)
{
    int one = 1;
    l->listen_fd =
        socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
    if (l->listen_fd < 0)
        return false;
    (void)setsockopt(l->listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(l->listen_fd, a->ai_addr, a->ai_addrlen) == 0 &&
        listen(l->listen_fd, 1) == 0)
        return true;
    int why = errno;
    (void)close(l->listen_fd);
    l->listen_fd = -1;
    errno = why;
    return false;
}

/* The address we got, port 0 resolved. */
static void name_address(struct listener *l)
{
    struct sockaddr_storage a;
    socklen_t bytes = sizeof a;
    char host[200] = "?", port[20] = "?";
    if (getsockname(l->listen_fd, (struct sockaddr *)&a, &bytes) == 0)
        (void)getnameinfo((struct sockaddr *)&a, bytes, host, sizeof host, port,
                          sizeof port, NI_NUMERICHOST | NI_NUMERICSERV);
    (void)snprintf(l->name, sizeof l->name,
                   a.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}

static bool open_tcp(struct listener *l, const char *spec, const char *what,
                     struct error *err)
{
    char host[200];
    const char *colon = strrchr(spec, ':');
    size_t n = colon ? (size_t)(colon - spec) : 0;
    if (!colon || !colon[1] || n >= sizeof host)
        return error_set(err, ERR_USAGE,
                         "%s: expected HOST:PORT or unix:PATH, found '%.200s'",
                         what, spec);
    if (n >= 2 && spec[0] == '[' && spec[n - 1] == ']')
        (void)snprintf(host, sizeof host, "%.*s", (int)n - 2, spec + 1);
    else
        (void)snprintf(host, sizeof host, "%.*s", (int)n, spec);
    struct addrinfo *list,
        hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    int e = getaddrinfo(host[0] ? host : "127.0.0.1", colon + 1, &hints, &list);
    if (e)
        return host_error(what, spec, gai_strerror(e), err);
    bool ok = false;
    for (const struct addrinfo *a = list; a && !ok; a = a->ai_next)
        ok = try_address(l, a);
    e = errno;
    freeaddrinfo(list);
    if (!ok)
        return host_error(what, spec, strerror(e), err);
    name_address(l);
    return true;
}

bool listener_open(struct listener *l, const char *spec, const char *what,
                   struct error *err)
{
    *l = (struct listener){.listen_fd = -1, .client_fd = -1};
    bool ok = strncmp(spec, "unix:", 5) == 0 ? open_unix(l, spec + 5, what, err)
                                             : open_tcp(l, spec, what, err);
    if (!ok)
        listener_close(l);
    return ok;
}

void listener_close(struct listener *l)
{
    listener_hang_up(l);
    if (l->listen_fd >= 0)
        (void)close(l->listen_fd);
    l->listen_fd = -1;
    if (l->path[0])
        (void)unlink(l->path);
    l->path[0] = 0;
}

bool listener_wait(const struct listener *l, int milliseconds)
{
    struct pollfd p = {.fd = l->listen_fd, .events = POLLIN};
    return poll(&p, 1, milliseconds) > 0;
}

bool listener_accept(struct listener *l, struct error *err)
{
    int one = 1;
    l->client_fd = accept4(l->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    if (l->client_fd < 0)
        return error_set(err, ERR_IO, "%s: no client came: %s", l->name,
                         strerror(errno));
    /* Replies are small and gdb waits for each; not for Unix sockets. */
    (void)setsockopt(l->client_fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return true;
}

void listener_hang_up(struct listener *l)
{
    if (l->client_fd >= 0)
        (void)close(l->client_fd);
    l->client_fd = -1;
}

long listener_receive(struct listener *l, void *bytes, size_t most, bool waits)
{
    for (;;) {
        ssize_t n = recv(l->client_fd, bytes, most, waits ? 0 : MSG_DONTWAIT);
        if (n > 0)
            return (long)n;
        if (n == 0)
            return -1;
        if (errno == EAGAIN || errno == EWOULDBLOCK)
            return 0;
        if (errno != EINTR)
            return -1;
    }
}

bool listener_send(struct listener *l, const void *bytes, size_t count)
{
    const char *at = bytes;
    while (count) {
        ssize_t n = send(l->client_fd, at, count, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        at += n;
        count -= (size_t)n;
    }
    return true;
}
