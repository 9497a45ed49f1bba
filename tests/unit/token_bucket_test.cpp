#include "base/token_bucket.h"

#include <gtest/gtest.h>

namespace hull {
namespace {

using namespace std::chrono_literals;

constexpr TokenBucket::Clock::time_point kStart{1h};

TEST(TokenBucket, LetsATenthOfASecondPassAtOnceAndThenItsRate) {
    TokenBucket bucket{1000};
    int taken = 0;
    for (; bucket.wait_time(kStart) == 0s && taken < 10'000; ++taken) {
        bucket.take(1, kStart);
    }
    EXPECT_EQ(taken, 101) << "what was there, and the one that is owed";
    EXPECT_EQ(bucket.wait_time(kStart), 1ms);
    EXPECT_EQ(bucket.wait_time(kStart + 1ms), 0s);
    // Over a second of taking whenever it may be.
    taken = 0;
    for (auto now = kStart; now < kStart + 1s; now += 1ms) {
        while (bucket.wait_time(now) == 0s) {
            bucket.take(1, now);
            ++taken;
        }
    }
    EXPECT_NEAR(taken, 1000, 2);
}

TEST(TokenBucket, WhatIsTakenAtOnceIsWaitedForAfterwards) {
    TokenBucket bucket{100};
    bucket.take(210, kStart);
    EXPECT_EQ(bucket.wait_time(kStart), 2s);
    EXPECT_EQ(bucket.wait_time(kStart + 1500ms), 500ms);
    EXPECT_EQ(bucket.wait_time(kStart + 2s), 0s);
    // Idle time is not saved up.
    bucket.take(20, kStart + 1h);
    EXPECT_EQ(bucket.wait_time(kStart + 1h), 100ms);
    TokenBucket slow{1};
    slow.take(~uint64_t{0}, kStart);
    EXPECT_LE(slow.wait_time(kStart), 1h);
}

}  // namespace
}  // namespace hull
