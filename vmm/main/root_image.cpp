#include "vmm/main/root_image.h"

#include <unistd.h>

#include <array>
#include <string_view>

#include "base/unique_fd.h"

namespace hull {

namespace {

/// What a file has at some place if it is of a kind.
struct Mark {
    size_t at;
    std::string_view bytes;
    const char* file_system;
};

constexpr Mark kMarks[] = {
    {0x438, "\x53\xef", "ext4"},  // and its predecessors
    {1024, "\xe2\xe1\xf5\xe0", "erofs"},
    {0, "hsqs", "squashfs"},
    {0, "\x1f\x8b", ""},                            // gzip
    {0, "\x28\xb5\x2f\xfd", ""},                    // Zstandard
    {0, std::string_view{"\xfd\x37zXZ\0", 6}, ""},  // xz
    {0, "BZh", ""},                                 // bzip2
    {257, "ustar", ""},
};

}  // namespace

RootImage RootImage::of(const std::filesystem::path& path) {
    const InputFile file = open_input_file(path, "image");
    std::array<char, 2048> bytes{};
    const ssize_t got = pread(file.fd.get(), bytes.data(), bytes.size(), 0);
    const std::string_view front{bytes.data(), static_cast<size_t>(got < 0 ? 0 : got)};
    for (const Mark& mark : kMarks) {
        if (front.size() > mark.at && front.substr(mark.at).starts_with(mark.bytes)) {
            return {mark.file_system};
        }
    }
    throw Error{ExitStatus::bad_file, "cannot use image '" + path.string() + "'",
                "it is neither a tar archive nor the image of a file system",
                "give a tar archive (as it is, or packed by gzip, xz, zstd or bzip2), or an ext4, erofs or "
                "squashfs image without partitions"};
}

}  // namespace hull
