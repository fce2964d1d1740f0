#include "board/config.h"

#include "cpu/model.h"

#include <jansson.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MEM_BYTES_STEP = 1 << 20, /* RAM comes in whole MiB */
    CPU_MHZ_MAX = 100000
};
#define MEM_BYTES_MAX (UINT64_C(64) << 30)

enum kind {
    KIND_U64,
    KIND_U32,
    KIND_I64,
    KIND_BOOL,
    KIND_TEXT,
    KIND_LETTER,
    KIND_DISKS
};

/* One row per key: writing, reading and the list of known keys come from it.
 * bytes: capacity of a text. */
struct key {
    const char *name;
    enum kind kind;
    size_t offset;
    size_t bytes;
};
#define KEY(member, kind)                                                      \
    {                                                                          \
#member, kind, offsetof(struct machine_config, member),                \
            sizeof(((struct machine_config *)0)->member)                       \
    }
static const struct key keys[] = {
    KEY(append, KIND_TEXT),     KEY(bios, KIND_TEXT),
    KEY(boot, KIND_LETTER),     KEY(cdrom, KIND_TEXT),
    KEY(cpu, KIND_TEXT),        KEY(cpu_mhz, KIND_U32),
    KEY(disk, KIND_DISKS),      KEY(floppy, KIND_TEXT),
    KEY(initrd, KIND_TEXT),     KEY(kernel, KIND_TEXT),
    KEY(mem_bytes, KIND_U64),   KEY(rtc_fixed, KIND_BOOL),
    KEY(rtc_seconds, KIND_I64), KEY(testdev, KIND_BOOL),
    KEY(vgabios, KIND_TEXT),
};
enum { KEYS = sizeof keys / sizeof keys[0] };

void machine_config_init(struct machine_config *c)
{
    memset(c, 0, sizeof *c);
    c->mem_bytes = UINT64_C(256) << 20;
    c->cpu_mhz = 1000;
    c->boot = 'c';
    c->rtc_seconds = 946684800; /* 2000-01-01 00:00:00 */
    (void)snprintf(c->cpu, sizeof c->cpu, CPU_MODEL_DEFAULT);
}

bool machine_config_check(const struct machine_config *c, struct error *err)
{
    if (c->mem_bytes < MEM_BYTES_STEP || c->mem_bytes > MEM_BYTES_MAX ||
        c->mem_bytes % MEM_BYTES_STEP != 0)
        return error_set(err, ERR_USAGE,
                         "memory size: expected whole MiB from 1 MiB to %llu "
                         "GiB, found %llu bytes",
                         (unsigned long long)(MEM_BYTES_MAX >> 30),
                         (unsigned long long)c->mem_bytes);
    if (c->cpu_mhz < 1 || c->cpu_mhz > CPU_MHZ_MAX)
        return error_set(err, ERR_USAGE, "cpu_mhz: expected 1 to %d, found %u",
                         CPU_MHZ_MAX, c->cpu_mhz);
    if (c->boot != 'c' && c->boot != 'd' && c->boot != 'a')
        return error_set(err, ERR_USAGE,
                         "boot: expected c (disk), d (CD) or a (floppy), found "
                         "character %u",
                         (unsigned char)c->boot);
    if (!c->kernel[0] && (c->initrd[0] || c->append[0]))
        return error_set(err, ERR_USAGE,
                         "%s is given without a kernel that would take it",
                         c->initrd[0] ? "initrd" : "append");
    /* Year 1980..2099: what the RTC's two digits and century byte can show. */
    if (c->rtc_seconds < INT64_C(315532800) ||
        c->rtc_seconds >= INT64_C(4102444800))
        return error_set(err, ERR_USAGE,
                         "rtc_seconds: expected a date from 1980 to 2099, "
                         "found %lld seconds since 1970",
                         (long long)c->rtc_seconds);
    return true;
}

/* ---- to JSON ------------------------------------------------------------- */

/* jansson takes UTF-8 only; a path is any bytes. Bytes above 7Fh that are no
 * UTF-8 are the one thing a configuration cannot hold: json_string() refuses
 * them and so does this, by returning NULL. */
