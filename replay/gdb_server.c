#include "replay/gdb_server.h"

#include "replay/gdb_monitor.h"
#include "replay/gdb_packet.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIGNAL_INT = 2, SIGNAL_TRAP = 5, ARRIVED_BYTES = 4096 };

/* The types of Z packets. */
enum { Z_SOFTWARE, Z_HARDWARE, Z_WRITE, Z_READ, Z_ACCESS, Z_TYPES };

struct gdb_break {
    uint8_t type;
    uint64_t address, bytes;
};

struct gdb_server {
    struct travel *travel;   /* borrowed */
    struct machine *machine; /* borrowed */
    struct gdb_host host;
    enum gdb_arch arch;
    struct gdb_monitor monitor;
    struct gdb_packet_reader reader;
    uint8_t arrived[ARRIVED_BYTES]; /* bytes not looked at yet */
    size_t arrived_at, arrived_end;
    struct gdb_break breaks[PROBES_MAX];
    struct probe probes[PROBES_MAX]; /* of breaks */
    unsigned break_count;
    bool is_without_acks;
    bool is_interrupted;
    bool is_gone; /* the client */
    bool is_over; /* it has said so */
    enum gdb_end end;
    struct writer reply;    /* owned: payload being built */
    struct writer frame;    /* owned: what was sent last */
    struct writer document; /* owned: of qXfer */
    struct writer notes;    /* owned: to print when the machine next runs */
    char stop[128];         /* last stop reply */
};

/* ---- life
 * ---------------------------------------------------------------------- */

struct gdb_server *gdb_server_new(struct travel *t, enum gdb_arch arch,
                                  const struct gdb_host *host,
                                  struct error *err)
{
    struct gdb_server *s = calloc(1, sizeof *s);
    if (!s) {
        error_set(err, ERR_NOMEM, "no memory for a gdb server");
        return NULL;
    }
    s->travel = t;
    s->machine = travel_machine(t);
    s->host = *host;
    s->arch = arch;
    s->monitor.travel = t;
    s->monitor.host = &s->host;
    writer_init(&s->reply);
    writer_init(&s->frame);
    writer_init(&s->document);
    writer_init(&s->notes);
    return s;
}

void gdb_server_free(struct gdb_server *s)
{
    if (!s)
        return;
    writer_fini(&s->reply);
    writer_fini(&s->frame);
    writer_fini(&s->document);
    writer_fini(&s->notes);
    free(s);
}

/* ---- bytes
 * ----------------------------------------------------------------------- */

/* The next byte; false: none now, or the client is gone. */
static bool next_byte(struct gdb_server *s, bool waits, uint8_t *byte)
{
    if (s->arrived_at == s->arrived_end) {
        long n = s->is_gone ? -1
                            : s->host.receive(s->host.context, s->arrived,
                                              sizeof s->arrived, waits);
        s->is_gone |= n < 0;
        s->arrived_at = 0;
        s->arrived_end = n > 0 ? (size_t)n : 0;
    }
    if (s->arrived_at == s->arrived_end)
        return false;
    *byte = s->arrived[s->arrived_at++];
    return true;
}

/* While the machine moves: has the client asked to stop? A travel_poll_fn. gdb
 * sends nothing else then; other bytes wait in front of the parser. */
static bool poll_interrupt(void *context)
{
    struct gdb_server *s = context;
    uint8_t byte;
    if (s->is_interrupted || s->is_gone)
        return true;
    if (!next_byte(s, false, &byte))
        return s->is_gone;
    if (byte == 3)
        s->is_interrupted = true;
    else if (byte != '+')
        s->arrived_at--;
    return s->is_interrupted;
}

static void send_frame(struct gdb_server *s)
{
    if (s->frame.failed ||
        !s->host.send(s->host.context, s->frame.data, s->frame.used))
        s->is_gone = true;
}

