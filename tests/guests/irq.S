/* Interrupt controllers and timers: PICs with PIT and RTC, local APIC timer and
 * priorities, IOAPIC, HPET. Rates are compared with the time stamp counter and
 * each other, so that the guest runs on any machine.
 * Sources: Intel 8259A, 8254, 82093AA and MC146818A data sheets; IA-PC HPET
 * 1.0a; SDM vol. 3A ch. 10 "Advanced Programmable Interrupt Controller". */
#include "guest.h"

/* FEC00000..FEFFFFFF as one 4 MiB page at 8 MB. */
#define IOAPIC 0x800000
#define HPET   0x900000
#define APIC   0xa00000
#define EOI_APIC movl $0, APIC + 0xb0

#define VEC_APIC_TIMER 0x60
#define VEC_LOW 0x41
#define VEC_HIGH 0x81
#define VEC_PIT 0x52
#define VEC_HPET 0x53
#define VEC_SPURIOUS 0xff

#define IOAPIC_WRITE(reg, value) \
    movl $reg, IOAPIC; movl value, %eax; movl %eax, IOAPIC + 0x10
/* Waits until a counter is at least a number; gives up in time. */
#define WAIT_FOR(counter, count) \
    movl $200000000, %ecx; \
77: cmpl $count, counter; jae 78f; pause; loop 77b; 78: \
    movl counter, %eax; cmpl $count, %eax; setae %al; movzbl %al, %eax; \
    EXPECT32(%eax, $1)

/* Interrupts are taken behind the instruction after STI. */
#ifdef TCG /* or a little later */
#define WINDOW sti; movl $100000, %ecx; 76: loop 76b; cli
#else
#define WINDOW sti; nop; cli
#endif

GUEST("irq")
PROT_VECTORS
    .code16
start16:
    ENTER32(start32)
    call prot_init
    movl $0xfec0009b, page_directory + 8 /* not cached */
    movl %cr3, %eax
    movl %eax, %cr3
    PIC_INIT
    SET_GATE32(0x20, pic_timer)
    SET_GATE32(0x27, pic_spurious)
    SET_GATE32(0x28, pic_rtc)
    SET_GATE32(VEC_APIC_TIMER, apic_timer)
    SET_GATE32(VEC_LOW, ipi_low)
    SET_GATE32(VEC_HIGH, ipi_high)
    SET_GATE32(VEC_PIT, ioapic_pit)
    SET_GATE32(VEC_HPET, ioapic_hpet)
    SET_GATE32(VEC_SPURIOUS, apic_spurious)

    /* PIC masks read back, and IRR and ISR by OCW3. */
    movb $0x5a, %al
    outb %al, $0x21
    inb $0x21, %al
    movzbl %al, %eax
    EXPECT32(%eax, $0x5a)
    movb $0xff, %al
    outb %al, $0x21

    /* PIT: a one-shot (mode 0) reaches its end; its output shows in read-back
     * status and, through the PIC, in IRR before any interrupt is taken. */
    movb $0x30, %al
    outb %al, $0x43
    movb $0xe8, %al /* 1000 counts */
    outb %al, $0x40
    movb $0x03, %al
    outb %al, $0x40
    movb $0xe2, %al /* read-back, status of counter 0 */
    outb %al, $0x43
    inb $0x40, %al
    movzbl %al, %eax
    andl $0x3f, %eax /* whatever output and null count are by now */
    EXPECT32(%eax, $0x30)
1:  movb $0xe2, %al
    outb %al, $0x43
    inb $0x40, %al
    testb $0x80, %al
    jz 1b
    movb $0x0a, %al /* OCW3: IRR */
    outb %al, $0x20
    inb $0x20, %al
    andl $1, %eax
    EXPECT32(%eax, $1)
    movb $0xfe, %al
    outb %al, $0x21
    EXPECT32(pic_ticks, $0)
    WINDOW
    EXPECT32(pic_ticks, $1)
    EXPECT32(pic_isr, $1) /* in service, seen in the handler */

    /* Mode 2, and counting down with a latch. */
    movb $0x34, %al
    outb %al, $0x43
    movb $0xa9, %al /* 1193: 1 ms */
    outb %al, $0x40
    movb $0x04, %al
    outb %al, $0x40
    movb $0, %al
    outb %al, $0x43 /* latch */
    inb $0x40, %al
    movb %al, %bl
    inb $0x40, %al
    movb %al, %bh
    movzwl %bx, %ebx
    cmpl $1193, %ebx
    setbe %al
    movzbl %al, %eax
    EXPECT32(%eax, $1)
    movl $0, pic_ticks
    sti
