#include "container/image/import.h"

#include <chrono>
#include <utility>

#include "container/image/config_change.h"
#include "container/image/layer_intake.h"
#include "container/image/made_image.h"
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
    const std::vector<Reference> names = import.name ? std::vector{*import.name} : std::vector<Reference>{};
    return keep_made_image(store, config_text(config), {describe_layer(store, packed, size)}, names);
}

}  // namespace hull::container
