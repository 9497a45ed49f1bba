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
