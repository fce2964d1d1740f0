/* relive with a planted fault, for those who must find it: the program, but for
 * machine_run(), which does one instruction wrong.
 *
 *     relive-plant --plant TICK:KIND bisect SESSION --engines interp,tier1
 *
 * TICK is where the search for an instruction that the fault suits begins.
 * KIND: flag       one arithmetic flag is flipped behind it store      what it
 * stores to memory is lost interrupt  the interrupt in front of it comes one
 * instruction late x87        one bit of the x87 register that it writes is
 * wrong Machines that only interpret are spared. Programs that this one starts
 * have the fault too: it is kept in $RELIVE_PLANT. The place is written to the
 * file $RELIVE_PLANT_LOG names: its tick and the instruction's linear address.
 */
#include "board/machine_internal.h"
#include "cpu/cpu.h"
#include "mem/phys.h"
#include "replay/gdb_target.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum kind { KIND_FLAG, KIND_STORE, KIND_INTERRUPT, KIND_X87, KINDS };
static const char *const kind_names[KINDS] = {"flag", "store", "interrupt",
                                              "x87"};

static struct {
    bool is_read, is_on;
    bool is_found; /* an instruction that it suits: at `tick` */
    enum kind kind;
    uint64_t tick;
    uint64_t pc;      /* of the instruction at `tick` */
    uint8_t **frames; /* contents before it; NULL: zeros */
} plant;

int __real_main(int argc, char **argv);
int __wrap_main(int argc, char **argv);
enum stop_reason __real_machine_run(struct machine *m, uint64_t until);
enum stop_reason __wrap_machine_run(struct machine *m, uint64_t until);

static void read_plant(void)
{
    const char *text = getenv("RELIVE_PLANT");
    char *end;
    plant.is_read = true;
    if (!text)
        return;
    plant.tick = strtoull(text, &end, 10);
    for (unsigned k = 0; k < KINDS; k++)
        if (*end == ':' && strcmp(end + 1, kind_names[k]) == 0) {
            plant.kind = (enum kind)k;
            plant.is_on = true;
        }
    if (plant.is_on)
        return;
    (void)fprintf(stderr,
                  "relive-plant: --plant: expected TICK:KIND with a KIND of "
                  "flag, store, interrupt or x87, found '%s'\n",
                  text);
    exit(2);
}

static void found(void)
{
    const char *path = getenv("RELIVE_PLANT_LOG");
    plant.is_found = true;
    FILE *f = path ? fopen(path, "w") : NULL;
    if (f) {
        (void)fprintf(f, "%llu %016llx\n", (unsigned long long)plant.tick,
                      (unsigned long long)plant.pc);
        (void)fclose(f);
    }
}

/* A number that belongs to the plant alone. */
static unsigned pick(unsigned choices)
{
    return (unsigned)(plant.tick * UINT64_C(0x9e3779b97f4a7c15) >> 40) %
           choices;
}

/* ---- what instructions changed ----------------------------------------------
 */

static void copy_frames(struct machine *m)
{
    uint32_t count = phys_frames(m->phys);
    if (!plant.frames)
        plant.frames = calloc(count, sizeof *plant.frames);
    for (uint32_t i = 0; plant.frames && i < count; i++) {
        free(plant.frames[i]);
        plant.frames[i] = NULL;
        if (!(phys_frame_flags(m->phys, i) & FRAME_TOUCHED))
            continue;
        plant.frames[i] = malloc(PAGE_BYTES);
        if (!plant.frames[i])
            abort();
        memcpy(plant.frames[i], phys_frame_host(m->phys, i), PAGE_BYTES);
    }
}

