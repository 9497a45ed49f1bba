// How much of something may be done in a second.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>

namespace hull {

/// Lets `per_second` (above zero) of something be done each second, on average, and what was not done in the
/// last tenth of a second at once. More may be taken than is there: then nothing may for as long as that was
/// worth. Any thread.
class TokenBucket {
  public:
    using Clock = std::chrono::steady_clock;

    explicit TokenBucket(uint64_t per_second) : per_second_{per_second} {}

    /// How long nothing may be taken from `now` on; zero where it may.
    [[nodiscard]] Clock::duration wait_time(Clock::time_point now) const {
        const std::lock_guard lock{mutex_};
        return paid_until_ > now ? paid_until_ - now : Clock::duration::zero();
    }
    void take(uint64_t amount, Clock::time_point now) {
        constexpr double kMostSeconds = 3600;  // whatever was taken at once
        const double seconds = static_cast<double>(amount) / static_cast<double>(per_second_);
        const std::chrono::duration<double> cost{seconds < kMostSeconds ? seconds : kMostSeconds};
        const std::lock_guard lock{mutex_};
        if (paid_until_ < now - kBurst) {
            paid_until_ = now - kBurst;
        }
        paid_until_ += std::chrono::duration_cast<Clock::duration>(cost);
    }

  private:
    static constexpr std::chrono::milliseconds kBurst{100};

    uint64_t per_second_;
    mutable std::mutex mutex_;
    Clock::time_point paid_until_{};  // all that was taken is worth the time until then
};

/// The longer of the waits from now on, zero where neither bucket is there or has one.
inline std::chrono::nanoseconds longer_wait(const std::optional<TokenBucket>& one,
                                            const std::optional<TokenBucket>& other) {
    std::chrono::nanoseconds longest{0};
    for (const auto* bucket : {&one, &other}) {
        if (*bucket) {
            longest =
                std::max<std::chrono::nanoseconds>(longest, (*bucket)->wait_time(TokenBucket::Clock::now()));
        }
    }
    return longest;
}

}  // namespace hull
