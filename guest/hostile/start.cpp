// From the first instruction (Linux, Documentation/arch/x86/boot.rst, "64-bit Boot Protocol") to begin(), and
// from a further processor's first instruction to join(), each on a stack of its own.

asm(R"(
    .intel_syntax noprefix
    .section .text.start, "ax"
    .globl start
    .code64
start:                          # rsi is where boot_params are
    cli
    lea rsp, [stacks + 0x4000]
    mov rdi, rsi
    call begin
    hlt

    # Copied to 0x70000, where a further processor starts in real mode (CS is 0x7000). It has the boot
    # processor's page tables, whose address is put there.
    .set kPlace, 0x70000
    .set kGdtRegister, 32       # what is where in it
    .set kPageTable, 40
    .globl trampoline, trampoline_page_table, trampoline_end
    .code16
    .balign 8
trampoline:
    jmp real_mode
    .balign 8
gdt:
    .quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff
gdt_register:
    .word 23
    .long kPlace + 8
    .balign 8
trampoline_page_table:
    .long 0
real_mode:
    cli
    mov ax, cs
    mov ds, ax
    lgdt [kGdtRegister]
    mov eax, 0x20               # CR4.PAE
    mov cr4, eax
    mov eax, [kPageTable]
    mov cr3, eax
    mov ecx, 0xc0000080         # EFER.LME
    rdmsr
    or eax, 0x100
    wrmsr
    mov eax, 0x80000001         # CR0.PG and CR0.PE
    mov cr0, eax
    .byte 0x66, 0xea            # far jump to 64-bit code
    .long kPlace + long_mode - trampoline
    .word 8
    .code64
long_mode:
    mov eax, 16
    mov ds, eax
    mov es, eax
    mov ss, eax
    mov eax, 1                  # each takes a number, and the stack of that number
    lock xadd [next_processor], eax
    cmp eax, 4
    jae no_stack
    mov edi, eax
    inc eax
    shl eax, 14
    lea rsp, [stacks + rax]
    mov rax, offset join
    call rax
no_stack:
    hlt
    jmp no_stack
trampoline_end:

    .data
    .balign 4
next_processor:
    .long 1
    .bss
    .balign 16
stacks:
    .skip 4 * 0x4000
    .att_syntax prefix
    .text
)");
