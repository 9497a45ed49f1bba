#include "vmm/agent/agent_client.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

#include "base/printable.h"

namespace hull {

namespace {

constexpr size_t kMostRequestFrame = agent::kHeaderSize + agent::kMostRequest;

bool is_for_later(int error) {
    return error == EAGAIN || error == EINTR;
}

/// The fields that reports have.
struct Report {
    std::optional<uint64_t> version;
    std::optional<uint64_t> error;
    std::optional<uint64_t> status;
    std::optional<uint64_t> signal;
    std::optional<std::string> content;
    std::string text;

    bool parse(const agent::Frame& frame) {
        agent::FieldReader fields{frame};
        for (agent::Field field; fields.next(field);) {
            if (!take(field)) {
                return false;
            }
        }
        return !fields.is_bad();
    }

  private:
    static bool take_number(const agent::Field& field, std::optional<uint64_t>& number) {
        uint64_t value = 0;
        if (number || !field.number(value)) {
            return false;
        }
        number = value;
        return true;
    }
    bool take(const agent::Field& field) {
        switch (field.tag) {
            case agent::kVersionTag:
                return take_number(field, version);
            case agent::kError:
                return take_number(field, error);
            case agent::kStatus:
                return take_number(field, status);
            case agent::kBySignal:
                return take_number(field, signal);
            case agent::kContent:
                if (content) {
                    return false;
                }
                content.emplace(reinterpret_cast<const char*>(field.bytes), field.size);
                return true;
            case agent::kText:
                if (field.text() == nullptr) {
                    return false;
                }
                text = field.text();
                return true;
            default:
                return false;
        }
    }
};

}  // namespace

AgentClient::AgentClient(EventLoop& loop, UniqueFd listener, Events events)
    : loop_{loop},
      listener_{std::move(listener)},
      events_{std::move(events)},
      request_room_{std::make_unique_for_overwrite<uint8_t[]>(kMostRequestFrame)} {
    loop_.watch(listener_.get(), [this] { accept_connections(); });
}

AgentClient::~AgentClient() {
    loop_.forget(listener_.get());
    loop_.forget(control_.get());
    loop_.forget(control_.get(), EventLoop::Ready::to_write);
    for (const auto& [fd, unknown] : unknown_) {
        loop_.forget(fd);
    }
}

void AgentClient::accept_connections() {
    UniqueFd fd{accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)};
    if (!fd.valid()) {
        return;
    }
    const int number = fd.get();
    unknown_[number].fd = std::move(fd);
    loop_.watch(number, [this, number] { read_header(number); });
    if (unknown_.size() == kMostUnknown) {
        loop_.forget(listener_.get());
    }
}

void AgentClient::read_header(int fd) {
    Unknown& unknown = unknown_.at(fd);
    const ssize_t got =
        recv(fd, unknown.header.data() + unknown.have, unknown.header.size() - unknown.have, 0);
    if (got < 0 && is_for_later(errno)) {
        return;
    }
    unknown.have += static_cast<size_t>(std::max<ssize_t>(got, 0));
    if (got > 0 && unknown.have < unknown.header.size()) {
        return;
    }
    loop_.forget(fd);
    Unknown known = std::move(unknown);
    unknown_.erase(fd);
    loop_.watch(listener_.get(), [this] { accept_connections(); });
    if (got <= 0) {
        return;
    }
    const uint32_t type = agent::load_word(known.header.data());
    const bool is_empty = agent::load_word(known.header.data() + 8) == 0;
    if (type == agent::kHello && !greeted_) {
        take_control(std::move(known.fd), known.header);
    } else if (type >= agent::kInput && type <= agent::kFrames && is_empty) {
        events_.connected(static_cast<agent::Type>(type), agent::load_word(known.header.data() + 4),
                          std::move(known.fd));
    }
}

void AgentClient::take_control(UniqueFd fd, const std::array<uint8_t, agent::kHeaderSize>& header) {
    greeted_ = true;
    control_ = std::move(fd);
    std::ranges::copy(header, reader_.space());
    reader_.add(header.size());
    loop_.watch(control_.get(), [this] { read_control(); });
    take_reports();
}

void AgentClient::read_control() {
    const ssize_t got = recv(control_.get(), reader_.space(), reader_.space_size(), 0);
    if (got < 0 && is_for_later(errno)) {
        return;
    }
    if (got <= 0) {
        lose("the agent has ended the connection");
        return;
    }
    reader_.add(static_cast<size_t>(got));
    take_reports();
}

void AgentClient::take_reports() {
    for (agent::Frame frame; reader_.next(frame);) {
        if (const std::string why = take_report(frame); !why.empty()) {
            lose(why);
            return;
        }
    }
    if (reader_.is_bad()) {
        lose("the agent sends a frame that is too large");
    }
}

std::string AgentClient::take_report(const agent::Frame& frame) {
    Report report;
    if (!report.parse(frame)) {
        return "the agent sends a malformed report";
    }
    switch (frame.type) {
        case agent::kHello:
            if (std::exchange(is_ready_, true)) {
                return "the agent says hello twice";
            }
            if (report.version != agent::kVersion) {
                return "the agent is of another version than hull";
            }
            events_.hello();
            return "";
        case agent::kFailed:
            if (!report.error || *report.error == 0 || *report.error > 4095 || report.text.empty()) {
                break;
            }
            events_.failed(frame.number, static_cast<int>(*report.error),
                           printable(report.text, report.text.size()));
            return "";
        case agent::kExited:
            if (report.status && !report.signal && *report.status <= 255) {
                events_.exited(frame.number,
                               {.by_signal = false, .value = static_cast<uint32_t>(*report.status)});
                return "";
            }
            if (report.signal && !report.status && *report.signal >= 1 && *report.signal <= 64) {
                events_.exited(frame.number,
                               {.by_signal = true, .value = static_cast<uint32_t>(*report.signal)});
                return "";
            }
            break;
        case agent::kStarted:
            if (frame.size != 0) {
                break;
            }
            if (events_.started) {
                events_.started(frame.number);
            }
            return "";
        case agent::kContents:
            if (!report.content || report.content->size() > agent::kMostRead) {
                break;
            }
            if (events_.contents) {
                events_.contents(frame.number, *report.content);
            }
            return "";
        default:
            break;
    }
    return "the agent sends a report that makes no sense";
}

bool AgentClient::request(agent::Type type, uint32_t number, const Fill& fill) {
    agent::FrameWriter frame{request_room_.get(), kMostRequestFrame, type, number};
    fill(frame);
    if (frame.size() == 0) {
        return false;
    }
    if (control_.valid()) {
        waiting_.append(reinterpret_cast<const char*>(request_room_.get()), frame.size());
        send_waiting();
    }
    return true;
}

void AgentClient::send_waiting() {
    while (!waiting_.empty()) {
        const ssize_t sent = send(control_.get(), waiting_.data(), waiting_.size(), MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) {
            loop_.watch(
                control_.get(), [this] { send_waiting(); }, EventLoop::Ready::to_write);
            return;
        }
        if (sent < 0 && errno != EINTR) {
            break;  // its end is noticed where it is read
        }
        waiting_.erase(0, static_cast<size_t>(std::max<ssize_t>(sent, 0)));
    }
    waiting_.clear();
    loop_.forget(control_.get(), EventLoop::Ready::to_write);
}

void AgentClient::lose(const std::string& why) {
    loop_.forget(control_.get());
    loop_.forget(control_.get(), EventLoop::Ready::to_write);
    control_.reset();
    events_.lost(why);
}

}  // namespace hull
