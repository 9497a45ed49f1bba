// What docker top shows.
#pragma once

#include <boost/json/object.hpp>
#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "container/supervisor/guest_process.h"

namespace hull::container {

/// The columns that options of ps(1) ask for. There is no ps here, so that these are all: -e, -A, -f, and
/// -o with a list, and without a dash a, u, x and o, together or apart; nothing is -ef.
class ProcessTable {
  public:
    /// Throws ApiError (400) for other options, and (500, as dockerd) where there is no column of numbers.
    explicit ProcessTable(const std::string& options);

    /// {"Titles": […], "Processes": [[…], …]}. Users are numbers, but for root, since the host knows no name
    /// of another's; times of day are the host's.
    [[nodiscard]] boost::json::object show(const ProcessList& list,
                                           std::chrono::system_clock::time_point now) const;

    struct Column;

  private:
    void take_list(std::string_view list);
    void add(std::string_view name, std::string_view title = {});

    struct Chosen {
        const Column* column;
        std::string title;
    };
    std::vector<Chosen> columns_;
};

}  // namespace hull::container
