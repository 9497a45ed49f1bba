#include "container/image/import.h"

#include <chrono>
#include <span>
#include <utility>

#include "container/image/config_change.h"
#include "container/image/layer_intake.h"
#include "container/image/manifest.h"
#include "container/supervisor/container_files.h"

namespace hull::container {

Digest import_image(Store& store, const ByteSource& archive, const Import& import) {
    const Platform platform = Platform::of_this_host();
    ImageConfig config;
    config.architecture = platform.architecture;
    config.os = platform.os;
    config.created = time_text(std::chrono::system_clock::now());
    for (const std::string& change : import.changes) {
        change_config(config, change);
    }
    const Store::Hold hold = store.hold();
    TakenLayer layer = take_layer(store, archive, false);
    const Digest packed = layer.packed;
    const uint64_t size = layer.packed_size;
    config.layers = {layer.unpacked};
    config.history = {
        {.created = config.created, .created_by = "", .comment = import.message, .is_empty = false}};
    keep_layer(store, std::move(layer));
    const auto keep = [&](const std::string& text) {
        Digest digest = Digest::of(std::as_bytes(std::span{text}));
        store.keep_blob(text, digest);
        return digest;
    };
    const std::string text = config_text(config);
    const Digest id = keep(text);
    const Digest manifest =
        keep(make_manifest({.media_type = kConfigMediaType, .digest = id, .size = text.size()},
                           {describe_layer(store, packed, size)}));
    std::vector<Reference> names;
    if (import.name) {
        names.push_back(*import.name);
    }
    store.add(id, manifest, names);
    return id;
}

}  // namespace hull::container
