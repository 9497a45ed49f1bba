// Sockets and pipes that a machine has in the host's file system while it runs.
#pragma once

#include <filesystem>
#include <vector>

#include "base/unique_fd.h"

namespace hull {

/// Makes them before the machine's process is forked, and removes them at the end. One thread.
class MadeFiles {
  public:
    MadeFiles() = default;
    MadeFiles(const MadeFiles&) = delete;
    MadeFiles& operator=(const MadeFiles&) = delete;
    ~MadeFiles() { remove(); }

    /// A non-blocking unix stream socket that listens at `path`. One that nobody listens at any more is
    /// replaced. Throws Error (bad_file), also where somebody does, or where something else has that name.
    UniqueFd listen_at(const std::filesystem::path& path);
    /// A named pipe, non-blocking, open for reading and writing, so that it neither ends nor fails while
    /// nobody else has it open. It is made where there is none, and then removed. Throws Error (bad_file).
    UniqueFd open_pipe(const std::filesystem::path& path);

    /// Removes what was made, unless something else has its name by now. Any number of times.
    void remove();

  private:
    struct File {
        std::filesystem::path path;
        UniqueFd itself;  // so that its number is no other file's meanwhile
    };

    void remember(const std::filesystem::path& path);

    std::vector<File> files_;
};

}  // namespace hull