/* Send what was built in `reply`. */
static void send_reply(struct gdb_server *s)
{
    writer_reset(&s->frame);
    gdb_packet_frame(&s->frame, s->reply.data, s->reply.used);
    if (s->reply.failed)
        s->frame.failed = true;
    send_frame(s);
}

static void answer(struct gdb_server *s, const char *text)
{
    writer_reset(&s->reply);
    gdb_put_text(&s->reply, text);
    send_reply(s);
}

/* Text for the user's console, in packets of a size that gdb takes. */
static void print_to_user(struct gdb_server *s, const void *text, size_t bytes)
{
    const size_t most = 1000;
    for (size_t at = 0; at < bytes; at += most) {
        writer_reset(&s->reply);
        gdb_put_text(&s->reply, "O");
        gdb_put_hex(&s->reply, (const uint8_t *)text + at,
                    bytes - at < most ? bytes - at : most);
        send_reply(s);
    }
}

/* Say something now to the watcher and soon to the user. */
static void announce(struct gdb_server *s, const char *line)
{
    if (s->host.announce)
        s->host.announce(s->host.context, line);
    gdb_print(&s->notes, "relive: %s\n", line);
}

static void print_notes(struct gdb_server *s)
{
    print_to_user(s, s->notes.data, s->notes.used);
    writer_reset(&s->notes);
}

/* ---- what-if branches
 * -------------------------------------------------------------- */

static void changed(struct gdb_server *s)
{
    char line[200];
    if (!travel_changed(s->travel))
        return;
    (void)snprintf(line, sizeof line,
                   "what-if branch begins at tick %llu: the guest's state was "
                   "changed; the recording is untouched, and going back drops "
                   "the branch",
                   (unsigned long long)machine_tick(s->machine));
    announce(s, line);
}

/* ---- registers
 * ---------------------------------------------------------------------- */

static void put_register(struct gdb_server *s, unsigned n)
{
    uint8_t value[GDB_REGISTER_BYTES];
    gdb_register_get(s->machine, s->arch, n, value);
    gdb_put_hex(&s->reply, value, gdb_register_bytes(s->arch, n));
}

/* Set a register if its value differs. */
static bool set_register(struct gdb_server *s, unsigned n,
                         const uint8_t value[GDB_REGISTER_BYTES])
{
    uint8_t now[GDB_REGISTER_BYTES];
    gdb_register_get(s->machine, s->arch, n, now);
    if (memcmp(now, value, gdb_register_bytes(s->arch, n)) == 0)
        return true;
    if (!gdb_register_set(s->machine, s->arch, n, value))
        return false;
    changed(s);
    return true;
}

static void read_registers(struct gdb_server *s, const char *at)
{
    (void)at;
    writer_reset(&s->reply);
    for (unsigned n = 0; n < gdb_register_count(s->arch); n++)
        put_register(s, n);
    send_reply(s);
}

static void write_registers(struct gdb_server *s, const char *at)
{
    uint8_t value[GDB_REGISTER_BYTES];
    for (unsigned n = 0; n < gdb_register_count(s->arch); n++) {
        memset(value, 0, sizeof value);
        if (!gdb_take_hex(&at, value, gdb_register_bytes(s->arch, n)))
            break;
        (void)set_register(s, n, value); /* unsettable ones stay */
    }
    answer(s, "OK");
}

static void read_register(struct gdb_server *s, const char *at)
{
    uint64_t n;
    if (!gdb_take_number(&at, &n) || n >= gdb_register_count(s->arch)) {
        answer(s, "E01");
        return;
    }
    writer_reset(&s->reply);
    put_register(s, (unsigned)n);
    send_reply(s);
}

static void write_register(struct gdb_server *s, const char *at)
{
    uint8_t value[GDB_REGISTER_BYTES] = {0};
    uint64_t n;
    bool ok =
        gdb_take_number(&at, &n) && n < gdb_register_count(s->arch) &&
        gdb_take_char(&at, '=') &&
        gdb_take_hex(&at, value, gdb_register_bytes(s->arch, (unsigned)n)) &&
        set_register(s, (unsigned)n, value);
    answer(s, ok ? "OK" : "E01");
}

