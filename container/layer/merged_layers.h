// An image's files, as its containers see them, read on the host.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "container/layer/erofs_reader.h"
#include "container/layer/file_tree.h"

namespace hull::container {

/// Layers' disks joined as overlayfs joins them: whiteouts hide, opaque folders cover, folders of one path
/// are one with the uppermost's attributes. Without layers there is an empty root.
class MergedLayers : public FileTree {
  public:
    /// The lowest first. They are there as long as this.
    explicit MergedLayers(const std::vector<std::filesystem::path>& disks);

    [[nodiscard]] std::optional<TreeFile> look(const std::string& path) const override;
    [[nodiscard]] std::vector<std::string> names(const std::string& path) const override;
    [[nodiscard]] ByteSource open(const TreeFile& file) const override;

  private:
    /// Inodes that are one: the first one is what is seen, the further ones are of folders below it.
    struct Part {
        size_t layer;  // the uppermost is 0
        ErofsReader::Inode inode;
    };
    using Parts = std::vector<Part>;

    [[nodiscard]] Parts find(const std::string& path) const;
    [[nodiscard]] Parts find_in(const Parts& folder, const std::string& name) const;
    [[nodiscard]] bool covers(const Part& part) const;

    std::vector<std::unique_ptr<ErofsReader>> layers_;  // the uppermost first
    mutable std::map<std::string, Parts> folders_;      // those that were looked at
};

}  // namespace hull::container
