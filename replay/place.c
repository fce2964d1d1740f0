#include "replay/place.h"

#include "base/bytes.h"
#include "mem/phys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

struct place_keeper {
    struct store *store;     /* borrowed */
    struct machine *machine; /* borrowed */
    ZSTD_DCtx *unzip;        /* owned */
    struct page_pool pool;
    /* What the machine held when its changes were last forgotten. */
    struct page_map list[SNAPSHOT_LISTS];
    struct block *block[MACHINE_BLOCKS]; /* whose layer it is; an address */
    /* The last snapshot found: the next is often close to it. */
    struct page_map found[SNAPSHOT_LISTS];
    uint64_t found_tick;
    bool has_found;
};

static bool no_memory(const struct place_keeper *k, struct error *err)
{
    return error_set(err, ERR_NOMEM, "%s: no memory for a state of the machine",
                     store_path(k->store));
}

static void clear_lists(struct page_map list[SNAPSHOT_LISTS])
{
    for (unsigned l = 0; l < SNAPSHOT_LISTS; l++)
        page_map_clear(&list[l]);
}

static void copy_lists(const struct page_map from[SNAPSHOT_LISTS],
                       struct page_map to[SNAPSHOT_LISTS])
{
    for (unsigned l = 0; l < SNAPSHOT_LISTS; l++)
        page_map_copy(&from[l], &to[l]);
}

void place_fini(struct place *p)
{
    if (p->devices)
        p->list[0].pool->bytes -= p->devices_bytes;
    clear_lists(p->list);
    free(p->devices);
    *p = (struct place){0};
}

struct place_keeper *place_keeper_new(struct store *s, struct machine *m,
                                      struct error *err)
{
    struct place_keeper *k = calloc(1, sizeof *k);
    if (!k || !(k->unzip = ZSTD_createDCtx())) {
        free(k);
        error_set(err, ERR_NOMEM, "%s: out of memory", store_path(s));
        return NULL;
    }
    k->store = s;
    k->machine = m;
    for (unsigned l = 0; l < SNAPSHOT_LISTS; l++) {
        page_map_init(&k->list[l], &k->pool);
        page_map_init(&k->found[l], &k->pool);
    }
    return k;
}

void place_keeper_free(struct place_keeper *k)
{
    if (!k)
        return;
    clear_lists(k->list);
    clear_lists(k->found);
    (void)ZSTD_freeDCtx(k->unzip);
    free(k);
}

uint64_t place_bytes(const struct place_keeper *k)
{
    return k->pool.bytes;
}

/* ---- keeping ----------------------------------------------------------------
 */

static bool keep_page(struct place_keeper *k, unsigned list, uint32_t number,
                      const uint8_t *data)
{
    struct page_map *map = &k->list[list];
    const struct page *old = page_map_get(map, number);
    if (!data)
        return page_map_set(map, number, NULL);
    if (old && old->data && memcmp(old->data, data, PAGE_DATA_BYTES) == 0)
        return true;
    struct page *p = page_new_data(&k->pool, data);
    return p && page_map_set(map, number, p);
}

static bool keep_frames(struct place_keeper *k)
{
    const uint32_t *frames;
    struct phys *phys = machine_phys(k->machine);
    uint32_t count = phys_changes(phys, &frames);
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *data = phys_frame_host(phys, frames[i]);
        if (!keep_page(k, SNAPSHOT_FRAMES, frames[i],
                       snapshot_is_zero(data) ? NULL : data))
            return false;
    }
    phys_forget_changes(phys);
    return true;
}

/* The layer in a drive, when another medium came in, starts from nothing. */
static struct block *known_block(struct place_keeper *k, unsigned drive)
{
    struct block *b = machine_block(k->machine, drive);
    if (b && block_read_only(b))
        b = NULL;
    if (b != k->block[drive] || (b && block_is_new(b)))
        page_map_clear(&k->list[1 + drive]);
    k->block[drive] = b;
    return b;
}

static bool keep_blocks(struct place_keeper *k, unsigned drive)
{
    const uint64_t *blocks;
    struct block *b = known_block(k, drive);
    if (!b)
        return true;
    uint64_t count = block_changes(b, &blocks);
    for (uint64_t i = 0; i < count; i++)
        if (!keep_page(k, 1 + drive, (uint32_t)blocks[i],
                       block_contents(b, blocks[i])))
            return false;
    block_forget_changes(b);
    return true;
}

/* The bytes move to the place, whose lists are set. */
static void own_devices(struct place_keeper *k, struct place *p,
                        uint8_t *devices, size_t bytes)
{
    p->devices = devices;
    p->devices_bytes = bytes;
    k->pool.bytes += bytes;
}

bool place_keep(struct place_keeper *k, uint32_t events_before,
                struct place *out, struct error *err)
{
    struct writer w;
    *out = (struct place){.tick = machine_tick(k->machine),
                          .insns = machine_insns(k->machine),
                          .events_before = events_before};
    bool ok = keep_frames(k);
    for (unsigned i = 0; ok && i < MACHINE_BLOCKS; i++)
        ok = keep_blocks(k, i);
    writer_init(&w);
    machine_save_devices(k->machine, &w);
    if (!ok || w.failed) {
        writer_fini(&w);
        return no_memory(k, err);
    }
    uint8_t *tight = realloc(w.data, w.used);
    if (tight)
        w.data = tight;
    copy_lists(k->list, out->list);
    own_devices(k, out, w.data, w.used);
    return true;
}

