#include "container/layer/erofs_writer.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "container/layer/erofs_format.h"

namespace hull::container {

using namespace erofs;

namespace {

/// Not the first slot: number 0 is no inode's to programs that list a folder.
constexpr uint64_t kRootOffset = 2 * kSlot;

using Bytes = std::vector<std::byte>;

template <typename Value>
void put(Bytes& bytes, const Value& value) {
    const auto part = std::as_bytes(std::span{&value, 1});
    bytes.insert(bytes.end(), part.begin(), part.end());
}
void put(Bytes& bytes, std::string_view text) {
    const auto part = std::as_bytes(std::span{text});
    bytes.insert(bytes.end(), part.begin(), part.end());
}

uint64_t round_up(uint64_t value, uint64_t unit) {
    return (value + unit - 1) / unit * unit;
}

/// Those of a node behind its inode.
Bytes attributes_of(const LayerNode& node) {
    Bytes bytes;
    for (const auto& attribute : node.attributes) {
        const std::string& name = attribute.first;
        const std::string& value = attribute.second;
        const auto* const kind = std::ranges::find_if(kAttributeKinds, [&](const AttributeKind& one) {
            return one.is_whole ? name == one.prefix
                                : name.starts_with(one.prefix) && name.size() > one.prefix.size();
        });
        if (kind == std::end(kAttributeKinds)) {
            continue;
        }
        if (bytes.empty()) {
            put(bytes, XattrHeader{});
        }
        const std::string_view rest = std::string_view{name}.substr(kind->prefix.size());
        put(bytes, XattrEntry{.e_name_len = static_cast<uint8_t>(rest.size()),
                              .e_name_index = kind->index,
                              .e_value_size = static_cast<uint16_t>(value.size())});
        put(bytes, rest);
        put(bytes, std::string_view{value});
        bytes.resize(round_up(bytes.size(), 4));
    }
    return bytes;
}

uint8_t file_type(uint32_t mode) {
    switch (mode & S_IFMT) {
        case S_IFREG:
            return 1;
        case S_IFDIR:
            return 2;
        case S_IFCHR:
            return 3;
        case S_IFBLK:
            return 4;
        case S_IFIFO:
            return 5;
        case S_IFLNK:
            return 7;
        default:
            return 0;
    }
}

/// As Linux's new_encode_dev() (include/linux/kdev_t.h).
uint32_t device_number(const LayerNode& node) {
    return (node.minor & 0xff) | node.major << 8 | (node.minor & ~0xffU) << 12;
}

/// A node and where it is put.
struct Placed {
    const LayerNode* node;
    size_t parent;  // its folder's index
    uint32_t links = 0;
    uint64_t offset = 0;       // of its inode, from the first inode's block on
    uint64_t size = 0;         // of a folder's entries or a link's target
    bool is_inline = false;    // whether these lie behind the inode, or else
    uint32_t first_block = 0;  // in blocks

    [[nodiscard]] uint64_t nid() const { return offset / kSlot; }
    [[nodiscard]] bool has_content() const { return S_ISDIR(node->mode) || S_ISLNK(node->mode); }
    /// How many blocks it has.
    [[nodiscard]] uint64_t blocks() const {
        return is_inline ? 0 : round_up(size, ErofsWriter::kBlock) / ErofsWriter::kBlock;
    }
};

/// The nodes of a tree, each once, folders before what is in them.
class Plan {
  public:
    explicit Plan(const LayerNode& root) {
        nodes_.push_back({.node = &root, .parent = 0, .links = 2});
        for (size_t index = 0; index < nodes_.size(); ++index) {
            if (!S_ISDIR(nodes_[index].node->mode)) {
                continue;
            }
            for (const auto& [name, child] : nodes_[index].node->children) {
                const auto [known, is_new] = indexes_.emplace(child.get(), nodes_.size());
                if (is_new) {
                    nodes_.push_back({.node = child.get(), .parent = index});
                }
                Placed& placed = nodes_[known->second];
                if (S_ISDIR(child->mode)) {
                    placed.links = 2;
                    ++nodes_[index].links;
                } else {
                    ++placed.links;
                }
            }
        }
        place();
    }

    [[nodiscard]] const std::vector<Placed>& nodes() const { return nodes_; }
    [[nodiscard]] std::vector<Placed>& nodes() { return nodes_; }
    /// Of all inodes with what lies behind them, in bytes.
    [[nodiscard]] uint64_t metadata_size() const { return metadata_size_; }

