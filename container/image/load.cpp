#include "container/image/load.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "base/error.h"
#include "base/printable.h"
#include "container/image/archive_index.h"
#include "container/image/layer_intake.h"
#include "container/image/manifest.h"
#include "container/layer/decompress.h"

namespace hull::container {

namespace {

[[noreturn]] void refuse(const std::string& why) {
    throw Error{ExitStatus::bad_file, "cannot use the archive", why, "get or make it again"};
}

/// The files of an archive, which lie in the store.
class Archive {
  public:
    struct File {
        Digest digest;
        uint64_t size;
    };

    Archive(Store& store, const LoadLimits& limits) : store_{store}, limits_{limits} {}

    void read(const ByteSource& source) {
        TarReader reader{unpack(source, limits_.bytes)};
        for (size_t count = 0; auto entry = reader.next(); ++count) {
            if (count == limits_.entries) {
                refuse("it has more than " + std::to_string(limits_.entries) + " entries");
            }
            add(*entry, reader);
        }
    }

    [[nodiscard]] bool has(const std::string& path) const { return entries_.contains(path); }

    /// What is there, links followed.
    [[nodiscard]] const File& find(const std::string& text) const {
        std::optional<std::string> path = path_in_archive(text);
        constexpr int kMostLinks = 8;
        for (int links = 0; path && links < kMostLinks; ++links) {
            const auto place = entries_.find(*path);
            if (place == entries_.end()) {
                break;
            }
            if (const auto* const file = std::get_if<File>(&place->second)) {
                return *file;
            }
            path = std::get<std::string>(place->second);
        }
        refuse("'" + printable(text) + "' is not in it");
    }

    /// What a descriptor points to, which an OCI layout has under its digest.
    [[nodiscard]] const File& find(const Descriptor& descriptor) const {
        const File& file = find("blobs/sha256/" + descriptor.digest.digits());
        if (file.digest != descriptor.digest || file.size != descriptor.size) {
            refuse("'blobs/sha256/" + descriptor.digest.digits() +
                   "' is not what its name says, or of another size");
        }
        return file;
    }

    [[nodiscard]] std::string text(const File& file, uint64_t most_bytes) const {
        if (file.size > most_bytes) {
            refuse("what should be a text has " + std::to_string(file.size) + " bytes");
        }
        return store_.read_blob(file.digest, most_bytes);
    }

  private:
    void add(const TarEntry& entry, TarReader& reader) {
        const auto path = path_in_archive(entry.path);
        if (!path || entry.path.size() > limits_.path_bytes || entry.link.size() > limits_.path_bytes) {
            refuse("'" + printable(entry.path) + "' leads out of it, or has too long a name");
        }
        using Kind = TarEntry::Kind;
        if (entry.kind == Kind::folder || path->empty()) {
            return;
        }
        if (entry.kind == Kind::file) {
            entries_.insert_or_assign(*path, take(reader));
            return;
        }
        // A hard link leads from the archive's folder on, a symbolic one from its own.
        const bool is_symbolic = entry.kind == Kind::symbolic_link;
        if (!is_symbolic && entry.kind != Kind::hard_link) {
            refuse("'" + printable(entry.path) + "' is no file");
        }
        const size_t slash = path->rfind('/');
        const std::string folder =
            is_symbolic && slash != std::string::npos ? path->substr(0, slash + 1) : "";
        const auto target = path_in_archive(entry.link.starts_with('/') ? entry.link : folder + entry.link);
        if (!target) {
            refuse("the link '" + printable(entry.path) + "' leads out of it");
        }
        entries_.insert_or_assign(*path, *target);
    }

    /// The content of an entry, which is kept for the time being.
    File take(TarReader& reader) {
        Store::NewFile file = store_.make_file();
        Sha256 sum;
        uint64_t size = 0;
        while (const size_t got = reader.read(buffer_)) {
            const auto part = std::span{buffer_}.first(got);
            sum.add(part);
            file.append(part);
            size += got;
        }
        File result{.digest = sum.finish(), .size = size};
        store_.keep_blob(std::move(file), result.digest);
        return result;
    }

    Store& store_;
    const LoadLimits& limits_;
    std::map<std::string, std::variant<File, std::string>> entries_;  // files, and where links lead
    std::vector<std::byte> buffer_ = std::vector<std::byte>(size_t{256} << 10U);
};

class Loader {
  public:
    Loader(Store& store, const Archive& archive, const std::function<void(const LoadProgress&)>& tell)
        : store_{store}, archive_{archive}, tell_{tell} {}

    /// Of an OCI layout.
    std::vector<Loaded> load_layout() {
        const std::string text = archive_.text(archive_.find("index.json"), Manifest::kMostBytes);
        std::vector<Loaded> result;
        for (IndexedImage& image : parse_archive_index(text, platform_)) {
            Descriptor descriptor = image.manifest;
            std::optional<Manifest> manifest;
            // An index of the image's platforms may stand between.
            for (int depth = 0; !manifest && depth < 2; ++depth) {
                auto parsed = parse_manifest(archive_.text(archive_.find(descriptor), Manifest::kMostBytes),
                                             descriptor.media_type, platform_);
                if (auto* const chosen = std::get_if<Descriptor>(&parsed)) {
                    descriptor = *chosen;
                } else {
                    manifest = std::get<Manifest>(std::move(parsed));
                }
            }
            if (!manifest) {
                refuse("an index leads to another one");
            }
            const Digest id = archive_.find(manifest->config).digest;
            const ImageConfig config = config_of(archive_.find(manifest->config));
            std::vector<Archive::File> layers;
            std::ranges::transform(manifest->layers, std::back_inserter(layers),
                                   [&](const Descriptor& layer) { return archive_.find(layer); });
            take_layers(layers, config);
            add(result, id, descriptor.digest, std::move(image.names));
        }
        return result;
    }

