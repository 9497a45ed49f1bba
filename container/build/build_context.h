// What a client sends to be built from, and what else is copied.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/unique_fd.h"
#include "container/layer/file_tree.h"

namespace hull::container {

/// The context's archive, taken in: contents lie one behind the other in one file without a name, which
/// nobody but this process sees and which is gone with it; what they belong to is in memory. No name or link
/// of the archive ever meets the host's file system. Later entries of a path take the place of earlier ones;
/// names that lead out stay at the root.
class BuildContext : public FileTree {
  public:
    static constexpr size_t kMostEntries = 1'000'000;

    /// Reads the archive, packed or not, to its end. The file is made in `folder`. Throws Error: bad_file
    /// where the archive is broken, too large, or has a hard link to nothing; no_resources where the disk is
    /// full.
    BuildContext(const ByteSource& archive, const std::filesystem::path& folder);
    /// One in which nothing is yet.
    explicit BuildContext(const std::filesystem::path& folder);

    [[nodiscard]] std::optional<TreeFile> look(const std::string& path) const override;
    [[nodiscard]] std::vector<std::string> names(const std::string& path) const override;
    [[nodiscard]] ByteSource open(const TreeFile& file) const override;

    /// All of a small file; none where it is no file, or larger. Links are followed.
    [[nodiscard]] std::optional<std::string> text(const std::string& path, uint64_t most_bytes) const;
    /// Puts a file there, to the source's end: its entry's size is that, at most Manifest::kMostLayerBytes.
    /// Throws Error (no_resources, bad_file where it is larger), and what the source throws.
    void put(TarEntry entry, const ByteSource& content);
    /// Puts a file with this text there.
    void put_text(const std::string& path, std::string_view text);
    /// Where its file was made.
    [[nodiscard]] const std::filesystem::path& folder() const { return folder_; }
    /// Takes something away.
    void remove(const std::string& path);

  private:
    struct Node {
        TreeFile file;
        std::map<std::string, std::unique_ptr<Node>> children;
    };

    /// Its content lies at `place`.
    void add(TarEntry entry, uint64_t place);
    [[nodiscard]] const Node* find(const std::string& path) const;
    Node& make(const std::string& path);

    std::filesystem::path folder_;
    UniqueFd file_;
    uint64_t size_ = 0;
    uint64_t linked_ = 0;  // files with several names
    Node root_;
};

}  // namespace hull::container
