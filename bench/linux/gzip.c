/* The workload gzip: zlib's deflate at level 6 and inflate of generated text.
 */
#include "works.h"

#include <string.h>
#include <zlib.h>

enum { TEXT_BYTES = 1 << 20 };

static void write_text(uint8_t *text, unsigned bytes)
{
    static const char *const words[] = {
        "time", "machine",   "instruction", "of",  "the",  "a",    "page",
        "and",  "tick",      "register",    "in",  "to",   "with", "memory",
        "is",   "interrupt", "at",          "for", "that", "exact"};
    uint32_t random = 2463534242u;
    unsigned at = 0;
    while (at + 32 < bytes) {
        uint32_t x = next_random(&random);
        const char *word = words[x % (sizeof words / sizeof words[0])];
        size_t length = strlen(word);
        memcpy(text + at, word, length);
        at += (unsigned)length;
        if ((x >> 16) % 11 == 0)
            text[at++] = (uint8_t)('0' + (x >> 24) % 10);
        text[at++] = (x >> 20) % 13 == 0 ? '\n' : ' ';
    }
    memset(text + at, '.', bytes - at);
}

uint64_t work_gzip(unsigned repeats)
{
    static uint8_t text[TEXT_BYTES], packed[TEXT_BYTES], again[TEXT_BYTES];
    uint64_t sum = 0;
    write_text(text, TEXT_BYTES);
    for (unsigned r = 0; r < repeats; r++) {
        uLongf packed_bytes = sizeof packed, again_bytes = sizeof again;
        text[r % TEXT_BYTES] ^= 1;
        must(compress2(packed, &packed_bytes, text, TEXT_BYTES, 6) == Z_OK,
             "deflate");
        must(uncompress(again, &again_bytes, packed, packed_bytes) == Z_OK &&
                 memcmp(text, again, TEXT_BYTES) == 0,
             "inflate");
        sum = sum * 31 + crc32(0, packed, (uInt)packed_bytes);
    }
    return sum;
}
