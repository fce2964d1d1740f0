#include "replay/pack.h"

#include "replay/session.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

enum { LEVEL = 6, PATH_MAX_BYTES = 4000 };
static const char magic[] = "relive pack 1\n";
enum { MAGIC_BYTES = sizeof magic - 1 };

static bool system_error(const char *path, struct error *err)
{
    return error_set(err, errno == ENOSPC ? ERR_FULL : ERR_IO, "%s: %s", path,
                     strerror(errno));
}

/* ---- streams ----------------------------------------------------------------
 */

struct stream {
    FILE *from, *to;
    const char *from_path, *to_path; /* for sentences */
    size_t in_bytes, out_bytes;
    uint8_t *in, *out; /* owned */
};

static bool stream_open(struct stream *s, const char *from, const char *to,
                        size_t in_bytes, size_t out_bytes, struct error *err)
{
    *s = (struct stream){.from_path = from,
                         .to_path = to,
                         .in_bytes = in_bytes,
                         .out_bytes = out_bytes,
                         .in = malloc(in_bytes),
                         .out = malloc(out_bytes)};
    if (!s->in || !s->out)
        return error_set(err, ERR_NOMEM, "%s: out of memory", from);
    if (!(s->from = fopen(from, "rbe")))
        return system_error(from, err);
    return (s->to = fopen(to, "wbxe")) || system_error(to, err);
}

/* Synced and closed; what is not complete is removed. */
static bool stream_close(struct stream *s, bool ok, struct error *err)
{
    if (s->from)
        (void)fclose(s->from);
    if (s->to) {
        if (ok && (fflush(s->to) != 0 || fsync(fileno(s->to)) != 0))
            ok = system_error(s->to_path, err);
        if (fclose(s->to) != 0 && ok)
            ok = system_error(s->to_path, err);
        if (!ok)
            (void)unlink(s->to_path);
    }
    free(s->in);
    free(s->out);
    return ok;
}

static bool read_some(struct stream *s, size_t *bytes, struct error *err)
{
    *bytes = fread(s->in, 1, s->in_bytes, s->from);
    return !ferror(s->from) || system_error(s->from_path, err);
}

static bool write_all(struct stream *s, size_t bytes, struct error *err)
{
    return fwrite(s->out, 1, bytes, s->to) == bytes ||
           system_error(s->to_path, err);
}

static bool zip_all(struct stream *s, ZSTD_CCtx *zip, struct error *err)
{
    bool is_last = false;
    while (!is_last) {
        ZSTD_inBuffer in = {.src = s->in};
        if (!read_some(s, &in.size, err))
            return false;
        is_last = in.size < s->in_bytes;
        size_t left;
        do {
            ZSTD_outBuffer out = {.dst = s->out, .size = s->out_bytes};
            left = ZSTD_compressStream2(zip, &out, &in,
                                        is_last ? ZSTD_e_end : ZSTD_e_continue);
            if (ZSTD_isError(left))
                return error_set(err, ERR_NOMEM, "%s: compressing: %s",
                                 s->to_path, ZSTD_getErrorName(left));
            if (!write_all(s, out.pos, err))
                return false;
        } while (is_last ? left > 0 : in.pos < in.size);
    }
    return true;
}

static bool unzip_all(struct stream *s, ZSTD_DCtx *unzip, struct error *err)
{
    size_t left = 1; /* of the frame: unknown, but not 0 */
    for (;;) {
        ZSTD_inBuffer in = {.src = s->in};
        if (!read_some(s, &in.size, err))
            return false;
        if (in.size == 0)
            return left == 0 ||
                   error_set(err, ERR_INPUT, "%s: damaged: it ends too early",
                             s->from_path);
        while (in.pos < in.size) {
            ZSTD_outBuffer out = {.dst = s->out, .size = s->out_bytes};
            left = ZSTD_decompressStream(unzip, &out, &in);
            if (ZSTD_isError(left))
                return error_set(err, ERR_INPUT, "%s: damaged: %s",
                                 s->from_path, ZSTD_getErrorName(left));
            if (!write_all(s, out.pos, err))
                return false;
        }
    }
}

