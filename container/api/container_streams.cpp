#include "container/api/container_streams.h"

#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/json/serialize.hpp>
#include <charconv>
#include <chrono>
#include <optional>
#include <utility>

#include "base/printable.h"
#include "container/api/container_filter.h"
#include "container/api/container_json.h"
#include "container/api/stats_json.h"
#include "container/supervisor/log.h"
#include "container/supervisor/stream_frame.h"

namespace hull::container {

namespace json = boost::json;
using Clock = std::chrono::system_clock;
using SteadyClock = Connection::Clock;
using Wake = Connection::Wake;

namespace {

void write_line(ApiCall& call, const json::object& line) {
    call.write(json::serialize(line) + "\n");
}

bool is_alive(const ContainerView& container) {
    return container.is_running() || container.stage == ContainerView::Stage::restarting;
}

/// When a time of the wall clock will be; at most a year from now.
SteadyClock::time_point steady_time(Clock::time_point time) {
    constexpr std::chrono::hours kYear{24 * 365};
    const auto left = std::min<Clock::duration>(time - Clock::now(), kYear);
    return SteadyClock::now() + std::chrono::duration_cast<SteadyClock::duration>(left);
}

/// What a client wants of a log.
struct LogRequest {
    bool output = false;
    bool errors = false;
    bool has_times = false;
    bool is_framed = false;
    std::optional<Clock::time_point> since;
    std::optional<Clock::time_point> until;

    /// The bytes to send; nothing where it is not wanted.
    [[nodiscard]] std::string show(const LogEntry& entry) const {
        const bool is_wanted = entry.stream == LogStream::output ? output : errors;
        if (!is_wanted || (since && entry.time < *since) || (until && entry.time > *until)) {
            return "";
        }
        const std::string text = has_times ? time_text(entry.time) + " " + entry.text : entry.text;
        return is_framed ? framed(static_cast<unsigned>(entry.stream), text) : text;
    }
};

/// Becomes readable when a log may have grown, or something is told.
class LogWatch {
  public:
    LogWatch(std::filesystem::path log, int events_fd) : log_{std::move(log)} {
        // A host has few of these for a user; without one the log is looked at from time to time.
        if (notify_.valid() && both_.valid()) {
            add(notify_.get());
        }
        add(events_fd);
    }

    /// To be called before the log is read: what is written from then on is noticed.
    void renew() {
        if (!notify_.valid()) {
            return;
        }
        char room[4096];
        while (read(notify_.get(), room, sizeof room) > 0) {
        }
        // Of a log that has become the one before, this finds the new one.
        inotify_add_watch(notify_.get(), log_.c_str(), IN_MODIFY | IN_MOVE_SELF);
    }
    [[nodiscard]] int fd() const { return both_.get(); }
    [[nodiscard]] std::chrono::milliseconds patience() const {
        constexpr std::chrono::milliseconds kUnseen{200};
        constexpr std::chrono::milliseconds kSeen{2000};  // between two logs there may be none to be watched
        return notify_.valid() ? kSeen : kUnseen;
    }

  private:
    void add(int fd) const {
        epoll_event event{.events = EPOLLIN, .data = {}};
        epoll_ctl(both_.get(), EPOLL_CTL_ADD, fd, &event);
    }

    std::filesystem::path log_;
    UniqueFd notify_{inotify_init1(IN_CLOEXEC | IN_NONBLOCK)};
    UniqueFd both_{epoll_create1(EPOLL_CLOEXEC)};
};

/// Sends what there is. False where the client is gone, or what comes is behind `until`.
bool send_entries(ApiCall& call, LogReader& reader, const LogRequest& request) {
    constexpr size_t kPiece = size_t{64} << 10;
    std::string piece;
    bool goes_on = true;
    while (goes_on) {
        const std::optional<LogEntry> entry = reader.next();
        if (!entry) {
            break;
        }
        if (request.until && entry->time > *request.until) {
            goes_on = false;
        }
        piece += request.show(*entry);
        if (piece.size() >= kPiece) {
            goes_on = call.write(std::exchange(piece, {})) && goes_on;
        }
    }
    return call.write(piece) && goes_on;
}

/// Whether one of them says that a container's run is over.
bool tell_of_end(const std::vector<Event>& events, const std::string& id) {
    return std::ranges::any_of(events, [&](const Event& event) {
        return event.type == "container" && event.id == id &&
               (event.action == "die" || event.action == "destroy");
    });
}

std::optional<uint64_t> tail_of(const RequestTarget& target) {
    const std::string text = target.find("tail").value_or("all");
    uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    // Docker's way: what is no number means all.
    return error == std::errc{} && end == text.data() + text.size() && !text.empty() ? std::optional{value}
                                                                                     : std::nullopt;
}

/// What events a client wants.
class EventFilter {
  public:
    explicit EventFilter(Filters filters) : filters_{std::move(filters)} {
        constexpr std::array<std::string_view, 14> kKnown{"config", "container", "daemon", "event",  "image",
                                                          "label",  "network",   "node",   "plugin", "scope",
                                                          "secret", "service",   "type",   "volume"};
        for (const auto& filter : filters_) {
            if (std::ranges::find(kKnown, filter.first) == kKnown.end()) {
                throw ApiError{400, "Invalid filter '" + printable(filter.first) + "'"};
            }
        }
    }

