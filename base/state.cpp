#include "base/state.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace hull {

void StateWriter::begin(std::string_view name) {
    put(static_cast<uint8_t>(name.size()));
    const auto bytes = std::as_bytes(std::span{name});
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
}

void StateWriter::put_bytes(std::span<const std::byte> bytes) {
    put(static_cast<uint32_t>(bytes.size()));
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
}

void StateReader::begin(std::string_view name) {
    const std::string before = std::exchange(part_, std::string{name});
    const auto found = take(get<uint8_t>());
    require(std::ranges::equal(found, std::as_bytes(std::span{name})),
            "another part stands in its place, behind that of " + before);
}

std::span<const std::byte> StateReader::get_bytes() {
    return take(get<uint32_t>());
}

std::span<const std::byte> StateReader::take(size_t size) {
    require(size <= rest_.size(), "it is cut off");
    const auto taken = rest_.first(size);
    rest_ = rest_.subspan(size);
    return taken;
}

void StateReader::require(bool sound, std::string_view why) const {
    if (!sound) {
        throw Error{ExitStatus::bad_file, "cannot take up the saved state of " + part_, why,
                    "it must come from a machine with the same devices, saved by the same version of hull"};
    }
}

void StateReader::end() const {
    require(rest_.empty(), "there is more behind it");
}

}  // namespace hull
