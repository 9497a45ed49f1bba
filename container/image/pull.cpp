#include "container/image/pull.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <variant>
#include <vector>

#include "base/error.h"
#include "container/image/at_once.h"
#include "container/layer/convert.h"
#include "container/layer/decompress.h"

namespace hull::container {

namespace {

ByteSource file_source(const std::filesystem::path& path) {
    auto file = std::make_shared<UniqueFd>(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    const auto check = [path](bool is_fine) {
        if (!is_fine) {
            throw Error{ExitStatus::bad_file, "cannot read '" + path.string() + "'", errno_text(errno)};
        }
    };
    check(file->valid());
    return [file = std::move(file), check](std::span<std::byte> room) {
        ssize_t got = 0;
        do {
            got = read(file->get(), room.data(), room.size());
        } while (got < 0 && errno == EINTR);
        check(got >= 0);
        return static_cast<size_t>(got);
    };
}

/// Computes the digest of what is read through it.
ByteSource hashing(ByteSource source, Sha256& sum) {
    return [source = std::move(source), &sum](std::span<std::byte> room) {
        const size_t got = source(room);
        sum.add(room.first(got));
        return got;
    };
}

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
        const bool is_fetched = store_.has_blob(job.packed);
        if (is_fetched && store_.has_layer(job.unpacked)) {
            say({.layer = job.packed.digest, .phase = Phase::there});
            return;
        }
        ByteSource packed = is_fetched ? file_source(store_.blob(job.packed.digest))
                                       : registry_.open_blob(job.packed, is_given_up_);
        std::optional<Store::NewFile> blob;
        if (!is_fetched) {
            blob.emplace(store_.make_file());
        }
        Sha256 packed_sum;
        LayerProgress progress{.layer = job.packed.digest,
                               .phase = is_fetched ? Phase::converting : Phase::downloading,
                               .done = 0,
                               .total = job.packed.size};
        auto told = std::chrono::steady_clock::now();
        say(progress);
        const auto take = [&](std::span<std::byte> room) {
            const size_t got = packed(room);
            if (blob) {
                packed_sum.add(room.first(got));
                blob->append(room.first(got));
            }
            progress.done += got;
            constexpr std::chrono::milliseconds kPause{100};
            if (const auto now = std::chrono::steady_clock::now(); now - told > kPause) {
                told = now;
                say(progress);
            }
            return got;
        };
        Store::NewFile disk = store_.make_file();
        Sha256 unpacked_sum;
        convert_layer(hashing(unpack(take, Manifest::kMostLayerBytes), unpacked_sum), disk.fd(),
                      Manifest::kMostLayerBytes);
        if (blob) {
            check(packed_sum.finish(), job.packed.digest, "is not what its manifest says");
        }
        check(unpacked_sum.finish(), job.unpacked, "is, unpacked, not what the image's configuration says");
        if (blob) {
            store_.keep_blob(std::move(*blob), job.packed.digest);
        }
        store_.keep_layer(std::move(disk), job.unpacked);
        say({.layer = job.packed.digest, .phase = Phase::complete});
    }

    static void check(const Digest& computed, const Digest& wanted, const std::string& how) {
        if (computed != wanted) {
            throw Error{ExitStatus::bad_file, "cannot use a layer",
                        "it " + how + " (" + wanted.text() + ", and it has " + computed.text() + ")",
                        "the registry, or something on the way to it, is broken or lies"};
        }
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
