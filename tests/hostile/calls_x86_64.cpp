// The ways into the kernel from x86-64 code: syscall, its x32 numbers, and the interrupt of 32-bit programs.
#include <sched.h>
#include <sys/syscall.h>

#include "tests/hostile/calls.h"

namespace hull::turncoat {

long raw_call(long number, const std::array<long, 6>& arguments) {
    long result = number;
    register long r10 asm("r10") = arguments[3];
    register long r8 asm("r8") = arguments[4];
    register long r9 asm("r9") = arguments[5];
    asm volatile("syscall"
                 : "+a"(result)
                 : "D"(arguments[0]), "S"(arguments[1]), "d"(arguments[2]), "r"(r10), "r"(r8), "r"(r9)
                 : "rcx", "r11", "memory");
    return result;
}

long call_with_child(long number, const std::array<long, 6>& arguments) {
    long result = number;
    register long r10 asm("r10") = arguments[3];
    register long r8 asm("r8") = arguments[4];
    // vfork's child is on the parent's stack, so it must use none.
    asm volatile(
        "syscall\n\t"
        "test %%rax, %%rax\n\t"
        "jnz 1f\n\t"
        "xor %%edi, %%edi\n\t"
        "mov %[exit], %%eax\n\t"
        "syscall\n"
        "1:"
        : "+a"(result)
        : "D"(arguments[0]), "S"(arguments[1]), "d"(arguments[2]), "r"(r10), "r"(r8), [exit] "i"(SYS_exit)
        : "rcx", "r11", "memory");
    return result;
}

long clone_sleeper(unsigned long flags, void* stack) {
    long result = SYS_clone;
    asm volatile(
        "syscall\n\t"
        "test %%rax, %%rax\n\t"
        "jnz 2f\n"
        "1: mov %[pause], %%eax\n\t"
        "syscall\n\t"
        "jmp 1b\n"
        "2:"
        : "+a"(result)
        : "D"(flags), "S"(stack), "d"(0), [pause] "i"(SYS_pause)
        : "rcx", "r11", "memory", "r10", "r8");
    return result;
}

long clone_thread(void* stack, uint32_t* word, uint32_t* gone) {
    constexpr long kFlags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |
                            CLONE_CHILD_CLEARTID;
    constexpr long kWaitPrivate = 128;
    long result = SYS_clone;
    register uint32_t* r10 asm("r10") = gone;
    register long r8 asm("r8") = 0;
    asm volatile(
        "syscall\n\t"
        "test %%rax, %%rax\n\t"
        "jnz 3f\n"
        "1: cmpl $1, (%[word])\n\t"
        "jne 2f\n\t"
        "mov %[word], %%rdi\n\t"
        "mov %[wait], %%esi\n\t"
        "mov $1, %%edx\n\t"
        "xor %%r10d, %%r10d\n\t"
        "mov %[futex], %%eax\n\t"
        "syscall\n\t"
        "jmp 1b\n"
        "2: xor %%edi, %%edi\n\t"
        "mov %[exit], %%eax\n\t"
        "syscall\n"
        "3:"
        : "+a"(result), "+r"(r10)
        : "D"(kFlags), "S"(stack), "d"(0),
          "r"(r8), [word] "b"(word), [wait] "i"(kWaitPrivate), [futex] "i"(SYS_futex), [exit] "i"(SYS_exit)
        : "rcx", "r11", "memory");
    return result;
}

namespace {

constexpr long kGetpid32 = 20;

long by_interrupt() {
    int result = kGetpid32;
    asm volatile("int $0x80" : "+a"(result) : : "memory", "r8", "r9", "r10", "r11");
    return result;
}

long by_x32_number() {
    constexpr long kX32Bit = 0x4000'0000;
    return raw_call(kX32Bit | SYS_getpid, {});
}

}  // namespace

const std::array<OtherWay, 2> kOtherWays{
    {{"a call of 32-bit programs", by_interrupt}, {"a call with an x32 number", by_x32_number}}};

}  // namespace hull::turncoat
