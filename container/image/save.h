// Puts images of the store into an archive (docker save).
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "container/image/reference.h"
#include "container/image/store.h"

namespace hull::container {

struct SavedImage {
    StoredImage image;
    std::vector<Reference> names;  ///< that it gets in the archive; each has a tag
};

/// An archive that is made as it is read: a tar archive, an OCI layout (OCI image-spec 1.1, image-layout.md)
/// with docker's manifest.json and `repositories` beside it, as Docker 25 and later make it, so that earlier
/// ones and skopeo read it, too. Manifests, configurations and layers are in it as they came, to the byte,
/// and what several images have once. The same images make the same archive.
class SavedArchive {
  public:
    /// Looks for all that it is to have. Throws Error (bad_file) where something of it is missing.
    SavedArchive(Store& store, std::vector<SavedImage> images);

    /// Gives it away, in pieces of at most 256 KiB. Throws Error (bad_file), and what `sink` throws.
    void write(const std::function<void(std::string_view)>& sink) const;

  private:
    struct Part {
        SavedImage saved;
        Descriptor manifest;
        Manifest parsed;
    };

    [[nodiscard]] std::string index_text() const;
    [[nodiscard]] std::string manifest_text() const;
    [[nodiscard]] std::string repositories_text() const;

    const Store& store_;
    Store::Hold hold_;  // as long as it is being made
    std::vector<Part> parts_;
};

}  // namespace hull::container
