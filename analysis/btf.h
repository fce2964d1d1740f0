/* Where the members of a Linux kernel's structures are, from the type
 * information that it carries (Documentation/bpf/btf.rst of Linux). */
#ifndef RELIVE_ANALYSIS_BTF_H
#define RELIVE_ANALYSIS_BTF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct btf;

/* The bytes are borrowed. NULL: they are malformed, or no memory. */
struct btf *btf_open(const uint8_t *bytes, size_t count);
void btf_close(struct btf *b); /* takes NULL */

/* The offset in bytes of a member of a structure or union: "comm", "list.next"
 * for a member of a member. Members of unnamed ones are found as C finds them.
 * False: there is none, or it is a bit field. */
bool btf_member(const struct btf *b, const char *type, const char *path,
                uint32_t *offset);
/* Its size in bytes. */
bool btf_size(const struct btf *b, const char *type, uint32_t *bytes);

#endif
