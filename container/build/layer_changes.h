// A layer that is made on the host: files put over those of an image.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>

#include "container/image/layer_intake.h"
#include "container/image/store.h"
#include "container/layer/file_tree.h"

namespace hull::container {

/// Who owns a file.
struct Owner {
    uint32_t uid = 0;
    uint32_t gid = 0;
};

/// What is seen with the changes is this tree itself; its files are not opened. Folders on the way to a
/// change are taken along as they are below, since overlayfs shows the upper one's attributes. The caller has
/// a Store::Hold.
class LayerChanges : public FileTree {
  public:
    /// Both outlive it. No time in the layer is later than `latest`, in seconds since 1970.
    LayerChanges(Store& store, const FileTree& below, std::optional<int64_t> latest)
        : below_{below}, file_{store.make_file()}, latest_{latest} {}

    [[nodiscard]] std::optional<TreeFile> look(const std::string& path) const override;
    [[nodiscard]] std::vector<std::string> names(const std::string& path) const override;
    [[nodiscard]] ByteSource open(const TreeFile& file) const override;

    /// Makes the folders that are missing of a path that leads through no link, with mode 0755. Throws
    /// ApiError (400) where something there is no folder.
    void make_folders(const std::string& path, Owner owner);
    /// Puts something at a path, in a folder that is there; it takes the place of what is there, but a folder
    /// keeps what is in it. `content` is read where it is a file. Throws Error and ApiError (400).
    void put(const std::string& path, TarEntry entry, const ByteSource& content);

    [[nodiscard]] bool is_empty() const { return made_.empty(); }
    /// Ends it, once.
    [[nodiscard]] TakenLayer take(Store& store);

  private:
    void write(TarEntry& entry);
    void bring_up(const std::string& folder);

    const FileTree& below_;
    Store::NewFile file_;
    std::optional<int64_t> latest_;
    std::map<std::string, TarEntry> made_;
};

}  // namespace hull::container
