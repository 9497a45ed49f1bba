// A machine of somebody else's, which nothing that others do may harm.
#pragma once

#include <gtest/gtest.h>
#include <sys/types.h>

#include <algorithm>
#include <memory>
#include <regex>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/hull_process.h"

namespace hull::test {

/// Writes to its disk all the time and waits each time until that is there.
class Neighbour {
  public:
    /// `hull` boots the small kernel with one disk and is typed at by a pipe. It says `expected` and no more.
    explicit Neighbour(std::unique_ptr<HullProcess> hull, std::string expected = "")
        : hull_{std::move(hull)}, expected_{std::move(expected)} {
        EXPECT_TRUE(hull_->wait_for("hull#"));
        hull_->type(
            "echo 0 >/go; while [ -e /go ]; do { time dd if=/dev/zero of=/dev/vda bs=4k count=8 "
            "conv=notrunc,fsync || echo fa''iled; } 2>&1 | grep -E 'real|fa''iled' >>/times; done &\n");
    }
    [[nodiscard]] pid_t machine() const { return hull_->machine(); }
    /// Ends it. Seconds that each of its writes took, from the shortest to the longest.
    std::vector<double> end() {
        hull_->type("rm /go; wait; clear; cat /times; poweroff -f\n");
        EXPECT_EQ(hull_->wait(), 0) << hull_->err();
        EXPECT_EQ(hull_->err(), expected_);
        EXPECT_EQ(hull_->out().find("failed"), std::string::npos) << "a write of the neighbour's failed";
        std::vector<double> seconds;
        const std::regex time{R"(real\s+(\d+)m\s*([0-9.]+)s)"};
        for (std::sregex_iterator at{hull_->out().begin(), hull_->out().end(), time}, none; at != none;
             ++at) {
            seconds.push_back(60 * std::stod((*at)[1]) + std::stod((*at)[2]));
        }
        std::ranges::sort(seconds);
        return seconds;
    }

  private:
    std::unique_ptr<HullProcess> hull_;
    std::string expected_;
};

}  // namespace hull::test
