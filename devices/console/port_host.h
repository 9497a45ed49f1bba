// The host's side of a port of virtio-console.
#pragma once

#include <poll.h>

#include <array>
#include <cstddef>
#include <span>
#include <vector>

namespace hull::virtio {

/// Gives and takes the bytes of one port, and never blocks. For the thread that serves the port, and as long
/// as the port: longer than a driver's use of it.
class PortHost {
  public:
    virtual ~PortHost() = default;

    /// Whether somebody is there: what the guest sends to nobody is dropped.
    [[nodiscard]] virtual bool is_open() const { return true; }
    /// Takes bytes from the front and answers how many; fewer than all where there is no room for more.
    virtual size_t write(std::span<const std::byte> bytes) = 0;
    /// Puts into `target` what there is, and answers how much.
    virtual size_t read(std::span<std::byte> target) = 0;

    /// What its user waits for.
    struct Wishes {
        bool input = false;   ///< something to read
        bool output = false;  ///< room for what write() did not take
        bool next = false;    ///< somebody, where nobody is there
    };
    /// To be polled, with revents; -1 is none.
    using Waits = std::array<pollfd, 2>;
    [[nodiscard]] virtual Waits waits(const Wishes& wishes) const = 0;
    /// Gets what poll(2) answered to them, where it answered anything.
    virtual void take_events(const Waits& waits) = 0;

    /// Keeps what a driver had sent when its device was reset, as Linux's does when it powers off, and
    /// write() has no room for. It goes before anything else: nothing is written while there is any.
    void keep(std::span<const std::byte> bytes) { kept_.insert(kept_.end(), bytes.begin(), bytes.end()); }
    /// Writes what was kept, as far as there is room; answers whether nothing is left.
    bool write_kept() {
        if (!kept_.empty()) {
            const size_t written = is_open() ? write(kept_) : kept_.size();
            kept_.erase(kept_.begin(), kept_.begin() + static_cast<ptrdiff_t>(written));
        }
        return kept_.empty();
    }
    [[nodiscard]] size_t kept_size() const { return kept_.size(); }

  private:
    std::vector<std::byte> kept_;
};

}  // namespace hull::virtio
