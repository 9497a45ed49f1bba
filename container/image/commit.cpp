#include "container/image/commit.h"

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <chrono>
#include <utility>
#include <variant>

#include "base/error.h"
#include "container/image/config_change.h"
#include "container/image/json.h"
#include "container/image/layer_intake.h"
#include "container/image/made_image.h"
#include "container/supervisor/container_files.h"

namespace hull::container {

namespace {

/// The image's, run as the container is.
ImageConfig run_like(const ImageConfig& base, const boost::json::object& config) {
    boost::json::object whole = parse_json_object(config_text(base), "cannot use the image's configuration");
    whole["config"] = config;
    return ImageConfig::parse(boost::json::serialize(whole));
}

/// As Docker's history has it.
std::string words_of(const ImageConfig& config) {
    std::string words;
    for (const std::string& word : config.command) {
        words += (words.empty() ? "" : " ") + word;
    }
    return words;
}

/// What is before the "=" of a variable.
std::string_view name_in(std::string_view variable) {
    return variable.substr(0, variable.find('='));
}

}  // namespace

boost::json::object merge_config(const boost::json::object& given, const boost::json::object& of_container) {
    const std::string tried = "cannot use the configuration in the body";
    const JsonObject read{given, tried, ""};
    const JsonObject has{of_container, tried, ""};
    boost::json::object merged = of_container;
    for (const char* const key : {"User", "WorkingDir", "StopSignal"}) {
        if (const std::string text = read.text(key); !text.empty()) {
            merged[key] = text;
        }
    }
    const std::vector<std::string> entrypoint = read.texts("Entrypoint");
    const std::vector<std::string> command = read.texts("Cmd");
    if (!entrypoint.empty()) {
        merged["Entrypoint"] = array_of(entrypoint);
    }
    if (!entrypoint.empty() || !command.empty()) {
        merged["Cmd"] = array_of(command);
    }
    for (const char* const key : {"Shell", "OnBuild"}) {
        if (const std::vector<std::string> words = read.texts(key); !words.empty()) {
            merged[key] = array_of(words);
        }
    }
    std::vector<std::string> variables = read.texts("Env");
    for (std::string& variable : has.texts("Env")) {
        if (std::ranges::find(variables, name_in(variable), name_in) == variables.end()) {
            variables.push_back(std::move(variable));
        }
    }
    merged["Env"] = array_of(variables);
    for (const char* const key : {"ExposedPorts", "Labels", "Volumes"}) {
        const JsonObject members = read.object(key);
        for (const std::string& name : members.keys()) {
            boost::json::object& all =
                merged[key].is_object() ? merged[key].get_object() : merged[key].emplace_object();
            all[name] = given.at(key).at(name);
        }
    }
    if (const JsonObject health = read.object("Healthcheck"); !health.texts("Test").empty()) {
        merged["Healthcheck"] = given.at("Healthcheck");
    }
    return merged;
}

Digest commit_image(Store& store, const StoredImage& base, const ByteSource& layer, const Commit& commit) {
    if (base.config.layers.size() >= Manifest::kMostLayers) {
        throw Error{ExitStatus::usage, "cannot make an image of the container",
                    "its image has " + std::to_string(Manifest::kMostLayers) + " layers already",
                    "export it, and import that"};
    }
    ImageConfig config = run_like(base.config, commit.config);
    const std::string words = words_of(config);
    for (const std::string& change : commit.changes) {
        change_config(config, change);
    }
    config.created = time_text(std::chrono::system_clock::now());
    config.author = commit.author;
    const Store::Hold hold = store.hold();
    const auto parsed =
        parse_manifest(store.read_blob(base.manifest, Manifest::kMostBytes), "", Platform::of_this_host());
    const auto* const manifest = std::get_if<Manifest>(&parsed);
    if (manifest == nullptr || manifest->layers.size() != base.config.layers.size()) {
        throw Error{ExitStatus::bad_file, "cannot make an image of the container",
                    "what is kept of its image is not whole", "pull that again"};
    }
    std::vector<Descriptor> layers;
    for (const Descriptor& each : manifest->layers) {
        layers.push_back(describe_layer(store, each.digest, each.size));
    }
    TakenLayer taken = take_layer(store, layer, false);
    const Digest packed = taken.packed;
    const uint64_t size = taken.packed_size;
    config.layers.push_back(taken.unpacked);
    config.history.push_back(
        {.created = config.created, .created_by = words, .comment = commit.comment, .is_empty = false});
    keep_layer(store, std::move(taken));
    layers.push_back(describe_layer(store, packed, size));
    const std::vector<Reference> names = commit.name ? std::vector{*commit.name} : std::vector<Reference>{};
    return keep_made_image(store, config_text(config), layers, names);
}

}  // namespace hull::container
