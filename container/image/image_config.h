// What an image says of how it is run.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "container/image/digest.h"

namespace hull::container {

/// An image's configuration (OCI image-spec 1.1, config.md), as far as Hull needs it. Of the bytes themselves
/// the store keeps every one.
struct ImageConfig {
    /// A step by which the image was made.
    struct Step {
        std::string created;  ///< RFC 3339, or empty
        std::string created_by;
        std::string comment;
        bool is_empty = false;  ///< it made no layer
    };

    std::string architecture;  ///< GOARCH's word ("amd64")
    std::string os;
    std::string created;  ///< RFC 3339, or empty
    std::string author;
    std::string user;  ///< "NAME|ID[:GROUP|ID]", or empty
    std::vector<std::string> environment;
    std::vector<std::string> entrypoint;
    std::vector<std::string> command;
    std::string working_folder;              ///< empty: /
    std::vector<std::string> exposed_ports;  ///< "80/tcp"
    std::vector<std::string> volumes;        ///< where they are mounted
    std::map<std::string, std::string> labels;
    std::string stop_signal;
    std::vector<Digest> layers;  ///< of the unpacked archives (rootfs.diff_ids), the lowest first
    std::vector<Step> history;

    /// Throws Error (bad_file) where the text is no configuration of an image for Linux, or has more than 127
    /// layers, or fewer than its history tells of (that may be short, or missing). No text of it has a NUL.
    static ImageConfig parse(std::string_view json);
};

}  // namespace hull::container
