// Where a console's bytes go.
#pragma once

#include <cstdint>
#include <span>

namespace hull {

/// Takes what a guest prints. Any thread.
class ByteSink {
  public:
    virtual ~ByteSink() = default;
    /// Takes all of the bytes; never blocks. False where the guest should wait before it sends more; the
    /// sink's owner is then called back later, from a thread of the sink's.
    virtual bool put(std::span<const uint8_t> bytes) = 0;
};

}  // namespace hull