    /// What a folder or link has: entries in blocks, or the target.
    [[nodiscard]] Bytes content_of(const Placed& placed) const {
        Bytes content;
        if (S_ISLNK(placed.node->mode)) {
            put(content, std::string_view{placed.node->target});
            return content;
        }
        std::vector<std::pair<std::string_view, size_t>> block;
        const auto write_block = [&] {
            content.resize(round_up(content.size(), ErofsWriter::kBlock));
            size_t name_offset = block.size() * sizeof(Dirent);
            for (const auto& [name, index] : block) {
                const Placed& child = nodes_[index];
                put(content, Dirent{.nid_low = static_cast<uint32_t>(child.nid()),
                                    .nid_high = static_cast<uint32_t>(child.nid() >> 32),
                                    .nameoff = static_cast<uint16_t>(name_offset),
                                    .file_type = file_type(child.node->mode),
                                    .reserved = 0});
                name_offset += name.size();
            }
            for (const auto& [name, index] : block) {
                put(content, name);
            }
            block.clear();
        };
        size_t used = 0;
        for_each_entry(placed, [&](std::string_view name, size_t index) {
            if (used + sizeof(Dirent) + name.size() > ErofsWriter::kBlock) {
                write_block();
                used = 0;
            }
            used += sizeof(Dirent) + name.size();
            block.emplace_back(name, index);
        });
        write_block();
        return content;
    }

  private:
    /// By their names' bytes: guests look for one by halves.
    template <typename Entry>
    void for_each_entry(const Placed& placed, Entry entry) const {
        const size_t own = static_cast<size_t>(&placed - nodes_.data());
        const std::array<std::pair<std::string_view, size_t>, 2> dots{{{".", own}, {"..", placed.parent}}};
        const auto* dot = dots.begin();
        for (const auto& [name, child] : placed.node->children) {
            for (; dot != dots.end() && dot->first < name; ++dot) {
                entry(dot->first, dot->second);
            }
            entry(name, indexes_.at(child.get()));
        }
        for (; dot != dots.end(); ++dot) {
            entry(dot->first, dot->second);
        }
    }

    [[nodiscard]] uint64_t content_size(const Placed& placed) const {
        if (S_ISLNK(placed.node->mode)) {
            return placed.node->target.size();
        }
        uint64_t blocks = 0;
        uint64_t used = 0;
        for_each_entry(placed, [&](std::string_view name, size_t /*index*/) {
            if (used + sizeof(Dirent) + name.size() > ErofsWriter::kBlock) {
                ++blocks;
                used = 0;
            }
            used += sizeof(Dirent) + name.size();
        });
        return blocks * ErofsWriter::kBlock + used;
    }

    void place() {
        uint64_t offset = kRootOffset;
        for (Placed& placed : nodes_) {
            const uint64_t head = sizeof(Inode) + attributes_of(*placed.node).size();
            if (placed.has_content()) {
                placed.size = content_size(placed);
                placed.is_inline = head + placed.size <= ErofsWriter::kBlock;
            }
            // Neither an inode nor the content behind it may be in two blocks.
            offset = round_up(offset, kSlot);
            const uint64_t in_block = offset % ErofsWriter::kBlock;
            const uint64_t content_at = (offset + head) % ErofsWriter::kBlock;
            if (in_block + sizeof(Inode) > ErofsWriter::kBlock ||
                (placed.is_inline && (content_at == 0 || content_at + placed.size > ErofsWriter::kBlock))) {
                offset = round_up(offset, ErofsWriter::kBlock);
            }
            placed.offset = offset;
            offset += head + (placed.is_inline ? placed.size : 0);
        }
        metadata_size_ = offset;
    }

