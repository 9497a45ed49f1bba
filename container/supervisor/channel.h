// How the daemon and a container's supervisor talk.
//
// Over a unix socket of whole messages (SOCK_SEQPACKET) in the container's folder. A message is a JSON
// object, with at most one descriptor. The daemon asks ("do"), and each question has one answer on its
// connection:
// {"is": "done"}, {"is": "failed", "why": TEXT, "status": N} or what stands below. Any number of connections.
//
//   watch                       {"is": "state", "state": RunState, "last_exec": N}, of which N is the largest
//                               number of an exec so far (0: none); and again, without that, whenever the
//                               state changes, until the connection ends: with the supervisor
//   start                       runs the command once the machine is ready for it; done as soon as it is
//                               known
//   attach, with a client       its socket becomes a client of the command: "input", "output", "errors" say
//                               of which streams, "keys" (an array of bytes) is what it types to be detached,
//                               "first" (hexadecimal) what it has sent already. Before start, too
//   exec, with or without       runs a further command: "number" (1 and up, chosen by the daemon), "exec" (an
//   a client                    ExecConfig), the rest as of attach. done once it runs; failed with a status
//                               of 126 or 127 where it cannot: then the client stays the daemon's
//   state-of-exec               {"is": "exec", "running": BOOL, "status": N}, of "number"; who watches is
//                               told of each that ends after it had run: {"is": "exec-ended", "number": N,
//                               "status": N}
//                               who watches is told of probes of its health, too: {"is": "probe-begun"},
//                               {"is": "probe-ended", "status": N}, and {"is": "health", "status": TEXT}
//                               where the container's health is another now, behind the state that says so
//   signal                      "value", to the command, or to the command "number" where that is there
//   resize                      "rows", "columns", of the command, or of the command "number"
//   freeze                      all processes of the container ("on": true), or lets them run again
//   limit                       what the container may use from now on: "memory" (bytes), "nano_cpus",
//                               "pids"; without limit where one is not there
//   plug                        a further place on a bridge, while the command runs: "endpoint" (an
//                               Endpoint), "names" (whether it is to find others by name), and "ports" (an
//                               array, as ContainerMachine has them) where it has none at the host so far.
//                               They lead to the endpoint by which the guest sends out
//   unplug                      that place, by its "bridge"; "way_out" is the bridge over which the guest
//                               sends out from then on, where that is another; empty: it is not
//   group                       {"is": "group", "files": {NAME: TEXT}}: what the container's control group
//                               (cgroup-v2) says of itself
//   processes                   {"is": "processes", …}: a ProcessList (guest_process.h)
//   keep                        the disk, which is to be brought up to date at the end whatever the RunFile
//                               says: the container is to be started again
//   contents                    {"is": "contents"} with a descriptor: the host's end of a transfer
//                               (GuestContents) of what a ContentsQuestion says, which goes on as long as
//                               this connection does. Of a quiet supervisor, too (RunFile: is_quiet, and
//                               is_open_afterwards behind the command's end), and of that nothing else but
//   settle                      it takes no more of them, and is gone when those that go on have ended, or in
//                               half a minute
//   end                         the machine, at once; the exit status is 137 unless there is one
//
// A client's socket carries what Docker's hijacked connections do: input as it is; output as it is where
// there is a terminal, else in frames (one byte 1 or 2, three of zero, four of length, big-endian). Its end
// towards the supervisor is the input's end; the supervisor ends it where the command has ended and all is
// told.
#pragma once

#include <boost/json/object.hpp>
#include <filesystem>
#include <optional>
#include <string>

#include "base/unique_fd.h"

namespace hull::container {

/// An end of a connection. One thread at a time.
class Channel {
  public:
    static constexpr size_t kMostBytes = size_t{160} << 10;  ///< of a message

    /// To the supervisor that listens at `path`. Not valid where there is none (any more).
    static Channel connect(const std::filesystem::path& path);
    explicit Channel(UniqueFd socket) : socket_{std::move(socket)} {}

    [[nodiscard]] bool valid() const { return socket_.valid(); }
    [[nodiscard]] int fd() const { return socket_.get(); }

    struct Message {
        boost::json::object what;
        UniqueFd descriptor{};
    };
    /// False where the other is gone or, on a socket that does not block, takes no more. Throws Error (usage)
    /// where the message is too large.
    bool send(const boost::json::object& what, int descriptor = -1);
    /// Waits for a message. None at the end, where the other sends what is none, or, on a socket that does
    /// not block, where there is none yet: is_at_end() tells.
    std::optional<Message> receive();
    [[nodiscard]] bool is_at_end() const { return is_at_end_; }

  private:
    UniqueFd socket_;
    std::string room_;  // for what comes
    bool is_at_end_ = false;
};

}  // namespace hull::container
