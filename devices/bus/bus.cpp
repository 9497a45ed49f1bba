#include "devices/bus/bus.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/error.h"

namespace hull {

void Bus::attach(const GuestRange& range, BusDevice& device, std::string name) {
    for (const Window& window : windows_) {
        if (window.range.overlaps(range)) {
            throw Error{ExitStatus::internal_failure, "cannot place device '" + name + "'",
                        "its addresses overlap those of '" + window.name + "'"};
        }
    }
    const auto place = std::find_if(windows_.begin(), windows_.end(), [&](const Window& window) {
        return window.range.start() > range.start();
    });
    windows_.insert(place, Window{range, &device, std::move(name)});
}

const Bus::Window* Bus::find(GuestAddress address, size_t size) const {
    const auto access = GuestRange::make(address, size);
    const auto after = std::upper_bound(
        windows_.begin(), windows_.end(), address,
        [](GuestAddress wanted, const Window& window) { return wanted < window.range.start(); });
    if (!access || after == windows_.begin()) {
        return nullptr;
    }
    const Window& window = *std::prev(after);
    return window.range.contains(*access) ? &window : nullptr;
}

bool Bus::read(GuestAddress address, std::span<std::byte> data) const {
    std::memset(data.data(), 0xff, data.size());
    const Window* window = find(address, data.size());
    if (window == nullptr) {
        return false;
    }
    window->device->read(raw(address) - raw(window->range.start()), data);
    return true;
}

bool Bus::write(GuestAddress address, std::span<const std::byte> data) const {
    const Window* window = find(address, data.size());
    if (window == nullptr) {
        return false;
    }
    window->device->write(raw(address) - raw(window->range.start()), data);
    return true;
}

}  // namespace hull