    std::vector<Placed> nodes_;
    std::unordered_map<const LayerNode*, size_t> indexes_;
    uint64_t metadata_size_ = 0;
};

Inode inode_of(const Placed& placed, size_t index, size_t attributes) {
    const LayerNode& node = *placed.node;
    uint32_t place = placed.first_block;
    if (S_ISREG(node.mode)) {
        place = node.first_block;
    } else if (S_ISCHR(node.mode) || S_ISBLK(node.mode)) {
        place = device_number(node);
    }
    return {.i_format = static_cast<uint16_t>(kExtended | (placed.is_inline ? kFlatInline : kFlatPlain)),
            .i_xattr_icount = static_cast<uint16_t>(
                attributes == 0 ? 0 : 1 + (attributes - sizeof(XattrHeader)) / sizeof(XattrEntry)),
            .i_mode = static_cast<uint16_t>(node.mode),
            .reserved = 0,
            .i_size = S_ISREG(node.mode) ? node.size : placed.size,
            .i_u = place,
            .i_ino = static_cast<uint32_t>(index + 1),
            .i_uid = node.uid,
            .i_gid = node.gid,
            .i_mtime = node.mtime,
            .i_mtime_nsec = node.mtime_ns,
            .i_nlink = placed.links,
            .reserved2 = {}};
}

}  // namespace

void ErofsWriter::begin_content(LayerNode& node) {
    begin_block();
    node.first_block = static_cast<uint32_t>(size() / kBlock);
}

void ErofsWriter::append(std::span<const std::byte> bytes) {
    constexpr size_t kMany = size_t{1} << 20;
    if (bytes.size() > most_bytes_ - std::min(size(), most_bytes_)) {
        throw Error{ExitStatus::bad_file, "cannot turn a layer into a disk",
                    "it is larger than " + std::to_string(most_bytes_ >> 20) + " MiB", "raise the limit"};
    }
    waiting_.insert(waiting_.end(), bytes.begin(), bytes.end());
    if (waiting_.size() >= kMany) {
        write_out();
    }
}

uint64_t ErofsWriter::finish(const LayerNode& root) {
    begin_block();
    Plan plan{root};
    const auto first = static_cast<uint32_t>(size() / kBlock);
    uint64_t next_block = first + round_up(plan.metadata_size(), kBlock) / kBlock;
    for (Placed& placed : plan.nodes()) {
        placed.first_block = placed.blocks() == 0 ? 0 : static_cast<uint32_t>(next_block);
        next_block += placed.blocks();
    }
    const uint64_t metadata = size();
    for (size_t index = 0; index < plan.nodes().size(); ++index) {
        const Placed& placed = plan.nodes()[index];
        const Bytes attributes = attributes_of(*placed.node);
        append_zeros(metadata + placed.offset - size());
        Bytes head;
        put(head, inode_of(placed, index, attributes.size()));
        append(head);
        append(attributes);
        if (placed.is_inline) {
            append(plan.content_of(placed));
        }
    }
    for (const Placed& placed : plan.nodes()) {
        if (placed.blocks() > 0) {
            begin_block();
            append(plan.content_of(placed));
        }
    }
    begin_block();
    write_out();
    const SuperBlock super{.magic = kMagic,
                           .checksum = 0,
                           .feature_compat = 0,
                           .blkszbits = kBlockBits,
                           .sb_extslots = 0,
                           .root_nid = kRootOffset / kSlot,
                           .inos = plan.nodes().size(),
                           .build_time = 0,
                           .build_time_nsec = 0,
                           .blocks = static_cast<uint32_t>(written_ / kBlock),
                           .meta_blkaddr = first,
                           .xattr_blkaddr = 0,
                           .uuid = {},
                           .volume_name = {},
                           .feature_incompat = 0,
                           .reserved = {}};
    if (pwrite(file_, &super, sizeof super, kSuperOffset) != sizeof super) {
        throw Error{ExitStatus::no_resources, "cannot write a layer's disk", errno_text(errno)};
    }
    return written_;
}

void ErofsWriter::append_zeros(uint64_t bytes) {
    static constexpr std::array<std::byte, kBlock> kZeros{};
    while (bytes > 0) {
        const auto part = std::span{kZeros}.first(std::min<uint64_t>(bytes, kBlock));
        append(part);
        bytes -= part.size();
    }
}

void ErofsWriter::begin_block() {
    append_zeros(-size() % kBlock);
}

void ErofsWriter::write_out() {
    for (std::span<const std::byte> left{waiting_}; !left.empty();) {
        const ssize_t now = write(file_, left.data(), left.size());
        if (now < 0 && errno == EINTR) {
            continue;
        }
        if (now <= 0) {
            throw Error{ExitStatus::no_resources, "cannot write a layer's disk", errno_text(errno),
                        "make room where the images are"};
        }
        left = left.subspan(static_cast<size_t>(now));
        written_ += static_cast<uint64_t>(now);
    }
    waiting_.clear();
}

}  // namespace hull::container
