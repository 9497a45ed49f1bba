#include "container/image/pull.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>
#include <variant>
#include <vector>

#include "base/error.h"
#include "container/image/at_once.h"
#include "container/image/layer_intake.h"

namespace hull::container {

namespace {

/// A layer that is to be had, however often it is in the image.
struct Job {
    Descriptor packed;
    Digest unpacked;
};

class LayerPuller {
  public:
    LayerPuller(Store& store, Registry& registry, const std::function<void(const LayerProgress&)>& tell)
        : store_{store}, registry_{registry}, tell_{tell} {}

    /// All of them, or the Error of the first that cannot be had.
    void pull(const std::vector<Job>& jobs) {
        for (const Job& job : jobs) {
            say({.layer = job.packed.digest, .phase = LayerProgress::Phase::waiting});
        }
        do_at_once(jobs.size(), is_given_up_, [&](size_t number) { pull(jobs[number]); });
    }

  private:
    using Phase = LayerProgress::Phase;

    void pull(const Job& job) {
        if (has_layer(store_, job.packed, job.unpacked)) {
            say({.layer = job.packed.digest, .phase = Phase::there});
            return;
        }
        const bool is_fetched = store_.has_blob(job.packed);
        const ByteSource packed = is_fetched ? file_source(store_.blob(job.packed.digest))
                                             : registry_.open_blob(job.packed, is_given_up_);
        LayerProgress progress{.layer = job.packed.digest,
                               .phase = is_fetched ? Phase::converting : Phase::downloading,
                               .done = 0,
                               .total = job.packed.size};
        auto told = std::chrono::steady_clock::now();
        say(progress);
        const auto take = [&](std::span<std::byte> room) {
            const size_t got = packed(room);
            progress.done += got;
            constexpr std::chrono::milliseconds kPause{100};
            if (const auto now = std::chrono::steady_clock::now(); now - told > kPause) {
                told = now;
                say(progress);
            }
            return got;
        };
        TakenLayer layer = take_layer(store_, take, is_fetched);
        check_layer(layer.packed, job.packed.digest, "is not what its manifest says");
        check_layer(layer.unpacked, job.unpacked, "is, unpacked, not what the image's configuration says");
        if (!is_fetched) {
            say({.layer = job.packed.digest, .phase = Phase::downloaded});
        }
        keep_layer(store_, std::move(layer));
        say({.layer = job.packed.digest, .phase = Phase::complete});
    }

    void say(const LayerProgress& progress) {
        const std::lock_guard lock{mutex_};
        tell_(progress);
    }

    Store& store_;
    Registry& registry_;
    const std::function<void(const LayerProgress&)>& tell_;
    std::atomic<bool> is_given_up_ = false;
    std::mutex mutex_;
};

std::vector<Job> jobs_of(const Manifest& manifest, const ImageConfig& config, const std::string& tried) {
    if (manifest.layers.size() != config.layers.size()) {
        throw Error{ExitStatus::bad_file, tried,
                    "its manifest has another number of layers than its configuration",
                    "it is broken; ask whoever made it"};
    }
    std::vector<Job> jobs;
    for (size_t number = 0; number < manifest.layers.size(); ++number) {
        const Digest& digest = manifest.layers[number].digest;
        if (const auto same =
                std::ranges::find(jobs, digest, [](const Job& job) { return job.packed.digest; });
            same == jobs.end()) {
            jobs.push_back({.packed = manifest.layers[number], .unpacked = config.layers[number]});
        } else if (same->unpacked != config.layers[number]) {
            throw Error{ExitStatus::bad_file, tried, "one of its layers would be two different ones",
                        "it is broken; ask whoever made it"};
        }
    }
    return jobs;
}

/// The configuration, out of the store where it is there.
std::string config_text(Store& store, Registry& registry, const Descriptor& descriptor) {
    if (store.has_blob(descriptor)) {
        return store.read_blob(descriptor.digest, Manifest::kMostConfigBytes);
    }
    std::string text = registry.blob(descriptor);
    store.keep_blob(text, descriptor.digest);
    return text;
}

}  // namespace

const char* LayerProgress::words() const {
    switch (phase) {
        case Phase::waiting:
            return "Pulling fs layer";
        case Phase::there:
            return "Already exists";
        case Phase::downloading:
            return "Downloading";
        case Phase::converting:
            return "Extracting";
        case Phase::downloaded:
            return "Download complete";
        case Phase::complete:
            break;
    }
    return "Pull complete";
}

Pulled pull(Store& store, const Reference& reference, const RegistryOptions& options,
            const std::function<void(const LayerProgress&)>& tell) {
    const Store::Hold hold = store.hold();
    const std::string tried = "cannot use " + reference.familiar_text();
    const Platform platform = Platform::of_this_host();
    Registry registry{reference, options};
    Registry::Document document = registry.manifest();
    const Digest pulled = document.digest;
    auto parsed = parse_manifest(document.text, document.media_type, platform);
    if (const auto* const chosen = std::get_if<Descriptor>(&parsed)) {
        document = registry.manifest(*chosen);
        parsed = parse_manifest(document.text, chosen->media_type, platform);
    }
    const auto* const manifest = std::get_if<Manifest>(&parsed);
    if (manifest == nullptr) {
        throw Error{ExitStatus::bad_file, tried, "an index leads to another one", "ask whoever made it"};
    }
    const ImageConfig config = ImageConfig::parse(config_text(store, registry, manifest->config));
    if (config.architecture != platform.architecture) {
        throw Error{ExitStatus::bad_file, tried,
                    "it is for another architecture than " + platform.architecture,
                    "is there a tag of it for this one?"};
    }
    LayerPuller{store, registry, tell}.pull(jobs_of(*manifest, config, tried));
    store.keep_blob(document.text, document.digest);

    Reference by_digest = reference;
    by_digest.tag.clear();
    by_digest.digest = pulled;
    std::vector<Reference> names{by_digest};
    if (!reference.digest) {
        names.push_back(reference);
    }
    const bool is_new = store.add(manifest->config.digest, document.digest, names);
    return {.image = manifest->config.digest, .manifest = pulled, .is_new = is_new};
}

}  // namespace hull::container
