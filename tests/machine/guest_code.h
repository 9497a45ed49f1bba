// Guests of a few instructions, written as assembly beside the test that runs them.
#pragma once

#include <cstddef>
#include <span>

/// Assembles `text` (Intel syntax, for a processor of `bits` bits) into the test program and defines a
/// function `name()` that returns its bytes. The code runs wherever it is loaded, as long as its jumps are
/// relative.
#define HULL_GUEST_CODE(name, bits, text)                            \
    asm(".pushsection .rodata\n"                                     \
        ".globl hull_guest_" #name                                   \
        "_begin\n"                                                   \
        "hull_guest_" #name                                          \
        "_begin:\n"                                                  \
        ".code" #bits "\n.intel_syntax noprefix\n" text              \
        "\n.att_syntax prefix\n.code64\n"                            \
        ".globl hull_guest_" #name                                   \
        "_end\n"                                                     \
        "hull_guest_" #name                                          \
        "_end:\n"                                                    \
        ".popsection\n");                                            \
    extern "C" const std::byte hull_guest_##name##_begin[];          \
    extern "C" const std::byte hull_guest_##name##_end[];            \
    static std::span<const std::byte> name() {                       \
        return {hull_guest_##name##_begin, hull_guest_##name##_end}; \
    }
