// Requests to a file server, and what its answers say.
#pragma once

#include <linux/fuse.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

namespace hull::test {

template <typename T>
std::string bytes_in(const T& value) {
    return {reinterpret_cast<const char*>(&value), sizeof value};
}

inline std::string fuse_request(uint32_t opcode, uint64_t node, const std::string& body = "",
                                uint64_t unique = 7) {
    fuse_in_header header{};
    header.len = static_cast<uint32_t>(sizeof header + body.size());
    header.opcode = opcode;
    header.unique = unique;
    header.nodeid = node;
    return bytes_in(header) + body;
}

inline std::string fuse_init(uint32_t minor = FUSE_KERNEL_MINOR_VERSION) {
    fuse_init_in body{};
    body.major = FUSE_KERNEL_VERSION;
    body.minor = minor;
    body.max_readahead = 1 << 17;
    body.flags = ~0U;
    return fuse_request(FUSE_INIT, 0, bytes_in(body));
}

inline std::string fuse_lookup(uint64_t folder, std::string_view name) {
    return fuse_request(FUSE_LOOKUP, folder, std::string{name} + '\0');
}

inline std::string fuse_read(uint64_t node, uint64_t offset, uint32_t size, uint32_t opcode = FUSE_READ) {
    fuse_read_in body{};
    body.offset = offset;
    body.size = size;
    return fuse_request(opcode, node, bytes_in(body));
}

inline std::string fuse_forget(uint64_t node, uint64_t lookups) {
    return fuse_request(FUSE_FORGET, node, bytes_in(fuse_forget_in{.nlookup = lookups}));
}

struct FuseAnswer {
    fuse_out_header header{};
    std::string body;

    /// Of bytes that begin with a header.
    static FuseAnswer of(std::string_view bytes) {
        FuseAnswer answer;
        std::memcpy(&answer.header, bytes.data(), sizeof answer.header);
        answer.body = bytes.substr(sizeof answer.header);
        return answer;
    }
    template <typename T>
    [[nodiscard]] T as() const {
        T value{};
        std::memcpy(&value, body.data(), std::min(sizeof value, body.size()));
        return value;
    }
};

}  // namespace hull::test
