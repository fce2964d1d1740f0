/* Control and debug registers (SDM vol. 3A 2.5, 4.1, 9.8.5; vol. 3B 17.2). */
#include "cpu/system_internal.h"

#include "cpu/model.h"
#include "cpu/op_system.h"

enum exc control_load_pdptes(struct cpu *c, uint64_t cr3)
{
    /* Reserved: 2..1, 8..5 and what is above the physical address. */
    const uint64_t reserved = 0x1e6 | ~((1ULL << PHYS_ADDRESS_BITS) - 1);
    uint8_t raw[32];
    uint64_t entries[4];
    phys_read(c->mmu.phys, cr3 & 0xffffffe0, raw, sizeof raw);
    for (unsigned k = 0; k < 4; k++) {
        entries[k] = load_le64(raw + 8 * k);
        if ((entries[k] & 1) && (entries[k] & reserved))
            return cpu_gp0(c);
    }
    memcpy(c->pdpte, entries, sizeof entries);
    return EXC_NONE;
}

/* Would these registers use PAE paging with PDPTE registers? */
static bool uses_pdptes(uint64_t cr0, uint64_t cr4, uint64_t efer)
{
    return (cr0 & CR0_PG) && (cr4 & CR4_PAE) && !(efer & EFER_LME);
}

/* Turning paging on or off with LME set enters or leaves IA-32e mode (SDM
 * vol. 3A 9.8.5, 4.1.2). */
static enum exc check_long_switch(struct cpu *c, uint64_t value)
{
    bool was = (c->cr0 & CR0_PG) != 0, is = (value & CR0_PG) != 0;
    bool code_is_64 = (c->seg[SEG_CS].attr & SEG_ATTR_L) != 0;
    if (was == is || !(c->efer & EFER_LME))
        return EXC_NONE;
    if (!is)
        return c->mode == MODE_64 ? cpu_gp0(c) : EXC_NONE;
    unsigned tr_type = c->tr.attr & 15;
    bool tss_is_16 = (c->tr.attr & SEG_ATTR_P) &&
                     (tr_type == TYPE_TSS16 || tr_type == TYPE_TSS16_BUSY);
    if (!(c->cr4 & CR4_PAE) || code_is_64 || tss_is_16)
        return cpu_gp0(c);
    return EXC_NONE;
}

enum exc cpu_set_cr0(struct cpu *c, uint64_t value)
{
    const uint64_t known = CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_NE | CR0_WP |
                           CR0_AM | CR0_NW | CR0_CD | CR0_PG;
    if (value >> 32)
        return cpu_gp0(c);
    if (((value & CR0_PG) && !(value & CR0_PE)) ||
        ((value & CR0_NW) && !(value & CR0_CD)))
        return cpu_gp0(c);
    value = (value & known) | CR0_ET;
    enum exc e = check_long_switch(c, value);
    if (e)
        return e;
    uint64_t changed = c->cr0 ^ value;
    if (uses_pdptes(value, c->cr4, c->efer) &&
        (changed & (CR0_PG | CR0_CD | CR0_NW))) {
        e = control_load_pdptes(c, c->cr3);
        if (e)
            return e;
    }
    c->cr0 = value;
    if ((c->efer & EFER_LME) && (value & CR0_PG))
        c->efer |= EFER_LMA;
    else
        c->efer &= ~(uint64_t)EFER_LMA;
    cpu_update_mode(c);
    cpu_update_paging(c);
    cpu_update_single(c);
    return EXC_NONE;
}

enum exc cpu_set_cr3(struct cpu *c, uint64_t value)
{
    if (cpu_is_long(c)) {
        if (value >> PHYS_ADDRESS_BITS)
            return cpu_gp0(c);
    } else {
        value = (uint32_t)value;
    }
    if (uses_pdptes(c->cr0, c->cr4, c->efer)) {
        enum exc e = control_load_pdptes(c, value);
        if (e)
            return e;
    }
    cpu_probe_note(c, &(struct cpu_note){.kind = CPU_NOTE_CR3, .value = value});
    c->cr3 = value;
    cpu_update_paging(c);
    return EXC_NONE;
}

enum exc cpu_set_cr4(struct cpu *c, uint64_t value)
{
    if (value & ~(uint64_t)c->model->cr4_mask)
        return cpu_gp0(c);
    if (cpu_is_long(c) && !(value & CR4_PAE))
        return cpu_gp0(c);
    uint64_t changed = c->cr4 ^ value;
    if (uses_pdptes(c->cr0, value, c->efer) &&
        (changed & (CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP))) {
        enum exc e = control_load_pdptes(c, c->cr3);
        if (e)
            return e;
    }
    c->cr4 = value;
    cpu_update_mode(c);
    cpu_update_paging(c);
    cpu_update_single(c);
    return EXC_NONE;
}

/* ---- MOV CRn --------------------------------------------------------------
 */

static enum exc set_cr8(struct cpu *c, uint64_t value)
{
    if (value >> 4)
        return cpu_gp0(c);
    c->board.tpr_write(c->board.context, (uint8_t)value);
    return EXC_NONE;
}

