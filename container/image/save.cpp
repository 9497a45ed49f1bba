#include "container/image/save.h"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <map>
#include <utility>
#include <variant>

#include "base/error.h"
#include "container/image/layer_intake.h"
#include "container/image/manifest.h"
#include "container/layer/tar_header.h"

namespace hull::container {

namespace json = boost::json;

namespace {

std::string place_of(const Digest& digest) {
    return "blobs/sha256/" + digest.digits();
}

using Sink = std::function<void(std::string_view)>;

void fill_up(uint64_t size, const Sink& sink) {
    sink(std::string((kTarBlock - size % kTarBlock) % kTarBlock, '\0'));
}

void write_text(const std::string& name, const std::string& text, const Sink& sink) {
    sink(tar_header(name, text.size()));
    sink(text);
    fill_up(text.size(), sink);
}

void write_file(const std::string& name, uint64_t size, const std::filesystem::path& path, const Sink& sink) {
    sink(tar_header(name, size));
    const ByteSource file = file_source(path);
    std::vector<std::byte> buffer(size_t{256} << 10U);
    uint64_t left = size;
    while (const size_t got = file(std::span{buffer}.first(std::min<uint64_t>(buffer.size(), left)))) {
        left -= got;
        sink({reinterpret_cast<const char*>(buffer.data()), got});
    }
    if (left > 0) {
        throw Error{ExitStatus::bad_file, "cannot read '" + path.string() + "'", "it has become shorter"};
    }
    fill_up(size, sink);
}

}  // namespace

SavedArchive::SavedArchive(Store& store, std::vector<SavedImage> images)
    : store_{store}, hold_{store.hold()} {
    for (SavedImage& saved : images) {
        const std::string text = store.read_blob(saved.image.manifest, Manifest::kMostBytes);
        auto parsed = std::get<Manifest>(parse_manifest(text, "", Platform::of_this_host()));
        for (const Descriptor& layer : parsed.layers) {
            if (!store.has_blob(layer)) {
                throw Error{ExitStatus::bad_file, "cannot use '" + store.blob(layer.digest).string() + "'",
                            "it is missing, or of another size than it had",
                            "remove the images that need it (hull rmi) and pull them again"};
            }
        }
        Descriptor manifest{
            .media_type = parsed.media_type, .digest = saved.image.manifest, .size = text.size()};
        parts_.push_back(
            {.saved = std::move(saved), .manifest = std::move(manifest), .parsed = std::move(parsed)});
    }
}

void SavedArchive::write(const Sink& sink) const {
    sink(tar_header("blobs/", 0));
    sink(tar_header("blobs/sha256/", 0));
    std::map<Digest, uint64_t> blobs;
    for (const Part& part : parts_) {
        blobs.emplace(part.manifest.digest, part.manifest.size);
        blobs.emplace(part.parsed.config.digest, part.parsed.config.size);
        for (const Descriptor& layer : part.parsed.layers) {
            blobs.emplace(layer.digest, layer.size);
        }
    }
    for (const auto& [digest, size] : blobs) {
        write_file(place_of(digest), size, store_.blob(digest), sink);
    }
    write_text("index.json", index_text(), sink);
    write_text("manifest.json", manifest_text(), sink);
    write_text("oci-layout", R"({"imageLayoutVersion":"1.0.0"})", sink);
    if (const std::string repositories = repositories_text(); !repositories.empty()) {
        write_text("repositories", repositories, sink);
    }
    sink(std::string(2 * kTarBlock, '\0'));
}

std::string SavedArchive::index_text() const {
    json::array manifests;
    for (const Part& part : parts_) {
        json::object entry{{"mediaType", part.manifest.media_type},
                           {"digest", part.manifest.digest.text()},
                           {"size", part.manifest.size}};
        if (part.saved.names.empty()) {
            manifests.push_back(entry);
        }
        for (const Reference& name : part.saved.names) {
            entry["annotations"] = {{"io.containerd.image.name", name.text()},
                                    {"org.opencontainers.image.ref.name", name.tag}};
            manifests.push_back(entry);
        }
    }
    return json::serialize(json::object{{"schemaVersion", 2},
                                        {"mediaType", "application/vnd.oci.image.index.v1+json"},
                                        {"manifests", std::move(manifests)}});
}

std::string SavedArchive::manifest_text() const {
    json::array images;
    for (const Part& part : parts_) {
        json::array tags;
        for (const Reference& name : part.saved.names) {
            tags.emplace_back(name.familiar_text());
        }
        json::array layers;
        for (const Descriptor& layer : part.parsed.layers) {
            layers.emplace_back(place_of(layer.digest));
        }
        images.push_back(
            json::object{{"Config", place_of(part.parsed.config.digest)},
                         // Not in braces, which would be a list of a list.
                         {"RepoTags", tags.empty() ? json::value(nullptr) : json::value(std::move(tags))},
                         {"Layers", std::move(layers)}});
    }
    return json::serialize(images);
}

/// What Docker before 1.10 looked for; empty where no image has a name.
std::string SavedArchive::repositories_text() const {
    json::object repositories;
    for (const Part& part : parts_) {
        for (const Reference& name : part.saved.names) {
            json::value& tags = repositories[name.familiar_repository()];
            if (!tags.is_object()) {
                tags = json::object{};
            }
            tags.get_object()[name.tag] =
                part.parsed.layers.empty() ? "" : part.parsed.layers.back().digest.digits();
        }
    }
    return repositories.empty() ? "" : json::serialize(repositories);
}

}  // namespace hull::container
