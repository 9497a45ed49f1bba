#include "container/image/archive_index.h"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <utility>

#include "base/error.h"
#include "container/image/json.h"

namespace hull::container {

namespace {

/// A name with a tag; what is none is the archive's fault, not its reader's.
Reference parse_name(const JsonObject& object, const std::string& text) {
    std::optional<Reference> name;
    try {
        name = Reference::parse(text);
    } catch (const Error&) {
        object.refuse("'" + text + "' is no name of an image");
    }
    if (name->tag.empty()) {
        object.refuse("'" + text + "' is no name with a tag");
    }
    return *std::move(name);
}

void check_count(const JsonObject& object, size_t count) {
    if (count == 0 || count > kMostArchivedImages) {
        object.refuse(count == 0 ? "it has no images" : "it has more than 1000 images");
    }
}

}  // namespace

std::vector<ArchivedImage> parse_archive_manifest(std::string_view text) {
    static const std::string tried = "cannot use the archive's manifest.json";
    const boost::json::object whole{{"images", parse_json_array(text, tried)}};
    const JsonObject manifest{whole, tried};
    std::vector<ArchivedImage> result;
    for (const JsonObject& object : manifest.objects("images")) {
        ArchivedImage& image = result.emplace_back(
            ArchivedImage{.config = object.text("Config"), .layers = object.texts("Layers"), .names = {}});
        if (image.layers.size() > Manifest::kMostLayers) {
            object.refuse("an image has more than 127 layers");
        }
        for (const std::string& name : object.texts("RepoTags")) {
            image.names.push_back(parse_name(object, name));
        }
    }
    check_count(manifest, result.size());
    return result;
}

std::vector<IndexedImage> parse_archive_index(std::string_view text, const Platform& platform) {
    static const std::string tried = "cannot use the archive's index.json";
    const boost::json::object whole = parse_json_object(text, tried);
    const JsonObject index{whole, tried};
    const std::vector<JsonObject> all = index.objects("manifests");
    check_count(index, all.size());
    std::vector<IndexedImage> result;
    for (const JsonObject& object : all) {
        const JsonObject its = object.object("platform");
        if (object.has("platform") &&
            (its.text("os") != platform.os || its.text("architecture") != platform.architecture)) {
            continue;
        }
        IndexedImage& image = result.emplace_back(
            IndexedImage{.manifest = parse_descriptor(object, Manifest::kMostBytes), .names = {}});
        const JsonObject notes = object.object("annotations");
        std::string name = notes.text("io.containerd.image.name");
        if (name.empty()) {
            // It may be a tag alone, which names nothing.
            name = notes.text("org.opencontainers.image.ref.name");
            name = name.find_first_of("/:") == std::string::npos ? "" : name;
        }
        if (!name.empty()) {
            image.names.push_back(parse_name(object, name));
        }
    }
    if (result.empty()) {
        index.refuse("no matching manifest for " + platform.text() + " in it");
    }
    return result;
}

std::optional<std::string> path_in_archive(std::string_view path) {
    if (path.starts_with('/')) {
        return std::nullopt;
    }
    std::vector<std::string_view> parts;
    while (!path.empty()) {
        const std::string_view part = path.substr(0, path.find('/'));
        path.remove_prefix(std::min(path.size(), part.size() + 1));
        if (part == ".." && parts.empty()) {
            return std::nullopt;
        }
        if (part == "..") {
            parts.pop_back();
        } else if (!part.empty() && part != ".") {
            parts.push_back(part);
        }
    }
    std::string result;
    for (const std::string_view part : parts) {
        result.append(result.empty() ? "" : "/").append(part);
    }
    return result;
}

}  // namespace hull::container
