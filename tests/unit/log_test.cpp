#include "base/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace hull {
namespace {

using namespace std::chrono_literals;

TEST(Log, AWarningIsOneLineOnStandardErrorAsItStands) {
    testing::internal::CaptureStderr();
    log_warning("{} %s look out");
    EXPECT_EQ(testing::internal::GetCapturedStderr(), "hull: warning: {} %s look out\n");
}

TEST(RateLimitedLog, HoldsAFloodToOneLineASecondAndTellsItsSize) {
    RateLimitedLog log;
    testing::internal::CaptureStderr();
    const auto start = std::chrono::steady_clock::now();
    std::vector<std::thread> threads;
    for (int thread = 0; thread < 4; ++thread) {
        threads.emplace_back([&log] {
            for (int i = 0; i < 250; ++i) {
                log.warning("the guest did it");
            }
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    std::this_thread::sleep_for(1001ms);
    log.warning("the guest did it");
    const auto seconds = (std::chrono::steady_clock::now() - start) / 1s;
    std::istringstream lines{testing::internal::GetCapturedStderr()};
    int64_t printed = 0;
    int64_t told = 0;
    for (std::string line; std::getline(lines, line); ++printed) {
        EXPECT_TRUE(line.starts_with("hull: warning: the guest did it")) << line;
        if (const size_t number = line.find("(and "); number != std::string::npos) {
            told += std::stoi(line.substr(number + 5));
            EXPECT_TRUE(line.ends_with(" times more since the last such line)")) << line;
        }
    }
    EXPECT_GE(printed, 2);
    EXPECT_LE(printed, seconds + 1);
    EXPECT_EQ(printed + told, 1001);
}

TEST(RateLimitedLog, OneCauseDoesNotSilenceAnother) {
    RateLimitedLog one;
    RateLimitedLog other;
    testing::internal::CaptureStderr();
    one.warning("a");
    other.warning("b");
    EXPECT_EQ(testing::internal::GetCapturedStderr(), "hull: warning: a\nhull: warning: b\n");
}

}  // namespace
}  // namespace hull
