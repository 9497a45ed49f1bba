// The agent: does what the host asks over the control connection.
#pragma once

#include <poll.h>
#include <sys/types.h>

#include "guest/agent/command.h"
#include "guest/agent/datagrams.h"
#include "guest/agent/interfaces.h"
#include "guest/agent/protocol.h"
#include "guest/agent/pump.h"
#include "guest/agent/requests.h"

namespace hull::agent {

/// Makes a connection to the host (kPort), with close-on-exec set; -1 with errno where it cannot.
using Connect = int (*)();

/// One for a process, in static memory, since it is large. One thread.
class Agent {
  public:
    explicit Agent(Connect connect) : connect_{connect} {}

    /// Connects, says hello and serves the host until the control connection ends. False where it could not
    /// connect or the host sent something malformed. What runs then runs on.
    bool serve();

  private:
    static constexpr size_t kMostCommands = 64;
    static constexpr size_t kMostRelays = 16;
    struct Command {
        uint32_t number = 0;
        pid_t process = 0;  // 0: this place is free
        int terminal = -1;
        int root = -1;  // open
        bool is_apart = false;
    };
    struct Relay {
        uint32_t number = 0;
        int listener = -1;
    };

    void wait();
    bool take_control();
    bool take(const Frame& frame);
    bool run(const Frame& frame);
    void send_signal(uint32_t number, int signal);
    void resize(uint32_t number, const Request& request);
    void send_tree_of(uint32_t number, const char* path);
    void transfer(uint32_t type, uint32_t number, const Request& request);
    void read_file(uint32_t number, const char* path);
    void relay(uint32_t number, const Request& request);
    void relay_port(uint32_t number, const Request& request);
    void plug(uint32_t number, const Request& request);
    void take_relayed(const Relay& relay);
    bool connect_streams(uint32_t number, const CommandStreams& streams);
    int open_stream(Type type, uint32_t number);
    void carry_both_ways(int one, int other);
    void reap();
    void report(const FrameWriter& frame);
    void report_failure(uint32_t number, const Failure& failure);
    Command* find(uint32_t number);

    Connect connect_;
    int control_ = -1;
    bool malformed_ = false;  // what came over it
    int children_ = -1;       // a signalfd for SIGCHLD
    Command commands_[kMostCommands];
    Relay relays_[kMostRelays];
    size_t relay_count_ = 0;
    RunWords words_;
    RunRequest request_;
    Pumps pumps_;
    Datagrams datagrams_;
    Interfaces interfaces_;
    pollfd entries_[2 + kMostRelays + Datagrams::kEntries + Interfaces::kEntries + 2 * Pumps::kMost];
    uint8_t room_[kHeaderSize + kMostRequest];
    FrameReader reader_{room_, sizeof room_};
    uint8_t report_[kHeaderSize + 8 + kMostRead];
};

}  // namespace hull::agent