/* ---- snapshots --------------------------------------------------------------
 */

static bool set_stored(struct place_keeper *k, struct page_map *map,
                       unsigned list, const uint8_t *entry)
{
    uint32_t number = load_le32(entry);
    struct page *p = page_map_get(&k->list[list], number);
    if (snapshot_hash_is_none(entry + 4))
        return page_map_set(map, number, NULL);
    if (p && p->is_stored && memcmp(p->hash, entry + 4, PAGE_HASH_BYTES) == 0)
        p->refs++;
    else
        p = page_new_stored(&k->pool, entry + 4);
    return p && page_map_set(map, number, p);
}

static bool apply(struct place_keeper *k, const struct snapshot *snap,
                  struct page_map list[SNAPSHOT_LISTS])
{
    for (unsigned l = 0; l < SNAPSHOT_LISTS; l++) {
        const struct snapshot_list *from = &snap->list[l];
        const uint8_t *entry = from->entries;
        if (from->whole)
            page_map_clear(&list[l]);
        for (uint32_t i = 0; i < from->count;
             i++, entry += SNAPSHOT_ENTRY_BYTES)
            if (!set_stored(k, &list[l], l, entry))
                return false;
    }
    return true;
}

/* Bring `list` to what the snapshot says: the records from the last one that is
 * known or whole, in order. */
static bool resolve(struct place_keeper *k, const struct snapshot *snap,
                    struct page_map list[SNAPSHOT_LISTS], struct error *err)
{
    struct snapshot *chain = NULL;
    size_t count = 0;
    bool ok = true;
    uint64_t base = snap->base;
    while (ok && base != SNAPSHOT_WHOLE &&
           !(k->has_found && base == k->found_tick)) {
        struct snapshot *more = realloc(chain, (count + 1) * sizeof *chain);
        if (!more) {
            ok = no_memory(k, err);
            break;
        }
        chain = more;
        enum store_found found =
            snapshot_find(k->store, base, true, &chain[count], err);
        if (found == STORE_NONE)
            error_set(err, ERR_INPUT,
                      "%s: damaged: the snapshot at tick %llu stands on one at "
                      "tick %llu, which is missing",
                      store_path(k->store), (unsigned long long)snap->tick,
                      (unsigned long long)base);
        ok = found == STORE_FOUND;
        if (ok)
            base = chain[count++].base;
    }
    if (ok && base != SNAPSHOT_WHOLE)
        copy_lists(k->found, list);
    for (size_t i = count; i-- > 0; snapshot_fini(&chain[i]))
        if (ok && !apply(k, &chain[i], list))
            ok = no_memory(k, err);
    free(chain);
    return ok && (apply(k, snap, list) || no_memory(k, err));
}

enum store_found place_find(struct place_keeper *k, uint64_t tick, bool exact,
                            struct place *out, struct error *err)
{
    struct snapshot snap;
    enum store_found found = snapshot_find(k->store, tick, exact, &snap, err);
    *out = (struct place){0};
    if (found != STORE_FOUND)
        return found;
    for (unsigned l = 0; l < SNAPSHOT_LISTS; l++)
        page_map_init(&out->list[l], &k->pool);
    out->tick = snap.tick;
    out->insns = snap.insns;
    out->events_before = snap.events_before;
    uint8_t *devices = malloc(snap.devices_bytes + 1);
    bool ok = devices || no_memory(k, err);
    if (ok) {
        memcpy(devices, snap.devices, snap.devices_bytes);
        own_devices(k, out, devices, snap.devices_bytes);
    }
    ok = ok && resolve(k, &snap, out->list, err);
    snapshot_fini(&snap);
    if (!ok) {
        place_fini(out);
        return STORE_BAD;
    }
    clear_lists(k->found);
    copy_lists(out->list, k->found);
    k->found_tick = out->tick;
    k->has_found = true;
    return STORE_FOUND;
}

/* ---- loading and comparing --------------------------------------------------
 */

/* One list of a place on its way into the machine, or beside it. */
struct visit {
    struct place_keeper *k;
    const struct place *place;
    unsigned list;
    struct block *block; /* of a list of blocks; NULL: none in the drive */
    bool is_compare;
    bool differs;       /* found by a comparison: at number */
    uint32_t number;
    struct error *err;
    uint8_t data[PAGE_DATA_BYTES];
};

/* What the place has there; NULL: nothing. False: err. */
static bool contents(struct visit *v, const struct page *p,
                     const uint8_t **out)
{
    *out = p ? (p->data ? p->data : v->data) : NULL;
    return !p || p->data ||
           snapshot_page(v->k->store, v->k->unzip, p->hash, v->data,
                         v->err);
}

