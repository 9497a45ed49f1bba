// A machine that was frozen to two files: what it is and is in the middle of, and its memory.
//
// The state file, all numbers little-endian: "HULLSNAP", its version and how many sections there are (32 bits
// each), and then for each section its name, its content (each behind its length in bytes, 32 bits) and a
// checksum of both (XXH3, 64 bits, seeded with the section's number). The sections, in this order: "config",
// the machine as --config takes it; "memory", which memory file belongs to it; and those of Machine::save().
//
// The memory file: the guest's memory as it lies, the regions by address without what is between them, with
// holes for what is zero; and behind it a page that begins with "HULLMEMO" and the identity that the state
// file says.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/guest_memory.h"
#include "base/state.h"
#include "base/unique_fd.h"

namespace hull {

/// The sections of a state file. A plain value.
class SnapshotState {
  public:
    static constexpr uint32_t kVersion = 1;

    /// `name`: at most 255 bytes.
    void add(std::string name, std::vector<std::byte> content);
    [[nodiscard]] std::vector<std::byte> to_bytes() const;

    /// Takes a state file apart that comes from anywhere, and checks it whole. Throws Error (bad_file) naming
    /// the section that is damaged. `file` is for messages.
    static SnapshotState parse(std::span<const std::byte> bytes, const std::string& file);
    /// The same of a file of at most 64 MiB.
    static SnapshotState read(const std::filesystem::path& file);

    /// Throws Error (bad_file) where there is no such section. The state must outlive what is answered.
    [[nodiscard]] std::span<const std::byte> section(std::string_view name) const;

  private:
    std::string file_;
    std::vector<std::pair<std::string, std::vector<std::byte>>> sections_;
};

/// The memory file, and what the state file says of it.
class SnapshotMemory {
  public:
    static constexpr uint64_t kChunk = uint64_t{1} << 20;  ///< bytes that a checksum is of

    /// Writes the memory of a machine that is paused and quiesced into an empty file, and has the host put it
    /// on its disk. Throws Error (bad_file, or no_resources where the disk is full).
    static SnapshotMemory write(const GuestMemory& memory, int fd);
    /// For SnapshotState's section "memory".
    [[nodiscard]] std::vector<std::byte> to_bytes() const;

    /// Throws Error (bad_file) as StateReader does.
    static SnapshotMemory parse(std::span<const std::byte> section);
    /// Whether the file is this one, whole: its size and its identity, not its contents. Throws Error
    /// (bad_file) otherwise.
    void check(const InputFile& file) const;
    /// Compares every byte with the checksums. Throws Error (bad_file) for the first chunk that differs.
    void verify(const InputFile& file) const;

    [[nodiscard]] const std::vector<GuestRange>& regions() const { return regions_; }

  private:
    [[nodiscard]] uint64_t size() const;

    std::array<std::byte, 16> id_{};
    std::vector<GuestRange> regions_;  // by address
    std::vector<uint64_t> checksums_;  // of the chunks of each region; 0 of one of zeros
};

/// Writes into an empty file, and has the host put it on its disk. `what` is for messages. Throws Error
/// (bad_file, or no_resources where the disk is full).
void write_whole(int fd, std::span<const std::byte> bytes, std::string_view what);

/// The names of a snapshot's files in a folder of its own.
struct SnapshotFiles {
    std::filesystem::path state;
    std::filesystem::path memory;

    static SnapshotFiles in(const std::filesystem::path& folder) {
        return {folder / "state", folder / "memory"};
    }
};

}  // namespace hull
