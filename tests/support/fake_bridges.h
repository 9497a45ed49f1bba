// A host whose bridges are names in a list.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/error.h"
#include "container/network/bridges.h"

namespace hull::test {

/// What is there outlives the Bridges of several daemons. One thread at a time.
struct FakeHost {
    std::map<std::string, container::BridgeConfig> bridges;
    std::string routes;
    std::string taken;         ///< an interface that is somebody else's
    bool has_rights = true;    //
    bool has_no_room = false;  ///< for one more
    std::string passed;        ///< the last one that Docker's rules were to let through

    /// For one daemon.
    std::unique_ptr<container::Bridges> side();
};

class FakeBridges : public container::Bridges {
  public:
    explicit FakeBridges(FakeHost& host) : host_{host} {}

    void require() const override {
        if (!host_.has_rights) {
            throw Error{ExitStatus::no_resources, "cannot make a bridge", "that is root's to do"};
        }
    }
    [[nodiscard]] std::shared_ptr<void> choose() const override { return nullptr; }
    [[nodiscard]] std::string routes() const override { return host_.routes; }
    [[nodiscard]] bool has(const std::string& interface) const override { return interface == host_.taken; }
    [[nodiscard]] std::optional<container::Subnet> subnet_of(const std::string& interface) const override {
        const auto found = host_.bridges.find(interface);
        return found == host_.bridges.end() ? std::nullopt : std::optional{found->second.subnet};
    }
    [[nodiscard]] std::shared_ptr<void> make(const container::BridgeConfig& config) const override {
        if (host_.has_no_room) {
            throw Error{ExitStatus::no_resources, "cannot make a bridge", "no room"};
        }
        host_.bridges[config.name] = config;
        return {static_cast<void*>(&host_),
                [&host = host_, name = config.name](void*) { host.bridges.erase(name); }};
    }
    void pass_docker(const std::string& bridge) const override { host_.passed = bridge; }

  private:
    FakeHost& host_;
};

inline std::unique_ptr<container::Bridges> FakeHost::side() {
    return std::make_unique<FakeBridges>(*this);
}

}  // namespace hull::test
