#include "container/layer/erofs_reader.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "container/layer/erofs_format.h"
#include "container/layer/erofs_writer.h"
#include "container/layer/tar_reader.h"

namespace hull::container {

namespace {

constexpr uint64_t kBlock = ErofsWriter::kBlock;

/// Entries of one block of a folder.
class DirentBlock {
  public:
    explicit DirentBlock(std::string_view block) : block_{block} {}

    /// How many there are; 0 where it is malformed.
    [[nodiscard]] size_t count() const {
        if (block_.size() < sizeof(erofs::Dirent)) {
            return 0;
        }
        const size_t names = dirent(0).nameoff;
        return names % sizeof(erofs::Dirent) == 0 && names <= block_.size() ? names / sizeof(erofs::Dirent)
                                                                            : 0;
    }
    [[nodiscard]] erofs::Dirent dirent(size_t index) const {
        erofs::Dirent dirent{};
        std::memcpy(&dirent, block_.data() + index * sizeof dirent, sizeof dirent);
        return dirent;
    }
    /// Empty where it is malformed.
    [[nodiscard]] std::string_view name(size_t index) const {
        const size_t begin = dirent(index).nameoff;
        const bool is_last = index + 1 == count();
        const size_t end = is_last ? block_.size() : dirent(index + 1).nameoff;
        if (begin > end || end > block_.size()) {
            return {};
        }
        const std::string_view name = block_.substr(begin, end - begin);
        return name.substr(0, name.find('\0'));  // what fills a block up
    }
    [[nodiscard]] uint64_t number(size_t index) const {
        const erofs::Dirent each = dirent(index);
        return uint64_t{each.nid_high} << 32U | each.nid_low;
    }

  private:
    std::string_view block_;
};

}  // namespace

ErofsReader::ErofsReader(const std::filesystem::path& disk)
    : path_{disk}, file_{open(disk.c_str(), O_RDONLY | O_CLOEXEC)} {
    struct stat status {};
    if (!file_.valid() || fstat(file_.get(), &status) != 0) {
        refuse(errno_text(errno));
    }
    size_ = static_cast<uint64_t>(status.st_size);
    erofs::SuperBlock super{};
    read_exactly(erofs::kSuperOffset, std::as_writable_bytes(std::span{&super, 1}));
    if (super.magic != erofs::kMagic || super.blkszbits != erofs::kBlockBits || super.feature_incompat != 0) {
        refuse("it is no image of Hull's");
    }
    inodes_ = uint64_t{super.meta_blkaddr} * kBlock;
    root_ = super.root_nid;
}

void ErofsReader::refuse(const std::string& why) const {
    throw Error{ExitStatus::bad_file, "cannot use the layer '" + path_.string() + "'", why,
                "remove the images that need it (hull rmi) and pull them again"};
}

void ErofsReader::read_exactly(uint64_t offset, std::span<std::byte> room) const {
    if (offset > size_ || room.size() > size_ - offset) {
        refuse("something in it lies behind its end");
    }
    while (!room.empty()) {
        const ssize_t got = pread(file_.get(), room.data(), room.size(), static_cast<off_t>(offset));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            refuse(got < 0 ? errno_text(errno) : "it has become shorter");
        }
        room = room.subspan(static_cast<size_t>(got));
        offset += static_cast<uint64_t>(got);
    }
}

std::string ErofsReader::text(uint64_t offset, uint64_t size, uint64_t most) const {
    if (size > most) {
        refuse("something in it is too large");
    }
    std::string result(size, '\0');
    read_exactly(offset, std::as_writable_bytes(std::span{result}));
    return result;
}

