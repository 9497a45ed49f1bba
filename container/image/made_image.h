// Gives an image that Hull makes itself its place in the store.
#pragma once

#include <string>
#include <vector>

#include "container/image/manifest.h"
#include "container/image/store.h"

namespace hull::container {

/// Keeps an image of this configuration (config_text()) and these layers, which the store has, with names and
/// the parent of Store::add(). The caller has a Hold. Answers its id. Throws Error, as Store does.
Digest keep_made_image(Store& store, const std::string& config, const std::vector<Descriptor>& layers,
                       const std::vector<Reference>& names, const Digest& parent = Store::nothing());

}  // namespace hull::container
