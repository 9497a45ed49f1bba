// Gets an image from a registry into the store.
#pragma once

#include <cstdint>
#include <functional>

#include "container/image/digest.h"
#include "container/image/reference.h"
#include "container/image/registry.h"
#include "container/image/store.h"

namespace hull::container {

/// How far a layer is.
struct LayerProgress {
    enum class Phase {
        waiting,      ///< for its turn
        there,        ///< it was in the store: the end
        downloading,  ///< and becoming a disk while it comes
        converting,   ///< what had come before
        downloaded,   ///< whole, and what it is to be; kept next
        complete,     ///< the end
    };
    Digest layer;  ///< of the packed archive
    Phase phase;
    uint64_t done = 0;   ///< bytes, while it is moving
    uint64_t total = 0;  ///< of these

    /// Whether it has these.
    [[nodiscard]] bool is_moving() const { return phase == Phase::downloading || phase == Phase::converting; }
    /// The phase in docker's words ("Pulling fs layer").
    [[nodiscard]] const char* words() const;
};

struct Pulled {
    Digest image;
    Digest manifest;  ///< what the reference means in the registry: a manifest or an index
    bool is_new;      ///< or has another name than before
};

/// Pulls the image of this host's platform: up to three layers at a time, each of which becomes a disk while
/// it comes, its digests computed in the same pass. Layers that are in the store are not fetched again, nor
/// are those of a pull that failed. `tell` is called by any thread, one at a time, about ten times a second a
/// layer at most, and throws nothing. Throws Error, as Registry and Store do; bad_file where a digest is
/// not right or a layer is no archive.
Pulled pull(Store& store, const Reference& reference, const RegistryOptions& options,
            const std::function<void(const LayerProgress&)>& tell);

}  // namespace hull::container
