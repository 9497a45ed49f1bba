// What is known of a container's health, by dockerd's rules.
#include "container/supervisor/health.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/parse.hpp>
#include <string>

#include "base/error.h"
#include "base/utf8.h"
#include "container/image/timestamp.h"

namespace hull::container {
namespace {

using namespace std::chrono_literals;
using std::chrono::system_clock;
using testing::ElementsAre;

constexpr system_clock::time_point kStart{1'700'000'000s};

HealthResult result(int exit_code, system_clock::duration after = 1h) {
    return {.start = kStart + after, .end = kStart + after + 1s, .exit_code = exit_code, .output = "o"};
}

TEST(HealthProbe, IsWhatAConfigurationSays) {
    EXPECT_FALSE(HealthProbe::of({}, {}));
    EXPECT_FALSE(HealthProbe::of({.test = {"NONE"}}, {}));
    EXPECT_FALSE(HealthProbe::of({.test = {"ELSE", "x"}}, {}));
    const HealthProbe usual = HealthProbe::of({.test = {"CMD", "a", "b"}}, {"/bin/bash", "-c"}).value();
    EXPECT_THAT(usual.command, ElementsAre("a", "b"));
    EXPECT_EQ(usual.interval, 30s);
    EXPECT_EQ(usual.timeout, 30s);
    EXPECT_EQ(usual.start_period, 0s);
    EXPECT_EQ(usual.retries, 3);
    EXPECT_THAT(HealthProbe::of({.test = {"CMD"}}, {}).value().command, ElementsAre(""));
    EXPECT_THAT(HealthProbe::of({.test = {"CMD-SHELL", "a b"}}, {}).value().command,
                ElementsAre("/bin/sh", "-c", "a b"));
    EXPECT_THAT(HealthProbe::of({.test = {"CMD-SHELL", "a b"}}, {"/bin/bash", "-c"}).value().command,
                ElementsAre("/bin/bash", "-c", "a b"));
    const HealthProbe images =
        HealthProbe::of({.test = {"CMD", "a"}, .interval = -1s, .timeout = 1ns, .retries = -4}, {}).value();
    EXPECT_EQ(images.interval, 1ms) << "of an image, which nobody has checked";
    EXPECT_EQ(images.timeout, 1ms);
    EXPECT_EQ(images.retries, 3);
}

TEST(Health, FollowsItsProbes) {
    const HealthProbe probe{.command = {"a"}, .start_period = 10s, .retries = 2};
    Health health;
    EXPECT_EQ(health.word(), "starting");
    EXPECT_FALSE(health.take(result(1, 9s), probe, kStart)) << "it may still come up";
    EXPECT_EQ(health.failing_streak, 0);
    EXPECT_FALSE(health.take(result(1, 10s), probe, kStart));
    EXPECT_EQ(health.failing_streak, 1);
    EXPECT_EQ(health.word(), "starting");
    EXPECT_TRUE(health.take(result(-1, 11s), probe, kStart));
    EXPECT_EQ(health.word(), "unhealthy");
    EXPECT_FALSE(health.take(result(2), probe, kStart));
    EXPECT_EQ(health.failing_streak, 3);
    EXPECT_TRUE(health.take(result(0), probe, kStart));
    EXPECT_EQ(health.word(), "healthy");
    EXPECT_EQ(health.failing_streak, 0);
    ASSERT_EQ(health.log.size(), 5U);
    EXPECT_FALSE(health.take(result(1, 1s), probe, kStart)) << "one that was well is no longer starting";
    EXPECT_EQ(health.failing_streak, 1);
    EXPECT_EQ(health.word(), "healthy");
    ASSERT_EQ(health.log.size(), 5U);
    EXPECT_EQ(health.log.front().start, kStart + 10s) << "the oldest has gone";
    EXPECT_EQ(health.log.back().exit_code, 1);
}

TEST(Health, IsKept) {
    Health health;
    health.take(result(-1), {.command = {"a"}, .retries = 1}, kStart);
    const std::string tried = "cannot";
    const boost::json::object kept = health.to_json();
    const Health again = Health::from_json(JsonObject{kept, tried});
    EXPECT_EQ(again.to_json(), kept);
    EXPECT_EQ(again.log.at(0).exit_code, -1);
    const boost::json::object probe =
        HealthProbe::of({.test = {"CMD", "a"}, .interval = 1500ms, .retries = 7}, {}).value().to_json();
    EXPECT_EQ(HealthProbe::from_json(JsonObject{probe, tried}).to_json(), probe);
    for (const char* bad : {R"({"status":"well","failing_streak":0,"log":[]})",
                            R"({"status":"healthy","failing_streak":0,"log":[{},{},{},{},{},{}]})"}) {
        const boost::json::object object = boost::json::parse(bad).as_object();
        EXPECT_THROW(Health::from_json(JsonObject{object, tried}), Error) << bad;
    }
    for (const char* bad :
         {R"({"command":[],"interval":1000000,"timeout":1000000,"start_period":0,"retries":1})",
          R"({"command":["a"],"interval":1,"timeout":1000000,"start_period":0,"retries":1})"}) {
        const boost::json::object object = boost::json::parse(bad).as_object();
        EXPECT_THROW(HealthProbe::from_json(JsonObject{object, tried}), Error) << bad;
    }
}

TEST(DurationText, IsAsGoPrintsIt) {
    EXPECT_EQ(duration_text(0s), "0s");
    EXPECT_EQ(duration_text(1ns), "1ns");
    EXPECT_EQ(duration_text(1500ns), "1.5\u00b5s");
    EXPECT_EQ(duration_text(1ms), "1ms");
    EXPECT_EQ(duration_text(999'999'999ns), "999.999999ms");
    EXPECT_EQ(duration_text(1s), "1s");
    EXPECT_EQ(duration_text(30050ms), "30.05s");
    EXPECT_EQ(duration_text(60s), "1m0s");
    EXPECT_EQ(duration_text(90s), "1m30s");
    EXPECT_EQ(duration_text(2h + 500ms), "2h0m0.5s");
    EXPECT_EQ(duration_text(-90s), "-1m30s");
}

TEST(ValidUtf8, ReplacesWhatIsNone) {
    EXPECT_EQ(valid_utf8("a\xc3\xa9z"), "a\xc3\xa9z");
    EXPECT_EQ(valid_utf8("a\xff\xc3"), "a\xef\xbf\xbd\xef\xbf\xbd");
}

}  // namespace
}  // namespace hull::container
