#include "lib_travelsession.h"

#include "cpu/cpu.h"
#include "lib_travelguest.h"
#include "replay/gdb_target.h"
#include "replay/recorder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct machine *travelsession_machine(const struct travelsession *s)
{
    struct machine_config config;
    struct error err;
    const struct machine_media media = {
        .bios = {.data = s->bios, .bytes = TRAVELSESSION_BIOS}};
    machine_config_init(&config);
    config.mem_bytes = s->mem_bytes;
    return machine_new(&config, &media, &err);
}

bool travelsession_record(struct travelsession *s, const char *text,
                          uint64_t until, enum stop_reason *reason)
{
    struct error err;
    struct media_identity media = {
        .role = "bios", .path = "b.bin", .bytes = TRAVELSESSION_BIOS};
    media_hash(s->bios, TRAVELSESSION_BIOS, media.hash);
    const struct recorder_options options = {.path = s->path,
                                             .media = &media,
                                             .media_count = 1,
                                             .build = "test",
                                             .created = 1};
    struct machine *m = travelsession_machine(s);
    struct recorder *r = m ? recorder_new(&options, m, &err) : NULL;
    bool ok = r != NULL;
    if (ok && text) {
        struct event e = {.type = EVENT_TYPE_SERIAL,
                          .bytes = (uint16_t)strlen(text)};
        memcpy(e.payload, text, e.bytes);
        (void)recorder_run(r, TRAVELSESSION_TEXT_TICK);
        ok = recorder_inject(r, &e, &err);
    }
    *reason = ok ? recorder_run(r, until) : STOP_TICK;
    ok = ok && recorder_finish(r, *reason, &err);
    recorder_free(r);
    machine_free(m);
    return ok;
}

/* To the end of a guest that leaves through isa-debug-exit. */
static int record(struct travelsession *s, const char *text)
{
    enum stop_reason reason;
    return travelsession_record(s, text, UINT64_C(1) << 40, &reason) &&
                   reason == STOP_DEBUG_EXIT
               ? 0
               : -1;
}

struct travelsession *travelsession_new(void **state, uint64_t mem_bytes)
{
    struct travelsession *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->mem_bytes = mem_bytes;
    strcpy(s->dir, "/tmp/relive-travel-XXXXXX");
    if (!mkdtemp(s->dir)) {
        free(s);
        return NULL;
    }
    (void)snprintf(s->path, sizeof s->path, "%s/s", s->dir);
    *state = s;
    return s;
}

int travelsession_make(void **state)
{
    struct travelsession *s = travelsession_new(state, 2 << 20);
    if (!s)
        return -1;
    travelguest_bios(s->bios);
    return record(s, NULL);
}

int travelsession_make_with_text(void **state)
{
    struct travelsession *s = travelsession_new(state, 2 << 20);
    if (!s)
        return -1;
    travelguest_bios(s->bios);
    return record(s, "ab");
}

int travelsession_make_guest(void **state, const char *name)
{
    char path[1200];
    const char *guests = getenv("GUESTS");
    struct travelsession *s = travelsession_new(state, 64 << 20);
    if (!s)
        return -1;
    (void)snprintf(path, sizeof path, "%.1000s/%s.bin",
                   guests ? guests : "build/guests", name);
    FILE *f = fopen(path, "rb");
    if (!f)
        return -1;
    size_t got = fread(s->bios, 1, TRAVELSESSION_BIOS, f);
    (void)fclose(f);
    return got == TRAVELSESSION_BIOS ? record(s, NULL) : -1;
}

int travelsession_remove(void **state)
{
    struct travelsession *s = *state;
    char command[100];
    travelsession_close(s);
    (void)snprintf(command, sizeof command, "rm -rf %s", s->dir);
    int status = system(command);
    free(s);
    return status;
}

void travelsession_open(struct travelsession *s, bool updates, bool with_travel)
{
    struct error err = {0};
    struct session *opened;
    bool ok = updates ? session_open_update(s->path, &opened, &err)
                      : session_open(s->path, &opened, &err);
    if (!ok)
        fail_msg("%s", err.text);
    s->replayer = replayer_open_session(opened, &err);
    s->machine = travelsession_machine(s);
    assert_non_null(s->replayer);
    assert_true(replayer_attach(s->replayer, s->machine, &err));
    if (with_travel)
        s->travel = travel_new(s->replayer, s->machine, 0, &err);
}

void travelsession_close(struct travelsession *s)
{
    travel_free(s->travel);
    replayer_free(s->replayer);
    machine_free(s->machine);
    s->travel = NULL;
    s->replayer = NULL;
    s->machine = NULL;
}

/* One iteration of a repeated instruction lies between the two. */
static bool is_rest(const struct travelplace *before,
                    const struct travelplace *p)
{
    const uint8_t *code = p->code;
    while (*code == 0x66 || *code == 0x67)
        code++;
    return (*code == 0xf3 || *code == 0xf2) && before->rip == p->rip &&
           before->place.tick + 1 == p->place.tick &&
           (uint16_t)before->regs[REG_RCX] == (uint16_t)(p->regs[REG_RCX] + 1);
}

static void note_place(struct travelsession *s)
{
    const struct cpu *c = machine_cpu(s->machine);
    struct travelplace *p = &s->places[s->count];
    p->place = travel_place(s->travel);
    p->rip = (c->r[REG_RIP] + c->ea_base[SEG_CS]) & c->linear_mask;
    memcpy(p->regs, c->r, 16 * sizeof c->r[0]);
    p->regs[16] = cpu_rflags(c);
    p->cr3 = c->cr3;
    (void)gdb_memory_read(s->machine, false, p->rip, p->code, sizeof p->code);
    p->is_rest = s->count && is_rest(&s->places[s->count - 1], p);
}

void travelsession_walk(struct travelsession *s, travelsession_fn *seen,
                        void *context)
{
    struct error err = {0};
    enum travel_stop stop =
        travel_goto(s->travel, (struct machine_place){0, 0}, &err);
    assert_int_equal(stop, TRAVEL_THERE);
    for (s->count = 0;; s->count++) {
        assert_true(s->count < TRAVELSESSION_PLACES);
        note_place(s);
        if (seen)
            seen(s, context);
        stop = travel_step(s->travel, NULL, 0, NULL, &err);
        if (stop == TRAVEL_END)
            break;
        assert_int_equal(stop, TRAVEL_THERE);
    }
    if (seen) { /* behind the last instruction */
        s->count++;
        note_place(s);
        seen(s, context);
        s->count--;
    }
    s->count++;
    for (unsigned i = 0; i < s->count; i++)
        s->places[i].is_begun =
            !s->places[i].is_rest &&
            (i + 1 == s->count || s->places[i + 1].rip != TRAVELGUEST_TIMER);
}
