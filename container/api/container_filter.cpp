#include "container/api/container_filter.h"

#include <regex.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <string_view>
#include <utility>

#include "base/printable.h"
#include "container/api/container_json.h"
#include "container/api/json_shapes.h"
#include "container/image/timestamp.h"

namespace hull::container {

using Clock = std::chrono::system_clock;

namespace {

constexpr std::array<std::string_view, 7> kStatuses{"created",  "running", "paused", "restarting",
                                                    "removing", "exited",  "dead"};
constexpr std::array<std::string_view, 15> kFilters{"ancestor", "before",  "exited",    "expose", "health",
                                                    "id",       "is-task", "isolation", "label",  "name",
                                                    "network",  "publish", "since",     "status", "volume"};

[[noreturn]] void refuse(const std::string& filter, const std::string& value) {
    throw ApiError{400, "Invalid filter '" + printable(filter) + "=" + printable(value) + "'"};
}

template <class Number>
std::optional<Number> number_of(std::string_view text) {
    Number value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return error == std::errc{} && end == text.data() + text.size() ? std::optional{value} : std::nullopt;
}

struct PortRange {
    uint16_t first = 0;
    uint16_t last = 0;
    std::string protocol;

    /// "80", "80/udp", "80-90/tcp".
    static std::optional<PortRange> parse(const std::string& text) {
        const size_t slash = text.find('/');
        const std::string_view numbers = std::string_view{text}.substr(0, slash);
        const size_t dash = numbers.find('-');
        const auto first = number_of<uint16_t>(numbers.substr(0, dash));
        const auto last =
            dash == std::string_view::npos ? first : number_of<uint16_t>(numbers.substr(dash + 1));
        if (!first || !last || *first > *last) {
            return std::nullopt;
        }
        return PortRange{*first, *last, slash == std::string::npos ? "tcp" : text.substr(slash + 1)};
    }
    [[nodiscard]] bool has(unsigned port, std::string_view of) const {
        return port >= first && port <= last && of == protocol;
    }
};

void check(const std::string& filter, const std::string& value) {
    const bool is_known =
        filter == "status"                          ? std::ranges::find(kStatuses, value) != kStatuses.end()
        : filter == "exited"                        ? number_of<int>(value).has_value()
        : filter == "publish" || filter == "expose" ? PortRange::parse(value).has_value()
        : filter == "health"
            ? value == "none" || value == "healthy" || value == "unhealthy" || value == "starting"
        : filter == "is-task" ? value == "true" || value == "false" || value == "1" || value == "0"
                              : true;
    if (!is_known && filter == "health") {
        throw ApiError{400, "Unrecognised filter value for health: " + printable(value)};
    }
    if (!is_known) {
        refuse(filter, value);
    }
}

/// "1h30m", as Go writes durations; none where it is none.
std::optional<std::chrono::seconds> duration_of(std::string_view text) {
    std::chrono::seconds total{0};
    while (!text.empty()) {
        int64_t count = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
        constexpr int64_t kMost = 1'000'000'000;
        if (error != std::errc{} || end == text.data() + text.size() || count < 0 || count > kMost) {
            return std::nullopt;
        }
        total += *end == 'h'   ? std::chrono::hours{count}
                 : *end == 'm' ? std::chrono::minutes{count}
                               : std::chrono::seconds{count};
        if (*end != 'h' && *end != 'm' && *end != 's') {
            return std::nullopt;
        }
        text.remove_prefix(static_cast<size_t>(end - text.data()) + 1);
    }
    return total;
}

}  // namespace

bool is_meant(const std::string& pattern, const std::string& text) {
    constexpr size_t kMost = 128;
    if (pattern == text) {
        return true;
    }
    const bool is_cheap = pattern.size() <= kMost && pattern.find('{') == std::string::npos &&
                          pattern.find('\\') == std::string::npos;
    if (!is_cheap) {
        return false;
    }
    regex_t compiled{};
    if (regcomp(&compiled, pattern.c_str(), REG_EXTENDED | REG_NOSUB) != 0) {
        return false;
    }
    const bool matches = regexec(&compiled, text.c_str(), 0, nullptr, 0) == 0;
    regfree(&compiled);
    return matches;
}

std::optional<Clock::time_point> parse_api_time(const std::string& text, const std::string& parameter) {
    constexpr int64_t kMostSeconds = 9'000'000'000;  // as nanoseconds in 64 bits
    constexpr size_t kDigits = 9;
    const size_t point = text.find('.');
    const auto seconds = number_of<int64_t>(std::string_view{text}.substr(0, point));
    std::string fraction = point == std::string::npos ? "" : text.substr(point + 1);
    fraction.resize(std::max(fraction.size(), size_t{1}), '0');
    fraction.resize(kDigits, '0');
    const auto nanoseconds = number_of<uint32_t>(fraction);
    if (text.empty()) {
        return std::nullopt;
    }
    if (!seconds || !nanoseconds || *seconds > kMostSeconds || *seconds < -kMostSeconds) {
        throw ApiError{400, "invalid value for \"" + parameter + "\": \"" + printable(text) + "\""};
    }
    if (*seconds == 0 && *nanoseconds == 0) {
        return std::nullopt;
    }
    return Clock::time_point{std::chrono::seconds{*seconds} + std::chrono::nanoseconds{*nanoseconds}};
}

ContainerFilter::ContainerFilter(Filters filters, const Lookup& lookup) : filters_{std::move(filters)} {
    for (auto& [filter, values] : filters_) {
        if (std::ranges::find(kFilters, filter) == kFilters.end()) {
            throw ApiError{400, "Invalid filter '" + printable(filter) + "'"};
        }
        for (const std::string& value : values) {
            check(filter, value);
        }
        if (filter == "before" || filter == "since") {
            for (const std::string& name : values) {
                (filter == "before" ? before_ : since_) = lookup.container(name);
            }
        } else if (filter == "ancestor") {
            for (std::string& image : values) {
                image = lookup.image(image).value_or("no image's");
            }
        }
    }
}

bool ContainerFilter::passes(const ContainerView& container) const {
    return std::ranges::all_of(filters_, [&](const auto& filter) {
        return filter.second.empty() || passes_one(container, filter.first, filter.second);
    });
}

bool ContainerFilter::passes_one(const ContainerView& container, const std::string& filter,
                                 const std::vector<std::string>& wanted) const {
    const ContainerSpec& spec = *container.spec;
    const auto any = [&](const auto& is_met) { return std::ranges::any_of(wanted, is_met); };
    if (filter == "label") {
        const auto labels = labels_of(spec);
        return std::ranges::all_of(wanted, [&](const std::string& each) { return has_label(labels, each); });
    }
    if (filter == "id") {
        return any([&](const std::string& each) { return is_meant(each, container.id); });
    }
    if (filter == "name") {
        return any([&](const std::string& each) {
            return is_meant(each, container.name) || is_meant(each, "/" + container.name);
        });
    }
    if (filter == "status") {
        return any([&](const std::string& each) { return each == container.stage_word(); });
    }
    if (filter == "exited") {
        return container.stage == ContainerView::Stage::exited && any([&](const std::string& each) {
                   return number_of<int>(each) == container.state.exit_status;
               });
    }
    if (filter == "ancestor") {
        return any([&](const std::string& each) { return each == spec.image; });
    }
    if (filter == "publish") {
        return any([&](const std::string& each) {
            const auto range = PortRange::parse(each);
            return std::ranges::any_of(container.ports, [&](const PortBinding& port) {
                return range->has(port.container_port, port.protocol);
            });
        });
    }
    if (filter == "expose") {
        return any([&](const std::string& each) {
            const auto range = PortRange::parse(each);
            const auto ports = exposed_ports_of(spec);
            return std::ranges::any_of(ports, [&](const std::string& port) {
                const auto exposed = PortRange::parse(port);
                return exposed && range->has(exposed->first, exposed->protocol);
            });
        });
    }
    if (filter == "network") {
        return any([&](const std::string& each) {
            return std::ranges::any_of(container.networks, [&](const Attachment& attachment) {
                return each == attachment.name || (!each.empty() && attachment.network.starts_with(each)) ||
                       (each == "default" && attachment.name == Network::kBridge);
            });
        });
    }
    if (filter == "volume") {
        return any([&](const std::string& each) {
            return std::ranges::any_of(spec.mounts, [&](const ContainerMount& mount) {
                return each == mount.volume || each == mount.source || each == mount.target;
            });
        });
    }
    if (filter == "before") {
        return before_ && container.id != before_->id && container.created <= before_->created;
    }
    if (filter == "since") {
        return since_ && container.id != since_->id && container.created >= since_->created;
    }
    if (filter == "is-task") {
        return any([](const std::string& each) { return each == "false" || each == "0"; });
    }
    if (filter == "health") {
        const std::optional<Health>& health = container.state.health;
        return any([&](const std::string& each) { return each == (health ? health->word() : "none"); });
    }
    // No container has another isolation.
    return filter == "isolation" && any([](const std::string& each) { return each == "default"; });
}

PruneFilter::PruneFilter(Filters filters, Clock::time_point now) : filters_{std::move(filters)} {
    for (const auto& [filter, values] : filters_) {
        if (filter != "label" && filter != "label!" && filter != "until") {
            throw ApiError{400, "Invalid filter '" + printable(filter) + "'"};
        }
        if (filter != "until") {
            continue;
        }
        if (values.size() > 1) {
            throw ApiError{400, "more than one until filter specified"};
        }
        for (const std::string& value : values) {
            if (const auto ago = duration_of(value)) {
                until_ = now - *ago;
            } else if (const auto time = parse_time(value)) {
                until_ = Clock::time_point{*time};
            } else {
                until_ = parse_api_time(value, "until");
            }
        }
    }
}

bool PruneFilter::passes(const ContainerView& container) const {
    const bool is_at_rest = !container.is_running() && container.stage != ContainerView::Stage::restarting &&
                            container.stage != ContainerView::Stage::removing;
    return is_at_rest && passes(container.created, labels_of(*container.spec));
}

bool PruneFilter::passes(Clock::time_point created, const std::map<std::string, std::string>& labels) const {
    const auto has = [&](const std::string& each) { return has_label(labels, each); };
    const auto wanted = filters_.find("label");
    const auto unwanted = filters_.find("label!");
    return (!until_ || created < *until_) &&
           (wanted == filters_.end() || std::ranges::all_of(wanted->second, has)) &&
           (unwanted == filters_.end() || std::ranges::none_of(unwanted->second, has));
}

}  // namespace hull::container