ErofsReader::Inode ErofsReader::inode(uint64_t number) const {
    if (number > size_ / erofs::kSlot) {
        refuse("an inode lies behind its end");
    }
    const uint64_t offset = inodes_ + number * erofs::kSlot;
    erofs::Inode raw{};
    read_exactly(offset, std::as_writable_bytes(std::span{&raw, 1}));
    const bool is_inline = raw.i_format == (erofs::kExtended | erofs::kFlatInline);
    if (!is_inline && raw.i_format != (erofs::kExtended | erofs::kFlatPlain)) {
        refuse("an inode is of a kind that Hull does not make");
    }
    Inode result{.number = number,
                 .mode = raw.i_mode,
                 .uid = raw.i_uid,
                 .gid = raw.i_gid,
                 .mtime = raw.i_mtime,
                 .mtime_ns = raw.i_mtime_nsec,
                 .links = raw.i_nlink,
                 .size = raw.i_size};
    result.attributes = offset + sizeof raw;
    if (raw.i_xattr_icount > 0) {
        result.attributes_size =
            sizeof(erofs::XattrHeader) + uint64_t{raw.i_xattr_icount - 1U} * sizeof(erofs::XattrEntry);
    }
    result.content = is_inline ? result.attributes + result.attributes_size : uint64_t{raw.i_u} * kBlock;
    if (S_ISCHR(result.mode) || S_ISBLK(result.mode)) {
        // As Linux's new_decode_dev() (include/linux/kdev_t.h).
        result.major = (raw.i_u & 0xfff00U) >> 8U;
        result.minor = (raw.i_u & 0xffU) | ((raw.i_u >> 12U) & 0xfff00U);
    }
    return result;
}

void ErofsReader::list(const Inode& folder,
                       const std::function<void(std::string_view, uint64_t)>& each) const {
    for (uint64_t at = 0; at < folder.size; at += kBlock) {
        const std::string bytes = text(folder.content + at, std::min(folder.size - at, kBlock), kBlock);
        const DirentBlock block{bytes};
        const size_t count = block.count();
        if (count == 0) {
            refuse("a folder in it is broken");
        }
        for (size_t index = 0; index < count; ++index) {
            const std::string_view name = block.name(index);
            if (name.empty() || name.find('/') != std::string_view::npos) {
                refuse("a folder in it is broken");
            }
            if (name != "." && name != "..") {
                each(name, block.number(index));
            }
        }
    }
}

std::optional<uint64_t> ErofsReader::find(const Inode& folder, std::string_view name) const {
    // Blocks are by name, and so are the entries of each.
    uint64_t low = 0;
    uint64_t high = (folder.size + kBlock - 1) / kBlock;
    while (low < high) {
        const uint64_t middle = low + (high - low) / 2;
        const uint64_t at = middle * kBlock;
        const std::string bytes = text(folder.content + at, std::min(folder.size - at, kBlock), kBlock);
        const DirentBlock block{bytes};
        const size_t count = block.count();
        if (count == 0) {
            refuse("a folder in it is broken");
        }
        if (name < block.name(0)) {
            high = middle;
            continue;
        }
        if (name > block.name(count - 1)) {
            low = middle + 1;
            continue;
        }
        for (size_t index = 0; index < count; ++index) {
            if (block.name(index) == name) {
                return block.number(index);
            }
        }
        return std::nullopt;
    }
    return std::nullopt;
}

std::string ErofsReader::target(const Inode& link) const {
    return text(link.content, link.size, TarReader::kMostPath);
}

std::map<std::string, std::string> ErofsReader::attributes(const Inode& inode) const {
    std::map<std::string, std::string> result;
    if (inode.attributes_size == 0) {
        return result;
    }
    constexpr uint64_t kMost = uint64_t{UINT16_MAX} * sizeof(erofs::XattrEntry);
    const std::string bytes =
        text(inode.attributes, inode.attributes_size, kMost + sizeof(erofs::XattrHeader));
    for (size_t at = sizeof(erofs::XattrHeader); at + sizeof(erofs::XattrEntry) <= bytes.size();) {
        erofs::XattrEntry entry{};
        std::memcpy(&entry, bytes.data() + at, sizeof entry);
        at += sizeof entry;
        const auto* const kind =
            std::ranges::find(erofs::kAttributeKinds, entry.e_name_index, &erofs::AttributeKind::index);
        if (kind == std::end(erofs::kAttributeKinds) ||
            size_t{entry.e_name_len} + entry.e_value_size > bytes.size() - at) {
            refuse("an attribute in it is broken");
        }
        result[std::string{kind->prefix} + bytes.substr(at, entry.e_name_len)] =
            bytes.substr(at + entry.e_name_len, entry.e_value_size);
        at += size_t{entry.e_name_len} + entry.e_value_size;
        at = (at + 3) / 4 * 4;
    }
    return result;
}

size_t ErofsReader::read(const Inode& file, uint64_t offset, std::span<std::byte> room) const {
    if (offset >= file.size) {
        return 0;
    }
    const auto part = room.first(std::min<uint64_t>(room.size(), file.size - offset));
    read_exactly(file.content + offset, part);
    return part.size();
}

}  // namespace hull::container