/* ---- memory
 * -------------------------------------------------------------------------- */

static bool take_range(const char **at, uint64_t *address, uint64_t *bytes)
{
    return gdb_take_number(at, address) && gdb_take_char(at, ',') &&
           gdb_take_number(at, bytes);
}

static void read_memory(struct gdb_server *s, const char *at)
{
    uint8_t data[GDB_PACKET_BYTES / 2];
    uint64_t address, bytes;
    if (!take_range(&at, &address, &bytes)) {
        answer(s, "E01");
        return;
    }
    if (bytes > sizeof data)
        bytes = sizeof data;
    size_t n = gdb_memory_read(s->machine, s->monitor.is_physical, address,
                               data, bytes);
    if (n == 0 && bytes > 0) {
        answer(s, "E14"); /* EFAULT */
        return;
    }
    writer_reset(&s->reply);
    gdb_put_hex(&s->reply, data, n);
    send_reply(s);
}

static void store(struct gdb_server *s, uint64_t address, const void *data,
                  size_t bytes)
{
    size_t n = gdb_memory_write(s->machine, s->monitor.is_physical, address,
                                data, bytes);
    if (n)
        changed(s);
    answer(s, n == bytes ? "OK" : "E14");
}

static void write_memory(struct gdb_server *s, const char *at)
{
    uint8_t data[GDB_PACKET_BYTES / 2];
    uint64_t address, bytes;
    if (!take_range(&at, &address, &bytes) || !gdb_take_char(&at, ':') ||
        bytes > sizeof data || !gdb_take_hex(&at, data, bytes))
        answer(s, "E01");
    else
        store(s, address, data, bytes);
}

static void write_binary(struct gdb_server *s, const char *at)
{
    uint64_t address, bytes;
    if (!take_range(&at, &address, &bytes) || !gdb_take_char(&at, ':')) {
        answer(s, "E01");
        return;
    }
    size_t used = (size_t)((const uint8_t *)at - s->reader.payload);
    uint8_t *data = s->reader.payload + used;
    if (gdb_unescape(data, s->reader.bytes - used) != bytes)
        answer(s, "E01");
    else
        store(s, address, data, bytes);
}

/* ---- breakpoints
 * ----------------------------------------------------------------------- */

static struct probe probe_of(const struct gdb_break *b)
{
    static const uint8_t kinds[Z_TYPES] = {PROBE_EXEC, PROBE_EXEC, PROBE_WRITE,
                                           PROBE_READ,
                                           PROBE_READ | PROBE_WRITE};
    return (struct probe){b->address, b->bytes, kinds[b->type]};
}

static bool take_break(const char *at, struct gdb_break *b)
{
    uint64_t type;
    if (!gdb_take_number(&at, &type) || type >= Z_TYPES ||
        !gdb_take_char(&at, ',') || !take_range(&at, &b->address, &b->bytes))
        return false;
    b->type = (uint8_t)type;
    if (type <= Z_HARDWARE)
        b->bytes = 0; /* the length of an instruction of gdb's choice */
    else if (b->bytes == 0 || b->address > UINT64_MAX - b->bytes)
        return false;
    return true;
}

static unsigned find_break(const struct gdb_server *s,
                           const struct gdb_break *b)
{
    unsigned n = 0;
    while (n < s->break_count && (s->breaks[n].type != b->type ||
                                  s->breaks[n].address != b->address ||
                                  s->breaks[n].bytes != b->bytes))
        n++;
    return n;
}

static void insert_break(struct gdb_server *s, const char *at)
{
    struct gdb_break b = {0};
    if (!take_break(at, &b)) {
        answer(s, "E01");
        return;
    }
    unsigned n = find_break(s, &b);
    if (n == PROBES_MAX) {
        answer(s, "E0c"); /* ENOMEM */
        return;
    }
    s->breaks[n] = b;
    s->probes[n] = probe_of(&b);
    s->break_count += n == s->break_count;
    answer(s, "OK");
}

