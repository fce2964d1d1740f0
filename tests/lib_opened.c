#include "lib_opened.h"

#include "host/blob.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct blob load(const char *path)
{
    struct error err;
    void *data = NULL;
    size_t bytes = 0;
    if (path[0] && !blob_read(path, SIZE_MAX, &data, &bytes, &err))
        fail_msg("%s", err.text);
    return (struct blob){data, bytes};
}

void opened_open(struct opened *o, const char *path)
{
    struct error err;
    const struct machine_engine engine = {.config.kind = ENGINE_AUTO};
    o->replayer = replayer_open(path, &err);
    if (!o->replayer)
        fail_msg("%s", err.text);
    const struct machine_config *c = &replayer_session(o->replayer)->config;
    const struct machine_media media = {.bios = load(c->bios),
                                        .vgabios = load(c->vgabios),
                                        .kernel = load(c->kernel),
                                        .initrd = load(c->initrd)};
    o->machine = machine_new(c, &media, &err);
    free((void *)media.bios.data);
    free((void *)media.vgabios.data);
    free((void *)media.kernel.data);
    free((void *)media.initrd.data);
    if (!o->machine || !machine_set_engine(o->machine, &engine, &err) ||
        !replayer_attach(o->replayer, o->machine, &err))
        fail_msg("%s", err.text);
    o->travel = travel_new(o->replayer, o->machine, 0, &err);
    if (!o->travel)
        fail_msg("%s", err.text);
}

void opened_close(struct opened *o)
{
    travel_free(o->travel);
    replayer_free(o->replayer);
    machine_free(o->machine);
}

void opened_goto(struct opened *o, uint64_t tick)
{
    struct error err;
    if (travel_goto(o->travel, (struct machine_place){tick, 0}, &err) ==
        TRAVEL_FAILED)
        fail_msg("%s", err.text);
}

uint64_t opened_end(const struct opened *o)
{
    return replayer_session(o->replayer)->end_tick;
}
