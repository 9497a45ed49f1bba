#include "container/api/connection.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/error.hpp>
#include <cerrno>
#include <climits>
#include <cstdint>

namespace hull::container {

namespace {

boost::system::error_code last_error() {
    return {errno, boost::system::system_category()};
}

bool is_worth_waiting() {
    return errno == EAGAIN || errno == EINTR;
}

}  // namespace

bool Connection::wait_for(short events, boost::system::error_code& error) const {
    pollfd entries[] = {{socket_.get(), events, 0}, {stop_, POLLIN, 0}};
    int patience = -1;
    if (deadline_ != Clock::time_point::max()) {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline_ - Clock::now());
        patience = static_cast<int>(std::clamp<int64_t>(left.count(), 0, INT_MAX));
    }
    const int ready = poll(entries, 2, patience);
    if (ready < 0 && errno != EINTR) {
        error = last_error();
    } else if (ready == 0) {
        error = boost::asio::error::timed_out;
    } else if (entries[1].revents != 0) {
        error = boost::asio::error::operation_aborted;
    }
    return !error;
}

bool Connection::wait_for_input(boost::system::error_code& error) const {
    error = {};
    return wait_for(POLLIN, error);
}

size_t Connection::receive(Pieces room, boost::system::error_code& error) {
    error = {};
    msghdr message = room.message();
    while (!room.is_empty()) {
        const ssize_t got = recvmsg(socket_.get(), &message, MSG_DONTWAIT);
        if (got > 0) {
            return static_cast<size_t>(got);
        }
        if (got == 0) {
            error = boost::asio::error::eof;
            return 0;
        }
        if (!is_worth_waiting()) {
            error = last_error();
            return 0;
        }
        if (!wait_for(POLLIN, error)) {
            return 0;
        }
    }
    return 0;
}

size_t Connection::send(Pieces bytes, boost::system::error_code& error) {
    error = {};
    const msghdr message = bytes.message();
    while (!bytes.is_empty()) {
        const ssize_t sent = sendmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent > 0) {
            return static_cast<size_t>(sent);
        }
        if (!is_worth_waiting()) {
            error = last_error();
            return 0;
        }
        if (!wait_for(POLLOUT, error)) {
            return 0;
        }
    }
    return 0;
}

}  // namespace hull::container