    [[nodiscard]] bool passes(const Event& event) const {
        return std::ranges::all_of(filters_, [&](const auto& filter) {
            return filter.second.empty() ||
                   (filter.first == "label"
                        ? std::ranges::all_of(filter.second,
                                              [&](const auto& each) { return has_attribute(event, each); })
                        : std::ranges::any_of(filter.second, [&](const auto& each) {
                              return is_of(event, filter.first, each);
                          }));
        });
    }

  private:
    static std::string attribute(const Event& event, const std::string& name) {
        const auto found = event.attributes.find(name);
        return found == event.attributes.end() ? "" : found->second;
    }
    static bool has_attribute(const Event& event, const std::string& wanted) {
        const size_t sign = wanted.find('=');
        const auto found = event.attributes.find(wanted.substr(0, sign));
        return found != event.attributes.end() &&
               (sign == std::string::npos || found->second == wanted.substr(sign + 1));
    }
    static bool is_of(const Event& event, const std::string& filter, const std::string& wanted) {
        if (filter == "type") {
            return event.type == wanted;
        }
        if (filter == "event") {
            return event.action == wanted || event.action.substr(0, event.action.find(':')) == wanted;
        }
        if (filter == "scope") {
            return wanted == "local";
        }
        if (filter == "image") {
            const std::string name =
                event.type == "image" ? attribute(event, "name") : attribute(event, "image");
            const size_t tag = name.find(':', name.rfind('/') == std::string::npos ? 0 : name.rfind('/'));
            return name == wanted || name.substr(0, tag) == wanted ||
                   (event.type == "image" && event.id == wanted);
        }
        // Of a container, or of something that there are no events of.
        const std::string name = wanted.starts_with('/') ? wanted.substr(1) : wanted;
        return filter == event.type && !name.empty() &&
               (event.id.starts_with(name) || attribute(event, "name") == name);
    }

