#include "base/worker_thread.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/prctl.h>

#include <array>
#include <atomic>
#include <stdexcept>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"

namespace hull {
namespace {

void sleep_until_stopped(int stop_fd) {
    pollfd entry{stop_fd, POLLIN, 0};
    poll(&entry, 1, -1);
}

TEST(WorkerThread, HasItsNameAndRunsOneBodyAfterTheOther) {
    std::array<char, 17> name{};
    std::vector<std::thread::id> threads;
    std::atomic<int> stopped{0};
    {
        WorkerThread worker{ThreadKind::rng, "a name"};
        for (int round = 0; round < 3; ++round) {
            worker.start([&](int stop_fd) {
                prctl(PR_GET_NAME, name.data());
                threads.push_back(std::this_thread::get_id());
                sleep_until_stopped(stop_fd);
                ++stopped;
            });
            worker.stop();
            EXPECT_EQ(stopped, round + 1);
            worker.stop();
        }
        worker.start([&](int stop_fd) {
            sleep_until_stopped(stop_fd);
            ++stopped;
        });
    }
    EXPECT_EQ(stopped, 4) << "its end is a stop";
    EXPECT_STREQ(name.data(), "a name");
    ASSERT_EQ(threads.size(), 3U);
    EXPECT_EQ(threads[0], threads[2]);
    EXPECT_NE(threads[0], std::this_thread::get_id());
}

TEST(WorkerThread, ABodyMayEndByItself) {
    std::atomic<int> calls{0};
    WorkerThread worker{ThreadKind::rng, "short"};
    for (int round = 0; round < 3; ++round) {
        worker.start([&](int) { ++calls; });
        worker.stop();
    }
    EXPECT_EQ(calls, 3);
}

TEST(WorkerThread, CallsAndIsNotToldToStopForIt) {
    WorkerThread worker{ThreadKind::rng, "calls"};
    std::thread::id there;
    worker.call([&] { there = std::this_thread::get_id(); });
    EXPECT_NE(there, std::this_thread::get_id());
    EXPECT_THROW(worker.call([] { throw std::runtime_error{"as it says"}; }), std::runtime_error);
    std::atomic<int> stopped{-1};
    worker.start([&](int stop_fd) { stopped = is_readable(stop_fd) ? 1 : 0; });
    while (stopped < 0) {
        std::this_thread::yield();
    }
    EXPECT_EQ(stopped, 0);
}

TEST(WorkerThread, IsPreparedOnItselfBeforeItIsThere) {
    std::thread::id there;
    int prepared_with = -1;
    int ran_with = -2;
    WorkerThread worker{"prepared", [&](int stop_fd) {
                            there = std::this_thread::get_id();
                            prepared_with = stop_fd;
                            return ThreadKind::block;
                        }};
    EXPECT_NE(there, std::thread::id{});
    EXPECT_NE(there, std::this_thread::get_id());
    worker.call([] {});
    worker.start([&](int stop_fd) { ran_with = stop_fd; });
    worker.stop();
    EXPECT_EQ(ran_with, prepared_with);
    const auto make_one_that_fails = [] {
        const WorkerThread failing{"fails", [](int) -> ThreadKind {
                                       throw Error{ExitStatus::no_resources, "cannot do this"};
                                   }};
    };
    EXPECT_THROW(make_one_that_fails(), Error);
}

}  // namespace
}  // namespace hull
