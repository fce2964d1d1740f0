/* `--symbols FILE@ADDRESS`: which reader a file is for. */
#include "analysis/pdb.h"
#include "analysis/symbols_pe.h"

#include <elf.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { FILE_MAX_BYTES = 0x7fffffff };

/* The whole of a regular file; the caller frees it. */
static uint8_t *load(const char *path, size_t *count, struct error *err)
{
    struct stat info;
    FILE *f = fopen(path, "rb");
    if (!f || fstat(fileno(f), &info) != 0) {
        error_set(err, ERR_IO, "%s: cannot be read: %s", path,
                  strerror(errno));
        if (f)
            (void)fclose(f);
        return NULL;
    }
    uint8_t *bytes = NULL;
    if (!S_ISREG(info.st_mode) || info.st_size > FILE_MAX_BYTES)
        error_set(err, ERR_INPUT,
                  "%s: expected a file with symbols below 2 GiB", path);
    else if (!(bytes = malloc((size_t)info.st_size + 1)))
        error_set(err, ERR_NOMEM, "%s: out of memory", path);
    *count = bytes ? fread(bytes, 1, (size_t)info.st_size, f) : 0;
    if (bytes && *count != (size_t)info.st_size) {
        error_set(err, ERR_IO, "%s: expected %lld bytes, could read %zu", path,
                  (long long)info.st_size, *count);
        free(bytes);
        bytes = NULL;
    }
    (void)fclose(f);
    return bytes;
}

/* "/x/vmlinux-6.1.elf" is "vmlinux-6.1". */
static void module_name(const char *path, char out[128])
{
    static const char *const endings[] = {".elf", ".debug", ".so",  ".ko",
                                          ".exe", ".dll",   ".sys", ".pdb"};
    const char *slash = strrchr(path, '/');
    (void)snprintf(out, 128, "%.127s", slash ? slash + 1 : path);
    size_t n = strlen(out);
    for (unsigned i = 0; i < sizeof endings / sizeof endings[0]; i++) {
        size_t length = strlen(endings[i]);
        if (n > length && strcasecmp(out + n - length, endings[i]) == 0) {
            out[n - length] = 0;
            return;
        }
    }
}

/* Splits "FILE@ADDRESS" at the last '@' that a number follows. */
static bool split(const char *argument, char path[PATH_MAX], bool *has_base,
                  uint64_t *base, struct error *err)
{
    const char *at = strrchr(argument, '@');
    char *end = NULL;
    *has_base = false;
    errno = 0;
    if (at && at[1] >= '0' && at[1] <= '9')
        *base = strtoull(at + 1, &end, 0);
    size_t n = strlen(argument);
    if (at && end && *end == 0 && errno == 0) {
        *has_base = true;
        n = (size_t)(at - argument);
    } else if (at) {
        return error_set(err, ERR_USAGE,
                         "--symbols: expected FILE or FILE@ADDRESS, found "
                         "'%.200s'",
                         argument);
    }
    if (n == 0 || n >= PATH_MAX)
        return error_set(err, ERR_USAGE,
                         "--symbols: expected the name of a file, found "
                         "'%.200s'",
                         argument);
    memcpy(path, argument, n);
    path[n] = 0;
    return true;
}

bool symbols_add_file(struct symbols *s, const char *argument,
                      struct error *err)
{
    char path[PATH_MAX], module[128];
    bool has_base;
    uint64_t base = 0;
    size_t count;
    if (!split(argument, path, &has_base, &base, err))
        return false;
    uint8_t *bytes = load(path, &count, err);
    if (!bytes)
        return false;
    module_name(path, module);
    struct symbol_table *t = NULL;
    if (count >= SELFMAG && memcmp(bytes, ELFMAG, SELFMAG) == 0)
        t = symbols_read_elf(module, path, bytes, count, has_base, base, err);
    else if (count >= 2 && bytes[0] == 'M' && bytes[1] == 'Z')
        t = symbols_read_pe(module, path, bytes, count, has_base, base, err);
    else if (!pdb_is(bytes, count))
        error_set(err, ERR_INPUT,
                  "%s: expected an ELF, PE or PDB file, found another kind",
                  path);
    else if (!has_base)
        error_set(err, ERR_USAGE,
                  "--symbols: expected FILE@ADDRESS for the PDB %s, found no "
                  "address",
                  path);
    else
        t = pdb_symbols_of_file(module, path, base, err);
    free(bytes);
    return t && symbols_add(s, t, err);
}
