// A client's connection, as Beast reads and writes it, that never waits for ever.
#pragma once

#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/system/error_code.hpp>
#include <boost/system/system_error.hpp>
#include <chrono>
#include <cstddef>
#include <utility>

#include "base/unique_fd.h"

namespace hull::container {

/// A stream socket, and an eventfd whose signal ends every wait on it: what Beast calls a SyncStream. A wait
/// beyond the deadline ends with boost::asio::error::timed_out, the signal with
/// boost::asio::error::operation_aborted. One thread.
class Connection {
  public:
    /// `stop` is the caller's and outlives it.
    Connection(UniqueFd socket, int stop) : socket_{std::move(socket)}, stop_{stop} {}

    using Clock = std::chrono::steady_clock;
    /// For all further waits; time_point::max(): none.
    void set_deadline(Clock::time_point deadline) { deadline_ = deadline; }
    /// Waits until there is something to receive, or the end.
    bool wait_for_input(boost::system::error_code& error) const;

    enum class Wake { ready, timed_out, ended };
    /// Waits for something else: until `fd` is readable, `until` has come (time_point::max(): never), or the
    /// client has gone or sends nothing more, or the eventfd is signalled, which both are `ended`.
    [[nodiscard]] Wake wait_for_other(int fd, Clock::time_point until) const;

    /// Gives the socket up: nothing but the destructor may be called then.
    UniqueFd release() { return std::move(socket_); }

    template <class Buffers>
    size_t read_some(const Buffers& buffers, boost::system::error_code& error) {
        return transfer(POLLIN, pieces_of(buffers), error);
    }
    template <class Buffers>
    size_t write_some(const Buffers& buffers, boost::system::error_code& error) {
        return transfer(POLLOUT, pieces_of(buffers), error);
    }
    template <class Buffers>
    size_t read_some(const Buffers& buffers) {
        boost::system::error_code error;
        const size_t got = read_some(buffers, error);
        throw_on(error);
        return got;
    }
    template <class Buffers>
    size_t write_some(const Buffers& buffers) {
        boost::system::error_code error;
        const size_t sent = write_some(buffers, error);
        throw_on(error);
        return sent;
    }

  private:
    /// Several buffers as the kernel takes them; of many the first ones.
    class Pieces {
      public:
        void add(const void* bytes, size_t size) {
            if (size > 0 && count_ < pieces_.size()) {
                pieces_[count_++] = {const_cast<void*>(bytes), size};
            }
        }
        [[nodiscard]] msghdr message() {
            msghdr message{};
            message.msg_iov = pieces_.data();
            message.msg_iovlen = count_;
            return message;
        }
        [[nodiscard]] bool is_empty() const { return count_ == 0; }

      private:
        std::array<iovec, 16> pieces_{};
        size_t count_ = 0;
    };
    template <class Buffers>
    static Pieces pieces_of(const Buffers& buffers) {
        Pieces pieces;
        for (auto each = boost::asio::buffer_sequence_begin(buffers);
             each != boost::asio::buffer_sequence_end(buffers); ++each) {
            const boost::asio::const_buffer buffer{*each};
            pieces.add(buffer.data(), buffer.size());
        }
        return pieces;
    }

    /// Receives (POLLIN) or sends (POLLOUT) what can be, at least a byte where there is room for one; 0 with
    /// an error, which is boost::asio::error::eof at the end.
    size_t transfer(short event, Pieces pieces, boost::system::error_code& error);
    /// Waits until the socket is ready for one of poll(2)'s events.
    bool wait_for(short events, boost::system::error_code& error) const;

    static void throw_on(const boost::system::error_code& error) {
        if (error) {
            throw boost::system::system_error{error};
        }
    }

    UniqueFd socket_;
    int stop_;
    Clock::time_point deadline_ = Clock::time_point::max();
};

}  // namespace hull::container
