// The ways in which the system tests boot.
#pragma once

#include <string>
#include <vector>

#include "tests/support/hull_process.h"

namespace hull::test {

/// One way to boot: which kernel file, and how the machine is described.
struct Way {
    const char* name;
    const char* kernel;
    const char* initramfs;
    const char* platform;
    const char* bus = nullptr;  ///< how virtio devices are connected; none: the default
};

/// The words of a hull command that boots this way.
inline std::vector<std::string> boot(const Way& way, const std::string& cmdline,
                                     std::vector<std::string> more = {}) {
    std::vector<std::string> arguments{"boot",
                                       "--kernel",
                                       guest_file(way.kernel),
                                       "--initramfs",
                                       guest_file(way.initramfs),
                                       "--platform",
                                       way.platform,
                                       "--cmdline",
                                       cmdline};
    if (way.bus != nullptr) {
        arguments.insert(arguments.end(), {"--bus", way.bus});
    }
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
}

}  // namespace hull::test
