#include "container/supervisor/supervised_command.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace hull::container {

namespace {

uint32_t bit_of(agent::Type kind) {
    return uint32_t{1} << (kind - agent::kInput);
}

}  // namespace

SupervisedCommand::SupervisedCommand(EventLoop& loop, Config config, std::function<void()> on_end)
    : loop_{loop},
      config_{config},
      on_end_{std::move(on_end)},
      outputs_left_{config.tty ? 1 : 2},
      is_input_closed_{!config.has_input} {}

SupervisedCommand::~SupervisedCommand() {
    for (const Output& output : outputs_) {
        loop_.forget(output.connection.get());
    }
    loop_.forget(input_.get(), EventLoop::Ready::to_write);
}

void SupervisedCommand::attach(UniqueFd socket, StreamClient::Config client) {
    clients_.remove_if([](const StreamClient& each) { return each.is_gone(); });
    client.is_raw = config_.tty;
    StreamClient& added =
        clients_.emplace_back(loop_, std::move(socket), std::move(client),
                              StreamClient::Events{.typed = [this](std::string_view bytes) { type(bytes); },
                                                   .input_ended = [this] { end_input(); },
                                                   .has_room = [this] { watch_outputs(); }});
    added.begin();
    if (typed_.size() >= kMostInput) {
        added.hold_input(true);
    }
    if (ends_clients_) {
        added.end_when_told();
    }
}

void SupervisedCommand::expect() {
    expected_ = config_.tty ? bit_of(agent::kTerminal)
                            : bit_of(agent::kInput) | bit_of(agent::kOutput) | bit_of(agent::kErrors);
}

bool SupervisedCommand::take(agent::Type kind, UniqueFd& connection) {
    if (kind > agent::kTerminal || (expected_ & bit_of(kind)) == 0) {
        return false;
    }
    expected_ &= ~bit_of(kind);
    if (kind == agent::kInput) {
        input_ = std::move(connection);
        send_input();
        return true;
    }
    if (kind == agent::kTerminal) {
        input_ = duplicate(connection.get());
        send_input();
    }
    outputs_.at(kind == agent::kErrors ? 1 : 0).connection = std::move(connection);
    watch_outputs();
    return true;
}

/// Reads them only where all clients have room.
void SupervisedCommand::watch_outputs() {
    const bool has_room = std::ranges::none_of(clients_, &StreamClient::is_full);
    for (size_t index = 0; index < outputs_.size(); ++index) {
        const int fd = outputs_.at(index).connection.get();
        if (fd >= 0 && has_room) {
            loop_.watch(fd, [this, index] { take_output(index); });
        } else if (fd >= 0) {
            loop_.forget(fd);
        }
    }
}

void SupervisedCommand::take_output(size_t index) {
    Output& output = outputs_.at(index);
    std::array<char, size_t{32} << 10> bytes{};
    const ssize_t got = recv(output.connection.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (got <= 0) {
        loop_.forget(output.connection.get());
        output.connection.reset();
        if (--outputs_left_ == 0) {
            on_end_();
        }
        return;
    }
    const std::string_view printed{bytes.data(), static_cast<size_t>(got)};
    if (config_.log != nullptr) {
        config_.log->add(output.stream, printed);
    }
    for (StreamClient& client : clients_) {
        client.give(output.stream, printed);
    }
    if (std::ranges::any_of(clients_, &StreamClient::is_full)) {
        watch_outputs();
    }
}

void SupervisedCommand::type(std::string_view bytes) {
    if (is_input_closed_ || is_input_to_end_) {
        return;  // nobody reads it
    }
    typed_ += bytes;
    send_input();
}

void SupervisedCommand::end_input() {
    if (config_.input_ends_with_client && !config_.tty) {
        is_input_to_end_ = true;
        send_input();
    }
}

void SupervisedCommand::send_input() {
    if (is_input_closed_) {
        close_input();
        return;
    }
    if (!input_.valid()) {
        if (typed_.size() >= kMostInput) {
            std::ranges::for_each(clients_, [](StreamClient& client) { client.hold_input(true); });
        }
        return;
    }
    size_t done = 0;
    while (done < typed_.size()) {
        const ssize_t sent =
            send(input_.get(), typed_.data() + done, typed_.size() - done, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) {
            break;
        }
        if (sent < 0 && errno != EINTR) {
            close_input();
            return;
        }
        done += static_cast<size_t>(std::max<ssize_t>(sent, 0));
    }
    const bool was_held = typed_.size() >= kMostInput;
    typed_.erase(0, done);
    const bool is_held = typed_.size() >= kMostInput;
    if (is_held || was_held) {
        std::ranges::for_each(clients_, [&](StreamClient& client) { client.hold_input(is_held); });
    }
    if (!typed_.empty()) {
        loop_.watch(
            input_.get(), [this] { send_input(); }, EventLoop::Ready::to_write);
    } else if (is_input_to_end_) {
        close_input();
    } else {
        loop_.forget(input_.get(), EventLoop::Ready::to_write);
    }
}

/// Its end, or that nobody reads it: then all that comes is thrown away.
void SupervisedCommand::close_input() {
    is_input_closed_ = true;
    typed_.clear();
    std::ranges::for_each(clients_, [](StreamClient& client) { client.hold_input(false); });
    if (!input_.valid()) {
        return;
    }
    loop_.forget(input_.get(), EventLoop::Ready::to_write);
    if (!config_.tty) {
        shutdown(input_.get(), SHUT_WR);
    }
    input_.reset();
}

void SupervisedCommand::drop_full_clients() {
    for (StreamClient& client : clients_) {
        if (client.is_full()) {
            client.drop();
        }
    }
}

void SupervisedCommand::end_clients() {
    ends_clients_ = true;
    for (StreamClient& client : clients_) {
        client.end_when_told();
    }
}

bool SupervisedCommand::has_clients() const {
    return !std::ranges::all_of(clients_, &StreamClient::is_gone);
}

}  // namespace hull::container
