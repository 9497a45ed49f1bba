#include "container/image/push.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <memory>
#include <mutex>
#include <variant>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "container/image/at_once.h"

namespace hull::container {

namespace {

Exchange::Content content_of(const std::filesystem::path& path) {
    auto file = std::make_shared<UniqueFd>(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    const auto check = [path](bool is_fine, int error) {
        if (!is_fine) {
            throw Error{ExitStatus::bad_file, "cannot read '" + path.string() + "'",
                        error == 0 ? "it has become shorter" : errno_text(error),
                        "remove the images that need it (hull rmi) and pull them again"};
        }
    };
    check(file->valid(), errno);
    return [file = std::move(file), check](uint64_t offset, std::span<std::byte> room) {
        ssize_t got = 0;
        do {
            got = pread(file->get(), room.data(), room.size(), static_cast<off_t>(offset));
        } while (got < 0 && errno == EINTR);
        check(got > 0, got < 0 ? errno : 0);
        return static_cast<size_t>(got);
    };
}

/// A layer, however often it is in the image.
struct Job {
    Descriptor packed;
    Digest unpacked;
};

class LayerPusher {
  public:
    LayerPusher(Store& store, Registry& registry, std::atomic<bool>& is_given_up,
                const std::function<void(const PushProgress&)>& tell)
        : store_{store}, registry_{registry}, is_given_up_{is_given_up}, tell_{tell} {}

    void push(const std::vector<Job>& jobs) {
        for (const Job& job : jobs) {
            say({.layer = job.unpacked, .phase = Phase::waiting});
        }
        do_at_once(jobs.size(), is_given_up_, [&](size_t number) { push(jobs[number]); });
    }

  private:
    using Phase = PushProgress::Phase;

    void push(const Job& job) {
        if (registry_.has_blob(job.packed.digest)) {
            say({.layer = job.unpacked, .phase = Phase::there});
            return;
        }
        PushProgress progress{
            .layer = job.unpacked, .phase = Phase::pushing, .done = 0, .total = job.packed.size};
        say(progress);
        auto told = std::chrono::steady_clock::now();
        const Exchange::Content content = content_of(store_.blob(job.packed.digest));
        const auto take = [&](uint64_t offset, std::span<std::byte> room) {
            const size_t got = content(offset, room);
            progress.done = offset + got;
            constexpr std::chrono::milliseconds kPause{100};
            if (const auto now = std::chrono::steady_clock::now(); now - told > kPause) {
                told = now;
                say(progress);
            }
            return got;
        };
        registry_.put_blob(job.packed, take, is_given_up_);
        say({.layer = job.unpacked, .phase = Phase::pushed});
    }

    void say(const PushProgress& progress) {
        const std::lock_guard lock{mutex_};
        tell_(progress);
    }

    Store& store_;
    Registry& registry_;
    std::atomic<bool>& is_given_up_;
    const std::function<void(const PushProgress&)>& tell_;
    std::mutex mutex_;
};

/// The topmost first, as docker tells of them.
std::vector<Job> jobs_of(const Manifest& manifest, const StoredImage& image) {
    std::vector<Job> jobs;
    for (size_t left = std::min(manifest.layers.size(), image.config.layers.size()); left-- > 0;) {
        const Descriptor& packed = manifest.layers[left];
        if (std::ranges::none_of(jobs, [&](const Job& job) { return job.packed.digest == packed.digest; })) {
            jobs.push_back({.packed = packed, .unpacked = image.config.layers[left]});
        }
    }
    return jobs;
}

}  // namespace

const char* PushProgress::words() const {
    switch (phase) {
        case Phase::waiting:
            return "Preparing";
        case Phase::there:
            return "Layer already exists";
        case Phase::pushing:
            return "Pushing";
        case Phase::pushed:
            break;
    }
    return "Pushed";
}

Pushed push(Store& store, const StoredImage& image, const Reference& name, const RegistryOptions& options,
            std::atomic<bool>& is_given_up, const std::function<void(const PushProgress&)>& tell) {
    const Store::Hold hold = store.hold();
    const std::string text = store.read_blob(image.manifest, Manifest::kMostBytes);
    const auto parsed = parse_manifest(text, "", Platform::of_this_host());
    const auto& manifest = std::get<Manifest>(parsed);
    Registry registry{name, options, Registry::Purpose::push};
    registry.connect();
    LayerPusher{store, registry, is_given_up, tell}.push(jobs_of(manifest, image));
    if (is_given_up) {
        throw Error{ExitStatus::registry_failure, "cannot push " + name.familiar_text(), "it was given up"};
    }
    if (!registry.has_blob(manifest.config.digest)) {
        registry.put_blob(manifest.config, content_of(store.blob(manifest.config.digest)), is_given_up);
    }
    registry.put_manifest(text, manifest.media_type);
    return {.manifest = image.manifest, .size = text.size()};
}

}  // namespace hull::container
