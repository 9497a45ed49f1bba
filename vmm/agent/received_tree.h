// Files that a guest's agent sends, and how they are written into a folder of the host's.
#pragma once

#include <cstdint>
#include <string>
#include <tl/expected.hpp>

#include "base/unique_fd.h"
#include "guest/agent/protocol.h"

namespace hull {

/// Writes what follows a kTree into a folder. The guest is held for hostile: nothing is written outside of
/// the folder or through a link, there are files, folders and symbolic links only, all of them the caller's,
/// with no rights beyond those of an ordinary file's owner, group and others. One thread.
class ReceivedTree {
  public:
    struct Limits {
        uint64_t bytes = 0;    ///< of all files together; an entry counts kEntryCost of them besides
        uint32_t entries = 0;  ///< files, folders and links
    };
    static constexpr uint64_t kEntryCost = 4096;

    /// `folder` is an empty folder that the caller may write to.
    ReceivedTree(UniqueFd folder, Limits limits) : folder_{std::move(folder)}, limits_{limits} {}

    /// Takes the next frame. A clause that says why where nothing more can be taken: it is malformed, has a
    /// name that it must not have, is more than the limits, or the host could not write it. What was written
    /// so far stays.
    tl::expected<void, std::string> take(const agent::Frame& frame);

    /// Whether the last frame (kEnd) has come.
    [[nodiscard]] bool is_whole() const { return is_whole_; }
    /// Symbolic links that were left out since they lead out of the folder.
    [[nodiscard]] uint32_t links_left_out() const { return links_left_out_; }

  private:
    tl::expected<void, std::string> take_entry(const agent::Frame& frame);
    tl::expected<void, std::string> make(const std::string& path, uint32_t mode, const char* target);
    tl::expected<void, std::string> take_data(const agent::Frame& frame);

    UniqueFd folder_;
    Limits limits_;
    UniqueFd file_;  // that the data belong to
    std::string path_;
    bool is_whole_ = false;
    uint32_t links_left_out_ = 0;
};

/// Whether a relative path has names only: not empty, without "." and "..", and no name of more than 255
/// bytes.
bool is_plain_path(const std::string& path);

/// Whether a symbolic link at `path` (a plain one) to `target` stays where it is, if all other links do: it
/// goes up no further than its own folder is deep, and up only at its beginning.
bool link_stays_inside(const std::string& path, const std::string& target);

}  // namespace hull