    /// By docker's manifest.json.
    std::vector<Loaded> load_archive() {
        const std::string text = archive_.text(archive_.find("manifest.json"), Manifest::kMostBytes);
        std::vector<Loaded> result;
        for (ArchivedImage& image : parse_archive_manifest(text)) {
            const Archive::File& config_file = archive_.find(image.config);
            const ImageConfig config = config_of(config_file);
            std::vector<Archive::File> layers;
            std::ranges::transform(image.layers, std::back_inserter(layers),
                                   [&](const std::string& path) { return archive_.find(path); });
            take_layers(layers, config);
            add(result, config_file.digest, manifest_for(config_file, layers), std::move(image.names));
        }
        return result;
    }

  private:
    [[nodiscard]] ImageConfig config_of(const Archive::File& file) const {
        ImageConfig config = ImageConfig::parse(archive_.text(file, Manifest::kMostConfigBytes));
        if (config.architecture != platform_.architecture) {
            refuse("an image in it is for another architecture than " + platform_.architecture);
        }
        return config;
    }

    void take_layers(const std::vector<Archive::File>& layers, const ImageConfig& config) {
        if (layers.size() != config.layers.size()) {
            refuse("an image has another number of layers than its configuration says");
        }
        for (size_t number = 0; number < layers.size(); ++number) {
            take_layer(layers[number], config.layers[number]);
        }
    }

    void take_layer(const Archive::File& file, const Digest& unpacked) {
        const Descriptor packed{.media_type = "", .digest = file.digest, .size = file.size};
        if (has_layer(store_, packed, unpacked)) {
            return;
        }
        if (file.size > Manifest::kMostLayerBytes) {
            refuse("a layer is too large");
        }
        LoadProgress progress{.layer = unpacked, .done = 0, .total = file.size};
        auto told = std::chrono::steady_clock::now();
        const auto source = [&, bytes = file_source(store_.blob(file.digest))](std::span<std::byte> room) {
            const size_t got = bytes(room);
            progress.done += got;
            constexpr std::chrono::milliseconds kPause{100};
            const auto now = std::chrono::steady_clock::now();
            if (now - told > kPause || progress.done == progress.total) {
                told = now;
                tell_(progress);
            }
            return got;
        };
        TakenLayer layer = container::take_layer(store_, source, true);
        check_layer(layer.packed, file.digest, "has changed meanwhile");
        check_layer(layer.unpacked, unpacked, "is, unpacked, not what the image's configuration says");
        keep_layer(store_, std::move(layer));
    }

    /// That of an image which is there already, so that it can still be pushed as it came; else a new one.
    Digest manifest_for(const Archive::File& config, const std::vector<Archive::File>& layers) {
        if (const auto image = store_.find(config.digest.text())) {
            return image->manifest;
        }
        std::vector<Descriptor> descriptors;
        for (const Archive::File& layer : layers) {
            descriptors.push_back(describe_layer(store_, layer.digest, layer.size));
        }
        const std::string text = make_manifest(
            {.media_type = kConfigMediaType, .digest = config.digest, .size = config.size}, descriptors);
        const Digest digest = Digest::of(std::as_bytes(std::span{text}));
        store_.keep_blob(text, digest);
        return digest;
    }

    void add(std::vector<Loaded>& all, const Digest& id, const Digest& manifest,
             std::vector<Reference> names) {
        store_.add(id, manifest, names);
        // Names of one image may stand apart.
        const auto same = std::ranges::find(all, id, &Loaded::image);
        if (same == all.end()) {
            all.push_back({.image = id, .names = std::move(names)});
        } else {
            same->names.insert(same->names.end(), names.begin(), names.end());
        }
    }

    Store& store_;
    const Archive& archive_;
    const std::function<void(const LoadProgress&)>& tell_;
    const Platform platform_ = Platform::of_this_host();
};

std::vector<Loaded> load_and_leave_the_rest(Store& store, const ByteSource& source, const LoadLimits& limits,
                                            const std::function<void(const LoadProgress&)>& tell) {
    const Store::Hold hold = store.hold();
    Archive archive{store, limits};
    archive.read(source);
    Loader loader{store, archive, tell};
    if (archive.has("oci-layout") && archive.has("index.json")) {
        return loader.load_layout();
    }
    if (!archive.has("manifest.json")) {
        refuse("it has neither a manifest.json nor an OCI layout's index.json");
    }
    return loader.load_archive();
}

}  // namespace

std::vector<Loaded> load(Store& store, const ByteSource& archive, const LoadLimits& limits,
                         const std::function<void(const LoadProgress&)>& tell) {
    std::vector<Loaded> loaded;
    try {
        loaded = load_and_leave_the_rest(store, archive, limits, tell);
    } catch (...) {
        try {
            store.collect();
        } catch (const Error&) {  // why nothing was loaded counts more
        }
        throw;
    }
    store.collect();
    return loaded;
}

}  // namespace hull::container
