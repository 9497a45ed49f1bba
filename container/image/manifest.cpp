#include "container/image/manifest.h"

#include <sys/utsname.h>

#include <algorithm>
#include <array>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include "base/error.h"
#include "container/image/json.h"

namespace hull::container {

namespace json = boost::json;

namespace {

constexpr std::array<std::string_view, 2> kManifests{"application/vnd.oci.image.manifest.v1+json",
                                                     "application/vnd.docker.distribution.manifest.v2+json"};
constexpr std::array<std::string_view, 2> kIndexes{
    "application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"};
constexpr std::array<std::string_view, 2> kConfigs{"application/vnd.oci.image.config.v1+json",
                                                   "application/vnd.docker.container.image.v1+json"};
// How a layer is packed is seen by its first bytes: registries' words for it are not to be relied on.
constexpr std::array<std::string_view, 5> kLayers{
    "application/vnd.oci.image.layer.v1.tar", "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd", "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip"};

template <size_t size>
bool is_one_of(const std::array<std::string_view, size>& types, std::string_view type) {
    return std::ranges::find(types, type) != types.end();
}

Manifest parse_image(const JsonObject& manifest) {
    Manifest result{.media_type = manifest.text("mediaType"),
                    .config = parse_descriptor(manifest.object("config"), Manifest::kMostConfigBytes),
                    .layers = {}};
    if (!is_one_of(kConfigs, result.config.media_type)) {
        manifest.refuse("it is not of a container's image but of something else");
    }
    if (!is_one_of(kManifests, result.media_type)) {  // OCI's may leave it out
        result.media_type = kManifests.at(result.config.media_type == kConfigs[0] ? 0 : 1);
    }
    for (const JsonObject& object : manifest.objects("layers")) {
        const Descriptor& layer =
            result.layers.emplace_back(parse_descriptor(object, Manifest::kMostLayerBytes));
        if (!is_one_of(kLayers, layer.media_type)) {
            manifest.refuse("one of its layers is not of a kind that Hull knows, or not in the registry");
        }
    }
    if (result.layers.size() > Manifest::kMostLayers) {
        manifest.refuse("it has more than 127 layers");
    }
    return result;
}

Descriptor choose(const JsonObject& index, const Platform& wanted) {
    for (const JsonObject& entry : index.objects("manifests")) {
        const JsonObject platform = entry.object("platform");
        if (platform.text("os") == wanted.os && platform.text("architecture") == wanted.architecture) {
            Descriptor result = parse_descriptor(entry, Manifest::kMostBytes);
            if (!is_one_of(kManifests, result.media_type)) {
                index.refuse("what it has for " + wanted.text() + " is no image");
            }
            return result;
        }
    }
    index.refuse("no matching manifest for " + wanted.text() + " in the manifest list entries");
}

}  // namespace

Platform Platform::of_this_host() {
    utsname name{};
    uname(&name);
    const std::string_view machine = name.machine;
    const std::string_view word = machine == "x86_64" ? "amd64" : machine == "aarch64" ? "arm64" : machine;
    return {.os = "linux", .architecture = std::string{word}};
}

std::string accepted_manifests() {
    std::string result;
    for (const auto& types : {kIndexes, kManifests}) {
        for (const std::string_view type : types) {
            result.append(result.empty() ? "" : ", ").append(type);
        }
    }
    return result;
}

Descriptor parse_descriptor(const JsonObject& object, uint64_t most_bytes) {
    Descriptor result{.media_type = object.text("mediaType"),
                      .digest = digest_in(object, "digest"),
                      .size = object.number("size")};
    if (result.size > most_bytes) {
        object.refuse("a part of it is larger than the " + std::to_string(most_bytes) +
                      " bytes that it may have");
    }
    return result;
}

std::string make_manifest(const Descriptor& config, const std::vector<Descriptor>& layers) {
    const auto json_of = [](const Descriptor& part) -> json::object {
        return {{"mediaType", part.media_type}, {"digest", part.digest.text()}, {"size", part.size}};
    };
    json::array all;
    for (const Descriptor& layer : layers) {
        all.push_back(json_of(layer));
    }
    return json::serialize(json::object{{"schemaVersion", 2},
                                        {"mediaType", kManifests[0]},
                                        {"config", json_of(config)},
                                        {"layers", std::move(all)}});
}

std::string layer_media_type(std::string_view beginning) {
    const std::string plain{kLayers[0]};
    if (beginning.starts_with("\x1f\x8b")) {
        return plain + "+gzip";
    }
    return beginning.starts_with("\x28\xb5\x2f\xfd") ? plain + "+zstd" : plain;
}

std::variant<Manifest, Descriptor> parse_manifest(std::string_view text, std::string_view media_type,
                                                  const Platform& platform) {
    static const std::string tried = "cannot use the image's manifest";
    const boost::json::object whole = parse_json_object(text, tried);
    const JsonObject manifest{whole, tried};
    if (!manifest.has("schemaVersion") || manifest.number("schemaVersion") != 2) {
        manifest.refuse("it is not of schema version 2");
    }
    std::string type = manifest.text("mediaType");
    if (type.empty()) {
        type = media_type;
    }
    const bool has_images = manifest.has("manifests");
    const bool has_layers = manifest.has("layers") || manifest.has("config");
    if (has_images == has_layers) {
        manifest.refuse(has_images ? "it is an image and an index at once"
                                   : "it is neither an image nor an index");
    }
    if (is_one_of(has_images ? kManifests : kIndexes, type)) {
        manifest.refuse("it is not what it says that it is");
    }
    // Another type than any known one: registries give plain application/json at times.
    if (has_images) {
        return choose(manifest, platform);
    }
    return parse_image(manifest);
}

}  // namespace hull::container
