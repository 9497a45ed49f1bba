#include "devices/console/console_host.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

namespace hull::virtio {

ConsoleHost::ConsoleHost(ByteSink& sink, std::function<void()> on_input_room)
    : sink_{sink}, on_input_room_{std::move(on_input_room)} {}

size_t ConsoleHost::write(std::span<const std::byte> bytes) {
    size_t taken = 0;
    while (taken < bytes.size() && !sink_is_full_) {
        // Copied: the guest may change it while the sink looks at it.
        std::array<uint8_t, 1024> piece;
        const size_t size = std::min(piece.size(), bytes.size() - taken);
        std::memcpy(piece.data(), bytes.data() + taken, size);
        taken += size;
        // Set before, since the sink may call output_ready() before put() is back.
        sink_is_full_ = true;
        if (sink_.put({piece.data(), size})) {
            sink_is_full_ = false;
        }
    }
    return taken;
}

size_t ConsoleHost::read(std::span<std::byte> target) {
    bool tell = false;
    size_t size = 0;
    {
        const std::lock_guard lock{mutex_};
        size = std::min(target.size(), typed_.size());
        std::memcpy(target.data(), typed_.data(), size);
        typed_.erase(0, size);
        tell = size > 0 && std::exchange(input_waits_, false);
    }
    if (tell) {
        on_input_room_();
    }
    return size;
}

size_t ConsoleHost::receive(std::span<const uint8_t> bytes) {
    const std::lock_guard lock{mutex_};
    const size_t taken = std::min(bytes.size(), kInputRoom - typed_.size());
    typed_.append(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(taken));
    input_waits_ = taken < bytes.size();
    if (taken > 0) {
        signal_eventfd(wake_.get());
    }
    return taken;
}

void ConsoleHost::output_ready() {
    sink_is_full_ = false;
    signal_eventfd(wake_.get());
}

PortHost::Waits ConsoleHost::waits(const Wishes& /*wishes*/) const {
    return {pollfd{wake_.get(), POLLIN, 0}, pollfd{-1, 0, 0}};
}

void ConsoleHost::take_events(const Waits& waits) {
    if (waits[0].revents != 0) {
        drain_eventfd(wake_.get());
    }
}

}  // namespace hull::virtio
