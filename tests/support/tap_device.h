// A tap device of the host's for tests of networks.
#pragma once

#include <cstdlib>
#include <string>

namespace hull::test {

/// hulltest0, which has the address 10.201.7.1/24, hulltest1 with 10.201.8.1 and so on; there for one test.
/// `more` is for `ip tuntap add`.
class TapDevice {
  public:
    explicit TapDevice(const std::string& more = "", int number = 0)
        : name_{"hulltest" + std::to_string(number)} {
        made_ = run("ip tuntap add dev " + name_ + " mode tap " + more) &&
                run("ip addr add 10.201." + std::to_string(7 + number) + ".1/24 dev " + name_) &&
                run("ip link set " + name_ + " up");
    }
    TapDevice(const TapDevice&) = delete;
    TapDevice& operator=(const TapDevice&) = delete;
    ~TapDevice() { run("ip link del " + name_); }
    [[nodiscard]] bool made() const { return made_; }

  private:
    static bool run(const std::string& command) {
        return std::system((command + " 2>/dev/null").c_str()) == 0;
    }
    const std::string name_;
    bool made_ = false;
};

}  // namespace hull::test