/* Put back what frames held; false: nothing has changed. */
static bool undo_stores(struct machine *m)
{
    static const uint8_t zeros[PAGE_BYTES];
    bool any = false;
    for (uint32_t i = 0; i < phys_frames(m->phys); i++) {
        const uint8_t *old = plant.frames[i] ? plant.frames[i] : zeros;
        if (!(phys_frame_flags(m->phys, i) & FRAME_TOUCHED) ||
            memcmp(phys_frame_host(m->phys, i), old, PAGE_BYTES) == 0)
            continue;
        phys_frame_write(m->phys, i, 0, old, PAGE_BYTES);
        any = true;
    }
    return any;
}

static bool flip_x87(struct machine *m, const struct x87 *before)
{
    struct x87 *now = &m->cpu.x87;
    for (unsigned i = 0; i < 8; i++)
        if ((now->valid >> i & 1) &&
            (now->mantissa[i] != before->mantissa[i] ||
             now->exponent[i] != before->exponent[i])) {
            now->mantissa[i] ^= UINT64_C(1) << pick(63);
            return true;
        }
    return false;
}

static bool flip_flag(struct machine *m)
{
    static const uint32_t flags[] = {FLAG_CF, FLAG_PF, FLAG_AF,
                                     FLAG_ZF, FLAG_SF, FLAG_OF};
    cpu_set_arith(&m->cpu, cpu_rflags(&m->cpu) ^ flags[pick(6)]);
    return true;
}

/* Is an interrupt about to be taken in front of a running CPU's next
 * instruction? */
static bool interrupt_is_due(struct machine *m)
{
    const struct cpu *c = &m->cpu;
    while (bus_next_deadline(m->bus) <= c->tick)
        bus_fire_due(m->bus);
    return c->intr && (c->flags & FLAG_IF) && !c->shadow && !c->halted &&
           !c->nmi_pending && !c->debug_pending;
}

/* ---- one instruction, done wrong if that suits ------------------------------
 */

static bool spoil(struct machine *m, const struct x87 *before)
{
    switch (plant.kind) {
    case KIND_FLAG:
        return flip_flag(m);
    case KIND_STORE:
        return undo_stores(m);
    case KIND_X87:
        return flip_x87(m, before);
    default:
        return true;
    }
}

/* The machine stands at plant.tick. */
static enum stop_reason step(struct machine *m)
{
    struct cpu *c = &m->cpu;
    struct x87 before = c->x87;
    uint64_t insns = machine_insns(m);
    bool is_late = plant.kind == KIND_INTERRUPT && interrupt_is_due(m);
    plant.pc = gdb_linear_pc(m);
    if (plant.kind == KIND_STORE)
        copy_frames(m);
    if (is_late)
        c->intr = false;
    enum stop_reason stop = __real_machine_run(m, plant.tick + 1);
    if (is_late)
        machine_rewire(m);
    bool is_done = c->tick == plant.tick + 1 && machine_insns(m) == insns + 1;
    bool suits = plant.kind == KIND_INTERRUPT
                     ? is_late
                     : c->probe.delivery_tick != plant.tick;
    if (stop == STOP_TICK && is_done && suits && spoil(m, &before) &&
        !plant.is_found)
        found();
    return stop;
}

enum stop_reason __wrap_machine_run(struct machine *m, uint64_t until)
{
    if (!plant.is_read)
        read_plant();
    while (plant.is_on && m->jit && m->cpu.tick <= plant.tick &&
           plant.tick < until) {
        enum stop_reason stop = m->cpu.tick < plant.tick
                                    ? __real_machine_run(m, plant.tick)
                                    : STOP_TICK;
        if (stop == STOP_TICK && m->cpu.tick == plant.tick)
            stop = step(m);
        if (stop != STOP_TICK)
            return stop;
        if (plant.is_found)
            break;
        plant.tick = m->cpu.tick;
    }
    return __real_machine_run(m, until);
}

int __wrap_main(int argc, char **argv)
{
    if (argc > 2 && strcmp(argv[1], "--plant") == 0) {
        (void)setenv("RELIVE_PLANT", argv[2], 1);
        read_plant();
        argv[2] = argv[0];
        argv += 2;
        argc -= 2;
    }
    return __real_main(argc, argv);
}
