#include "vmm/main/fetched_files.h"

#include <cstdlib>
#include <string>
#include <system_error>

#include "base/error.h"

namespace hull {

namespace fs = std::filesystem;

fs::path guest_folder() {
    const auto variable = [](const char* name) {
        const char* value = std::getenv(name);
        return value == nullptr ? std::string{} : std::string{value};
    };
    if (const std::string cache = variable("HULL_CACHE"); !cache.empty()) {
        return fs::path{cache} / "guest";
    }
    if (const std::string cache = variable("XDG_CACHE_HOME"); !cache.empty()) {
        return fs::path{cache} / "hull" / "guest";
    }
    return fs::path{variable("HOME")} / ".cache" / "hull" / "guest";
}

GuestKernel find_guest_kernel(GuestKernel given, const char* what) {
    if (!given.kernel.empty()) {
        return given;
    }
    std::error_code ignored;
    const fs::path folder = guest_folder();
    if (fs::exists(folder / "small" / "bzImage", ignored)) {
        given.kernel = folder / "small" / "bzImage";
    } else if (fs::exists(folder / "debian" / "vmlinuz", ignored) &&
               fs::exists(folder / "initramfs-debian", ignored)) {
        given.kernel = folder / "debian" / "vmlinuz";
        if (given.initramfs.empty()) {
            given.initramfs = folder / "initramfs-debian";
        }
    } else {
        throw Error{ExitStatus::bad_file, std::string{"cannot make "} + what,
                    "no kernel was given and none has been fetched",
                    "run scripts/guest-kernel --small, or scripts/guest-kernel and scripts/guest-initramfs"};
    }
    return given;
}

}  // namespace hull
