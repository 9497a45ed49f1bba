// What is in a container's folders, as its guest's agent tells, sends and takes it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "container/layer/tar_reader.h"
#include "guest/agent/protocol.h"

namespace hull::container {

/// A file, folder or something else that the agent tells of.
struct GuestEntry {
    TarEntry file;           ///< its path may be empty: it is the one that was asked for
    uint32_t type = 0;       ///< S_IF…: a socket's, too, which archives do not have (kind fifo)
    std::string resolved{};  ///< of a symbolic link that was asked for: what it leads to
    std::optional<agent::Change> change;  ///< of a comparison
};

/// What the agent could not do.
class GuestContentsError : public std::runtime_error {
  public:
    GuestContentsError(int error, std::string what, const std::string& path);
    [[nodiscard]] int error() const { return error_; }                      ///< an errno
    [[nodiscard]] const std::string& what_failed() const { return what_; }  ///< "to write"
    [[nodiscard]] const std::string& path() const { return path_; }  ///< below what was asked for; or empty

  private:
    int error_;
    std::string what_;
    std::string path_;
};

/// The host's end of a transfer (agent::kTransfer). The guest is held for hostile: what it sends is bounded
/// and checked, files have the size that was said, and the entries of a folder come as the walk of one gives
/// them: each name once, in a folder that was told of as one, no path with "..". What a link of the guest's
/// leads to is not looked at. All throw GuestContentsError where the agent says that it fails, and Error
/// (bad_file) where it sends what it must not, ends early, does nothing for a minute, or
/// sends more entries than LayerTree takes. One thread.
class GuestContents {
  public:
    /// `keeper` is what is kept open as long as this is there: the supervisor takes the transfer for ended
    /// with its end.
    GuestContents(UniqueFd connection, std::shared_ptr<void> keeper);

    /// The next entry, behind what is left of the one before it; none where all have come.
    std::optional<GuestEntry> next();
    /// The next entry of a comparison, whose order is not looked at.
    std::optional<GuestEntry> next_change();
    /// Reads the content of the file that next() answered last; 0 at its end.
    size_t read(std::span<std::byte> room);

    /// The other way: sends an entry, whose path is relative and has no "..", and the content of a file
    /// behind it, as much as it has said.
    void put(const TarEntry& entry);
    void write(std::span<const std::byte> bytes);
    /// Waits until the agent has done all, for five minutes at most: it may have much to write.
    void finish();

  private:
    void send(const uint8_t* bytes, size_t size);
    void wait_for(short events) const;
    agent::Frame next_frame();
    [[noreturn]] static void refuse(const std::string& why);
    [[noreturn]] static void take_failure(const agent::Frame& frame);
    std::optional<GuestEntry> take_entry();
    void check_place(const GuestEntry& entry);

    /// A folder that is walked, and the last name in it.
    struct Level {
        std::string path;
        std::string last;
    };

    UniqueFd connection_;
    std::shared_ptr<void> keeper_;
    std::vector<uint8_t> room_;
    agent::FrameReader reader_;
    std::vector<uint8_t> sent_;
    std::vector<Level> way_;
    agent::Frame data_{};  // what is read next
    uint64_t left_ = 0;    // of the file's content, behind data_
    size_t entries_ = 0;
    bool is_first_ = true;
    bool has_ended_ = false;
    bool is_finishing_ = false;
};

}  // namespace hull::container
