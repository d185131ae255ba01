/* Programs that own their machine: what runs instead of a kernel in the snapshots that
 * tests/hostile.rs forges. All of memory is mapped one to one up to 5 GiB, for ring 3 as well; what
 * lies from 5 GiB on is mapped to far away. There are no exception handlers but where a program loads
 * `skipping`: an exception is a triple fault.
 *
 * Each program begins at its label, in ring 0 or ring 3, with interrupts off. */

#define DOORBELL 0xd0000000
#define APIC 0xfee00000
#define ROOTFS 0x100000000
#define PAYLOAD (MAILBOX + 0x100)

#define EVENT_DONE 2
#define EVENT_OUTPUT 3
#define EVENT_CONSOLE 4
#define STAGE_MOUNTED 0x206

#define OUTPUT_START 16
#define OUTPUT_USED 20
#define CONSOLE_USED 28
#define SEQUENCE 32

	.text

.macro attack name
	.balign 64
	.globl \name
\name:
.endm

.macro ring value
	mov $DOORBELL, %edi
	movl $\value, (%rdi)
.endm

/* Handlers for all exceptions that step over the instruction, whose length is in r15. */
.macro skipping
	lidt skipping_idt(%rip)
.endm

.macro done
	ring EVENT_DONE
	jmp .
.endm

/* Requests, one after the other: what to do is in the payload.
 * u32 operation, u32 event to ring, u64 address, u64 value, bytes */
attack requests
	mov $PAYLOAD, %rsi
	mov 8(%rsi), %rbx
	mov 16(%rsi), %rax
	mov (%rsi), %ecx
	lea operations(%rip), %rdx
	mov (%rdx, %rcx, 8), %rdx
	jmp *%rdx
finish:
	mov $PAYLOAD, %rsi
	mov 4(%rsi), %eax
	mov $DOORBELL, %edi
	mov %eax, (%rdi)
	jmp requests

store1:	mov %al, (%rbx)
	jmp finish
store2:	mov %ax, (%rbx)
	jmp finish
store4:	mov %eax, (%rbx)
	jmp finish
store8:	mov %rax, (%rbx)
	jmp finish
store16:
	movups %xmm0, (%rbx)
	jmp finish
load1:	mov (%rbx), %al
	jmp finish
load2:	mov (%rbx), %ax
	jmp finish
load4:	mov (%rbx), %eax
	jmp finish
load8:	mov (%rbx), %rax
	jmp finish
load16:	movups (%rbx), %xmm0
	jmp finish
/* A load that says what it found: as the run's exit code. */
tell:	mov (%rbx), %eax
	mov $MAILBOX, %rdi
	mov %eax, 24(%rdi)
	jmp finish
exchange:
	lock xadd %eax, (%rbx)
	jmp finish
/* `value` bytes of the payload become the output area, which is said to hold `address` bytes. */
answer:	mov $MAILBOX, %rdi
	mov %ebx, OUTPUT_USED(%rdi)
	mov OUTPUT_START(%rdi), %edx
	add %rdx, %rdi
	lea 24(%rsi), %rsi
	mov %rax, %rcx
	rep movsb
	jmp finish
/* As many bytes as `value` says, to and from a port. */
outs:	mov %ebx, %edx
	mov %rax, %rcx
	rep outsb
	jmp finish
outs4:	mov %ebx, %edx
	mov %rax, %rcx
	rep outsl
	jmp finish
ins:	mov %ebx, %edx
	mov %rax, %rcx
	mov $0x300000, %edi
	rep insb
	jmp finish
string_store:
	mov %rbx, %rdi
	mov %rax, %rcx
	rep stosq
	jmp finish

	.balign 8
operations:
	.quad store1, store2, store4, store8, store16
	.quad load1, load2, load4, load8, load16
	.quad tell, exchange, answer, outs, outs4, ins, string_store

/* Every port, each way. */
attack all_ports
	xor %ebx, %ebx
1:	mov %ebx, %edx
	mov $0x55, %al
	out %al, %dx
	in %dx, %al
	inc %ebx
	cmp $0x10000, %ebx
	jne 1b
	done

/* The widths that ports have besides. */
attack wide_ports
	xor %ebx, %ebx
1:	mov %ebx, %edx
	mov $0x55555555, %eax
	out %ax, %dx
	out %eax, %dx
	in %dx, %ax
	in %dx, %eax
	add $7, %ebx
	cmp $0x10000, %ebx
	jb 1b
	done

