/* Disk image files as read-only bases of dev/block.h: raw, and qcow2 versions 2
 * and 3 (with backing files and compressed clusters). Other formats are refused
 * with the command that converts them. */
#ifndef RELIVE_HOST_IMAGE_H
#define RELIVE_HOST_IMAGE_H

#include "dev/block.h"

/* Open `path` and fill *base (give it to block_new(), or call its close).
 *
 * hash identifies the contents, wherever the file lies: XXH3-128 over, for each
 * file of the backing chain from the top, its size (u64) and
 *   up to 1 GiB: all its bytes;
 *   above:       its first and last 16 MiB, and 1024 samples of 64 KiB at
 *                offsets i * (size - 64 KiB) / 1023 rounded down to 4 KiB.
 * False and err: one sentence that says what is wrong with which file. */
bool image_open(const char *path, struct block_base *base, uint8_t hash[16],
                struct error *err);

#endif
