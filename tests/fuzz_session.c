/* Sessions that lie: a real recording whose data.mdb has flipped bits, or whose
 * records were changed by somebody who can compute checksums. Opening, checking
 * and replaying it must end with a sentence or a result. */
#include "lib_fuzz.h"

#include "base/bytes.h"
#include "replay/check.h"
#include "replay/info.h"
#include "replay/lmdb_verify.h"
#include "replay/recorder.h"
#include "replay/replayer.h"
#include "replay/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

enum {
    FLAGS = FUZZ_INTERRUPTS | FUZZ_DISK,
    SECTORS = 100,
    RECORDS_MAX = 400,
    VALUE_MAX = 1 << 20,
    REPLAY_TICKS = 60000
};

struct record {
    enum store_db db;
    uint8_t key[STORE_KEY_MAX];
    size_t key_bytes, bytes;
    uint8_t *value;
};

/* The recording, made once. */
struct base {
    uint8_t *image; /* data.mdb */
    size_t image_bytes;
    struct record record[RECORDS_MAX];
    unsigned records;
    char dir[64], path[80], data_path[96];
};

/* ---- making it -------------------------------------------------------------- */

static void remove_files(const struct base *b)
{
    char lock[100];
    (void)snprintf(lock, sizeof lock, "%s/lock.mdb", b->path);
    (void)unlink(b->data_path);
    (void)unlink(lock);
    (void)rmdir(b->path);
}

static void record_session(const struct base *b)
{
    struct error err;
    struct machine *m = fuzz_machine(FLAGS, SECTORS);
    static const struct media_identity media = {.role = "bios",
                                                .path = "bios.bin",
                                                .bytes = 65536};
    const struct recorder_options options = {.path = b->path,
                                             .build = "fuzz",
                                             .media = &media,
                                             .media_count = 1};
    struct recorder *r = recorder_new(&options, m, &err);
    static const struct event events[] = {
        {.type = EVENT_TYPE_CLOCK, .bytes = 8, .payload = {0, 0, 0, 0x60}},
        {.type = EVENT_TYPE_KEY, .bytes = 3, .payload = {30, 0, 1}},
        {.type = EVENT_TYPE_MOUSE, .bytes = 6, .payload = {3, 0, 4, 0, 0, 1}},
        {.type = EVENT_TYPE_SERIAL, .bytes = 2, .payload = "hi"},
        {.type = EVENT_TYPE_MEDIA, .bytes = 5, .payload = "\0002880"},
    };
    if (!r)
        fuzz_fail("%s", err.text);
    for (unsigned n = 0; n < sizeof events / sizeof events[0]; n++) {
        (void)recorder_run(r, 10000 * (n + 1));
        bus_output(machine_bus(m), OUT_SERIAL, "out", 3);
        if (!recorder_inject(r, &events[n], &err) && n < 4)
            fuzz_fail("%s", err.text);
    }
    enum stop_reason why = recorder_run(r, 60000);
    if (!recorder_finish(r, why, &err))
        fuzz_fail("%s", err.text);
    recorder_free(r);
    machine_free(m);
}

static uint8_t *copy_of(const void *data, size_t bytes)
{
    uint8_t *copy = malloc(bytes + !bytes);
    if (!copy)
        fuzz_fail("out of memory");
    if (bytes)
        memcpy(copy, data, bytes);
    return copy;
}

static void keep_record(struct base *b, enum store_db db,
                        const struct store_bytes *k,
                        const struct store_bytes *v)
{
    struct record *r = &b->record[b->records++];
    if (b->records > RECORDS_MAX || k->bytes > STORE_KEY_MAX)
        fuzz_fail("the recording is larger than expected");
    r->db = db;
    r->key_bytes = k->bytes;
    memcpy(r->key, k->data, k->bytes);
    r->bytes = v->bytes;
    r->value = copy_of(v->data, v->bytes);
}