static void remove_break(struct gdb_server *s, const char *at)
{
    struct gdb_break b = {0};
    if (!take_break(at, &b)) {
        answer(s, "E01");
        return;
    }
    unsigned n = find_break(s, &b);
    if (n < s->break_count) {
        s->break_count--;
        for (; n < s->break_count; n++) {
            s->breaks[n] = s->breaks[n + 1];
            s->probes[n] = s->probes[n + 1];
        }
    }
    answer(s, "OK");
}

/* ---- moving
 * ----------------------------------------------------------------------------
 */

static void set_stop(struct gdb_server *s, unsigned signal, const char *reason)
{
    (void)snprintf(s->stop, sizeof s->stop, "T%02x%sthread:01;", signal,
                   reason);
}

static void set_hit(struct gdb_server *s, const struct probe_hit *hit)
{
    static const char *const names[Z_TYPES] = {"swbreak", "hwbreak", "watch",
                                               "rwatch", "awatch"};
    const struct gdb_break *b = &s->breaks[hit->index];
    char reason[64];
    if (b->type <= Z_HARDWARE)
        (void)snprintf(reason, sizeof reason, "%s:;", names[b->type]);
    else
        (void)snprintf(reason, sizeof reason, "%s:%llx;", names[b->type],
                       (unsigned long long)b->address);
    set_stop(s, SIGNAL_TRAP, reason);
}

enum motion { MOTION_STEP, MOTION_CONTINUE, MOTION_STEP_BACK, MOTION_BACK };

static enum travel_stop travel(struct gdb_server *s, enum motion motion,
                               struct probe_hit *hit, struct error *err)
{
    switch (motion) {
    case MOTION_STEP:
        return travel_step(s->travel, s->probes, s->break_count, hit, err);
    case MOTION_STEP_BACK:
        return travel_step_back(s->travel, s->probes, s->break_count, hit, err);
    case MOTION_CONTINUE:
        return travel_continue(s->travel, s->probes, s->break_count, hit, err);
    default:
        return travel_continue_back(s->travel, s->probes, s->break_count, hit,
                                    err);
    }
}

static void move(struct gdb_server *s, enum motion motion)
{
    struct machine_place from;
    struct probe_hit hit = {0};
    struct error err;
    bool was_branch = travel_branch(s->travel, &from);
    s->is_interrupted = false;
    print_notes(s);
    travel_set_poll(s->travel, poll_interrupt, s);
    enum travel_stop stop = travel(s, motion, &hit, &err);
    travel_set_poll(s->travel, NULL, NULL);
    if (was_branch && !travel_branch(s->travel, &from)) {
        announce(s, "the what-if branch is dropped: this is the recording");
        print_notes(s);
    }
    switch (stop) {
    case TRAVEL_HIT:
        set_hit(s, &hit);
        break;
    case TRAVEL_START:
        set_stop(s, SIGNAL_TRAP, "replaylog:begin;");
        break;
    case TRAVEL_END:
        set_stop(s, SIGNAL_TRAP, "replaylog:end;");
        break;
    case TRAVEL_INTERRUPTED:
        set_stop(s, SIGNAL_INT, "");
        break;
    case TRAVEL_FAILED:
        announce(s, err.text);
        print_notes(s);
        set_stop(s, SIGNAL_TRAP, "");
        break;
    default:
        set_stop(s, SIGNAL_TRAP, "");
        break;
    }
    answer(s, s->stop);
}

static void go_on(struct gdb_server *s, const char *at)
{
    (void)at;
    move(s, MOTION_CONTINUE);
}

static void step(struct gdb_server *s, const char *at)
{
    (void)at;
    move(s, MOTION_STEP);
}

