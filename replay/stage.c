#include "replay/stage.h"

#include "base/pages.h"
#include "mem/phys.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

/* Of a staged page. Whoever moves it from STAGED to COPYING copies it. */
enum {
    IDLE, /* nobody waits for it */
    STAGED,
    COPYING,
    SAVED /* by the guest's thread, into its slot of copies */
};

/* ---- lists ------------------------------------------------------------------
 */

static void list_fini(struct stage_list *l)
{
    pages_release(l->state, l->numbers);
    pages_release(l->slots, l->numbers * sizeof *l->slots);
    free(l->items);
    *l = (struct stage_list){0};
}

static bool list_init(struct stage_list *l, struct stage *s, uint64_t numbers)
{
    *l = (struct stage_list){.numbers = numbers, .whole = true, .stage = s};
    l->state = pages_reserve(numbers);
    l->slots = pages_reserve(numbers * sizeof *l->slots);
    return l->state && l->slots;
}

static bool list_room(struct stage_list *l, uint64_t count)
{
    if (count <= l->capacity)
        return true;
    struct stage_item *items = realloc(l->items, count * sizeof *items);
    if (!items)
        return false;
    l->items = items;
    l->capacity = (uint32_t)count;
    return true;
}

static void list_add(struct stage_list *l, uint32_t number,
                     const uint8_t *source, uint32_t slot)
{
    l->items[l->count++] = (struct stage_item){source, number, slot};
    l->slots[number] = slot;
    __atomic_store_n(&l->state[number], STAGED, __ATOMIC_RELEASE);
}

/* True when the caller is to copy the page. Otherwise it has been copied on
 * return, or was not staged. */
static bool claim(struct stage_list *l, uint32_t number)
{
    uint8_t state = STAGED;
    if (__atomic_compare_exchange_n(&l->state[number], &state, COPYING, false,
                                    __ATOMIC_ACQUIRE, __ATOMIC_ACQUIRE))
        return true;
    while (__atomic_load_n(&l->state[number], __ATOMIC_ACQUIRE) == COPYING)
        (void)sched_yield();
    return false;
}

/* ---- the guest's thread, before a store -------------------------------------
 */

static void save(struct stage_list *l, uint32_t number, const uint8_t *source)
{
    struct stage *s = l->stage;
    if (!claim(l, number))
        return;
    memcpy(s->copies + (size_t)l->slots[number] * PAGE_DATA_BYTES, source,
           PAGE_DATA_BYTES);
    __atomic_store_n(&l->state[number], SAVED, __ATOMIC_RELEASE);
}

static void on_frame(void *context, uint32_t frame)
{
    struct stage_list *l = context;
    if (__atomic_load_n(&l->state[frame], __ATOMIC_RELAXED) != IDLE)
        save(l, frame, phys_frame_host(machine_phys(l->stage->machine), frame));
}

static void on_block(void *context, uint64_t n)
{
    struct stage_list *l = context;
    struct stage *s = l->stage;
    if (__atomic_load_n(&l->state[n], __ATOMIC_RELAXED) == IDLE)
        return;
    const struct block *b = s->block[l - s->list - 1];
    const uint8_t *contents = block_contents(b, n);
    if (contents)
        save(l, (uint32_t)n, contents);
}

/* ---- life -------------------------------------------------------------------
 */

bool stage_init(struct stage *s, struct machine *m, struct error *err)
{
    *s = (struct stage){.machine = m};
    struct stage_list *l = &s->list[SNAPSHOT_FRAMES];
    if (!list_init(l, s, phys_frames(machine_phys(m)))) {
        stage_fini(s);
        return error_set(err, ERR_NOMEM, "no memory for snapshots");
    }
    phys_on_first_store(machine_phys(m), on_frame, l);
    return true;
}

void stage_fini(struct stage *s)
{
    phys_on_first_store(machine_phys(s->machine), NULL, NULL);
    for (unsigned i = 0; i < MACHINE_BLOCKS; i++)
        if (s->block[i] && s->block[i] == machine_block(s->machine, i))
            block_on_first_write(s->block[i], NULL, NULL);
    pages_release(s->copies, s->copies_bytes);
    for (unsigned l = 0; l < SNAPSHOT_LISTS; l++)
        list_fini(&s->list[l]);
}

