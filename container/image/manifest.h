// What a registry says an image consists of.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "container/image/digest.h"
#include "container/image/json.h"

namespace hull::container {

/// Points to content (OCI image-spec 1.1, descriptor.md).
struct Descriptor {
    std::string media_type;
    Digest digest;
    uint64_t size;  ///< bytes
};

/// Which of an index's images is meant, in GOOS's and GOARCH's words.
struct Platform {
    std::string os;
    std::string architecture;

    /// Of this host's guests.
    static Platform of_this_host();
    [[nodiscard]] std::string text() const { return os + "/" + architecture; }
};

/// An image (OCI image-spec 1.1, manifest.md; Docker's image manifest, version 2, schema 2).
struct Manifest {
    static constexpr size_t kMostLayers = 127;
    static constexpr uint64_t kMostBytes = uint64_t{4} << 20;         ///< of the manifest
    static constexpr uint64_t kMostConfigBytes = uint64_t{8} << 20;   ///< of the configuration
    static constexpr uint64_t kMostLayerBytes = uint64_t{64} << 30U;  ///< of a layer, packed or not

    std::string media_type;  ///< what a registry must be told that it is
    Descriptor config;
    std::vector<Descriptor> layers;  ///< packed archives, the lowest first
};

/// What the registry must be asked for (the Accept header's value).
std::string accepted_manifests();

/// A manifest, or where the text is an index (OCI image-spec 1.1, image-index.md; Docker's manifest list) the
/// descriptor of the manifest for `platform`. `media_type` is what the registry said of it, or empty: what
/// the text says of itself counts more. Throws Error (bad_file) where it is neither, is of something that is
/// no image, is both at once (CVE-2021-41190), has none for the platform, or is beyond the bounds above.
std::variant<Manifest, Descriptor> parse_manifest(std::string_view text, std::string_view media_type,
                                                  const Platform& platform);

/// The descriptor that an object is. Throws Error (bad_file) where it is none, or of more bytes than so many.
Descriptor parse_descriptor(const JsonObject& object, uint64_t most_bytes);

/// A manifest of OCI's, for an image that comes without one. The layers' media types are left to
/// layer_media_type().
std::string make_manifest(const Descriptor& config, const std::vector<Descriptor>& layers);

/// OCI's word for the configuration of an image.
inline constexpr const char* kConfigMediaType = "application/vnd.oci.image.config.v1+json";
/// OCI's word for a layer that begins with these bytes, by how it is packed.
std::string layer_media_type(std::string_view beginning);

}  // namespace hull::container