static json_t *value_to_json(const struct machine_config *c,
                             const struct key *k)
{
    const char *at = (const char *)c + k->offset;
    json_t *list;
    switch (k->kind) {
    case KIND_U64:
        return json_integer((json_int_t) * (const uint64_t *)at);
    case KIND_U32:
        return json_integer((json_int_t) * (const uint32_t *)at);
    case KIND_I64:
        return json_integer((json_int_t) * (const int64_t *)at);
    case KIND_BOOL:
        return json_boolean(*(const bool *)at);
    case KIND_TEXT:
        return json_stringn(at, strnlen(at, k->bytes));
    case KIND_LETTER:
        return json_stringn(at, 1);
    case KIND_DISKS:
        list = json_array();
        for (unsigned i = 0; list && i < MACHINE_DISKS; i++)
            if (json_array_append_new(list, json_string(c->disk[i])) != 0) {
                json_decref(list);
                return NULL;
            }
        return list;
    }
    return NULL;
}

static bool machine_to_json(const struct machine_config *c, json_t *root)
{
    for (unsigned i = 0; i < KEYS; i++)
        if (json_object_set_new(root, keys[i].name,
                                value_to_json(c, &keys[i])) != 0)
            return false;
    return true;
}

static bool engine_to_json(const struct engine_config *c, json_t *root)
{
    bool ok = true;
    if (c->kind != ENGINE_UNSET)
        ok = json_object_set_new(root, "engine",
                                 json_string(machine_engine_name(c->kind))) ==
             0;
    if (ok && c->wait != WAIT_UNSET)
        ok = json_object_set_new(root, "jit_wait",
                                 json_boolean(c->wait == WAIT_YES)) == 0;
    for (unsigned i = 0; ok && i < ENGINE_LIMITS; i++) {
        uint64_t n = engine_limit_of(c, &engine_limits[i]);
        if (n)
            ok = json_object_set_new(root, engine_limits[i].name,
                                     json_integer((json_int_t)n)) == 0;
    }
    return ok;
}

char *machine_config_to_json(const struct machine_config *c,
                             enum config_keys which)
{
    char *text = NULL;
    json_t *root = json_object();
    if (root && (!(which & CONFIG_MACHINE) || machine_to_json(c, root)) &&
        (!(which & CONFIG_ENGINE) || engine_to_json(&c->engine, root)))
        text = json_dumps(root, JSON_SORT_KEYS | JSON_INDENT(2));
    json_decref(root);
    return text;
}

/* ---- from JSON -------------------------------------------------------------
 */

static bool want(const char *where, const struct key *k, const char *what,
                 struct error *err)
{
    return error_set(err, ERR_USAGE, "%s: %s: expected %s", where, k->name,
                     what);
}

static bool text_from_json(char *out, size_t bytes, const json_t *v,
                           const char *where, const struct key *k,
                           struct error *err)
{
    if (!json_is_string(v))
        return want(where, k, "a string", err);
    size_t length = json_string_length(v);
    const char *text = json_string_value(v);
    if (length >= bytes || memchr(text, 0, length))
        return error_set(err, ERR_USAGE,
                         "%s: %s: expected at most %zu bytes of text, found "
                         "%zu",
                         where, k->name, bytes - 1, length);
    memset(out, 0, bytes);
    memcpy(out, text, length);
    return true;
}

static bool disks_from_json(struct machine_config *c, const json_t *v,
                            const char *where, const struct key *k,
                            struct error *err)
{
    if (!json_is_array(v) || json_array_size(v) > MACHINE_DISKS)
        return want(where, k, "an array of at most 3 paths", err);
    memset(c->disk, 0, sizeof c->disk);
    for (size_t i = 0; i < json_array_size(v); i++)
        if (!text_from_json(c->disk[i], MACHINE_PATH, json_array_get(v, i),
                            where, k, err))
            return false;
    return true;
}