/* A page of each 2 MiB of the 4 GiB that a PC has below its first 4 GiB, where there is no memory. */
attack all_holes
	mov $0x2200000, %ebx
1:	mov (%rbx), %eax
	mov $DOORBELL, %ecx
	cmp %rcx, %rbx
	je 2f
	mov %eax, (%rbx)
2:	add $0x200000, %rbx
	mov $ROOTFS, %rax
	cmp %rax, %rbx
	jb 1b
	done

attack apic_page
	skipping
	mov $3, %r15
	mov $APIC, %ebx
	xor %ecx, %ecx
1:	mov (%rbx, %rcx), %eax
	mov %eax, (%rbx, %rcx)
	add $4, %ecx
	cmp $0x1000, %ecx
	jb 1b
	done

/* Interrupts to itself: INIT, start-up, NMI, SMI, and all others. */
attack init_itself
	mov $APIC, %ebx
	movl $0x44500, 0x300(%rbx)
	jmp .
attack start_itself
	mov $APIC, %ebx
	movl $0x44500, 0x300(%rbx)
	movl $0x44600, 0x300(%rbx)
	jmp .
attack nmi_itself
	mov $APIC, %ebx
	movl $0x44400, 0x300(%rbx)
	jmp .
attack smi_itself
	mov $APIC, %ebx
	movl $0x44200, 0x300(%rbx)
	jmp .
attack interrupt_storm
	skipping
	xor %r15, %r15
	mov $APIC, %ebx
	movl $0x1ff, 0xf0(%rbx)
	movl $0, 0x3e0(%rbx)
	movl $0x20040, 0x320(%rbx)
	movl $1, 0x380(%rbx)
	sti
1:	movl $0, 0xb0(%rbx)
	movl $0x44041, 0x300(%rbx)
	jmp 1b

/* Ends. */
attack triple_fault
	ud2
attack halt
	cli
	hlt
	jmp halt
attack spin
	cli
	jmp .
attack loop_for_ever
	jmp .
attack double_fault_for_ever
	skipping
	xor %r15, %r15
	ud2
attack wild_stack
	skipping
	mov $0xd0001000, %esp
	ud2
	jmp .
attack no_interrupt_table
	lidt nothing(%rip)
	int $0x80
	jmp .
attack interrupt_table_of_garbage
	lidt garbage(%rip)
	ud2
	jmp .
attack interrupt_table_in_a_hole
	lidt hole(%rip)
	ud2
	jmp .
attack interrupt_table_nowhere
	lidt nowhere(%rip)
	ud2
	jmp .
attack segment_table_of_garbage
	lgdt garbage(%rip)
	mov $0x28, %ax
	mov %ax, %ds
	mov %ax, %ss
	push $0x30
	lea 1f(%rip), %rax
	push %rax
	lretq
1:	jmp .
attack segment_table_in_a_hole
	lgdt hole(%rip)
	mov $0x10, %ax
	mov %ax, %ss
	jmp .
attack task_register_of_garbage
	lgdt garbage(%rip)
	mov $0x40, %ax
	ltr %ax
	int3
	jmp .
attack jump_into_a_hole
	mov $0xc8000000, %eax
	jmp *%rax
attack jump_onto_the_doorbell
	mov $DOORBELL, %eax
	jmp *%rax
attack jump_onto_the_apic
	mov $APIC, %eax
	jmp *%rax
attack jump_out_of_the_tables
	mov $0x7f0000000000, %rax
	jmp *%rax
attack jump_off_the_edge
	mov $0x123456789abcdef0, %rax
	jmp *%rax
attack tables_in_a_hole
	mov $0xc8000000, %eax
	mov %rax, %cr3
	mov (%rax), %rbx
	jmp .
attack tables_far_away
	mov $0xfffffff000, %rax
	mov %rax, %cr3
	mov (%rax), %rbx
	jmp .
attack tables_of_themselves
	mov %cr3, %rax
	lea 3(%rax), %rbx
	mov $512, %ecx
	mov %rax, %rdi
1:	mov %rbx, -8(%rdi, %rcx, 8)
	loop 1b
	mov %rax, %cr3
	jmp .
attack tables_erased
	mov %cr3, %rdi
	mov $512, %ecx
	xor %eax, %eax
	rep stosq
	mov %cr3, %rax
	mov %rax, %cr3
	jmp .