1:  hlt
    cmpl $10, pic_ticks
    jb 1b
    cli

    /* STI takes effect behind the next instruction; CLI there wins. */
    movl pic_ticks, %ebx
    movb $0x30, %al
    outb %al, $0x43
    movb $1, %al
    outb %al, $0x40
    movb $0, %al
    outb %al, $0x40
1:  movb $0xe2, %al
    outb %al, $0x43
    inb $0x40, %al
    testb $0x80, %al
    jz 1b
    sti
    cli
    EXPECT32(pic_ticks, %ebx)
    WINDOW
    incl %ebx
    EXPECT32(pic_ticks, %ebx)

    /* RTC, periodic at 1024 Hz, through the second PIC. */
    movb $0xff, %al
    outb %al, $0x21
    movb $0x8a, %al
    outb %al, $0x70
    movb $0x26, %al
    outb %al, $0x71
    movb $0x8b, %al
    outb %al, $0x70
    inb $0x71, %al
    orb $0x40, %al
    movb %al, %bl
    movb $0x8b, %al
    outb %al, $0x70
    movb %bl, %al
    outb %al, $0x71
    movb $0x8c, %al
    outb %al, $0x70
    inb $0x71, %al
    movb $0xfb, %al
    outb %al, $0x21
    movb $0xfe, %al
    outb %al, $0xa1
    sti
1:  hlt
    cmpl $10, rtc_ticks
    jb 1b
    cli
    movzbl rtc_c, %eax
    EXPECT32(%eax, $0xc0) /* IRQF and PF */
    movb $0x8b, %al
    outb %al, $0x70
    movb $0x02, %al
    outb %al, $0x71
    movb $0xff, %al
    outb %al, $0x21
    outb %al, $0xa1

    /* Local APIC: version, spurious vector, self-IPIs by priority. */
    movl $(0x100 | VEC_SPURIOUS), APIC + 0xf0
    movzbl APIC + 0x30, %eax
    andl $0xf0, %eax
    EXPECT32(%eax, $0x10)
    movl $0x40000 | VEC_LOW, APIC + 0x300
    movl $0x40000 | VEC_HIGH, APIC + 0x300
    EXPECT32(APIC + 0x220, $(1 << (VEC_LOW - 0x40)))
    EXPECT32(APIC + 0x240, $(1 << (VEC_HIGH - 0x80)))
    WINDOW
    EXPECT32(order, $0x00020100) /* high first: see the handlers */
    /* A raised task priority holds back what is not above it. */
    movl $0, order
    movl $0x50, APIC + 0x80
    movl $0x40000 | VEC_LOW, APIC + 0x300
    movl $0x40000 | VEC_HIGH, APIC + 0x300
    EXPECT32(APIC + 0xa0, $0x50)
    WINDOW
    EXPECT32(highs, $2)
    EXPECT32(lows, $1)
    movl $0, APIC + 0x80
    WINDOW
    EXPECT32(lows, $2)

    /* Its timer: once, then periodic, masked in the end. */
    movl $0x0b, APIC + 0x3e0 /* divide by 1 */
    movl $VEC_APIC_TIMER, APIC + 0x320
    movl $100000, APIC + 0x380
    movl APIC + 0x390, %eax
    cmpl $100000, %eax
    setbe %al
    movzbl %al, %eax
    EXPECT32(%eax, $1)
    sti
    WAIT_FOR(apic_ticks, 1)
    cli
    EXPECT32(APIC + 0x390, $0)
    movl $0x20000 | VEC_APIC_TIMER, APIC + 0x320
    movl $100000, APIC + 0x380
    sti
