// Puts an image of the store into a registry.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>

#include "container/image/digest.h"
#include "container/image/reference.h"
#include "container/image/registry.h"
#include "container/image/store.h"

namespace hull::container {

/// How far a layer is.
struct PushProgress {
    enum class Phase {
        waiting,  ///< for its turn
        there,    ///< the registry had it: the end
        pushing,
        pushed,  ///< the end
    };
    Digest layer;  ///< of the unpacked archive, as docker has it
    Phase phase;
    uint64_t done = 0;   ///< bytes, of those that are pushed
    uint64_t total = 0;  ///< of these

    /// The phase in docker's words ("Layer already exists").
    [[nodiscard]] const char* words() const;
};

struct Pushed {
    Digest manifest;
    uint64_t size;  ///< bytes of it
};

/// Pushes the image as `name`, which has a tag: manifest, configuration and layers as they came, to the byte;
/// up to three layers at a time, and those that the registry's repository has already not again. `tell` is
/// called by any thread, one at a time, about ten times a second a layer at most, and throws nothing. Ends
/// with an Error soon after `is_given_up` has become true, which it also sets when it fails. Throws Error, as
/// Registry and Store do.
Pushed push(Store& store, const StoredImage& image, const Reference& name, const RegistryOptions& options,
            std::atomic<bool>& is_given_up, const std::function<void(const PushProgress&)>& tell);

}  // namespace hull::container
