// Reads a layer's disk on the host, as ErofsWriter writes it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/unique_fd.h"

namespace hull::container {

/// The metadata and files of an image that ErofsWriter made; others' are refused, or understood as far as
/// they are alike. What is in it came from an archive of others: nothing is believed but what lies in the
/// file. Throws Error (bad_file). One thread.
class ErofsReader {
  public:
    struct Inode {
        uint64_t number = 0;
        uint32_t mode = 0;  ///< with its type
        uint32_t uid = 0;
        uint32_t gid = 0;
        int64_t mtime = 0;
        uint32_t mtime_ns = 0;
        uint32_t links = 0;
        uint64_t size = 0;
        uint32_t major = 0;  ///< of a device
        uint32_t minor = 0;
        uint64_t content = 0;          ///< where that begins
        uint64_t attributes = 0;       ///< and these
        uint64_t attributes_size = 0;  ///< bytes
    };

    explicit ErofsReader(const std::filesystem::path& disk);

    [[nodiscard]] Inode root() const { return inode(root_); }
    [[nodiscard]] Inode inode(uint64_t number) const;
    /// What a folder has under a name.
    [[nodiscard]] std::optional<uint64_t> find(const Inode& folder, std::string_view name) const;
    /// Calls with each name in a folder and its inode's number, by name.
    void list(const Inode& folder, const std::function<void(std::string_view, uint64_t)>& each) const;
    /// Where a symbolic link leads.
    [[nodiscard]] std::string target(const Inode& link) const;
    /// By their whole names.
    [[nodiscard]] std::map<std::string, std::string> attributes(const Inode& inode) const;
    /// Reads a file from an offset on; 0 at its end.
    size_t read(const Inode& file, uint64_t offset, std::span<std::byte> room) const;

  private:
    [[noreturn]] void refuse(const std::string& why) const;
    void read_exactly(uint64_t offset, std::span<std::byte> room) const;
    [[nodiscard]] std::string text(uint64_t offset, uint64_t size, uint64_t most) const;

    std::filesystem::path path_;
    UniqueFd file_;
    uint64_t size_ = 0;
    uint64_t inodes_ = 0;  // where number 0 would be
    uint64_t root_ = 0;
};

}  // namespace hull::container
