// What the user says of a disk (--disk).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "devices/block/file_backend.h"

namespace hull {

/// A disk of the guest's.
struct DiskConfig {
    std::filesystem::path path;  ///< a regular file or a block device, or the server's socket
    std::string id;              ///< what the guest can ask for; empty: "disk" and its number
    bool is_served = false;      ///< by a vhost-user-blk server; of what follows it has queues only
    virtio::DiskUse use = virtio::DiskUse::write;
    bool direct = false;  ///< without the host's page cache
    uint32_t queues = 1;
    uint32_t iops = 0;  ///< the most requests in a second; 0: any number
    uint64_t bps = 0;   ///< the most bytes in a second; 0: any number

    /// "FILE[,id=NAME][,readonly|overlay][,direct][,queues=N][,iops=N][,bps=SIZE]" or
    /// "socket=PATH[,id=NAME][,queues=N]", as on the command line; a comma in a name is written twice. Throws
    /// Error (usage).
    static DiskConfig parse(const std::string& text);
    [[nodiscard]] std::string text() const;
    /// By which messages name it. `number` is its place among the disks.
    [[nodiscard]] std::string name(size_t number) const {
        return id.empty() ? "disk" + std::to_string(number) : id;
    }
};

}  // namespace hull
