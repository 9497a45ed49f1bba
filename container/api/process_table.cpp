#include "container/api/process_table.h"

#include <algorithm>
#include <array>
#include <boost/json/array.hpp>
#include <cstdio>
#include <ctime>

#include "base/printable.h"
#include "container/api/api_error.h"

namespace hull::container {

namespace json = boost::json;
using std::chrono::system_clock;

namespace {

constexpr uint64_t kSecond = 1000;  // milliseconds
constexpr uint64_t kMinute = 60;    // seconds, and the next
constexpr uint64_t kHour = 60 * kMinute;
constexpr uint64_t kDay = 24 * kHour;

/// What a column tells of a process.
struct Told {
    const GuestProcess& process;
    const ProcessList& list;
    system_clock::time_point now;

    [[nodiscard]] double cpu_share() const {
        const auto age = static_cast<double>(std::max<uint64_t>(process.age, 1));
        return std::min(99.9, 100.0 * static_cast<double>(process.cpu) / age);
    }
    /// When it began.
    [[nodiscard]] time_t begin() const {
        return system_clock::to_time_t(now) -
               static_cast<time_t>(std::min(process.age / kSecond, uint64_t{INT32_MAX}));
    }
};

std::tm local(time_t time) {
    std::tm parts{};
    localtime_r(&time, &parts);
    return parts;
}

std::string text_of(const std::tm& time, const char* form) {
    std::array<char, 32> text{};
    std::strftime(text.data(), text.size(), form, &time);
    return text.data();
}

/// Of -f: what tells it from now.
std::string begin_by_day(const Told& told) {
    const std::tm then = local(told.begin());
    const std::tm today = local(system_clock::to_time_t(told.now));
    if (then.tm_year != today.tm_year) {
        return text_of(then, "%Y");
    }
    return text_of(then, then.tm_yday == today.tm_yday ? "%H:%M" : "%b%d");
}

/// Of u.
std::string begin_by_age(const Told& told) {
    return text_of(local(told.begin()), told.process.age / kSecond < kDay ? "%H:%M" : "%b%d");
}

template <class... Values>
std::string formatted(const char* form, Values... values) {
    std::array<char, 64> text{};
    std::snprintf(text.data(), text.size(), form, values...);
    return text.data();
}

/// "[DD-]HH:MM:SS", or with the hours left out where there are none.
std::string duration(uint64_t seconds, bool has_hours) {
    const unsigned long long days = seconds / kDay;
    const unsigned long long hours = seconds % kDay / kHour;
    const unsigned long long minutes = seconds % kHour / kMinute;
    const unsigned long long rest = seconds % kMinute;
    if (days > 0) {
        return formatted("%llu-%02llu:%02llu:%02llu", days, hours, minutes, rest);
    }
    return has_hours || hours > 0 ? formatted("%02llu:%02llu:%02llu", hours, minutes, rest)
                                  : formatted("%02llu:%02llu", minutes, rest);
}

std::string command_line(const Told& told) {
    return told.process.command_line.empty() ? "[" + told.process.name + "]" : told.process.command_line;
}

std::string user_name(const Told& told) {
    return told.process.user == 0 ? "root" : std::to_string(told.process.user);
}

std::string terminal(const Told& told) {
    return told.process.terminal.empty() ? "?" : told.process.terminal;
}

[[noreturn]] void refuse(std::string_view option) {
    throw ApiError{400, "cannot list processes with the option '" + printable(option, 40) +
                            "': there is no ps here; -ef, aux, and -o with pid, ppid, uid, user, tty, stime, "
                            "time, etime, stat, rss, vsz, c, pcpu, pmem, comm, args and cmd are understood"};
}

}  // namespace

struct ProcessTable::Column {
    std::string_view name;  ///< as -o has it
    std::string_view title;
    std::string (*tell)(const Told& told);
};

namespace {

constexpr ProcessTable::Column kColumns[] = {
    {"pid", "PID", [](const Told& told) { return std::to_string(told.process.pid); }},
    {"ppid", "PPID", [](const Told& told) { return std::to_string(told.process.parent); }},
    {"uid", "UID", [](const Told& told) { return std::to_string(told.process.user); }},
    {"user", "USER", user_name},
    {"tty", "TT", terminal},
    {"stime", "STIME", begin_by_day},
    {"bsdstart", "START", begin_by_age},
    {"time", "TIME", [](const Told& told) { return duration(told.process.cpu / kSecond, true); }},
    {"bsdtime", "TIME",
     [](const Told& told) {
         const unsigned long long seconds = told.process.cpu / kSecond;
         return formatted("%llu:%02llu", seconds / kMinute, seconds % kMinute);
     }},
    {"etime", "ELAPSED", [](const Told& told) { return duration(told.process.age / kSecond, false); }},
    {"stat", "STAT", [](const Told& told) { return told.process.state; }},
    {"rss", "RSS", [](const Told& told) { return std::to_string(told.process.resident); }},
    {"vsz", "VSZ", [](const Told& told) { return std::to_string(told.process.size); }},
    {"c", "C", [](const Told& told) { return std::to_string(static_cast<unsigned>(told.cpu_share())); }},
    {"pcpu", "%CPU", [](const Told& told) { return formatted("%.1f", told.cpu_share()); }},
    {"pmem", "%MEM",
     [](const Told& told) {
         const auto memory = static_cast<double>(std::max<uint64_t>(told.list.memory, 1));
         return formatted("%.1f",
                          std::min(99.9, 100.0 * static_cast<double>(told.process.resident) / memory));
     }},
    {"comm", "COMMAND", [](const Told& told) { return told.process.name; }},
    {"args", "COMMAND", command_line},
    {"cmd", "CMD", command_line},
};

}  // namespace

void ProcessTable::add(std::string_view name, std::string_view title) {
    constexpr size_t kMost = 64;
    const auto* const column = std::ranges::find(kColumns, name, &Column::name);
    if (column == std::end(kColumns) || columns_.size() == kMost) {
        refuse(name);
    }
    columns_.push_back({column, std::string{title.empty() ? column->title : title}});
}

void ProcessTable::take_list(std::string_view list) {
    for (size_t begin = 0; begin <= list.size();) {
        const size_t end = std::min(list.find(',', begin), list.size());
        add(list.substr(begin, end - begin));
        begin = end + 1;
    }
}

ProcessTable::ProcessTable(const std::string& options) {
    std::vector<std::string_view> words;
    const std::string_view text = options;
    for (size_t begin = text.find_first_not_of(' '); begin != std::string_view::npos;
         begin = text.find_first_not_of(' ', begin)) {
        const size_t end = std::min(text.find(' ', begin), text.size());
        words.push_back(text.substr(begin, end - begin));
        begin = end;
    }
    if (words.empty()) {
        words = {"-ef"};
    }
    bool is_full = false;
    bool is_by_user = false;
    bool is_short = false;
    for (size_t index = 0; index < words.size(); ++index) {
        const std::string_view word = words[index];
        // As ps takes them, -aux is aux, and -ax is ax.
        const bool is_bsd = !word.starts_with('-') || word.starts_with("-a");
        for (size_t at = word.starts_with('-') ? 1 : 0; at < word.size(); ++at) {
            const char letter = word[at];
            if (letter == 'o') {
                const bool is_next = at + 1 == word.size();
                if (is_next && index + 1 == words.size()) {
                    refuse(word);
                }
                take_list(is_next ? words[++index] : word.substr(at + 1));
                break;
            }
            const std::string_view known = is_bsd ? "aux" : "eAf";
            if (known.find(letter) == std::string_view::npos) {
                refuse(word);
            }
            is_full = is_full || letter == 'f';
            is_by_user = is_by_user || letter == 'u';
            is_short = is_short || is_bsd;
        }
        if (word == "-") {
            refuse(word);
        }
    }
    if ((is_full && is_by_user) || (!columns_.empty() && (is_full || is_by_user))) {
        throw ApiError{400, "cannot list processes with '" + printable(options, 40) +
                                "': its options ask for different columns"};
    }
    if (columns_.empty() && is_by_user) {
        take_list("user,pid,pcpu,pmem,vsz,rss");
        add("tty", "TTY");
        take_list("stat,bsdstart,bsdtime,args");
    } else if (columns_.empty() && is_full) {
        add("user", "UID");
        take_list("pid,ppid,c,stime");
        add("tty", "TTY");
        take_list("time,cmd");
    } else if (columns_.empty()) {
        add("pid");
        add("tty", "TTY");
        if (is_short) {
            take_list("stat,bsdtime,args");
        } else {
            add("time");
            add("comm", "CMD");
        }
    }
    if (std::ranges::none_of(columns_, [](const Chosen& each) { return each.title == "PID"; })) {
        throw ApiError{500, "Couldn't find PID field in ps output"};
    }
}

json::object ProcessTable::show(const ProcessList& list, system_clock::time_point now) const {
    json::array titles;
    for (const Chosen& each : columns_) {
        titles.emplace_back(each.title);
    }
    json::array rows;
    for (const GuestProcess& process : list.all) {
        json::array row;
        for (const Chosen& each : columns_) {
            row.emplace_back(each.column->tell({process, list, now}));
        }
        rows.emplace_back(std::move(row));
    }
    return {{"Titles", std::move(titles)}, {"Processes", std::move(rows)}};
}

}  // namespace hull::container
