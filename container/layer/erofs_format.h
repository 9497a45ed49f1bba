// How a file system image of EROFS lies on a disk.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace hull::container::erofs {

// The names are those of fs/erofs/erofs_fs.h; numbers are little-endian, as every host of Hull's is.

inline constexpr uint64_t kSuperOffset = 1024;
inline constexpr uint32_t kMagic = 0xe0f5'e1e2;
inline constexpr uint8_t kBlockBits = 12;
inline constexpr uint64_t kSlot = 32;  ///< an inode's number counts these from the first inode's block on
inline constexpr uint16_t kExtended = 1;
inline constexpr uint16_t kFlatPlain = 0U << 1;
inline constexpr uint16_t kFlatInline = 2U << 1;

struct SuperBlock {
    uint32_t magic;
    uint32_t checksum;
    uint32_t feature_compat;
    uint8_t blkszbits;
    uint8_t sb_extslots;
    uint16_t root_nid;
    uint64_t inos;
    uint64_t build_time;
    uint32_t build_time_nsec;
    uint32_t blocks;
    uint32_t meta_blkaddr;
    uint32_t xattr_blkaddr;
    std::array<uint8_t, 16> uuid;
    std::array<uint8_t, 16> volume_name;
    uint32_t feature_incompat;
    std::array<uint8_t, 44> reserved;
};
static_assert(sizeof(SuperBlock) == 128);

struct Inode {
    uint16_t i_format;
    uint16_t i_xattr_icount;
    uint16_t i_mode;
    uint16_t reserved;
    uint64_t i_size;
    uint32_t i_u;  ///< the first block, or a device's number
    uint32_t i_ino;
    uint32_t i_uid;
    uint32_t i_gid;
    int64_t i_mtime;
    uint32_t i_mtime_nsec;
    uint32_t i_nlink;
    std::array<uint8_t, 16> reserved2;
};
static_assert(sizeof(Inode) == 64);

struct Dirent {
    uint32_t nid_low;  ///< in two halves: entries are not aligned to eight bytes
    uint32_t nid_high;
    uint16_t nameoff;
    uint8_t file_type;
    uint8_t reserved;
};
static_assert(sizeof(Dirent) == 12);

struct XattrHeader {
    uint32_t reserved;
    uint8_t h_shared_count;
    std::array<uint8_t, 7> reserved2;
};
static_assert(sizeof(XattrHeader) == 12);

struct XattrEntry {
    uint8_t e_name_len;
    uint8_t e_name_index;
    uint16_t e_value_size;
};
static_assert(sizeof(XattrEntry) == 4);

/// How the beginning of an attribute's name is written; others' are left out.
struct AttributeKind {
    std::string_view prefix;
    uint8_t index;
    bool is_whole;
};
inline constexpr AttributeKind kAttributeKinds[] = {{"user.", 1, false},
                                                    {"system.posix_acl_access", 2, true},
                                                    {"system.posix_acl_default", 3, true},
                                                    {"trusted.", 4, false},
                                                    {"security.", 6, false}};

}  // namespace hull::container::erofs
