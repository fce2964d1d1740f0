#include "host/blob.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool read_all(int fd, char *data, size_t bytes)
{
    size_t at = 0;
    while (at < bytes) {
        ssize_t got = read(fd, data + at, bytes - at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return false;
        if (got == 0) {
            errno = EIO; /* it shrank while it was read */
            return false;
        }
        at += (size_t)got;
    }
    return true;
}

static bool load(int fd, const char *path, size_t max_bytes, void **data,
                 size_t *bytes, struct error *err)
{
    struct stat info;
    if (fstat(fd, &info) != 0)
        return error_set(err, ERR_IO, "%s: cannot read: %s", path,
                         strerror(errno));
    if (!S_ISREG(info.st_mode))
        return error_set(err, ERR_INPUT,
                         "%s: expected a regular file, found something else",
                         path);
    if ((uint64_t)info.st_size > max_bytes)
        return error_set(err, ERR_INPUT,
                         "%s: expected at most %zu bytes, found %llu", path,
                         max_bytes, (unsigned long long)info.st_size);
    size_t size = (size_t)info.st_size;
    char *out = malloc(size + 1);
    if (!out)
        return error_set(err, ERR_NOMEM, "%s: out of memory", path);
    if (!read_all(fd, out, size)) {
        free(out);
        return error_set(err, ERR_IO, "%s: cannot read: %s", path,
                         strerror(errno));
    }
    out[size] = 0;
    *data = out;
    *bytes = size;
    return true;
}

bool blob_read(const char *path, size_t max_bytes, void **data, size_t *bytes,
               struct error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return error_set(err, ERR_IO, "%s: cannot open: %s", path,
                         strerror(errno));
    bool ok = load(fd, path, max_bytes, data, bytes, err);
    (void)close(fd);
    return ok;
}