/* ---- staging ----------------------------------------------------------------
 */

/* The medium in a drive, if another than before, starts an unknown layer. */
static bool follow_medium(struct stage *s, unsigned drive)
{
    struct stage_list *l = &s->list[1 + drive];
    struct block *b = machine_block(s->machine, drive);
    if (b && block_read_only(b))
        b = NULL;
    if (b == s->block[drive] && (!b || !block_is_new(b)))
        return true;
    list_fini(l);
    l->whole = true;
    s->block[drive] = b;
    if (!b)
        return true;
    if (!list_init(l, s, block_layer_blocks(b)))
        return false;
    block_on_first_write(b, on_block, l);
    return true;
}

/* Room for everything that has changed, before anything is staged. */
static bool make_room(struct stage *s)
{
    const uint32_t *frames;
    const uint64_t *blocks;
    uint64_t count = phys_changes(machine_phys(s->machine), &frames);
    uint64_t pages = count;
    bool ok = list_room(&s->list[SNAPSHOT_FRAMES], count);
    for (unsigned i = 0; ok && i < MACHINE_BLOCKS; i++) {
        ok = follow_medium(s, i);
        if (!ok || !s->block[i])
            continue;
        count = block_changes(s->block[i], &blocks);
        pages += count;
        ok = list_room(&s->list[1 + i], count);
    }
    if (!ok || pages == 0)
        return ok;
    s->copies_bytes = pages * PAGE_DATA_BYTES;
    s->copies = pages_reserve(s->copies_bytes);
    return s->copies != NULL;
}

static void stage_blocks(struct stage *s, unsigned drive, uint32_t *slot)
{
    const uint64_t *blocks;
    struct block *b = s->block[drive];
    if (!b)
        return;
    uint64_t count = block_changes(b, &blocks);
    for (uint64_t i = 0; i < count; i++) {
        const uint8_t *source = block_contents(b, blocks[i]);
        if (source)
            list_add(&s->list[1 + drive], (uint32_t)blocks[i], source,
                     (*slot)++);
    }
    block_forget_changes(b);
}

bool stage_begin(struct stage *s, struct error *err)
{
    const uint32_t *frames;
    uint32_t slot = 0;
    struct phys *phys = machine_phys(s->machine);
    if (!make_room(s))
        return error_set(err, ERR_NOMEM, "no memory for a snapshot");
    uint32_t count = phys_changes(phys, &frames);
    for (uint32_t i = 0; i < count; i++)
        list_add(&s->list[SNAPSHOT_FRAMES], frames[i],
                 phys_frame_host(phys, frames[i]), slot++);
    phys_forget_changes(phys);
    for (unsigned i = 0; i < MACHINE_BLOCKS; i++)
        stage_blocks(s, i, &slot);
    return true;
}

/* ---- the other thread -------------------------------------------------------
 */

static int by_number(const void *a, const void *b)
{
    uint32_t x = ((const struct stage_item *)a)->number;
    uint32_t y = ((const struct stage_item *)b)->number;
    return (x > y) - (x < y);
}

void stage_sort(struct stage *s)
{
    for (unsigned l = 0; l < SNAPSHOT_LISTS; l++)
        if (s->list[l].count)
            qsort(s->list[l].items, s->list[l].count,
                  sizeof *s->list[l].items, by_number);
}

void stage_take(struct stage *s, unsigned list, const struct stage_item *item,
                uint8_t *out)
{
    struct stage_list *l = &s->list[list];
    if (claim(l, item->number))
        memcpy(out, item->source, PAGE_DATA_BYTES);
    else
        memcpy(out, s->copies + (size_t)item->slot * PAGE_DATA_BYTES,
               PAGE_DATA_BYTES);
    __atomic_store_n(&l->state[item->number], IDLE, __ATOMIC_RELEASE);
}

void stage_end(struct stage *s)
{
    for (unsigned l = 0; l < SNAPSHOT_LISTS; l++) {
        s->list[l].count = 0;
        s->list[l].whole = false;
    }
    pages_release(s->copies, s->copies_bytes);
    s->copies = NULL;
    s->copies_bytes = 0;
}
