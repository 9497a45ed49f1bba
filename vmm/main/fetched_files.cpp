#include "vmm/main/fetched_files.h"

#include <cstdlib>
#include <string>

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

}  // namespace hull