attack far_memory
	mov $0x140000000, %rbx
	mov $8, %ecx
1:	mov %rbx, (%rbx)
	mov (%rbx), %rax
	add $0x200000, %rbx
	loop 1b
	done
attack single_step
	pushf
	orl $0x100, (%rsp)
	popf
	nop
	jmp .
attack reset_by_keyboard
	mov $0xfe, %al
	out %al, $0x64
	jmp .

/* Instructions made of data, and changed while they run. */
attack self_modifying
	mov $10000, %ecx
	lea 2f(%rip), %rbx
1:	mov %cl, 1(%rbx)
2:	mov $0, %al
	cmp %cl, %al
	jne bad
	loop 1b
	done
bad:	ud2

/* Control registers, one bit after the other. */
attack control_registers
	skipping
	mov $3, %r15
	mov $63, %ecx
1:	mov %cr0, %rax
	btc %rcx, %rax
	mov %rax, %cr0
	mov %cr4, %rax
	btc %rcx, %rax
	mov %rax, %cr4
	mov %cr4, %rdx
	dec %ecx
	cmp $32, %ecx
	jne 1b
	mov %rcx, %cr8
	mov %cr8, %rax
	done
attack extended_controls
	skipping
	mov $3, %r15
	mov $64, %ebx
1:	dec %ebx
	xor %ecx, %ecx
	mov %ebx, %eax
	or $1, %eax
	mov %ebx, %edx
	xsetbv
	inc %ecx
	xsetbv
	test %ebx, %ebx
	jne 1b
	done

/* Every model-specific register there might be: read, written with what it was, then with worse. */
attack model_specific_registers
	skipping
	mov $2, %r15
	lea msr_ranges(%rip), %rsi
1:	mov (%rsi), %ecx
	mov 4(%rsi), %ebp
	test %ebp, %ebp
	je 3f
2:	rdmsr
	wrmsr
	xor %eax, %eax
	xor %edx, %edx
	wrmsr
	not %eax
	mov %ecx, %edx
	wrmsr
	inc %ecx
	dec %ebp
	jne 2b
	add $8, %rsi
	jmp 1b
3:	done

	.balign 8
msr_ranges:
	.long 0x0, 0x1b		/* the APIC's base and EFER come last */
	.long 0x1c, 0x1fe4
	.long 0x40000000, 0x120
	.long 0x40000200, 0x20
	.long 0x4b564d00, 0x20
	.long 0xc0000084, 0x400
	.long 0xc0010000, 0x300
	.long 0xc0011000, 0x80
	.long 0x1b, 1
	.long 0xc0000080, 4
	.long 0, 0

attack hypercalls
	skipping
	mov $3, %r15
	xor %ebx, %ebx
1:	mov %ebx, %eax
	mov $PAYLOAD, %ecx
	mov %ecx, %edx
	vmcall
	mov %ebx, %eax
	vmmcall
	inc %ebx
	cmp $600, %ebx
	jne 1b
	done

/* Instructions that the host finishes for KVM, with operands that it must not trust. */
attack extended_state
	skipping
	mov $4, %r15
	lea operands(%rip), %rsi
1:	mov (%rsi), %rdi
	mov 8(%rsi), %rax
	test %rax, %rax
	je 2f
	mov %rax, %rdx
	shr $32, %rdx
	xsave64 (%rdi)
	xrstor64 (%rdi)
	add $16, %rsi
	jmp 1b
2:	mov $0x400000, %edi		/* areas full of all sorts of bytes */
	mov $4096, %ebx
3:	imul $1664525, %ebx, %eax
	mov %eax, (%rdi, %rbx)
	dec %ebx
	jne 3b
	mov $2000, %ebx
4:	imul $69069, %ebx, %ecx
	and $0xffc, %ecx
	xor %ebx, (%rdi, %rcx)
	mov $-1, %eax
	mov $-1, %edx
	xrstor64 (%rdi)
	dec %ebx
	jne 4b
	mov %cr3, %rdi			/* its own page tables */
	mov $-1, %eax
	xrstor64 (%rdi)
	xsave64 (%rdi)
	done

	.balign 8
operands:
	.quad 0x400000, -1
	.quad 0x400001, -1
	.quad 0x20fffc0, -1		/* over the end of memory */
	.quad 0xd0000000, -1
	.quad 0xc8000000, -1
	.quad 0x100000000, -1		/* the image */
	.quad 0x1001fffc0, -1
	.quad 0x140000000, -1
	.quad 0x7f0000000000, -1
	.quad 0x1234567890abcd00, -1
	.quad 0xffffffffffffffc0, -1
	.quad 0xfffffffffffffe00, -1
	.quad 0, 1
	.quad 0, 0

