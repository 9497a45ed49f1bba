// The host's side of an agent, which may be anything that a guest's programs can send.
#include "vmm/agent/agent_client.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "tests/support/files.h"
#include "tests/support/frames.h"
#include "tests/support/sockets.h"

namespace hull {
namespace {

using test::frame;
using testing::ElementsAre;
using testing::HasSubstr;

class AgentClientTest : public testing::Test {
  protected:
    AgentClientTest() {
        signal(SIGPIPE, SIG_IGN);
        restart();
    }
    void restart() {
        told_.clear();
        client_.reset();
        std::filesystem::remove(path_);
        client_.emplace(
            loop_, test::listen_unix(path_, SOCK_NONBLOCK),
            AgentClient::Events{
                .hello = [this] { told_.emplace_back("hello"); },
                .failed =
                    [this](uint32_t number, int error, const std::string& what) {
                        told_.push_back("failed " + std::to_string(number) + " " + std::to_string(error) +
                                        " " + what);
                    },
                .exited =
                    [this](uint32_t number, CommandEnd end) {
                        told_.push_back("exited " + std::to_string(number) +
                                        (end.by_signal ? " signal " : " ") + std::to_string(end.value));
                    },
                .started = [this](uint32_t number) { told_.push_back("started " + std::to_string(number)); },
                .contents =
                    [this](uint32_t number, const std::string& bytes) {
                        told_.push_back("contents " + std::to_string(number) + " " + bytes);
                    },
                .connected =
                    [this](agent::Type kind, uint32_t number, UniqueFd fd) {
                        told_.push_back("connected " + std::to_string(kind) + " " + std::to_string(number));
                        connections_.push_back(std::move(fd));
                    },
                .lost = [this](const std::string& why) { told_.push_back("lost: " + why); }});
    }
    [[nodiscard]] UniqueFd connect() const { return test::connect_unix(path_); }
    static void send(const UniqueFd& fd, const std::string& bytes) { test::write_all(fd.get(), bytes); }
    /// Serves until nothing has happened for a moment.
    void settle() {
        loop_.set_deadline(std::chrono::milliseconds{20}, [this] { loop_.stop(); });
        loop_.run();
    }
    static bool is_closed(const UniqueFd& fd) {
        char byte = 0;
        // With what it had sent unread, it is told so.
        const ssize_t got = recv(fd.get(), &byte, 1, MSG_DONTWAIT);
        return got == 0 || (got < 0 && errno == ECONNRESET);
    }