static void read_records(struct base *b)
{
    struct store *s;
    struct error err;
    if (!store_open(b->path, &s, &err))
        fuzz_fail("%s", err.text);
    for (unsigned db = 0; db < STORE_DBS; db++) {
        struct store_cursor c;
        struct store_bytes k, v;
        if (!store_cursor_open(s, (enum store_db)db, &c, &err))
            fuzz_fail("%s", err.text);
        for (enum store_found found =
                 store_cursor_seek(&c, NULL, 0, &k, &v, &err);
             found == STORE_FOUND;
             found = store_cursor_next(&c, &k, &v, &err))
            keep_record(b, (enum store_db)db, &k, &v);
        store_cursor_close(&c);
    }
    store_close(s);
}

static void read_image(struct base *b)
{
    struct stat st;
    int fd = open(b->data_path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0)
        fuzz_fail("%s: %s", b->data_path, strerror(errno));
    b->image_bytes = (size_t)st.st_size;
    b->image = malloc(b->image_bytes);
    if (!b->image ||
        read(fd, b->image, b->image_bytes) != (ssize_t)b->image_bytes)
        fuzz_fail("%s: cannot be read", b->data_path);
    (void)close(fd);
}

static struct base base;

static void remove_base(void)
{
    remove_files(&base);
    (void)rmdir(base.dir);
}

/* In memory where the host has a place for that. */
static struct base *base_session(void)
{
    struct base *b = &base;
    if (b->image)
        return b;
    (void)snprintf(b->dir, sizeof b->dir, "%s/relive-fuzz-XXXXXX",
                   access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (!mkdtemp(b->dir))
        fuzz_fail("%s: %s", b->dir, strerror(errno));
    (void)snprintf(b->path, sizeof b->path, "%s/s", b->dir);
    (void)snprintf(b->data_path, sizeof b->data_path, "%s/data.mdb", b->path);
    (void)atexit(remove_base);
    record_session(b);
    read_records(b);
    read_image(b);
    remove_files(b);
    return b;
}

/* ---- using it ----------------------------------------------------------------- */

static bool count_event(void *context, uint32_t index, const struct event *e)
{
    char text[100];
    (void)index;
    event_describe(e, text, sizeof text);
    free(info_event_json(index, e));
    return ++*(unsigned *)context < 1000;
}

static bool count_output(void *context, const struct output_chunk *chunk)
{
    *(unsigned *)context += chunk->bytes[chunk->count - 1];
    return true;
}

static void look(const char *path)
{
    struct session *s;
    struct error err = {0};
    if (!session_open(path, &s, &err)) {
        if (!err.text[0])
            fuzz_fail("refused without a sentence");
        return;
    }
    struct info info;
    unsigned seen = 0;
    char text[400];
    session_warning(s, text, sizeof text);
    if (info_gather(s, &info, &err))
        free(info_json(s, &info));
    (void)info_each_event(s, 0, UINT64_MAX, count_event, &seen, &err);
    (void)info_each_output(s, 0, UINT64_MAX, count_output, &seen, &err);
    session_close(s);
}

static void replay(const char *path, uint64_t seek)
{
    struct error err = {0};
    struct replayer *r = replayer_open(path, &err);
    if (!r)
        return;
    struct machine *m = fuzz_machine(FLAGS, SECTORS);
    bool ok = replayer_attach(r, m, &err);
    if (ok && seek)
        ok = replayer_seek(r, seek, &err);
    if (ok)
        ok = replayer_run(r, machine_tick(m) + REPLAY_TICKS, &err) !=
             REPLAY_FAILED;
    if (!ok && !err.text[0])
        fuzz_fail("failed without a sentence");
    replayer_free(r);
    machine_free(m);
}

static void use(const char *path, uint64_t seek)
{
    struct check_report report;
    struct error err = {0};
    if (!session_check(path, &report, &err) && !err.text[0])
        fuzz_fail("refused without a sentence");
    look(path);
    replay(path, seek);
}

/* ---- changing it ---------------------------------------------------------------- */

static void put_file(const struct base *b, const uint8_t *data, size_t bytes)
{
    if (mkdir(b->path, 0700) != 0 && errno != EEXIST)
        fuzz_fail("%s: %s", b->path, strerror(errno));
    int fd = open(b->data_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, data, bytes) != (ssize_t)bytes)
        fuzz_fail("%s: %s", b->data_path, strerror(errno));
    (void)close(fd);
}

