// What a build needs of Hull: images, files of the web's, and containers for its commands.
#pragma once

#include <algorithm>
#include <boost/json/object.hpp>
#include <memory>
#include <string>
#include <vector>

#include "container/build/build.h"
#include "container/image/exchange.h"
#include "container/image/pull.h"
#include "container/image/registry.h"
#include "container/life/containers.h"
#include "container/life/events.h"

namespace hull::container {

/// Who waits for a build, and is told how far it is. One thread, but where it says otherwise.
class BuildClient : public BuildOutput {
  public:
    /// Returns when there is something to read from a descriptor. Throws ApiError where nobody waits any
    /// more.
    virtual void wait_for(int fd) = 0;
    /// What is done now, and with what.
    virtual void tell(const std::string& status, const std::string& id = {}) = 0;
    /// Of a pull. Any thread, one at a time; throws nothing.
    virtual void tell_layer(const LayerProgress& layer) = 0;
    /// How far a file of the web's has come, of `total` bytes (0: nobody knows); several times a second.
    virtual void tell_download(uint64_t done, uint64_t total) = 0;
};

/// What a quiet build would have said, for when it fails: the last MiB of it. One thread.
class KeptText {
  public:
    void add(const std::string& text) {
        constexpr size_t kMost = size_t{1} << 20;
        text_ += text;
        text_.erase(0, text_.size() - std::min(text_.size(), kMost));
    }
    [[nodiscard]] const std::string& text() const { return text_; }

  private:
    std::string text_;
};

/// Gives an image that was built its names, and says so.
void finish_build(Store& store, Events& events, BuildOutput& output, const Digest& image,
                  const std::vector<Reference>& names);

/// One build's, over a store and containers. One thread.
class ContainersBuildHost : public BuildHost {
  public:
    /// Where an image of a registry's comes from, by the registry's name.
    using FindRegistry = std::function<RegistryOptions(const std::string& domain)>;

    /// All outlive it. `host_config` is Docker's HostConfig of the commands' containers.
    ContainersBuildHost(Store& store, FindRegistry find_registry, Containers& containers, Events& events,
                        BuildClient& client, boost::json::object host_config)
        : store_{store},
          find_registry_{std::move(find_registry)},
          containers_{containers},
          events_{events},
          client_{client},
          host_config_{std::move(host_config)} {}

    void pull(const std::string& name) override;
    Fetched fetch(const std::string& url) override;
    std::unique_ptr<StepContainer> create(const StoredImage& image, const std::vector<std::string>& command,
                                          const std::vector<std::string>& environment) override;

  private:
    Store& store_;
    FindRegistry find_registry_;
    Containers& containers_;
    Events& events_;
    BuildClient& client_;
    boost::json::object host_config_;
    Connections connections_;
};

}  // namespace hull::container
