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
#include "container/image/json.h"

namespace hull::container {

/// By which a container's health is to be told, as Docker's images have it.
struct HealthCheck {
    std::vector<std::string> test;        ///< "CMD" or "CMD-SHELL" and the command, or "NONE"
    std::chrono::nanoseconds interval{};  ///< 0, here and below: what is usual
    std::chrono::nanoseconds timeout{};
    std::chrono::nanoseconds start_period{};
    int64_t retries = 0;

    bool operator==(const HealthCheck&) const = default;
};

/// Of Docker's Healthcheck. Throws Error (bad_file).
HealthCheck health_check_from(const JsonObject& health);

/// An image's configuration (OCI image-spec 1.1, config.md), as far as Hull needs it. Of the bytes themselves
/// the store keeps every one.
struct ImageConfig {
    /// A step by which the image was made.
    struct Step {
        std::string created;  ///< RFC 3339, or empty
        std::string created_by;
        std::string comment;
        bool is_empty = false;  ///< it made no layer

        bool operator==(const Step&) const = default;
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
    std::vector<std::string> shell;     ///< of a Dockerfile's shell form; empty: what is usual
    std::vector<std::string> triggers;  ///< instructions for who builds on it (ONBUILD)
    std::optional<HealthCheck> health{};
    std::vector<Digest> layers;  ///< of the unpacked archives (rootfs.diff_ids), the lowest first
    std::vector<Step> history;

    /// Throws Error (bad_file) where the text is no configuration of an image for Linux, or has more than 127
    /// layers, or fewer than its history tells of (that may be short, or missing). No text of it has a NUL.
    static ImageConfig parse(std::string_view json);
};

}  // namespace hull::container
