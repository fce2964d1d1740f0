/* A triple fault with a story: an invalid opcode whose gate is not present, and
 * neither are those that would tell of that. */
#include "guest.h"

GUEST("triple32")
PROT_VECTORS
    .code16
start16:
    ENTER32(start32)
    call prot_init
    andl $~0x8000, idt + 6 * 8 + 4
    andl $~0x8000, idt + 8 * 8 + 4
    andl $~0x8000, idt + 11 * 8 + 4
    movl $1000, %ecx
1:  loop 1b
    ud2
GUEST_END
