/*
 * The smallest guest that becomes a template: it says what its clones must not share, that it is
 * ready, and that every request is done. Booting it takes no time, so that a build can be disturbed
 * at each of its steps. It has 32 MiB of RAM.
 */
#define PDPT 0xa000 /* where the host has put the page tables: src/kvm/long_mode.rs */
#define DOORBELL 0xd0000000
#define READY 1
#define DONE 2
#define CLONE_FIELDS 0x20ff000 /* in the mailbox, which is behind the RAM */

    .code64
    .text
    .globl _start
_start:
    lea devices(%rip), %rax
    or $3, %rax
    mov %rax, PDPT + 3 * 8
    rdtsc
    mov %eax, tsc(%rip)
    mov %edx, tsc + 4(%rip)
    lea fields(%rip), %rsi
    mov $CLONE_FIELDS, %edi
    mov $((fields_end - fields) / 8), %ecx
    rep movsq
    mov $DOORBELL, %edi
    movl $READY, (%rdi)
again:
    movl $DONE, (%rdi)
    jmp again

    /* As in guest/proto: how many, then address, length and kind of each. */
    .balign 8
fields:
    .quad 10
    .macro field at, len, kind
    .quad \at
    .long \len, \kind
    .endm
    field secret, 32, 1
    field another_secret, 32, 1
    field generation, 8, 2
    field boot_id, 16, 3
    field instance_id, 16, 4
    field host_name, 65, 5
    field tsc, 8, 6
    field seconds, 8, 7
    field nanoseconds, 8, 8
    field cyc2ns, 16, 9
fields_end:

secret:         .fill 32, 1, 1
another_secret: .fill 32, 1, 1
generation:     .quad 1
boot_id:        .fill 16, 1, 0
instance_id:    .fill 16, 1, 0
tsc:            .quad 0
seconds:        .quad 1
nanoseconds:    .quad 1
cyc2ns:         .long 1, 0
                .quad 0
host_name:      .asciz "zeroboot"
                .fill 56, 1, 0

    /* The fourth GiB, of which only the doorbell's 2 MiB are mapped. */
    .balign 4096
devices:
    .fill (DOORBELL - 0xc0000000) >> 21, 8, 0
    .quad DOORBELL | 0x83
    .balign 4096

    .section .note.GNU-stack, "", @progbits
