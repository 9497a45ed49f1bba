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

/// As poll(2) takes it.
int patience_until(Connection::Clock::time_point time) {
    if (time == Connection::Clock::time_point::max()) {
        return -1;
    }
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(time - Connection::Clock::now());
    return static_cast<int>(std::clamp<int64_t>(left.count(), 0, INT_MAX));
}

}  // namespace

bool Connection::wait_for(short events, boost::system::error_code& error) const {
    pollfd entries[] = {{socket_.get(), events, 0}, {stop_, POLLIN, 0}};
    const int ready = poll(entries, 2, patience_until(deadline_));
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

Connection::Wake Connection::wait_for_other(int fd, Clock::time_point until) const {
    for (;;) {
        // What the client may send meanwhile is its next request, and waits.
        pollfd entries[] = {{fd, POLLIN, 0}, {socket_.get(), POLLRDHUP, 0}, {stop_, POLLIN, 0}};
        const int ready = poll(entries, 3, patience_until(until));
        if (ready < 0 && errno == EINTR) {
            continue;
        }
        if (ready < 0 || entries[1].revents != 0 || entries[2].revents != 0) {
            return Wake::ended;
        }
        return ready == 0 ? Wake::timed_out : Wake::ready;
    }
}

size_t Connection::transfer(short event, Pieces pieces, boost::system::error_code& error) {
    error = {};
    msghdr message = pieces.message();
    while (!pieces.is_empty() && !error) {
        const ssize_t done = event == POLLIN ? recvmsg(socket_.get(), &message, MSG_DONTWAIT)
                                             : sendmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (done > 0) {
            return static_cast<size_t>(done);
        }
        if (done == 0) {
            error = boost::asio::error::eof;
        } else if (errno != EAGAIN && errno != EINTR) {
            error = last_error();
        } else {
            wait_for(event, error);
        }
    }
    return 0;
}

}  // namespace hull::container