/* ---- packing ----------------------------------------------------------------
 */

static bool zip_file(const char *from, const char *to, struct error *err)
{
    struct stream s;
    bool ok = stream_open(&s, from, to, ZSTD_CStreamInSize(),
                          ZSTD_CStreamOutSize(), err);
    ZSTD_CCtx *zip = ZSTD_createCCtx();
    if (ok && !zip)
        ok = error_set(err, ERR_NOMEM, "%s: out of memory", to);
    if (ok) {
        (void)ZSTD_CCtx_setParameter(zip, ZSTD_c_compressionLevel, LEVEL);
        (void)ZSTD_CCtx_setParameter(zip, ZSTD_c_checksumFlag, 1);
        ok = fwrite(magic, 1, MAGIC_BYTES, s.to) == MAGIC_BYTES
                 ? zip_all(&s, zip, err)
                 : system_error(to, err);
    }
    (void)ZSTD_freeCCtx(zip);
    return stream_close(&s, ok, err);
}

bool session_pack(const char *session, const char *file,
                  const struct copy_options *options,
                  struct copy_report *report, struct error *err)
{
    char temporary[PATH_MAX_BYTES + 20], data[PATH_MAX_BYTES + 40];
    struct stat st;
    if (strlen(file) > PATH_MAX_BYTES)
        return error_set(err, ERR_USAGE, "%.200s: the path is too long", file);
    if (stat(file, &st) == 0)
        return error_set(err, ERR_USAGE, "%s: exists already", file);
    (void)snprintf(temporary, sizeof temporary, "%s.tmp", file);
    (void)snprintf(data, sizeof data, "%s/data.mdb", temporary);
    session_copy_remove(temporary);
    if (!session_copy(session, temporary, options, report, err))
        return false;
    bool ok = zip_file(data, file, err);
    session_copy_remove(temporary);
    if (ok && stat(file, &st) == 0)
        report->bytes_after = (uint64_t)st.st_size;
    return ok;
}

/* ---- unpacking --------------------------------------------------------------
 */

static bool check_magic(struct stream *s, struct error *err)
{
    char found[MAGIC_BYTES];
    return (fread(found, 1, MAGIC_BYTES, s->from) == MAGIC_BYTES &&
            memcmp(found, magic, MAGIC_BYTES) == 0) ||
           error_set(err, ERR_INPUT,
                     "%s: not a packed session, or one of a newer relive",
                     s->from_path);
}

static bool unzip_file(const char *from, const char *to, struct error *err)
{
    struct stream s;
    bool ok = stream_open(&s, from, to, ZSTD_DStreamInSize(),
                          ZSTD_DStreamOutSize(), err);
    ZSTD_DCtx *unzip = ZSTD_createDCtx();
    if (ok && !unzip)
        ok = error_set(err, ERR_NOMEM, "%s: out of memory", to);
    ok = ok && check_magic(&s, err) && unzip_all(&s, unzip, err);
    (void)ZSTD_freeDCtx(unzip);
    return stream_close(&s, ok, err);
}

bool session_unpack(const char *file, const char *to, struct error *err)
{
    char data[PATH_MAX_BYTES + 20];
    struct session *s;
    if (strlen(to) > PATH_MAX_BYTES)
        return error_set(err, ERR_USAGE, "%.200s: the path is too long", to);
    (void)snprintf(data, sizeof data, "%s/data.mdb", to);
    if (mkdir(to, 0777) != 0)
        return system_error(to, err);
    bool ok = unzip_file(file, data, err) && session_open(to, &s, err);
    if (ok)
        session_close(s);
    else
        session_copy_remove(to);
    return ok;
}
