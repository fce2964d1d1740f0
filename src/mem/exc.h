/* Guest faults as values (Intel SDM vol. 3A 6.3, table 6-1). A function that
 * can fault returns enum exc, with guest state exact at the faulting
 * instruction; EXC_NONE is 0 so that `if (e)` reads as "it faulted". */
#ifndef RELIVE_MEM_EXC_H
#define RELIVE_MEM_EXC_H

enum exc {
    EXC_NONE = 0,
    EXC_DE = 0x100 + 0, /* vector in the low byte */
    EXC_DB = 0x100 + 1,
    EXC_BP = 0x100 + 3,
    EXC_OF = 0x100 + 4,
    EXC_BR = 0x100 + 5,
    EXC_UD = 0x100 + 6,
    EXC_NM = 0x100 + 7,
    EXC_DF = 0x100 + 8,
    EXC_TS = 0x100 + 10,
    EXC_NP = 0x100 + 11,
    EXC_SS = 0x100 + 12,
    EXC_GP = 0x100 + 13,
    EXC_PF = 0x100 + 14,
    EXC_MF = 0x100 + 16,
    EXC_AC = 0x100 + 17,
    EXC_XM = 0x100 + 19,
    /* Not a fault: a REP instruction stopped between two iterations because
     * the tick limit was reached; RIP still points at it. */
    EXC_REP_BREAK = 0x200,
    /* Not a fault: a block-ending condition inside an instruction that has
     * already delivered its own event (INT n, task switch); it has retired. */
    EXC_DELIVERED = 0x201
};

#endif
