#include "cli/machine_setup.h"

#include "cli/stats.h"
#include "host/blob.h"
#include "host/clock.h"
#include "host/image.h"
#include "host/perf_map.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_BIOS    "/usr/share/seabios/bios-256k.bin"
#define DEFAULT_VGABIOS "/usr/share/seabios/vgabios-stdvga.bin"

enum { FIRMWARE_MAX = 16 << 20, KERNEL_MAX = 1 << 30 };

/* ---- defaults -------------------------------------------------------------
 */

static bool firmware_default(char path[MACHINE_PATH], const char *fallback,
                             const char *option, struct error *err)
{
    if (strcmp(path, "none") == 0 && strcmp(option, "vgabios") == 0) {
        memset(path, 0, MACHINE_PATH);
        return true;
    }
    if (path[0])
        return true;
    if (access(fallback, R_OK) != 0)
        return error_set(err, ERR_INPUT,
                         "%s: not found: install the Debian package seabios "
                         "or name a file with --%s",
                         fallback, option);
    memcpy(path, fallback, strlen(fallback));
    return true;
}

static bool make_absolute(char path[MACHINE_PATH], struct error *err)
{
    if (!path[0] || path[0] == '/')
        return true;
    char *full = realpath(path, NULL);
    if (!full) /* opening it will say why */
        return true;
    size_t length = strlen(full);
    bool fits = length < MACHINE_PATH;
    if (fits) {
        memset(path, 0, MACHINE_PATH);
        memcpy(path, full, length);
    }
    free(full);
    return fits || error_set(err, ERR_USAGE,
                             "%.200s: expected an absolute path of at most %d "
                             "bytes, found %zu",
                             path, MACHINE_PATH - 1, length);
}

bool machine_setup_defaults(struct machine_config *c, struct error *err)
{
    for (unsigned i = 0; i < MACHINE_DISKS; i++)
        if (!make_absolute(c->disk[i], err))
            return false;
    engine_config_complete(&c->engine);
    return firmware_default(c->bios, DEFAULT_BIOS, "bios", err) &&
           firmware_default(c->vgabios, DEFAULT_VGABIOS, "vgabios", err) &&
           make_absolute(c->cdrom, err) && make_absolute(c->floppy, err) &&
           make_absolute(c->bios, err) && make_absolute(c->vgabios, err) &&
           make_absolute(c->kernel, err) && make_absolute(c->initrd, err);
}

/* ---- opening --------------------------------------------------------------
 */

static void identify(struct media_identity *id, const char *role,
                     const char *path, uint64_t bytes, const uint8_t *hash)
{
    memset(id, 0, sizeof *id);
    (void)snprintf(id->role, sizeof id->role, "%s", role);
    (void)snprintf(id->path, sizeof id->path, "%s", path);
    id->bytes = bytes;
    memcpy(id->hash, hash, MEDIA_HASH_BYTES);
}

/* Where the session lists a medium; -1: nowhere. */
static int recorded_index(const struct machine_setup *s, const char *role,
                          const char *path)
{
    for (unsigned i = 0; s->session && i < s->session->media_count; i++)
        if (strcmp(s->session->media[i].role, role) == 0 &&
            strcmp(s->session->media[i].path, path) == 0)
            return (int)i;
    return -1;
}

/* Where a medium is: in the directory that the user has named, or at `path`. */
static const char *whereabouts(const struct machine_setup *s, const char *path,
                               char found[PATH_MAX])
{
    const char *name = strrchr(path, '/');
    if (!s->media_dir)
        return path;
    int n = snprintf(found, PATH_MAX, "%s/%s", s->media_dir,
                     name ? name + 1 : path);
    return n < PATH_MAX && access(found, R_OK) == 0 ? found : path;
}

static bool open_base(const struct machine_setup *s, int index,
                      const char *role, const char *path,
                      struct block_base *base, struct media_identity *id,
                      struct error *err)
{
    char moved[PATH_MAX];
    uint8_t hash[MEDIA_HASH_BYTES];
    enum store_found found =
        index < 0 ? STORE_NONE
                  : content_open(s->session, (unsigned)index, base, err);
    if (found == STORE_FOUND)
        *id = s->session->media[index];
    if (found != STORE_NONE)
        return found == STORE_FOUND;
    path = whereabouts(s, path, moved);
    if (!image_open(path, base, hash, err))
        return false;
    identify(id, role, path, base->bytes, hash);
    return true;
}

static struct block *open_image(struct machine_setup *s, const char *path,
                                const char *role, bool read_only,
                                struct media_identity *id, struct error *err)
{
    struct block_base base, inner;
    int index = recorded_index(s, role, path);
    if (!open_base(s, index, role, path, &base, id, err))
        return NULL;
    /* A medium that is inserted again is noted with the first time's. */
    if (s->notes_reads && index >= 0 && !s->reads[index]) {
        inner = base;
        s->reads[index] = content_note_reads(&inner, &base, err);
        if (!s->reads[index])
            return NULL;
    }
    return block_new(path, &base, read_only, err);
}

static bool add_image(struct machine_setup *s, const char *path,
                      const char *role, bool read_only, struct block **out,
                      struct error *err)
{
    if (!path[0])
        return true;
    *out = open_image(s, path, role, read_only, &s->media[s->media_count], err);
    if (!*out)
        return false;
    s->media_count++;
    return true;
}

