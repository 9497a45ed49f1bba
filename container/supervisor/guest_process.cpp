#include "container/supervisor/guest_process.h"

#include <algorithm>
#include <array>
#include <boost/json/array.hpp>
#include <charconv>

#include "base/printable.h"
#include "container/image/json.h"

namespace hull::container {

namespace json = boost::json;

namespace {

constexpr uint64_t kMostPid = uint64_t{1} << 22U;  // of any Linux
constexpr uint64_t kMostValue = INT64_MAX;         // as JSON's clients take it
constexpr uint64_t kTick = 10;                     // milliseconds: USER_HZ is 100
constexpr uint64_t kPage = 4;                      // KiB, with x86

/// Words between blanks.
std::vector<std::string_view> words_of(std::string_view text) {
    std::vector<std::string_view> words;
    for (size_t begin = text.find_first_not_of(" \t\n"); begin != std::string_view::npos;
         begin = text.find_first_not_of(" \t\n", begin)) {
        const size_t end = std::min(text.find_first_of(" \t\n", begin), text.size());
        words.push_back(text.substr(begin, end - begin));
        begin = end;
    }
    return words;
}

template <class Number>
std::optional<Number> number_of(std::string_view text) {
    Number value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return error == std::errc{} && end == text.data() + text.size() ? std::optional{value} : std::nullopt;
}

uint64_t product(uint64_t value, uint64_t factor) {
    return value > kMostValue / factor ? kMostValue : value * factor;
}

/// The words behind "NAME:" in lines of such.
std::vector<std::string_view> line_of(std::string_view text, std::string_view name) {
    for (size_t at = text.find(name); at != std::string_view::npos; at = text.find(name, at + 1)) {
        if (at == 0 || text[at - 1] == '\n') {
            const std::string_view line = text.substr(at + name.size());
            return words_of(line.substr(0, line.find('\n')));
        }
    }
    return {};
}

/// Of /proc/PID/stat, behind the name, which may have blanks and parentheses in it.
enum Field : size_t {
    kState,
    kParent,
    kGroup,
    kSession,
    kTerminal,
    kForeground,
    kUserTime = 11,
    kKernelTime = 12,
    kNice = 16,
    kThreads = 17,
    kStart = 19,
    kSize = 20,
    kResident = 21,
    kFields = 22,
};

std::string terminal_name(uint64_t device) {
    constexpr uint64_t kPts = 136;
    const uint64_t major = device >> 8U & 0xfffU;
    const uint64_t minor = (device & 0xffU) | (device >> 12U & 0xfff00U);
    if (device == 0) {
        return "";
    }
    return major >= kPts && major < kPts + 8 ? "pts/" + std::to_string(minor) : "?";
}

}  // namespace

std::optional<GuestProcess> GuestProcess::parse(std::string_view stat, std::string_view status,
                                                std::string_view command_line, uint64_t uptime) {
    const size_t open = stat.find(" (");
    const size_t close = stat.rfind(") ");
    if (open == std::string_view::npos || close == std::string_view::npos || close < open + 2) {
        return std::nullopt;
    }
    const auto pid = number_of<uint64_t>(stat.substr(0, open));
    const std::vector<std::string_view> words = words_of(stat.substr(close + 2));
    if (!pid || *pid == 0 || *pid > kMostPid || words.size() < kFields || words[kState].size() != 1) {
        return std::nullopt;
    }
    std::array<int64_t, kFields> numbers{};
    for (size_t index = kParent; index < kFields; ++index) {
        // One that is larger is none of those that are looked at.
        numbers.at(index) = number_of<int64_t>(words[index]).value_or(0);
    }
    const auto positive = [&](Field field) {
        return static_cast<uint64_t>(std::max<int64_t>(numbers.at(field), 0));
    };
    const std::vector<std::string_view> users = line_of(status, "Uid:");
    const auto user = users.size() < 2 ? std::nullopt : number_of<uint32_t>(users[1]);
    if (!user) {
        return std::nullopt;
    }
    GuestProcess process{.pid = *pid, .parent = std::min(positive(kParent), kMostPid), .user = *user};
    process.terminal = terminal_name(positive(kTerminal) & UINT32_MAX);
    process.state = printable(words[kState]);
    process.state += numbers[kNice] < 0 ? "<" : numbers[kNice] > 0 ? "N" : "";
    process.state += positive(kSession) == *pid ? "s" : "";
    process.state += numbers[kThreads] > 1 ? "l" : "";
    process.state += numbers[kForeground] > 0 && numbers[kForeground] == numbers[kGroup] ? "+" : "";
    process.cpu = product(
        std::min(positive(kUserTime), kMostValue / 2) + std::min(positive(kKernelTime), kMostValue / 2),
        kTick);
    const uint64_t start = product(positive(kStart), kTick);
    process.age = uptime > start ? std::min(uptime - start, kMostValue) : 0;
    process.size = positive(kSize) >> 10U;
    process.resident = product(positive(kResident), kPage);
    process.name = printable(stat.substr(open + 2, close - open - 2), kMostName);
    std::string line{command_line.substr(0, kMostCommandLine)};
    line.resize(line.find_last_not_of('\0') + 1);
    std::ranges::replace(line, '\0', ' ');
    process.command_line = printable(line, kMostCommandLine);
    return process;
}

json::object ProcessList::to_json() const {
    constexpr size_t kForCommandLines = 24576;
    const size_t most =
        std::min(GuestProcess::kMostCommandLine, kForCommandLines / std::max<size_t>(all.size(), 1));
    // As JSON's readers take them.
    const auto number = [](uint64_t value) { return static_cast<int64_t>(std::min(value, kMostValue)); };
    json::array list;
    for (const GuestProcess& each : all) {
        list.push_back(json::object{{"pid", number(each.pid)},
                                    {"parent", number(each.parent)},
                                    {"user", number(each.user)},
                                    {"terminal", each.terminal},
                                    {"state", each.state},
                                    {"cpu", number(each.cpu)},
                                    {"age", number(each.age)},
                                    {"resident", number(each.resident)},
                                    {"size", number(each.size)},
                                    {"name", each.name},
                                    {"line", each.command_line.substr(0, most)}});
    }
    return {{"is", "processes"}, {"memory", number(memory)}, {"all", std::move(list)}};
}

ProcessList ProcessList::from_json(const json::object& object) {
    const std::string tried = "cannot read a container's processes";
    const JsonObject given{object, tried, ""};
    ProcessList list{.memory = given.number("memory")};
    for (const JsonObject& each : given.objects("all")) {
        list.all.push_back({.pid = each.number("pid"),
                            .parent = each.number("parent"),
                            .user = each.number("user"),
                            .terminal = each.text("terminal"),
                            .state = each.text("state"),
                            .cpu = each.number("cpu"),
                            .age = each.number("age"),
                            .resident = each.number("resident"),
                            .size = each.number("size"),
                            .name = each.text("name"),
                            .command_line = each.text("line")});
    }
    return list;
}

uint64_t parse_uptime(std::string_view text) {
    constexpr uint64_t kSecond = 1000;
    constexpr uint64_t kHundredth = 10;
    const size_t point = std::min(text.find('.'), text.size());
    const uint64_t seconds = number_of<uint64_t>(text.substr(0, point)).value_or(0);
    const uint64_t rest = number_of<uint64_t>(text.substr(std::min(point + 1, text.size()), 2)).value_or(0);
    return product(std::min(seconds, kMostValue / kSecond - 1), kSecond) + rest * kHundredth;
}

uint64_t parse_memory(std::string_view text) {
    const std::vector<std::string_view> words = line_of(text, "MemTotal:");
    return words.empty() ? 0 : std::min(number_of<uint64_t>(words[0]).value_or(0), kMostValue);
}

std::vector<uint64_t> parse_pids(std::string_view text) {
    std::vector<uint64_t> pids;
    for (const std::string_view word : words_of(text)) {
        const auto pid = number_of<uint64_t>(word);
        if (pid && *pid > 0 && *pid <= kMostPid) {
            pids.push_back(*pid);
        }
    }
    return pids;
}

}  // namespace hull::container
