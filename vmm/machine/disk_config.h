// What the user says of a disk (--disk).
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "devices/block/disk_image.h"

namespace hull {

/// A disk of the guest's.
struct DiskConfig {
    std::filesystem::path path;                ///< a regular file, a block device, or a server's socket; or
    std::vector<std::filesystem::path> parts;  ///< several files, each a partition
    std::string id;                            ///< what the guest can ask for; empty: "disk" and its number
    bool is_served = false;  ///< by a vhost-user-blk server; of what follows it has queues only
    virtio::DiskUse use = virtio::DiskUse::write;
    bool direct = false;  ///< without the host's page cache
    uint32_t queues = 1;
    uint32_t iops = 0;  ///< the most requests in a second; 0: any number
    uint64_t bps = 0;   ///< the most bytes in a second; 0: any number

    /// "FILE[,id=NAME][,readonly|overlay][,direct][,queues=N][,iops=N][,bps=SIZE]", as on the command line,
    /// or "part=FILE" for each partition instead of FILE, or "socket=PATH[,id=NAME][,queues=N]"; a comma in
    /// FILE or NAME is written twice. Throws Error (usage).
    static DiskConfig parse(const std::string& text);
    [[nodiscard]] std::string text() const;
    /// Its id, as the disk of this number of the machine's, from 0.
    [[nodiscard]] std::string name(size_t number) const;
};

}  // namespace hull
