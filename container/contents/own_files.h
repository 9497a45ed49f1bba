// What Hull itself has put into a container's root, and no user of it.
#pragma once

#include <optional>

#include "container/contents/guest_contents.h"

namespace hull::container {

/// Files of /etc that each run writes anew: Docker mounts those over the container's own.
bool is_own_file(std::string_view path);

/// The entries of an overlay's upper folder (GuestContents::next, or next_change), without Hull's own: those
/// files, and folders that are there, or look changed, for them and for mounts alone.
class ChangedEntries {
  public:
    enum class Kind { tree, comparison };
    /// `from` outlives it, and is read by this and for the content of a file that next() has answered.
    ChangedEntries(GuestContents& from, Kind kind) : from_{from}, kind_{kind} {}

    /// As GuestContents has it, and throws.
    std::optional<GuestEntry> next();

  private:
    GuestContents& from_;
    Kind kind_;
    std::optional<GuestEntry> ahead_;
};

}  // namespace hull::container
