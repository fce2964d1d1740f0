#include "cli/report.h"

#include "base/duration.h"

#include <stdlib.h>
#include <string.h>

static int guest_end(FILE *to, const struct session_loop *l, uint64_t tick)
{
    unsigned long long at = tick;
    uint32_t value = machine_exit_value(l->machine);
    int status = (int)((value << 1 | 1) & 0xff);
    struct error err;
    switch (l->reason) {
    case STOP_POWER_OFF:
        (void)fprintf(
            to, "the guest powered off (ACPI soft-off) at tick %llu\n", at);
        return STATUS_OK;
    case STOP_DEBUG_EXIT:
        (void)fprintf(to,
                      "the guest wrote %u to isa-debug-exit at tick %llu: exit "
                      "status %d\n",
                      value, at, status);
        return status;
    case STOP_SHUTDOWN:
        error_set(&err, ERR_INPUT, "the guest triple-faulted at tick %llu%s%s",
                  at, *machine_fault_text(l->machine) ? ": " : "",
                  machine_fault_text(l->machine));
        (void)cli_fail(&err);
        return STATUS_GUEST;
    default:
        return cli_fail(&l->error);
    }
}

static int loop_end(FILE *to, const struct session_loop *l, uint64_t tick)
{
    unsigned long long at = tick;
    switch (l->end) {
    case LOOP_GUEST:
        return guest_end(to, l, tick);
    case LOOP_TICK:
        (void)fprintf(to, "stopped at tick %llu, as --until asks\n", at);
        return STATUS_OK;
    case LOOP_SERIAL:
        (void)fprintf(to, "the guest has sent '%s' by tick %llu\n",
                      l->options->until_serial, at);
        return STATUS_OK;
    case LOOP_QUIT:
        (void)fprintf(to, "the input script ended the run at tick %llu\n", at);
        return STATUS_OK;
    case LOOP_SIGNAL:
        (void)fprintf(to, "interrupted by a signal at tick %llu\n", at);
        return STATUS_OK;
    case LOOP_ESCAPE:
        (void)fprintf(to, "ended with Ctrl-A x at tick %llu\n", at);
        return STATUS_OK;
    case LOOP_TIMEOUT:
        (void)cli_fail(&l->error);
        return STATUS_GUEST;
    default:
        return cli_fail(&l->error);
    }
}

int report_end(FILE *to, const struct session_loop *l)
{
    int status = loop_end(to, l, machine_tick(l->machine));
    bool is_end =
        l->end == LOOP_GUEST || l->end == LOOP_TICK || l->end == LOOP_QUIT;
    if (status != STATUS_OK || !is_end || !l->watch.text || l->watch.is_found)
        return status;
    struct error err;
    error_set(&err, ERR_INPUT, "the guest did not send '%s' (--until-serial)",
              l->options->until_serial);
    (void)cli_fail(&err);
    return STATUS_GUEST;
}

static void digest_text(struct machine *m, FILE *to)
{
    struct digest d = machine_digest(m);
    const uint8_t *parts[] = {d.cpu, d.io, d.mem};
    (void)fputs(", state ", to);
    for (unsigned p = 0; p < 3; p++) {
        if (p)
            (void)fputc('-', to);
        for (unsigned i = 0; i < 4; i++)
            (void)fprintf(to, "%02x", parts[p][i]);
    }
}

void report_figures(FILE *to, const struct figures *f)
{
    double host = (double)f->host_ns / 1e9;
    double guest = (double)duration_ns(f->ticks, f->cpu_mhz) / 1e9;
    (void)fprintf(to,
                  "%llu ticks, %llu instructions, %.3f guest s, %.3f host s, "
                  "%.1f MIPS",
                  (unsigned long long)f->ticks, (unsigned long long)f->insns,
                  guest, host, host > 0 ? (double)f->insns / host / 1e6 : 0.0);
    if (f->log)
        (void)fprintf(to, ", log %llu bytes (%llu on disk)",
                      (unsigned long long)f->log_bytes,
                      (unsigned long long)f->file_bytes);
    if (f->digests_name)
        (void)fprintf(to, ", %llu %s", (unsigned long long)f->digests,
                      f->digests_name);
    if (f->snapshots)
        (void)fprintf(to, ", %llu snapshots (%.1f ms at most)",
                      (unsigned long long)f->snapshots,
                      (double)f->stop_ns_max / 1e6);
    digest_text(f->machine, to);
    (void)fputc('\n', to);
}

bool report_json(json_t *o, struct error *err)
{
    char *text = o ? json_dumps(o, JSON_INDENT(2) | JSON_SORT_KEYS) : NULL;
    if (text)
        (void)printf("%s\n", text);
    free(text);
    json_decref(o);
    return text || error_set(err, ERR_NOMEM, "out of memory");
}
