#include "lib_travelguest.h"

#include <string.h>

/* clang-format off */
static const uint8_t code[] = {
    0xfa,                                       /* 00 cli */
    0x31, 0xc0,                                 /* 01 xor ax,ax */
    0x8e, 0xd8,                                 /* 03 mov ds,ax */
    0x8e, 0xc0,                                 /* 05 mov es,ax */
    0x8e, 0xd0,                                 /* 07 mov ss,ax */
    0xbc, 0x00, 0x70,                           /* 09 mov sp,0x7000 */
    0xc7, 0x06, 0x20, 0x00, 0x7f, 0x00,         /* 0c mov word [8*4],timer */
    0xc7, 0x06, 0x22, 0x00, 0x00, 0xf0,         /* 12 mov word [8*4+2],0xf000 */
    0xc7, 0x06, 0x18, 0x00, 0x8a, 0x00,         /* 18 mov word [6*4],badop */
    0xc7, 0x06, 0x1a, 0x00, 0x00, 0xf0,         /* 1e mov word [6*4+2],0xf000 */
    0x66, 0xb9, 0x1b, 0x00, 0x00, 0x00,         /* 24 mov ecx,0x1b */
    0x0f, 0x32,                                 /* 2a rdmsr */
    0x80, 0xe4, 0xf7,                           /* 2c and ah,0xf7 */
    0x0f, 0x30,                                 /* 2f wrmsr */
    0xb0, 0x11,                                 /* 31 mov al,0x11 */
    0xe6, 0x20,                                 /* 33 out 0x20,al */
    0xb0, 0x08,                                 /* 35 mov al,8 */
    0xe6, 0x21,                                 /* 37 out 0x21,al */
    0xb0, 0x04,                                 /* 39 mov al,4 */
    0xe6, 0x21,                                 /* 3b out 0x21,al */
    0xb0, 0x01,                                 /* 3d mov al,1 */
    0xe6, 0x21,                                 /* 3f out 0x21,al */
    0xb0, 0xfe,                                 /* 41 mov al,0xfe */
    0xe6, 0x21,                                 /* 43 out 0x21,al */
    0xb0, 0x34,                                 /* 45 mov al,0x34 */
    0xe6, 0x43,                                 /* 47 out 0x43,al */
    0xb0, 0x00,                                 /* 49 mov al,0x00 */
    0xe6, 0x40,                                 /* 4b out 0x40,al */
    0xb0, 0x10,                                 /* 4d mov al,0x10 */
    0xe6, 0x40,                                 /* 4f out 0x40,al */
    0xfb,                                       /* 51 sti */
    0x80, 0x3e, 0x00, 0x05, 0x14,               /* 52 cmp byte [0x500],20 */
    0x73, 0x06,                                 /* 57 jae done */
    0xe8, 0x08, 0x00,                           /* 59 call work */
    0xf4,                                       /* 5c hlt */
    0xeb, 0xf3,                                 /* 5d jmp main */
    0xb0, 0x21,                                 /* 5f mov al,0x21 */
    0xe6, 0xf4,                                 /* 61 out 0xf4,al */
    0xf4,                                       /* 63 hlt */
    0xff, 0x06, 0x02, 0x05,                     /* 64 inc word [0x502] */
    0xbe, 0x00, 0x05,                           /* 68 mov si,0x500 */
    0xbf, 0x00, 0x10,                           /* 6b mov di,0x1000 */
    0xb9, 0x10, 0x00,                           /* 6e mov cx,16 */
    0xfc,                                       /* 71 cld */
    0xf3, 0xa4,                                 /* 72 rep movsb */
    0x0f, 0x0b,                                 /* 74 ud2 */
    0x66, 0xa1, 0x02, 0x05,                     /* 76 mov eax,[0x502] */
    0x66, 0xa3, 0x00, 0x11,                     /* 7a mov [0x1100],eax */
    0xc3,                                       /* 7e ret */
    0x50,                                       /* 7f push ax */
    0xfe, 0x06, 0x00, 0x05,                     /* 80 inc byte [0x500] */
    0xb0, 0x20,                                 /* 84 mov al,0x20 */
    0xe6, 0x20,                                 /* 86 out 0x20,al */
    0x58,                                       /* 88 pop ax */
    0xcf,                                       /* 89 iret */
    0x55,                                       /* 8a push bp */
    0x89, 0xe5,                                 /* 8b mov bp,sp */
    0x83, 0x46, 0x02, 0x02,                     /* 8d add word [bp+2],2 */
    0x5d,                                       /* 91 pop bp */
    0xcf,                                       /* 92 iret */
};
/* clang-format on */

void travelguest_bios(uint8_t bios[TRAVELGUEST_BIOS_BYTES])
{
    static const uint8_t reset[] = {0xea, 0x00, 0x00, 0x00, 0xf0};
    memset(bios, 0, TRAVELGUEST_BIOS_BYTES);
    memcpy(bios, code, sizeof code);
    memcpy(bios + 0xfff0, reset, sizeof reset);
}