/* Floods. */
attack port_storm
	out %al, $0x80
	jmp port_storm
attack hole_storm
	mov $0xc8000000, %ebx
1:	mov (%rbx), %eax
	jmp 1b
attack stage_storm
	ring STAGE_MOUNTED
	jmp stage_storm
attack output_storm
	ring EVENT_OUTPUT
	jmp output_storm
attack fault_storm
	skipping
	mov $2, %r15
1:	ud2
	jmp 1b
/* Its console: lines of one character, and one line without an end. */
attack console_flood
	mov $0x300000, %edi
	mov $0x0a41, %eax
	mov $8192, %ecx
	rep stosw
1:	mov $0x300000, %esi
	mov $0x3f8, %edx
	mov $4096, %ecx
	rep outsb
	jmp 1b
attack console_line
	mov $0x300000, %edi
	mov $0x41, %eax
	mov $4096, %ecx
	rep stosb
1:	mov $0x300000, %esi
	mov $0x3f8, %edx
	mov $4096, %ecx
	rep outsb
	jmp 1b
/* Records without a byte in them, which count for no limit of output. */
attack flood_of_nothing
	mov $MAILBOX, %rbx
	mov OUTPUT_START(%rbx), %edi
	add %rbx, %rdi
	mov $0x01000000, %rax
	shl $32, %rax
	mov $0x10000, %ecx
	rep stosq
1:	mov $0x80000, %eax
	mov %eax, OUTPUT_USED(%rbx)
	ring EVENT_OUTPUT
	jmp 1b
attack flood_of_output
	mov $MAILBOX, %rbx
	mov OUTPUT_START(%rbx), %edi
	movl $0x0107fff8, 4(%rbx, %rdi)
1:	mov $0x80000, %eax
	mov %eax, OUTPUT_USED(%rbx)
	ring EVENT_OUTPUT
	jmp 1b

/* Scribbles the mailbox while the host looks at it. */
attack scribble_everything
	mov $MAILBOX, %rbx
	mov $1, %eax
1:	imul $1664525, %eax, %eax
	add $1013904223, %eax
	mov %eax, %ecx
	shr $12, %ecx
	and $0xffffc, %ecx
	mov %eax, (%rbx, %rcx)
	mov %ecx, OUTPUT_USED(%rbx)
	mov %eax, CONSOLE_USED(%rbx)
	jmp 1b
/* Lengths that are right, and records behind them that change. */
attack scribble_records
	mov $MAILBOX, %rbx
	mov OUTPUT_START(%rbx), %r8d
	add %rbx, %r8
	movl $0, CONSOLE_USED(%rbx)
	movl $0x1000, OUTPUT_USED(%rbx)
	mov $1, %eax
1:	imul $1664525, %eax, %eax
	add $1013904223, %eax
	mov %eax, %ecx
	shr $12, %ecx
	and $0xff8, %ecx
	movl $0x01000008, 4(%r8, %rcx)
	movl $0x02fffff0, 4(%r8, %rcx)
	movl $0x01000000, 4(%r8, %rcx)
	jmp 1b
/* A length that goes up and down. */
attack scribble_lengths
	mov $MAILBOX, %rbx
1:	movl $0x10000, OUTPUT_USED(%rbx)
	movl $0, OUTPUT_USED(%rbx)
	movl $-1, OUTPUT_USED(%rbx)
	movl $0, OUTPUT_USED(%rbx)
	incl SEQUENCE(%rbx)
	jmp 1b

attack fill_memory
	mov $0x400000, %edi
1:	movq $-1, (%rdi)
	add $0x1000, %edi
	cmp $MAILBOX, %edi
	jne 1b
	done

/* Handlers, by the vector's number: those with an error code take it off first. */
	.balign 16
with_code:
	add $8, %rsp
without_code:
	add %r15, (%rsp)
	iretq

	.balign 8
nothing:
	.word 0
	.quad 0
garbage:
	.word 0xfff
	.quad 0x380000
hole:
	.word 0xfff
	.quad 0xc8000000
nowhere:
	.word 0xfff
	.quad 0x7f0000000000
skipping_idt:
	.word 0xfff
	.quad IDT
