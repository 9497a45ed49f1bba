// A tap device of the host's for tests of networks.
#pragma once

#include <cstdlib>
#include <string>

namespace hull::test {

/// hulltest0, which has the address 10.201.7.1/24; there for one test. `more` is for `ip tuntap add`.
class TapDevice {
  public:
    explicit TapDevice(const std::string& more = "") {
        made_ = run("ip tuntap add dev hulltest0 mode tap " + more) &&
                run("ip addr add 10.201.7.1/24 dev hulltest0") && run("ip link set hulltest0 up");
    }
    TapDevice(const TapDevice&) = delete;
    TapDevice& operator=(const TapDevice&) = delete;
    ~TapDevice() { run("ip link del hulltest0"); }
    [[nodiscard]] bool made() const { return made_; }

  private:
    static bool run(const std::string& command) {
        return std::system((command + " 2>/dev/null").c_str()) == 0;
    }
    bool made_ = false;
};

}  // namespace hull::test