    const test::TemporaryFolder folder_;
    const std::string path_ = folder_.path() / "host";
    EventLoop loop_;
    std::vector<std::string> told_;
    std::vector<UniqueFd> connections_;
    std::optional<AgentClient> client_;
};

TEST_F(AgentClientTest, TellsWhatIsReported) {
    const UniqueFd control = connect();
    const auto number = [](agent::Tag tag, uint64_t value) {
        return [=](agent::FrameWriter& writer) { writer.add_number(tag, value); };
    };
    const std::string all =
        test::hello_frame() + frame(agent::kStarted, 3) +
        frame(agent::kContents, 6,
              [](agent::FrameWriter& writer) { writer.add_bytes(agent::kContent, "by\0tes", 6); }) +
        frame(agent::kExited, 3, number(agent::kStatus, 255)) +
        frame(agent::kExited, 4, number(agent::kBySignal, 9)) +
        frame(agent::kFailed, 5, [](agent::FrameWriter& writer) {
            writer.add_number(agent::kError, 2);
            writer.add_text(agent::kText, "to \033[31mpaint\n");
        });
    for (const char byte : all) {
        send(control, std::string(1, byte));
        loop_.set_deadline(std::chrono::milliseconds{0}, [this] { loop_.stop(); });
        loop_.run();
    }
    settle();
    EXPECT_THAT(told_, ElementsAre("hello", "started 3", std::string("contents 6 by\0tes", 17),
                                   "exited 3 255", "exited 4 signal 9", "failed 5 2 to ?[31mpaint?"));
}

TEST_F(AgentClientTest, TellsConnectionsApartWhateverTheirOrder) {
    const UniqueFd output = connect();
    const UniqueFd silent = connect();
    const UniqueFd control = connect();
    send(output, frame(agent::kOutput, 7) + "bytes that follow");
    send(control, test::hello_frame());
    settle();
    EXPECT_THAT(told_, ElementsAre("connected 81 7", "hello"));
    EXPECT_EQ(test::read_up_to(connections_.at(0).get(), 17), "bytes that follow");
    EXPECT_FALSE(is_closed(silent));
}

TEST_F(AgentClientTest, SendsRequestsThatWaitForASlowAgent) {
    const UniqueFd control = connect();
    send(control, test::hello_frame());
    settle();
    const std::string much(200'000, 'x');
    for (uint32_t number = 0; number < 20; ++number) {
        EXPECT_TRUE(client_->request(agent::kFile, number, [&](agent::FrameWriter& writer) {
            writer.add_bytes(agent::kContent, much.data(), much.size());
        }));
    }
    EXPECT_FALSE(client_->request(agent::kFile, 99, [&](agent::FrameWriter& writer) {
        writer.add_bytes(agent::kContent, much.data(), much.size());
        writer.add_bytes(agent::kContent, much.data(), much.size());
    })) << "too large";
    std::string got;
    const size_t wanted = 20 * (agent::kHeaderSize + 8 + much.size());
    while (got.size() < wanted) {
        const size_t before = got.size();
        got += test::read_up_to(control.get(), std::min<size_t>(wanted - got.size(), 100'000), 10);
        settle();
        ASSERT_GT(got.size(), before);
    }
    EXPECT_TRUE(got.starts_with(frame(agent::kFile, 0, [&](agent::FrameWriter& writer) {
        writer.add_bytes(agent::kContent, much.data(), much.size());
    })));
    EXPECT_THAT(told_, ElementsAre("hello"));
}

TEST_F(AgentClientTest, LosesAnAgentThatIsHostile) {
    const auto report = [](uint32_t type, std::vector<std::pair<agent::Tag, uint64_t>> numbers,
                           const char* text = nullptr) {
        return test::hello_frame() + frame(type, 1, [&](agent::FrameWriter& writer) {
                   for (const auto& [tag, value] : numbers) {
                       writer.add_number(tag, value);
                   }
                   if (text != nullptr) {
                       writer.add_text(agent::kText, text);
                   }
               });
    };
    std::string too_large = test::raw_frame(agent::kFailed, 0, "");
    agent::store_word(reinterpret_cast<uint8_t*>(too_large.data()) + 8, agent::kMostReport + 1);
    const struct {
        const char* name;
        std::string bytes;
        const char* why;
        bool greets = true;
    } rows[] = {
        {"another version", test::hello_frame(agent::kVersion + 1), "another version", false},
        {"no version", frame(agent::kHello, 0), "another version", false},
        {"two versions",
         frame(agent::kHello, 0,
               [](agent::FrameWriter& writer) {
                   writer.add_number(agent::kVersionTag, 1);
                   writer.add_number(agent::kVersionTag, 1);
               }),
         "malformed", false},
        {"hello twice", test::hello_frame() + test::hello_frame(), "hello twice"},
        {"an end without a status", report(agent::kExited, {}), "makes no sense"},
        {"a large status", report(agent::kExited, {{agent::kStatus, 256}}), "makes no sense"},
        {"signal 0", report(agent::kExited, {{agent::kBySignal, 0}}), "makes no sense"},
        {"signal 65", report(agent::kExited, {{agent::kBySignal, 65}}), "makes no sense"},
        {"two ends", report(agent::kExited, {{agent::kStatus, 1}, {agent::kBySignal, 1}}), "makes no sense"},
        {"error 0", report(agent::kFailed, {{agent::kError, 0}}, "x"), "makes no sense"},
        {"a large error", report(agent::kFailed, {{agent::kError, uint64_t{1} << 40}}, "x"),
         "makes no sense"},
        {"no text", report(agent::kFailed, {{agent::kError, 1}}), "makes no sense"},
        {"a start with a field", report(agent::kStarted, {{agent::kStatus, 0}}), "makes no sense"},
        {"no contents", report(agent::kContents, {}), "makes no sense"},
        {"too much of a file",
         test::hello_frame() + frame(agent::kContents, 1,
                                     [](agent::FrameWriter& writer) {
                                         const std::string much(agent::kMostRead + 1, 'x');
                                         writer.add_bytes(agent::kContent, much.data(), much.size());
                                     }),
         "makes no sense"},
        {"contents twice",
         test::hello_frame() + frame(agent::kContents, 1,
                                     [](agent::FrameWriter& writer) {
                                         writer.add_bytes(agent::kContent, "x", 1);
                                         writer.add_bytes(agent::kContent, "x", 1);
                                     }),
         "malformed"},
        {"a request", report(agent::kRun, {}), "makes no sense"},
        {"a field of a request", report(agent::kExited, {{agent::kMode, 1}}), "malformed"},
        {"a cut field", test::hello_frame() + test::raw_frame(agent::kFailed, 0, "1234567"), "malformed"},
        {"too large", test::hello_frame() + too_large, "too large"},
        {"an end", test::hello_frame(), "ended the connection"},
    };
    for (const auto& row : rows) {
        SCOPED_TRACE(row.name);
        restart();
        UniqueFd control = connect();
        send(control, row.bytes);
        if (std::string_view{row.name} == "an end") {
            control.reset();
        }
        settle();
        ASSERT_EQ(told_.size(), row.greets ? 2U : 1U) << testing::PrintToString(told_);
        EXPECT_THAT(told_.back(), testing::AllOf(HasSubstr("lost: "), HasSubstr(row.why)));
        if (control.valid()) {
            EXPECT_TRUE(is_closed(control));
        }
        // Whoever else comes is served all the same.
        const UniqueFd other = connect();
        send(other, frame(agent::kErrors, 1));
        settle();
        EXPECT_EQ(told_.back(), "connected 82 1");
    }
}

TEST_F(AgentClientTest, ClosesConnectionsThatAreNothing) {
    const UniqueFd control = connect();
    send(control, test::hello_frame());
    settle();
    const std::string rows[] = {
        frame(agent::kRun, 1), frame(79, 1),
        frame(99, 1),          test::raw_frame(agent::kOutput, 1, "payload"),
        test::hello_frame(),   "GET / HTTP/1.0\r\n\r\n",
    };
    for (const std::string& row : rows) {
        const UniqueFd fd = connect();
        send(fd, row);
        settle();
        EXPECT_TRUE(is_closed(fd)) << testing::PrintToString(row);
    }
    UniqueFd short_one = connect();
    send(short_one, "short");
    short_one.reset();
    settle();
    EXPECT_THAT(told_, ElementsAre("hello"));
    EXPECT_FALSE(is_closed(control));
}

TEST_F(AgentClientTest, TakesOnlySoManyConnectionsThatSayNothing) {
    std::vector<UniqueFd> silent;
    for (size_t count = 0; count < 3 * AgentClient::kMostUnknown; ++count) {
        silent.push_back(connect());
    }
    const UniqueFd control = connect();
    send(control, test::hello_frame());
    for (int turn = 0; turn < 4; ++turn) {
        settle();
    }
    EXPECT_THAT(told_, testing::IsEmpty()) << "it waits behind the silent ones";
    silent.clear();
    settle();
    settle();
    EXPECT_THAT(told_, ElementsAre("hello"));
}

}  // namespace
}  // namespace hull
