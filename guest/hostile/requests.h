// What a driver asks of each kind of device, in buffers in the arena.
#pragma once

#include "guest/hostile/devices.h"

namespace hostile {

/// A piece of a chain.
struct Piece {
    uint64_t address;
    uint32_t length;
    bool device_writes;
};

inline constexpr unsigned kMostPieces = 8;
struct Chain {
    Piece piece[kMostPieces];
    unsigned count;

    void add(uint64_t address, uint32_t length, bool device_writes) {
        if (count < kMostPieces) {
            piece[count++] = {address, length, device_writes};
        }
    }
};

/// A place for `size` bytes (at most a MiB) where buffers are; others have the same.
uint64_t buffer(Random& random, uint32_t size);

/// A request as it should be, with values by chance, for one of the device's queues.
Chain make_request(Random& random, const Device& device, uint16_t queue);

/// Looks at what the device has put into a buffer of the queue, for what a driver answers to.
void take_answer(const Device& device, uint16_t queue, uint64_t address, uint32_t written);

}  // namespace hostile
