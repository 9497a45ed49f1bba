// A tar archive of what a guest sends.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>

#include "container/contents/guest_contents.h"
#include "container/contents/own_files.h"

namespace hull::container {

/// The archive, as it is read; what a ByteSource does. Memory is bounded, whatever comes. One thread.
class ArchiveSource {
  public:
    enum class Kind {
        copy,   ///< of a path: all below `base`, the path's own name, for a client that extracts it. A hard
                ///< link is to a file in its own folder
        whole,  ///< of a whole root, which is no entry itself
        layer,  ///< of an overlay's upper folder, with whiteouts as layers have them (OCI image-spec 1.1,
                ///< layer.md) and without Hull's own files
    };

    /// `from` outlives it. `first` is of Kind::copy the entry that was asked for, which was read already;
    /// others' is none of the archive's. No time in it is later than `latest`, in seconds since 1970.
    ArchiveSource(GuestContents& from, Kind kind, std::string base = {},
                  std::optional<GuestEntry> first = std::nullopt,
                  std::optional<int64_t> latest = std::nullopt);

    /// Fills some of `room`; 0 at the end. Throws as GuestContents does.
    size_t read(std::span<std::byte> room);

  private:
    bool advance();
    std::optional<GuestEntry> next();
    void begin(GuestEntry entry);
    void begin_changed(TarEntry& file);
    [[nodiscard]] std::string named(const std::string& path) const;

    GuestContents& from_;
    ChangedEntries changed_;
    Kind kind_;
    std::string base_;
    std::optional<GuestEntry> first_;
    std::optional<int64_t> latest_;
    std::string ready_;   // bytes of the archive, to be told
    size_t told_ = 0;     // of these
    uint64_t left_ = 0;   // of a file's content, which comes next
    size_t padding_ = 0;  // behind that
    bool has_ended_ = false;
};

}  // namespace hull::container