enum exc op_mov_to_control(struct cpu *c, const struct insn *i)
{
    uint64_t value = reg_get(c, i->src, c->mode == MODE_64 ? 8 : 4);
    if (c->cpl != 0)
        return cpu_gp0(c);
    switch (i->dst) {
    case 0:
        return cpu_set_cr0(c, value);
    case 2:
        c->cr2 = value;
        return EXC_NONE;
    case 3:
        return cpu_set_cr3(c, value);
    case 4:
        return cpu_set_cr4(c, value);
    case 8:
        return set_cr8(c, value);
    default:
        return cpu_fault(c, EXC_UD, 0);
    }
}

enum exc op_mov_from_control(struct cpu *c, const struct insn *i)
{
    uint64_t value;
    if (c->cpl != 0)
        return cpu_gp0(c);
    switch (i->src) {
    case 0:
        value = c->cr0;
        break;
    case 2:
        value = c->cr2;
        break;
    case 3:
        value = c->cr3;
        break;
    case 4:
        value = c->cr4;
        break;
    case 8:
        value = c->board.tpr_read(c->board.context) & 15;
        break;
    default:
        return cpu_fault(c, EXC_UD, 0);
    }
    reg_set(c, i->dst, value, c->mode == MODE_64 ? 8 : 4);
    return EXC_NONE;
}

/* LMSW sets the low four bits; it cannot clear PE (SDM vol. 2A LMSW). */
enum exc op_lmsw(struct cpu *c, const struct insn *i)
{
    uint16_t value = (uint16_t)c->r[i->form == FORM_R ? i->dst : REG_ZERO];
    if (c->cpl != 0)
        return cpu_gp0(c);
    if (i->form == FORM_M) {
        enum exc e = insn_read(c, i, &value, 2);
        if (e)
            return e;
    }
    uint64_t keep_pe = c->cr0 & CR0_PE;
    return cpu_set_cr0(c, (c->cr0 & ~0xfULL) | (value & 0xf) | keep_pe);
}

enum exc op_smsw(struct cpu *c, const struct insn *i)
{
    if (i->form == FORM_M) {
        uint16_t value = (uint16_t)c->cr0;
        return insn_write(c, i, &value, 2);
    }
    reg_set(c, i->dst, c->cr0, i->size);
    return EXC_NONE;
}

enum exc op_clts(struct cpu *c, const struct insn *i)
{
    (void)i;
    if (c->cpl != 0)
        return cpu_gp0(c);
    c->cr0 &= ~(uint64_t)CR0_TS;
    cpu_update_mode(c);
    return EXC_NONE;
}

/* ---- MOV DRn --------------------------------------------------------------
 */

enum { DR6_BD = 0x2000, DR7_GD = 0x2000 };

/* DR4 and DR5 are DR6 and DR7 unless CR4.DE; DR7.GD turns any access into a
 * #DB fault. */
static enum exc check_debug_access(struct cpu *c, unsigned *number)
{
    if (*number > 7 || ((*number & 6) == 4 && (c->cr4 & CR4_DE)))
        return cpu_fault(c, EXC_UD, 0);
    if (c->cpl != 0)
        return cpu_gp0(c);
    if ((*number & 6) == 4)
        *number += 2;
    if (c->dr[7] & DR7_GD) {
        c->debug_pending |= DR6_BD;
        return cpu_fault(c, EXC_DB, 0);
    }
    return EXC_NONE;
}

enum exc op_mov_to_debug(struct cpu *c, const struct insn *i)
{
    unsigned number = i->dst;
    uint64_t value = reg_get(c, i->src, c->mode == MODE_64 ? 8 : 4);
    enum exc e = check_debug_access(c, &number);
    if (e)
        return e;
    if (number >= 6 && value >> 32)
        return cpu_gp0(c);
    if (number == 6)
        value = (value & 0xe00f) | 0xffff0ff0;
    else if (number == 7)
        value = (value & 0xffff23ff) | 0x400;
    c->dr[number] = value;
    cpu_update_single(c);
    return EXC_NONE;
}

enum exc op_mov_from_debug(struct cpu *c, const struct insn *i)
{
    unsigned number = i->src;
    enum exc e = check_debug_access(c, &number);
    if (e)
        return e;
    reg_set(c, i->dst, c->dr[number], c->mode == MODE_64 ? 8 : 4);
    return EXC_NONE;
}

/* ---- caches and translations -----------------------------------------------
 */

/* Translations never outlive their table entries (mem/mmu.h): nothing to do. */
enum exc op_invlpg(struct cpu *c, const struct insn *i)
{
    (void)i;
    return c->cpl == 0 ? EXC_NONE : cpu_gp0(c);
}

enum exc op_wbinvd(struct cpu *c, const struct insn *i)
{
    (void)i;
    return c->cpl == 0 ? EXC_NONE : cpu_gp0(c);
}

/* CLFLUSH faults as a byte load would, and does no more. */
enum exc op_clflush(struct cpu *c, const struct insn *i)
{
    uint64_t linear, paddr;
    enum exc e = cpu_linear(c, i->seg, insn_offset(c, i), 1, false, &linear);
    if (!e)
        e = mmu_translate(&c->mmu, linear, 1, ACCESS_READ, &paddr);
    if (e == EXC_GP && i->seg == SEG_SS)
        return cpu_fault(c, EXC_SS, 0);
    return e == EXC_GP ? cpu_gp0(c) : e;
}

enum exc op_nop(struct cpu *c, const struct insn *i)
{
    (void)c;
    (void)i;
    return EXC_NONE;
}
