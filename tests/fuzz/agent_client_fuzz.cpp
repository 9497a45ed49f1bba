// Whatever a guest's programs send to the host, over any number of connections.
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <deque>
#include <string>

#include "base/event_loop.h"
#include "base/unique_fd.h"
#include "tests/fuzz/input.h"
#include "tests/support/frames.h"
#include "tests/support/sockets.h"
#include "vmm/agent/agent_client.h"

namespace {

using namespace hull;
using test::require;

/// Where the guest's connections arrive, made once for all inputs.
struct Host {
    static std::string make_folder() {
        std::string name = "/tmp/hull-agent-fuzz-XXXXXX";
        require(mkdtemp(name.data()) != nullptr);
        return name;
    }
    ~Host() {
        unlink(path.c_str());
        rmdir(folder.c_str());
    }
    std::string folder = make_folder();
    std::string path = folder + "/host";
};

std::string make_bytes(test::FuzzInput& input) {
    std::string bytes;
    for (size_t left = input.byte(); left > 0 && !input.empty(); --left) {
        bytes += static_cast<char>(input.byte());
    }
    return bytes;
}

/// A report or a connection's first frame that is mostly sound.
std::string make_frame(test::FuzzInput& input) {
    static constexpr uint32_t kTypes[] = {agent::kHello,  agent::kExited,  agent::kFailed,   agent::kInput,
                                          agent::kOutput, agent::kStarted, agent::kContents, agent::kExited};
    static constexpr agent::Tag kTags[] = {agent::kVersionTag, agent::kStatus, agent::kBySignal,
                                           agent::kError};
    const uint8_t what = input.byte();
    return test::frame(what < 250 ? kTypes[what % 8] : input.byte(), 1, [&](agent::FrameWriter& writer) {
        for (int left = what >> 3 & 3; left > 0; --left) {
            const uint8_t which = input.byte();
            if (which < 200) {
                const agent::Tag tag = kTags[which % 4];
                const uint64_t sound = tag == agent::kVersionTag ? agent::kVersion : 1;
                writer.add_number(tag, which < 160 ? (which >> 5 & 1) * sound : input.word());
            } else if (which < 240) {
                writer.add_text(agent::kText, "to do\x1b it");
            } else if (which < 246) {
                writer.add_bytes(agent::kContent, "bytes", 5);
            } else {
                const std::string bytes = make_bytes(input);
                writer.add_bytes(static_cast<agent::Tag>(input.byte()), bytes.data(), bytes.size());
            }
        }
    });
}

}  // namespace

// NOLINTNEXTLINE(readability-identifier-naming): the name that libFuzzer calls
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static const Host host;
    unlink(host.path.c_str());
    test::FuzzInput input{{data, size}};
    EventLoop loop;
    std::deque<UniqueFd> connected;
    bool is_there = false;
    bool is_lost = false;
    AgentClient client{loop,
                       test::listen_unix(host.path, SOCK_NONBLOCK),
                       {.hello =
                            [&] {
                                require(!is_there && !is_lost);
                                is_there = true;
                            },
                        .failed =
                            [&](uint32_t, int error, const std::string& what) {
                                require(is_there && !is_lost && error > 0 && !what.empty());
                                for (const char byte : what) {
                                    require(byte >= ' ' && byte <= '~');
                                }
                            },
                        .exited =
                            [&](uint32_t, CommandEnd end) {
                                require(is_there && !is_lost && end.value <= (end.by_signal ? 64U : 255U));
                            },
                        .started = [&](uint32_t) { require(is_there && !is_lost); },
                        .contents =
                            [&](uint32_t, const std::string& bytes) {
                                require(is_there && !is_lost && bytes.size() <= agent::kMostRead);
                            },
                        .connected =
                            [&](agent::Type kind, uint32_t, UniqueFd fd) {
                                require(kind >= agent::kInput && kind <= agent::kFrames && fd.valid());
                                connected.push_back(std::move(fd));
                            },
                        .lost =
                            [&](const std::string& why) {
                                require(!is_lost && !why.empty());
                                is_lost = true;
                            }}};
    const auto run = [&] {
        loop.set_deadline(std::chrono::milliseconds{0}, [&] { loop.stop(); });
        loop.run();
    };
    std::deque<UniqueFd> programs;
    while (!input.empty()) {
        const uint8_t what = input.byte();
        if (what % 8 == 0 && programs.size() < 40) {
            programs.push_back(test::connect_unix(host.path, SOCK_NONBLOCK));
        } else if (what % 8 == 1 && !programs.empty()) {
            programs.pop_front();
        } else if (what % 8 == 2) {
            run();
        } else if (what % 8 == 3) {
            client.request(agent::kSignal, what,
                           [](agent::FrameWriter& writer) { writer.add_number(agent::kValue, 1); });
        } else if (!programs.empty()) {
            const std::string bytes = what % 8 == 4 ? make_bytes(input) : make_frame(input);
            static_cast<void>(send(programs[(what >> 3) % programs.size()].get(), bytes.data(), bytes.size(),
                                   MSG_NOSIGNAL | MSG_DONTWAIT));
            run();
        }
    }
    run();
    return 0;
}
