#include "container/api/build_host.h"

#include <chrono>
#include <utility>

#include "base/printable.h"
#include "container/api/step_container.h"
#include "container/api/transfer_api.h"

namespace hull::container {

void finish_build(Store& store, Events& events, BuildOutput& output, const Digest& image,
                  const std::vector<Reference>& names) {
    output.print("Successfully built " + image.short_digits() + "\n");
    for (const Reference& name : names) {
        store.tag(image.text(), name);
        tell_of_image(events, "tag", name.familiar_text());
        output.print("Successfully tagged " + name.familiar_text() + "\n");
    }
}

void ContainersBuildHost::pull(const std::string& name) {
    const Reference reference = Reference::parse(name);
    const auto begin = [&, has_begun = false]() mutable {
        if (!std::exchange(has_begun, true)) {
            client_.tell("Pulling from " + reference.path, reference.tag);
        }
    };
    const Pulled pulled = container::pull(store_, reference, find_registry_(reference.domain),
                                          [&, begin = begin](const LayerProgress& layer) mutable {
                                              begin();
                                              client_.tell_layer(layer);
                                          });
    tell_of_image(events_, "pull", reference.familiar_text());
    client_.tell("Digest: " + pulled.manifest.text());
    client_.tell("Status: " + std::string{pulled.is_new ? "Downloaded newer image" : "Image is up to date"} +
                 " for " + reference.familiar_text());
}

BuildHost::Fetched ContainersBuildHost::fetch(const std::string& url) {
    const auto exchange = std::make_shared<Exchange>(
        connections_,
        Exchange::Request{.url = url, .headers = {}, .tried = "cannot fetch '" + printable(url) + "'"});
    constexpr long kFirstFailure = 400;
    if (exchange->status() >= kFirstFailure) {
        throw ApiError{400, "failed to GET " + url + " with status " + std::to_string(exchange->status())};
    }
    return {.modified = exchange->modified(),
            .content = [this, exchange, done = uint64_t{0},
                        told = std::chrono::steady_clock::time_point{}](std::span<std::byte> room) mutable {
                constexpr std::chrono::milliseconds kOften{200};
                const size_t got = exchange->read(room);
                done += got;
                if (const auto now = std::chrono::steady_clock::now(); got == 0 || now - told > kOften) {
                    told = now;
                    if (client_.is_given_up()) {
                        throw ApiError{400, "Build cancelled"};
                    }
                    client_.tell_download(done, exchange->content_length());
                }
                return got;
            }};
}

std::unique_ptr<StepContainer> ContainersBuildHost::create(const StoredImage& image,
                                                           const std::vector<std::string>& command,
                                                           const std::vector<std::string>& environment) {
    return create_step(
        containers_, events_, [this](int fd) { client_.wait_for(fd); },
        {.image = image, .command = command, .environment = environment, .host_config = host_config_});
}

}  // namespace hull::container