static bool add_blob(struct machine_setup *s, const char *path,
                     const char *role, size_t max_bytes, struct blob *out,
                     struct error *err)
{
    void *data;
    char moved[PATH_MAX];
    uint8_t hash[MEDIA_HASH_BYTES];
    if (!path[0])
        return true;
    int index = recorded_index(s, role, path);
    enum store_found found =
        index < 0 ? STORE_NONE
                  : content_blob(s->session, (unsigned)index, &data,
                                 &out->bytes, err);
    if (found == STORE_NONE)
        path = whereabouts(s, path, moved);
    if (found == STORE_BAD ||
        (found == STORE_NONE &&
         !blob_read(path, max_bytes, &data, &out->bytes, err)))
        return false;
    out->data = data;
    media_hash(data, out->bytes, hash);
    identify(&s->media[s->media_count++], role, path, out->bytes, hash);
    return true;
}

static bool open_all(struct machine_setup *s, const struct machine_config *c,
                     struct machine_media *media, struct error *err)
{
    static const char *const disks[MACHINE_DISKS] = {"disk0", "disk1", "disk2"};
    if (!add_blob(s, c->bios, "bios", FIRMWARE_MAX, &media->bios, err) ||
        !add_blob(s, c->vgabios, "vgabios", FIRMWARE_MAX, &media->vgabios,
                  err) ||
        !add_blob(s, c->kernel, "kernel", KERNEL_MAX, &media->kernel, err) ||
        !add_blob(s, c->initrd, "initrd", KERNEL_MAX, &media->initrd, err))
        return false;
    for (unsigned i = 0; i < MACHINE_DISKS; i++)
        if (!add_image(s, c->disk[i], disks[i], false, &media->disk[i], err))
            return false;
    return add_image(s, c->cdrom, "cdrom", true, &media->cdrom, err) &&
           add_image(s, c->floppy, "floppy", false, &media->floppy, err);
}

static void free_blobs(struct machine_media *media)
{
    free((void *)media->bios.data);
    free((void *)media->vgabios.data);
    free((void *)media->kernel.data);
    free((void *)media->initrd.data);
}

static void free_blocks(struct machine_media *media)
{
    for (unsigned i = 0; i < MACHINE_DISKS; i++)
        block_free(media->disk[i]);
    block_free(media->cdrom);
    block_free(media->floppy);
}

/* ---- media changes --------------------------------------------------------
 */

static struct block *open_inserted(void *context, const char *path,
                                   struct error *err)
{
    struct machine_setup *s = context;
    struct media_identity id;
    struct block *block = open_image(s, path, "inserted", true, &id, err);
    if (!block)
        return NULL;
    const struct media_identity *want =
        s->replayer ? replayer_find_media(s->replayer, path) : NULL;
    if (want && (want->bytes != id.bytes ||
                 memcmp(want->hash, id.hash, MEDIA_HASH_BYTES) != 0)) {
        error_set(err, ERR_MISMATCH,
                  "%s: not the medium that was inserted while recording: "
                  "expected %llu bytes, found %llu%s",
                  path, (unsigned long long)want->bytes,
                  (unsigned long long)id.bytes,
                  want->bytes == id.bytes ? " with other contents" : "");
        block_free(block);
        return NULL;
    }
    if (s->recorder)
        recorder_add_media(s->recorder, &id);
    return block;
}

/* ---- the machine ----------------------------------------------------------
 */

static bool build(struct machine_setup *s, const struct machine_config *config,
                  struct error *err)
{
    struct machine_media media = {0};
    /* machine_new() checks too: here, before gigabytes are hashed. */
    bool ok =
        machine_config_check(config, err) && open_all(s, config, &media, err);
    if (!ok)
        free_blocks(&media);
    else
        s->machine = machine_new(config, &media, err);
    free_blobs(&media);
    if (!s->machine)
        return false;
    machine_set_media_open(s->machine, open_inserted, s);
    return true;
}

bool machine_setup_open(struct machine_setup *s,
                        const struct machine_config *config, struct error *err)
{
    memset(s, 0, sizeof *s);
    return build(s, config, err);
}

bool machine_setup_open_session(struct machine_setup *s,
                                const struct session *session, bool notes_reads,
                                const char *media_dir, struct error *err)
{
    memset(s, 0, sizeof *s);
    s->session = session;
    s->notes_reads = notes_reads;
    s->media_dir = media_dir;
    return build(s, &session->config, err);
}

static uint64_t compile_clock(void *context)
{
    (void)context;
    return clock_monotonic_ns();
}

bool machine_setup_engine(struct machine_setup *s, const struct cli_options *o,
                          struct error *err)
{
    struct machine_engine engine = {.config = o->config.engine,
                                    .count_memory = o->count_memory};
    engine_config_merge(&engine.config, &machine_config(s->machine)->engine);
    engine_config_complete(&engine.config);
    if (stats_wanted(o)) {
        engine.now_ns = compile_clock;
        engine.times_devices = o->hud || o->slow_frame_ms;
        engine.count_lookups = true;
    }
    if (o->jit_perf_map) {
        s->perf_map = perf_map_open(err);
        if (!s->perf_map)
            return false;
        engine.on_code = perf_map_add;
        engine.on_code_context = s->perf_map;
    }
    s->engine = engine;
    return machine_set_engine(s->machine, &engine, err);
}

void machine_setup_close(struct machine_setup *s)
{
    machine_free(s->machine);
    s->machine = NULL;
    perf_map_close(s->perf_map);
    s->perf_map = NULL;
    for (unsigned i = 0; i < MEDIA_MAX; i++) {
        content_reads_free(s->reads[i]);
        s->reads[i] = NULL;
    }
}

bool machine_setup_reload(struct machine_setup *s, struct error *err)
{
    struct writer w;
    struct reader r;
    writer_init(&w);
    machine_save(s->machine, &w);
    bool ok = !w.failed;
    if (!ok)
        error_set(err, ERR_NOMEM, "no memory to save the machine");
    reader_init(&r, w.data, w.used);
    ok = ok && machine_load(s->machine, &r, err);
    writer_fini(&w);
    return ok;
}
