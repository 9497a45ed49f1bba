// Where a container and its machine meet on the host while it runs.
#pragma once

#include <filesystem>
#include <string>

#include "base/unique_fd.h"

namespace hull::container {

/// $XDG_RUNTIME_DIR/hull, or /run/hull for root and /tmp/hull-UID for others.
std::filesystem::path runtime_folder();

/// A folder of a container's own below `parent`, which only its user can enter. It is gone with this object
/// or, where its process is killed, with the next one that is made below the same parent.
class ContainerFolder {
  public:
    /// Makes both where they are missing. Throws Error: no_resources where it cannot, usage where a container
    /// of this name runs.
    ContainerFolder(const std::filesystem::path& parent, const std::string& name);
    ContainerFolder(const ContainerFolder&) = delete;
    ContainerFolder& operator=(const ContainerFolder&) = delete;
    ~ContainerFolder();

    [[nodiscard]] const std::filesystem::path& path() const { return path_; }

  private:
    std::filesystem::path path_;
    UniqueFd lock_;
};

}  // namespace hull::container