static void change_image(const struct base *b, struct fuzz *f)
{
    uint64_t seek = fuzz_u16(f) * UINT64_C(2);
    size_t bytes = b->image_bytes;
    uint8_t *image = malloc(bytes + 65536);
    struct error err = {0};
    if (!image)
        return;
    memcpy(image, b->image, bytes);
    fuzz_edit(f, image, &bytes, bytes + 65536);
    /* Exactly as long as it says. */
    uint8_t *exact = realloc(image, bytes + !bytes);
    if (!lmdb_verify_image(exact, bytes, "image", &err) && !err.text[0])
        fuzz_fail("refused without a sentence");
    put_file(b, exact, bytes);
    use(b->path, seek);
    free(exact);
}

/* Edit a record's value in place of a store that would have computed its
 * checksum; a snapshot is edited under its compression. */
static uint8_t *change_value(const struct record *r, struct fuzz edits,
                             size_t *bytes)
{
    uint8_t *value = malloc(VALUE_MAX);
    *bytes = r->bytes;
    if (!value || r->bytes > VALUE_MAX)
        fuzz_fail("a record of %zu bytes", r->bytes);
    if (r->db != STORE_SNAPSHOTS) {
        memcpy(value, r->value, r->bytes);
        fuzz_edit(&edits, value, bytes,
                  *bytes + 5000 < VALUE_MAX ? *bytes + 5000 : VALUE_MAX);
        return value;
    }
    uint8_t *raw = malloc(VALUE_MAX);
    size_t n = raw ? ZSTD_decompress(raw, VALUE_MAX, r->value + 4,
                                     r->bytes - 4)
                   : 0;
    if (!raw || ZSTD_isError(n))
        fuzz_fail("a snapshot that does not unpack");
    fuzz_edit(&edits, raw, &n, VALUE_MAX);
    store_le32(value, (uint32_t)n);
    size_t packed = ZSTD_compress(value + 4, VALUE_MAX - 4, raw, n, 1);
    *bytes = ZSTD_isError(packed) ? 4 : packed + 4;
    free(raw);
    return value;
}

static void change_records(const struct base *b, struct fuzz *f)
{
    uint64_t seek = fuzz_u16(f) * UINT64_C(2);
    unsigned which = fuzz_u8(f) % b->records, how = fuzz_u8(f);
    struct store *s;
    struct store_batch batch;
    struct error err;
    if (!store_create(b->path, 0, &s, &err))
        fuzz_fail("%s", err.text);
    store_batch_init(&batch);
    for (unsigned n = 0; n < b->records; n++) {
        struct record r = b->record[n];
        size_t bytes = r.bytes;
        uint8_t *changed = NULL;
        if (n == which && how < 8)
            continue; /* left out */
        if (n == which && (how & 0xf0) == 0x10)
            fuzz_bytes(f, r.key + r.key_bytes - 4, 4);
        else if (n == which)
            changed = change_value(&r, *f, &bytes);
        store_batch_put(&batch, r.db, r.key, r.key_bytes,
                        changed ? changed : r.value, bytes);
        free(changed);
    }
    if (!store_commit(s, &batch, &err))
        fuzz_fail("%s", err.text);
    store_batch_fini(&batch);
    store_close(s);
    use(b->path, seek);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct base *b = base_session();
    struct fuzz f = fuzz_begin(data, size);
    if (fuzz_u8(&f) & 1)
        change_image(b, &f);
    else
        change_records(b, &f);
    remove_files(b);
    return 0;
}
