// Which containers a client wants to see.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "container/api/filters.h"
#include "container/life/containers.h"

namespace hull::container {

/// The filters of GET /containers/json, and those of POST /containers/prune, of which there are fewer. For
/// one thread.
class ContainerFilter {
  public:
    /// What names mean here.
    struct Lookup {
        /// Throws ApiError (404).
        std::function<ContainerView(const std::string&)> container;
        /// The id of an image; none where there is no such image.
        std::function<std::optional<std::string>(const std::string&)> image;
    };
    /// Throws ApiError: 400 where a filter or its value is unknown, 404 where it names a container that is
    /// not there.
    ContainerFilter(Filters filters, const Lookup& lookup);

    [[nodiscard]] bool passes(const ContainerView& container) const;
    /// Whether it asks for what does not run, so that this is not left out.
    [[nodiscard]] bool names_a_status() const { return filters_.contains("status"); }

  private:
    [[nodiscard]] bool passes_one(const ContainerView& container, const std::string& filter,
                                  const std::vector<std::string>& wanted) const;

    Filters filters_;
    std::optional<ContainerView> before_;
    std::optional<ContainerView> since_;
};

/// POST /containers/prune and its like: "label", "label!" and "until" (a time as Docker takes it, or how long
/// ago: "24h"). Throws ApiError (400).
class PruneFilter {
  public:
    PruneFilter(Filters filters, std::chrono::system_clock::time_point now);
    [[nodiscard]] bool passes(const ContainerView& container) const;
    /// The same of anything else that is made at a time and has labels.
    [[nodiscard]] bool passes(std::chrono::system_clock::time_point created,
                              const std::map<std::string, std::string>& labels) const;

  private:
    Filters filters_;
    std::optional<std::chrono::system_clock::time_point> until_;
};

/// Whether Docker's filters mean `text` by `pattern`: they are the same, or the pattern, a regular expression
/// (regex(7)) of at most 128 bytes without repetition counts and references, matches somewhere.
bool is_meant(const std::string& pattern, const std::string& text);

/// Seconds since 1970 with a fraction, as Docker's clients send times; none for "" and "0". Throws ApiError
/// (400), naming the parameter.
std::optional<std::chrono::system_clock::time_point> parse_api_time(const std::string& text,
                                                                    const std::string& parameter);

}  // namespace hull::container
