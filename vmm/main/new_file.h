// A file that is written beside the one that it is to replace.
#pragma once

#include <filesystem>

#include "base/unique_fd.h"

namespace hull {

/// Made empty as "PATH.new", for this user alone, and locked, so that nobody else makes the same meanwhile.
/// Until commit(), PATH is as it was; where that does not come, the new file is removed. One thread.
class NewFile {
  public:
    /// Throws Error (bad_file), also where another process is writing it.
    explicit NewFile(std::filesystem::path path);
    NewFile(NewFile&& other) noexcept = default;
    NewFile& operator=(NewFile&&) = delete;
    NewFile(const NewFile&) = delete;
    NewFile& operator=(const NewFile&) = delete;
    ~NewFile();

    [[nodiscard]] int fd() const { return fd_.get(); }
    /// Puts it at PATH, for good: it must be on the disk already (fdatasync(2)). Throws Error (bad_file).
    void commit();

  private:
    [[nodiscard]] std::filesystem::path beside() const;

    std::filesystem::path path_;
    UniqueFd fd_;
};

}  // namespace hull
