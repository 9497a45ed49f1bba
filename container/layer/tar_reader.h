// Reads a tar archive as it comes: what layers of images are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>

namespace hull::container {

/// Where bytes come from: fills some of `room`, and answers how many; 0 at the end. Throws Error.
using ByteSource = std::function<size_t(std::span<std::byte> room)>;

/// One entry of an archive. Nothing of it is trustworthy but its bounds: names may lead anywhere.
struct TarEntry {
    enum class Kind { file, hard_link, symbolic_link, character_device, block_device, folder, fifo };

    Kind kind = Kind::file;
    std::string path;                                 ///< not empty, at most kMostPath bytes, without a NUL
    std::string link;                                 ///< of a link: where it leads; the same bounds
    uint32_t mode = 0;                                ///< the permissions' twelve bits
    uint32_t uid = 0;                                 ///< not 2^32-1, nor is gid
    uint32_t gid = 0;                                 ///
    int64_t mtime = 0;                                ///< seconds since 1970
    uint32_t mtime_ns = 0;                            ///< and nanoseconds behind them, below 10^9
    uint64_t size = 0;                                ///< of a file: bytes
    uint32_t major = 0;                               ///< of a device: 12 bits
    uint32_t minor = 0;                               ///< 20 bits
    std::map<std::string, std::string> attributes{};  ///< extended ones by their whole names ("user.x")

    /// A modification time that is later, in seconds since 1970, becomes this one; none: no time does.
    void be_no_later_than(std::optional<int64_t> time) {
        if (time && (mtime > *time || (mtime == *time && mtime_ns > 0))) {
            mtime = *time;
            mtime_ns = 0;
        }
    }
};

/// The formats of ustar, of POSIX's pax (POSIX.1-2017, pax, "ustar Interchange Format" and "pax Interchange
/// Format") with the records SCHILY.xattr.NAME, and of GNU tar with its long names and numbers. Sparse files
/// are refused: no builder of images makes any. Memory is bounded, whatever comes. One thread.
class TarReader {
  public:
    static constexpr size_t kMostPath = 4095;                ///< Linux's PATH_MAX without the NUL
    static constexpr size_t kMostRecords = size_t{1} << 20;  ///< bytes of an entry's pax records

    explicit TarReader(ByteSource source) : source_{std::move(source)} {}

    /// The next entry, behind what is left of the one before it; none at the archive's end. Throws Error
    /// (bad_file) where that is not what comes.
    std::optional<TarEntry> next();

    /// Reads the content of the entry that next() answered last; 0 at its end. Throws Error.
    size_t read(std::span<std::byte> room);

  private:
    struct Header;
    /// What is said of the next entry before its header; what is empty or missing there is not said.
    struct Extras {
        std::map<std::string, std::string> records;
        std::string path;
        std::string link;
    };

    bool read_header(Header& header);
    void read_all(std::span<std::byte> room);
    void skip(uint64_t bytes);
    std::string read_text(uint64_t size);
    std::string read_name(uint64_t size);
    void read_records(uint64_t size, std::map<std::string, std::string>& records);
    static TarEntry make_entry(const Header& header, Extras& extras);

    ByteSource source_;
    uint64_t left_ = 0;     // of the entry's content
    uint32_t padding_ = 0;  // behind it
};

}  // namespace hull::container