1:  hlt
    cmpl $11, apic_ticks
    jb 1b
    cli
    movl $0x10000, APIC + 0x320

    /* IOAPIC: the PIT on pin 2, edge. */
    IOAPIC_WRITE(0x15, $0)
    IOAPIC_WRITE(0x14, $VEC_PIT)
    movl $1, IOAPIC
    movl IOAPIC + 0x10, %eax
    shrl $16, %eax
    andl $0xff, %eax
    EXPECT32(%eax, $23) /* the last entry */
    movb $0x34, %al
    outb %al, $0x43
    movb $0xa9, %al
    outb %al, $0x40
    movb $0x04, %al
    outb %al, $0x40
    sti
1:  hlt
    cmpl $5, pit_ticks
    jb 1b
    cli
    IOAPIC_WRITE(0x14, $0x10000)
    movl $0x14, IOAPIC
    EXPECT32(IOAPIC + 0x10, $0x10000)
    movb $0x30, %al /* no more of it */
    outb %al, $0x43
    movb $0, %al
    outb %al, $0x40
    outb %al, $0x40

    /* HPET: vendor and period; timer 0 to pin 20, level, periodic. */
    movl HPET, %eax
    shrl $16, %eax
    EXPECT32(%eax, $0x8086)
    EXPECT32(HPET + 4, $10000000)
    movl $0, HPET + 0x10
    movl $0, HPET + 0xf0
    movl $0, HPET + 0xf4
    IOAPIC_WRITE(0x39, $0)
    IOAPIC_WRITE(0x38, $(0x8000 | VEC_HPET))
    /* level, enabled, periodic, value set, 32 bits, route 20 */
    movl $(0x14e | 20 << 9), HPET + 0x100
    movl $100000, HPET + 0x108 /* 1 ms */
    movl $100000, HPET + 0x108
    movl $1, HPET + 0x10
    sti
1:  hlt
    cmpl $5, hpet_ticks
    jb 1b
    cli
    movl $0, HPET + 0x10
    movl HPET + 0xf0, %eax
    cmpl $500000, %eax
    setae %al
    movzbl %al, %eax
    EXPECT32(%eax, $1)
    EXPECT32(spurious, $0)
    PASS(32)

pic_timer:
    pushal
    incl pic_ticks
    movb $0x0b, %al /* ISR */
    outb %al, $0x20
    inb $0x20, %al
    movzbl %al, %eax
    movl %eax, pic_isr
    jmp pic_eoi
pic_rtc:
    pushal
    incl rtc_ticks
    movb $0x8c, %al
    outb %al, $0x70
    inb $0x71, %al
    movb %al, rtc_c
    movb $0x20, %al
    outb %al, $0xa0
pic_eoi:
    movb $0x20, %al
    outb %al, $0x20
    popal
    iretl
pic_spurious:
apic_spurious:
    incl spurious
    iretl
apic_timer:
    incl apic_ticks
    EOI_APIC
    iretl
ioapic_pit:
    incl pit_ticks
    EOI_APIC
    iretl
ioapic_hpet:
    incl hpet_ticks
    movl $1, HPET + 0x20 /* level: clear the status first */
    EOI_APIC
    iretl
/* `order` gets 01 then 02 in bytes 1 and 2 when high came before low. */
ipi_high:
    incl highs
    movb $1, order + 1
    EOI_APIC
    iretl
ipi_low:
    incl lows
    pushl %eax
    movb order + 1, %al
    addb %al, %al
    movb %al, order + 2
    popl %eax
    EOI_APIC
    iretl
    .balign 4
pic_ticks: .long 0
pic_isr: .long 0
rtc_ticks: .long 0
rtc_c: .long 0
apic_ticks: .long 0
pit_ticks: .long 0
hpet_ticks: .long 0
spurious: .long 0
order: .long 0
highs: .long 0
lows: .long 0
GUEST_END
