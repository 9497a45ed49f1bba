#include "devices/legacy/rtc.h"

#include <chrono>
#include <cstring>
#include <utility>

namespace hull {

namespace {

// The registers that linux/mc146818rtc.h names, which is no header for user space.
enum : uint8_t {
    kSeconds = 0,
    kMinutes = 2,
    kHours = 4,
    kDayOfWeek = 6,
    kDayOfMonth = 7,
    kMonth = 8,
    kYear = 9,
    kControlA = 10,
    kControlB = 11,
    kControlC = 12,
    kControlD = 13,
    kCentury = 0x32,
};

constexpr uint8_t kDivider32kHz = 0x20;     // control A: the oscillator runs; no update is ever in progress
constexpr uint8_t kTwentyFourHours = 0x02;  // control B
constexpr uint8_t kPowerWasKept = 0x80;     // control D: the contents are valid

constexpr uint8_t kIndex = 0x7f;

uint8_t bcd(int value) {
    return static_cast<uint8_t>(value / 10 % 10 << 4 | value % 10);
}

}  // namespace

Rtc::Rtc(std::function<std::time_t()> now) : now_{std::move(now)} {}

void Rtc::read(uint64_t offset, std::span<std::byte> data) {
    const std::lock_guard lock{mutex_};
    data[0] = std::byte{offset == 0 ? index_ : read_register(index_)};
}

void Rtc::write(uint64_t offset, std::span<const std::byte> data) {
    const auto value = std::to_integer<uint8_t>(data[0]);
    const std::lock_guard lock{mutex_};
    if (offset == 0) {
        index_ = value & kIndex;  // the top bit masks the NMI, which no device here raises
    } else {
        bytes_.at(index_) = value;
    }
}

void Rtc::save(StateWriter& state) const {
    const std::lock_guard lock{mutex_};
    state.begin("rtc");
    state.put(index_);
    state.put_bytes(std::as_bytes(std::span{bytes_}));
}

void Rtc::load(StateReader& state) {
    const std::lock_guard lock{mutex_};
    state.begin("rtc");
    index_ = state.get<uint8_t>() & kIndex;
    const auto bytes = state.get_bytes();
    state.require(bytes.size() == bytes_.size(), "it has another number of bytes");
    std::memcpy(bytes_.data(), bytes.data(), bytes.size());
}

uint8_t Rtc::read_register(uint8_t index) const {
    // Not by gmtime_r(), which reads the host's time zone first, and a vCPU's thread may open no file.
    using namespace std::chrono;
    const sys_seconds now{seconds{now_()}};
    const auto day = floor<days>(now);
    const hh_mm_ss time{now - day};
    const year_month_day date{day};
    const auto year = static_cast<int>(date.year());
    switch (index) {
        case kSeconds:
            return bcd(static_cast<int>(time.seconds().count()));
        case kMinutes:
            return bcd(static_cast<int>(time.minutes().count()));
        case kHours:
            return bcd(static_cast<int>(time.hours().count()));
        case kDayOfWeek:
            return bcd(static_cast<int>(weekday{day}.c_encoding()) + 1);
        case kDayOfMonth:
            return bcd(static_cast<int>(static_cast<unsigned>(date.day())));
        case kMonth:
            return bcd(static_cast<int>(static_cast<unsigned>(date.month())));
        case kYear:
            return bcd(year % 100);
        case kCentury:
            return bcd(year / 100);
        case kControlA:
            return kDivider32kHz;
        case kControlB:
            return kTwentyFourHours;
        case kControlC:
            return 0;
        case kControlD:
            return kPowerWasKept;
        default:
            return bytes_.at(index);
    }
}

}  // namespace hull
