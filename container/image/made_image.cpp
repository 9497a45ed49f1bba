#include "container/image/made_image.h"

#include <span>

namespace hull::container {

Digest keep_made_image(Store& store, const std::string& config, const std::vector<Descriptor>& layers,
                       const std::vector<Reference>& names, const Digest& parent) {
    const auto keep = [&](const std::string& text) {
        Digest digest = Digest::of(std::as_bytes(std::span{text}));
        store.keep_blob(text, digest);
        return digest;
    };
    const Digest id = keep(config);
    const Digest manifest =
        keep(make_manifest({.media_type = kConfigMediaType, .digest = id, .size = config.size()}, layers));
    store.add(id, manifest, names, parent);
    return id;
}

}  // namespace hull::container
