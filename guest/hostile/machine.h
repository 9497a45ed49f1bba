// The processor's own: ports, registers in memory, random numbers from a seed, and the serial port to print
// by.
#pragma once

#include <cstddef>
#include <cstdint>

namespace hostile {

// --- where Hull has its devices (vmm/arch/x86_64/arch.cpp)

inline constexpr uint64_t kPciConfiguration = 0xe000'0000;  // and the window of registers behind it
inline constexpr uint64_t kPciWindowEnd = 0xe030'0000;
inline constexpr uint64_t kPowerRegisters = 0xfe00'0000;  // and a page further the one that tells of panics
inline constexpr uint64_t kPowerRegistersEnd = 0xfe00'2000;
inline constexpr uint64_t kMmioDevices = 0xfe01'0000;  // a page each
inline constexpr unsigned kMostMmioDevices = 14;
inline constexpr uint16_t kSerialPort = 0x3f8;
inline constexpr uint16_t kKeyboardCommandPort = 0x64;
inline constexpr uint8_t kPullResetLine = 0xfe;

// --- memory

/// What devices are given: the last part of the guest's memory, so that what they write never hits the
/// program. Nothing of the program's own is there.
struct Arena {
    uint64_t start;
    uint64_t end;  ///< the end of memory, too
};
inline Arena arena;

/// Of the device's memory, at an address that is inside (is_inside()).
template <typename T>
volatile T& at(uint64_t address) {
    return *reinterpret_cast<volatile T*>(address);
}
inline bool is_inside(uint64_t address, uint64_t size) {
    return address >= arena.start && address < arena.end && size <= arena.end - address;
}
/// Writes where that is within the arena, whatever the address is.
template <typename T>
void put(uint64_t address, T value) {
    if (is_inside(address, sizeof value)) {
        at<T>(address) = value;
    }
}
template <typename T>
T get(uint64_t address) {
    return is_inside(address, sizeof(T)) ? at<T>(address) : T{};
}

// --- chance

class Random {
  public:
    explicit Random(uint64_t seed) : state_{seed * 2 + 1} {
        for (int i = 0; i < 8; ++i) {
            next();
        }
    }
    uint64_t next() {
        state_ ^= state_ >> 12;
        state_ ^= state_ << 25;
        state_ ^= state_ >> 27;
        return state_ * 0x2545'f491'4f6c'dd1d;
    }
    uint32_t below(uint32_t limit) { return static_cast<uint32_t>(((next() >> 32) * limit) >> 32); }
    bool one_in(uint32_t times) { return below(times) == 0; }
    template <typename T, size_t count>
    T of(const T (&values)[count]) {
        return values[below(count)];
    }

  private:
    uint64_t state_;
};

// --- registers

inline void out8(uint16_t port, uint8_t value) {
    asm volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}
inline void out16(uint16_t port, uint16_t value) {
    asm volatile("outw %0, %1" : : "a"(value), "Nd"(port));
}
inline void out32(uint16_t port, uint32_t value) {
    asm volatile("outl %0, %1" : : "a"(value), "Nd"(port));
}
inline uint8_t in8(uint16_t port) {
    uint8_t value = 0;
    asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}
inline uint16_t in16(uint16_t port) {
    uint16_t value = 0;
    asm volatile("inw %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}
inline uint32_t in32(uint16_t port) {
    uint32_t value = 0;
    asm volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

/// A register of 1, 2, 4 or 8 bytes, at any address that is not memory.
uint64_t read_register(uint64_t address, unsigned width);
/// But for values that would end the machine, and addresses of memory or of the interrupt controllers, of
/// which nothing is written.
void write_register(uint64_t address, unsigned width, uint64_t value);
/// The same for a port.
void read_port(uint16_t port, unsigned width);
void write_port(uint16_t port, unsigned width, uint32_t value);

inline uint64_t time_stamp() {
    uint32_t low = 0;
    uint32_t high = 0;
    asm volatile("rdtsc" : "=a"(low), "=d"(high));
    return uint64_t{high} << 32 | low;
}

// --- the end, and words

[[noreturn]] void power_off();
/// Whatever state the serial port is in.
void print(const char* text);
void print(uint64_t number);

}  // namespace hostile
