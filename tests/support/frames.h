// Frames between a host and a guest's agent, as tests make and read them.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "guest/agent/protocol.h"

namespace hull::test {

using FillFrame = std::function<void(agent::FrameWriter&)>;

/// A frame's bytes.
inline std::string frame(
    uint32_t type, uint32_t number, const FillFrame& fill = [](agent::FrameWriter&) {}) {
    std::vector<uint8_t> room(agent::kHeaderSize + agent::kMostRequest);
    agent::FrameWriter writer{room.data(), room.size(), type, number};
    fill(writer);
    return {reinterpret_cast<const char*>(room.data()), writer.size()};
}

/// A frame with this payload, which need be none.
inline std::string raw_frame(uint32_t type, uint32_t number, const std::string& payload) {
    std::string bytes(agent::kHeaderSize, '\0');
    auto* header = reinterpret_cast<uint8_t*>(bytes.data());
    agent::store_word(header, type);
    agent::store_word(header + 4, number);
    agent::store_word(header + 8, static_cast<uint32_t>(payload.size()));
    return bytes + payload;
}

inline std::string hello_frame(uint64_t version = agent::kVersion) {
    return frame(agent::kHello, 0, [&](auto& writer) { writer.add_number(agent::kVersionTag, version); });
}

}  // namespace hull::test