static bool out_of_range(const struct visit *v, uint32_t number,
                         const char *what)
{
    return error_set(v->err, ERR_INPUT,
                     "%s: the state at tick %llu names %s %u, which this "
                     "machine does not have",
                     store_path(v->k->store),
                     (unsigned long long)v->place->tick, what, number);
}

static bool visit_frame(struct visit *v, uint32_t frame, const struct page *p)
{
    static const uint8_t zeros[PAGE_DATA_BYTES];
    const uint8_t *want;
    struct phys *phys = machine_phys(v->k->machine);
    if (frame >= phys_frames(phys))
        return out_of_range(v, frame, "frame");
    if (!contents(v, p, &want))
        return false;
    if (!want)
        want = zeros;
    v->differs =
        memcmp(phys_frame_host(phys, frame), want, PAGE_DATA_BYTES) != 0;
    v->number = frame;
    if (v->differs && !v->is_compare)
        phys_frame_write(phys, frame, 0, want, PAGE_DATA_BYTES);
    return true;
}

static bool visit_block(struct visit *v, uint32_t number, const struct page *p)
{
    const uint8_t *want;
    if (!v->block || number >= block_layer_blocks(v->block))
        return out_of_range(v, number, "disk block");
    if (!contents(v, p, &want))
        return false;
    const uint8_t *have = block_contents(v->block, number);
    v->differs = want && have ? memcmp(want, have, PAGE_DATA_BYTES) != 0
                              : want != have;
    v->number = number;
    if (v->differs && !v->is_compare)
        block_put(v->block, number, want);
    return true;
}

/* False ends the walk: an error, or a comparison that found something. */
static bool visit(struct visit *v, uint32_t number, const struct page *p)
{
    bool ok = v->list == SNAPSHOT_FRAMES ? visit_frame(v, number, p)
                                         : visit_block(v, number, p);
    return ok && !(v->is_compare && v->differs);
}

static bool visit_diff(void *context, uint32_t number, struct page *now,
                       struct page *then)
{
    (void)now;
    return visit(context, number, then);
}

/* Everything in which the machine may differ: what has changed since its pages
 * were written down, and where those differ from the place's. */
static bool visit_list(struct visit *v)
{
    const uint32_t *frames;
    const uint64_t *blocks;
    const struct page_map *want = &v->place->list[v->list];
    if (v->list == SNAPSHOT_FRAMES) {
        uint32_t count = phys_changes(machine_phys(v->k->machine), &frames);
        for (uint32_t i = 0; i < count; i++)
            if (!visit(v, frames[i], page_map_get(want, frames[i])))
                return false;
    } else if ((v->block = known_block(v->k, v->list - 1)) != NULL) {
        uint64_t count = block_changes(v->block, &blocks);
        for (uint64_t i = 0; i < count; i++)
            if (!visit(v, (uint32_t)blocks[i],
                       page_map_get(want, (uint32_t)blocks[i])))
                return false;
    }
    return page_map_diff(&v->k->list[v->list], want, visit_diff, v);
}

static void forget_changes(struct place_keeper *k)
{
    phys_forget_changes(machine_phys(k->machine));
    for (unsigned i = 0; i < MACHINE_BLOCKS; i++)
        if (k->block[i])
            block_forget_changes(k->block[i]);
}

bool place_load(struct place_keeper *k, const struct place *p,
                struct error *err)
{
    struct reader r;
    reader_init(&r, p->devices, p->devices_bytes);
    if (!machine_load_devices(k->machine, &r, err))
        return false;
    for (unsigned l = 0; l < SNAPSHOT_LISTS; l++) {
        struct visit v = {.k = k, .place = p, .list = l, .err = err};
        if (!visit_list(&v))
            return false;
    }
    if (machine_tick(k->machine) != p->tick)
        return error_set(err, ERR_INPUT,
                         "%s: the snapshot at tick %llu holds the state of "
                         "tick %llu",
                         store_path(k->store), (unsigned long long)p->tick,
                         (unsigned long long)machine_tick(k->machine));
    forget_changes(k);
    clear_lists(k->list);
    copy_lists(p->list, k->list);
    return true;
}

bool place_differs(struct place_keeper *k, const struct place *p, char *text,
                   size_t text_bytes)
{
    struct writer w;
    struct error err;
    writer_init(&w);
    machine_save_devices(k->machine, &w);
    bool differs = machine_first_difference(p->devices, p->devices_bytes,
                                            w.data, w.used, text, text_bytes);
    writer_fini(&w);
    for (unsigned l = 0; !differs && l < SNAPSHOT_LISTS; l++) {
        struct visit v = {
            .k = k, .place = p, .list = l, .is_compare = true, .err = &err};
        differs = !visit_list(&v);
        if (differs && !v.differs)
            (void)snprintf(text, text_bytes, "%s", err.text);
        else if (differs && l == SNAPSHOT_FRAMES)
            (void)snprintf(text, text_bytes, "memory frame %u", v.number);
        else if (differs)
            (void)snprintf(text, text_bytes, "drive %u block %u", l - 1,
                           v.number);
    }
    return differs;
}