static void back(struct gdb_server *s, const char *at)
{
    if (strcmp(at, "s") == 0)
        move(s, MOTION_STEP_BACK);
    else if (strcmp(at, "c") == 0)
        move(s, MOTION_BACK);
    else
        answer(s, "");
}

/* vCont;ACTION[:THREAD]...: there is one thread, so the first action counts. */
static void resume(struct gdb_server *s, const char *at)
{
    if (*at == 's' || *at == 'S')
        move(s, MOTION_STEP);
    else if (*at == 'c' || *at == 'C')
        move(s, MOTION_CONTINUE);
    else
        answer(s, "E01");
}

/* ---- queries
 * ----------------------------------------------------------------------------
 */

static void supported(struct gdb_server *s, const char *at)
{
    char text[300];
    (void)at;
    (void)snprintf(text, sizeof text,
                   "PacketSize=%x;qXfer:features:read+;"
                   "qXfer:memory-map:read+;ReverseStep+;ReverseContinue+;"
                   "vContSupported+;swbreak+;hwbreak+;QStartNoAckMode+",
                   GDB_PACKET_BYTES);
    answer(s, text);
}

/* The part of the document that the packet asks for. */
static void send_document(struct gdb_server *s, const char *at)
{
    uint64_t offset, bytes;
    const struct writer *d = &s->document;
    if (!take_range(&at, &offset, &bytes) || d->failed) {
        answer(s, "E01");
        return;
    }
    size_t left = offset < d->used ? d->used - offset : 0;
    size_t n = bytes < left ? bytes : left;
    if (n > GDB_PACKET_BYTES / 2 - 8) /* each byte may need an escape */
        n = GDB_PACKET_BYTES / 2 - 8;
    writer_reset(&s->reply);
    gdb_put_text(&s->reply, n < left ? "m" : "l");
    if (n)
        gdb_put_binary(&s->reply, d->data + offset, n);
    send_reply(s);
}

static void read_features(struct gdb_server *s, const char *at)
{
    writer_reset(&s->document);
    gdb_target_xml(s->arch, &s->document);
    send_document(s, at);
}

/* gdb takes what the map leaves out for unreadable, and the addresses are
 * linear: everything may be memory. */
static void read_map(struct gdb_server *s, const char *at)
{
    writer_reset(&s->document);
    gdb_print(&s->document,
              "<?xml version=\"1.0\"?><!DOCTYPE memory-map PUBLIC \"+//IDN "
              "gnu.org//DTD GDB Memory Map V1.0//EN\" "
              "\"http://sourceware.org/gdb/gdb-memory-map.dtd\">"
              "<memory-map><memory type=\"ram\" start=\"0\" length=\"%s\"/>"
              "</memory-map>",
              s->arch == GDB_X86_64 ? "0xffffffffffffffff" : "0x100000000");
    send_document(s, at);
}

static void no_acks(struct gdb_server *s, const char *at)
{
    (void)at;
    answer(s, "OK");
    s->is_without_acks = true;
}

static void monitor(struct gdb_server *s, const char *at)
{
    struct writer out;
    struct machine_place from;
    char line[1024];
    size_t bytes = strlen(at) / 2;
    if (bytes >= sizeof line || !gdb_take_hex(&at, line, bytes)) {
        answer(s, "E01");
        return;
    }
    line[bytes] = 0;
    bool was_branch = travel_branch(s->travel, &from);
    s->is_interrupted = false;
    writer_init(&out);
    travel_set_poll(s->travel, poll_interrupt, s);
    gdb_monitor_run(&s->monitor, line, &out);
    travel_set_poll(s->travel, NULL, NULL);
    if (was_branch && !travel_branch(s->travel, &from))
        announce(s, "the what-if branch is dropped: this is the recording");
    print_notes(s);
    print_to_user(s, out.data, out.used);
    writer_fini(&out);
    answer(s, "OK");
}

/* ---- the rest
 * ------------------------------------------------------------------------------
 */

