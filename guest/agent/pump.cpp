#include "guest/agent/pump.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

namespace hull::agent {

namespace {

void close_if_open(int& fd) {
    if (fd >= 0) {
        close(fd);
        fd = -1;
    }
}

bool is_for_later(int error) {
    return error == EAGAIN || error == EINTR;
}

}  // namespace

bool Pumps::add(int from, int to) {
    size_t place = 0;
    while (place < used_ && pumps_[place].to >= 0) {
        ++place;
    }
    if (place == kMost) {
        close(from);
        close(to);
        return false;
    }
    fcntl(from, F_SETFL, fcntl(from, F_GETFL) | O_NONBLOCK);
    fcntl(to, F_SETFL, fcntl(to, F_GETFL) | O_NONBLOCK);
    Pump& pump = pumps_[place];
    pump.from = from;
    pump.to = to;
    pump.begin = pump.end = 0;
    used_ = place < used_ ? used_ : place + 1;
    return true;
}

size_t Pumps::wants(pollfd* entries) const {
    for (size_t place = 0; place < used_; ++place) {
        const Pump& pump = pumps_[place];
        // What waits is given before more is taken. Who reads nothing any more is noticed at once, too.
        const bool is_full = pump.end > pump.begin;
        entries[2 * place] = {is_full ? -1 : pump.from, POLLIN, 0};
        entries[2 * place + 1] = {pump.to, static_cast<short>(is_full ? POLLOUT : 0), 0};
    }
    return 2 * used_;
}

void Pumps::close_both(Pump& pump) {
    if (pump.from >= 0) {
        shutdown(pump.from, SHUT_RD);  // where it is a socket, whoever writes is told
    }
    if (pump.to >= 0) {
        shutdown(pump.to, SHUT_WR);
    }
    close_if_open(pump.from);
    close_if_open(pump.to);
}

void Pumps::take(Pump& pump) {
    const ssize_t got = read(pump.from, pump.bytes, kRoom);
    if (got < 0 && is_for_later(errno)) {
        return;
    }
    if (got <= 0) {  // a terminal's last user is told as EIO
        close_both(pump);
        return;
    }
    pump.begin = 0;
    pump.end = static_cast<size_t>(got);
    give(pump);
}

void Pumps::give(Pump& pump) {
    while (pump.begin < pump.end) {
        const ssize_t given = write(pump.to, pump.bytes + pump.begin, pump.end - pump.begin);
        if (given < 0) {
            if (!is_for_later(errno)) {
                close_both(pump);
            }
            return;
        }
        pump.begin += static_cast<size_t>(given);
    }
    pump.begin = pump.end = 0;
}

void Pumps::serve(const pollfd* entries, size_t count) {
    for (size_t place = 0; 2 * place < count; ++place) {
        Pump& pump = pumps_[place];
        const pollfd& from = entries[2 * place];
        const pollfd& to = entries[2 * place + 1];
        if (pump.to >= 0 && from.fd >= 0 && from.revents != 0) {
            take(pump);
        } else if (pump.to >= 0 && (to.revents & POLLOUT) != 0) {
            give(pump);
        } else if (pump.to >= 0 && to.revents != 0) {
            close_both(pump);  // nobody reads there any more
        }
    }
    while (used_ > 0 && pumps_[used_ - 1].to < 0) {
        --used_;
    }
}

}  // namespace hull::agent