    Filters filters_;
};

}  // namespace

void wait_for_end(ApiCall& call, const Containers& containers, Events& events, const std::string& name) {
    const std::string condition = call.target().find("condition").value_or("");
    const bool is_for_removal = condition == "removed";
    const bool is_for_next = condition == "next-exit";
    if (!is_for_removal && !is_for_next && !condition.empty() && condition != "not-running") {
        throw ApiError{400, "invalid condition: \"" + printable(condition) + "\""};
    }
    const auto listener = events.listen();  // before its state is looked at: nothing comes in between
    const ContainerView container = containers.find(name);
    int status = container.state.exit_status;
    // Clients start the container when they see that somebody waits for its end.
    call.begin("application/json");
    bool is_over = !is_for_removal && !is_for_next && !is_alive(container);
    while (!is_over) {
        if (call.wait_for(listener->fd()) == Wake::ended) {
            return;
        }
        for (const Event& event : listener->take()) {
            if (event.type != "container" || event.id != container.id) {
                continue;
            }
            if (event.action == "die") {
                if (const auto code = event.attributes.find("exitCode"); code != event.attributes.end()) {
                    std::from_chars(code->second.data(), code->second.data() + code->second.size(), status);
                }
                is_over = is_over || !is_for_removal;
            }
            is_over = is_over || event.action == "destroy";
            if (is_over) {
                break;
            }
        }
    }
    write_line(call, {{"StatusCode", status}});
}

void send_logs(ApiCall& call, const Containers& containers, Events& events, const std::string& name) {
    const RequestTarget& target = call.target();
    const auto listener = events.listen();
    const ContainerView container = containers.find(name);
    LogRequest request;
    request.output = target.is_set("stdout");
    request.errors = target.is_set("stderr");
    request.has_times = target.is_set("timestamps");
    request.is_framed = !container.spec->run.config.tty;
    request.since = parse_api_time(target.find("since").value_or(""), "since");
    request.until = parse_api_time(target.find("until").value_or(""), "until");
    if (!request.output && !request.errors) {
        throw ApiError{400, "Bad parameters: you must choose at least one stream"};
    }
    if (!container.spec->run.log.is_kept) {
        throw ApiError{501, "configured logging driver does not support reading"};
    }
    LogReader reader{container.files.log(), tail_of(target)};
    call.begin(stream_type(request.is_framed, target.version));
    LogWatch watch{container.files.log(), listener->fd()};
    bool is_followed = target.is_set("follow") && is_alive(container);
    do {
        watch.renew();
        if (!send_entries(call, reader, request)) {
            return;
        }
        auto until = SteadyClock::now() + watch.patience();
        if (request.until) {
            is_followed = is_followed && *request.until > Clock::now();
            until = std::min(until, steady_time(*request.until));
        }
        if (is_followed && call.wait_for(watch.fd(), until) == Wake::ended) {
            return;
        }
        if (is_readable(listener->fd()) && tell_of_end(listener->take(), container.id)) {
            is_followed = false;
            send_entries(call, reader, request);  // the last ones
        }
    } while (is_followed);
}

bool replay_log(int socket, const ContainerView& container, bool output, bool errors) {
    LogRequest request;
    request.output = output;
    request.errors = errors;
    request.is_framed = !container.spec->run.config.tty;
    if (!container.spec->run.log.is_kept) {
        return true;
    }
    // A client that does not read is not waited for.
    constexpr timeval kPatience{.tv_sec = 10, .tv_usec = 0};
    constexpr timeval kNone{};
    setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &kPatience, sizeof kPatience);
    LogReader reader{container.files.log(), std::nullopt};
    bool is_there = true;
    while (is_there) {
        const std::optional<LogEntry> entry = reader.next();
        if (!entry) {
            break;
        }
        const std::string text = request.show(*entry);
        for (size_t sent = 0; is_there && sent < text.size();) {
            const ssize_t count = send(socket, &text[sent], text.size() - sent, MSG_NOSIGNAL);
            is_there = count > 0;
            sent += static_cast<size_t>(std::max<ssize_t>(count, 0));
        }
    }
    setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &kNone, sizeof kNone);
    return is_there;
}

void send_stats(ApiCall& call, const Containers& containers, const std::string& name) {
    const RequestTarget& target = call.target();
    const bool is_stream = !target.find("stream") || target.is_set("stream");
    if (is_stream && target.is_set("one-shot")) {
        throw ApiError{400, "cannot have stream=true and one-shot=true"};
    }
    const ContainerView container = containers.find(name);
    const auto take = [&] {
        try {
            return StatsSample::take(container, containers.group(container.id));
        } catch (const ApiError&) {
            return StatsSample::none(container);  // it has been removed, or ended just now
        }
    };
    call.begin("application/json");
    StatsSample before = StatsSample::none(container);
    StatsSample now = take();
    const UniqueFd never = make_eventfd();
    constexpr std::chrono::seconds kBetween{1};
    const bool is_single = !is_stream && (target.is_set("one-shot") || !container.is_running());
    while (!is_single) {
        if (is_stream && !call.write(json::serialize(now.show(before)) + "\n")) {
            return;
        }
        if (call.wait_for(never.get(), SteadyClock::now() + kBetween) == Wake::ended) {
            return;
        }
        before = std::exchange(now, take());
        if (!is_stream) {
            break;
        }
    }
    write_line(call, now.show(before));
}

void send_events(ApiCall& call, Events& events) {
    const RequestTarget& target = call.target();
    const auto since = parse_api_time(target.find("since").value_or(""), "since");
    const auto until = parse_api_time(target.find("until").value_or(""), "until");
    const EventFilter filter{parse_filters(target.find("filters").value_or(""))};
    const auto end = until ? steady_time(*until) : SteadyClock::time_point::max();
    // Who says when it ends wants the past, too.
    const auto listener = events.listen(!since && until ? Clock::time_point{} : since);
    call.begin("application/json");
    for (;;) {
        const Wake wake = call.wait_for(listener->fd(), end);
        if (wake != Wake::ready) {
            return;
        }
        for (const Event& event : listener->take()) {
            if (until && event.time > *until) {
                return;
            }
            if (filter.passes(event) && !call.write(json::serialize(event_json(event)) + "\n")) {
                return;
            }
        }
    }
}

}  // namespace hull::container