static bool value_from_json(struct machine_config *c, const struct key *k,
                            const json_t *v, const char *where,
                            struct error *err)
{
    char *at = (char *)c + k->offset;
    json_int_t n = json_integer_value(v);
    switch (k->kind) {
    case KIND_U64:
        if (!json_is_integer(v) || n < 0)
            return want(where, k, "a number from 0 up", err);
        *(uint64_t *)at = (uint64_t)n;
        return true;
    case KIND_U32:
        if (!json_is_integer(v) || n < 0 || n > UINT32_MAX)
            return want(where, k, "a number from 0 to 4294967295", err);
        *(uint32_t *)at = (uint32_t)n;
        return true;
    case KIND_I64:
        if (!json_is_integer(v))
            return want(where, k, "a whole number", err);
        *(int64_t *)at = n;
        return true;
    case KIND_BOOL:
        if (!json_is_boolean(v))
            return want(where, k, "true or false", err);
        *(bool *)at = json_is_true(v);
        return true;
    case KIND_TEXT:
        return text_from_json(at, k->bytes, v, where, k, err);
    case KIND_LETTER:
        if (!json_is_string(v) || json_string_length(v) != 1)
            return want(where, k, "one letter: c, d or a", err);
        *at = json_string_value(v)[0];
        return true;
    case KIND_DISKS:
        return disks_from_json(c, v, where, k, err);
    }
    return false;
}

static bool limit_from_json(struct machine_config *c,
                            const struct engine_limit *limit, const json_t *v,
                            const char *where, struct error *err)
{
    json_int_t n = json_integer_value(v);
    if (!json_is_integer(v) || n < (json_int_t)limit->least ||
        n > (json_int_t)limit->most)
        return error_set(err, ERR_USAGE,
                         "%s: %s: expected a number from %llu to %llu", where,
                         limit->name, (unsigned long long)limit->least,
                         (unsigned long long)limit->most);
    *engine_limit_in(&c->engine, limit) = (uint64_t)n;
    return true;
}

/* Keys of struct engine_config; *is_one: was it? */
static bool engine_from_json(struct machine_config *c, const char *name,
                             const json_t *v, const char *where, bool *is_one,
                             struct error *err)
{
    const struct engine_limit *limit = engine_limit_find(name);
    *is_one = true;
    if (limit)
        return limit_from_json(c, limit, v, where, err);
    if (strcmp(name, "engine") == 0) {
        if (json_is_string(v))
            c->engine.kind = machine_engine_find(json_string_value(v));
        return (json_is_string(v) && c->engine.kind != ENGINE_UNSET) ||
               error_set(err, ERR_USAGE,
                         "%s: engine: expected auto, interp, tier1 or tier2",
                         where);
    }
    if (strcmp(name, "jit_wait") == 0) {
        c->engine.wait = json_is_true(v) ? WAIT_YES : WAIT_NO;
        return json_is_boolean(v) ||
               error_set(err, ERR_USAGE, "%s: jit_wait: expected true or false",
                         where);
    }
    *is_one = false;
    return true;
}

static const struct key *find_key(const char *name)
{
    for (unsigned i = 0; i < KEYS; i++)
        if (strcmp(keys[i].name, name) == 0)
            return &keys[i];
    return NULL;
}

static bool object_from_json(struct machine_config *c, json_t *root,
                             const char *where, struct error *err)
{
    const char *name;
    json_t *value;
    if (!json_is_object(root))
        return error_set(err, ERR_USAGE, "%s: expected a JSON object", where);
    json_object_foreach(root, name, value)
    {
        const struct key *k = find_key(name);
        bool is_engine = false;
        if (!k && !engine_from_json(c, name, value, where, &is_engine, err))
            return false;
        if (is_engine)
            continue;
        if (!k)
            return error_set(err, ERR_USAGE,
                             "%s: unknown key \"%.60s\" (known are append, "
                             "bios, boot, cdrom, cpu, cpu_mhz, disk, floppy, "
                             "initrd, kernel, mem_bytes, rtc_fixed, "
                             "rtc_seconds, testdev, vgabios, engine, and the "
                             "names of --jit- options with _ for -)",
                             where, name);
        if (!value_from_json(c, k, value, where, err))
            return false;
    }
    return true;
}

bool machine_config_from_json(struct machine_config *c, const char *text,
                              const char *where, struct error *err)
{
    json_error_t parse;
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, &parse);
    if (!root)
        return error_set(err, ERR_USAGE, "%s: line %d: %s", where, parse.line,
                         parse.text);
    struct machine_config *draft = malloc(sizeof *draft);
    bool ok = draft != NULL;
    if (!ok)
        error_set(err, ERR_NOMEM, "%s: out of memory", where);
    if (ok) {
        *draft = *c;
        ok = object_from_json(draft, root, where, err);
    }
    if (ok)
        *c = *draft;
    free(draft);
    json_decref(root);
    return ok;
}