static void why_stopped(struct gdb_server *s, const char *at)
{
    (void)at;
    answer(s, s->stop);
}

static void ok(struct gdb_server *s, const char *at)
{
    (void)at;
    answer(s, "OK");
}

static void detach(struct gdb_server *s, const char *at)
{
    (void)at;
    answer(s, "OK");
    s->is_over = true;
    s->end = GDB_DETACHED;
}

static void kill_us(struct gdb_server *s, const char *at)
{
    (void)at;
    s->is_over = true;
    s->end = GDB_KILLED;
}

static void kill_with_answer(struct gdb_server *s, const char *at)
{
    answer(s, "OK");
    kill_us(s, at);
}

static void one(struct gdb_server *s, const char *at)
{
    (void)at;
    answer(s, "1");
}

static void this_thread(struct gdb_server *s, const char *at)
{
    (void)at;
    answer(s, "QC1");
}

static void first_threads(struct gdb_server *s, const char *at)
{
    (void)at;
    answer(s, "m1");
}

static void more_threads(struct gdb_server *s, const char *at)
{
    (void)at;
    answer(s, "l");
}

static void actions(struct gdb_server *s, const char *at)
{
    (void)at;
    answer(s, "vCont;c;C;s;S");
}

/* By how a packet begins; longer names stand before what they begin with. */
static const struct {
    const char *begins;
    void (*handle)(struct gdb_server *s, const char *rest);
} commands[] = {
    {"qSupported", supported},
    {"qXfer:features:read:target.xml:", read_features},
    {"qXfer:memory-map:read::", read_map},
    {"qRcmd,", monitor},
    {"qAttached", one},
    {"qfThreadInfo", first_threads},
    {"qsThreadInfo", more_threads},
    {"qSymbol:", ok},
    {"QStartNoAckMode", no_acks},
    {"vCont?", actions},
    {"vCont;", resume},
    {"vKill;", kill_with_answer},
    {"?", why_stopped},
    {"g", read_registers},
    {"G", write_registers},
    {"p", read_register},
    {"P", write_register},
    {"m", read_memory},
    {"M", write_memory},
    {"X", write_binary},
    {"Z", insert_break},
    {"z", remove_break},
    {"c", go_on},
    {"C", go_on},
    {"s", step},
    {"S", step},
    {"b", back},
    {"H", ok},
    {"T", ok},
    {"D", detach},
    {"k", kill_us},
};

static void handle(struct gdb_server *s)
{
    const char *packet = (const char *)s->reader.payload;
    if (strcmp(packet, "qC") == 0) {
        this_thread(s, packet);
        return;
    }
    for (unsigned i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        size_t n = strlen(commands[i].begins);
        if (strncmp(packet, commands[i].begins, n) == 0) {
            commands[i].handle(s, packet + n);
            return;
        }
    }
    answer(s, ""); /* not known */
}

static void acknowledge(struct gdb_server *s, char c)
{
    if (!s->is_without_acks && !s->host.send(s->host.context, &c, 1))
        s->is_gone = true;
}

enum gdb_end gdb_server_serve(struct gdb_server *s)
{
    uint8_t byte;
    gdb_packet_reader_init(&s->reader);
    s->arrived_at = s->arrived_end = 0;
    s->break_count = 0;
    s->is_without_acks = s->is_gone = s->is_over = false;
    s->monitor.is_physical = false;
    set_stop(s, SIGNAL_TRAP, "");
    while (!s->is_over && next_byte(s, true, &byte)) {
        switch (gdb_packet_take(&s->reader, byte)) {
        case GDB_PACKET:
            acknowledge(s, '+');
            handle(s);
            break;
        case GDB_DAMAGED:
            acknowledge(s, '-');
            break;
        case GDB_NAK:
            send_frame(s);
            break;
        case GDB_INTERRUPT: /* the machine stands already */
        case GDB_NOTHING:
            break;
        }
    }
    return s->is_over ? s->end : GDB_GONE;
}
