#include "guest/hostile/machine.h"

#include <linux/serial_reg.h>

namespace hostile {

namespace {

constexpr uint64_t kInterruptControllers = 0xfec0'0000;  // the I/O APIC's and the local APICs' registers
constexpr uint64_t kInterruptControllersEnd = 0xff00'0000;

bool may_be_written(uint64_t address) {
    const bool is_memory = address < arena.end;
    const bool is_controller = address >= kInterruptControllers - 8 && address < kInterruptControllersEnd;
    return !is_memory && !is_controller;
}

/// `value` without the bytes by which a guest powers off, resets or tells of a panic, where they would.
uint64_t harmless(uint64_t address, unsigned width, uint64_t value) {
    if (address + width <= kPowerRegisters || address >= kPowerRegistersEnd) {
        return value;
    }
    constexpr uint64_t kNoBit0NorBit2 = 0xfafa'fafa'fafa'fafa;
    return value & kNoBit0NorBit2;
}

}  // namespace

uint64_t read_register(uint64_t address, unsigned width) {
    switch (width) {
        case 1:
            return at<uint8_t>(address);
        case 2:
            return at<uint16_t>(address);
        case 4:
            return at<uint32_t>(address);
        default:
            return at<uint64_t>(address);
    }
}

void write_register(uint64_t address, unsigned width, uint64_t value) {
    if (!may_be_written(address)) {
        return;
    }
    value = harmless(address, width, value);
    switch (width) {
        case 1:
            at<uint8_t>(address) = static_cast<uint8_t>(value);
            break;
        case 2:
            at<uint16_t>(address) = static_cast<uint16_t>(value);
            break;
        case 4:
            at<uint32_t>(address) = static_cast<uint32_t>(value);
            break;
        default:
            at<uint64_t>(address) = value;
            break;
    }
}

void read_port(uint16_t port, unsigned width) {
    switch (width) {
        case 1:
            in8(port);
            break;
        case 2:
            in16(port);
            break;
        default:
            in32(port);
            break;
    }
}

void write_port(uint16_t port, unsigned width, uint32_t value) {
    if (port == kKeyboardCommandPort && (value & 0xff) == kPullResetLine) {
        return;
    }
    switch (width) {
        case 1:
            out8(port, static_cast<uint8_t>(value));
            break;
        case 2:
            out16(port, static_cast<uint16_t>(value));
            break;
        default:
            out32(port, value);
            break;
    }
}

void power_off() {
    constexpr uint8_t kSleep = 5 << 2 | 0x20;  // ACPI 6.5, 4.8.3.7: type 5, and now
    for (;;) {
        at<uint8_t>(kPowerRegisters) = kSleep;
        asm volatile("hlt");
    }
}

void print(const char* text) {
    constexpr int kPatience = 1'000'000;
    out8(kSerialPort + UART_LCR, UART_LCR_WLEN8);
    out8(kSerialPort + UART_MCR, 0);
    out8(kSerialPort + UART_IER, 0);
    for (; *text != '\0'; ++text) {
        for (int i = 0; i < kPatience && (in8(kSerialPort + UART_LSR) & UART_LSR_THRE) == 0; ++i) {
        }
        out8(kSerialPort + UART_TX, static_cast<uint8_t>(*text));
    }
}

void print(uint64_t number) {
    char text[21];
    char* at = text + sizeof text;
    *--at = '\0';
    do {
        *--at = static_cast<char>('0' + number % 10);
        number /= 10;
    } while (number != 0);
    print(at);
}

}  // namespace hostile
