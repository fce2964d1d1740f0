/* Packets of the gdb remote serial protocol ("Debugging with GDB", appendix
 * "GDB Remote Serial Protocol", Overview): $payload#checksum, +, -, and the
 * single byte 03h that interrupts. */
#ifndef RELIVE_REPLAY_GDB_PACKET_H
#define RELIVE_REPLAY_GDB_PACKET_H

#include "base/stream.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    GDB_PACKET_BYTES = 16384 /* longest payload, as qSupported announces */
};

enum gdb_packet_kind {
    GDB_NOTHING,   /* more bytes are needed */
    GDB_PACKET,    /* payload and bytes are set */
    GDB_DAMAGED,   /* a packet with a wrong checksum or one too long */
    GDB_INTERRUPT, /* 03h */
    GDB_NAK        /* the peer wants the last packet again */
};

struct gdb_packet_reader {
    uint8_t state;
    uint8_t sum, sent_sum;
    bool is_too_long;
    size_t bytes;
    uint8_t payload[GDB_PACKET_BYTES + 1]; /* ends in a NUL */
};
void gdb_packet_reader_init(struct gdb_packet_reader *r);
/* Take one byte that has arrived. The payload is good until the next call. */
enum gdb_packet_kind gdb_packet_take(struct gdb_packet_reader *r, uint8_t byte);

/* Frame a payload and append it to w. */
void gdb_packet_frame(struct writer *w, const void *payload, size_t bytes);

/* Append bytes as hexadecimal digits, or as escaped binary data. */
void gdb_put_hex(struct writer *w, const void *bytes, size_t count);
void gdb_put_binary(struct writer *w, const void *bytes, size_t count);
void gdb_put_text(struct writer *w, const char *text);

/* Hexadecimal digits at *at as a number, most significant first; *at moves on.
 * False: there is no digit, or more than 16. */
bool gdb_take_number(const char **at, uint64_t *value);
/* Exactly `count` bytes as two digits each; *at moves on. */
bool gdb_take_hex(const char **at, void *bytes, size_t count);
/* The character there; *at moves on when it matches. */
bool gdb_take_char(const char **at, char c);
/* Undo escapes in place; returns the bytes that remain. */
size_t gdb_unescape(uint8_t *bytes, size_t count);

#endif
