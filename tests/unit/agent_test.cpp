// The agent, which serves a host over sockets of this machine's instead of a guest's.
#include "guest/agent/agent.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "guest/agent/user.h"
#include "tests/support/files.h"
#include "tests/support/frames.h"
#include "tests/support/sockets.h"

namespace hull::agent {
namespace {

using test::frame;

constexpr int kPatienceMs = 30'000;

/// Whether namespaces are refused, which a child finds out.
bool unshare_is_refused() {
    const pid_t child = fork();
    if (child == 0) {
        _exit(unshare(CLONE_NEWUTS) == 0 ? 0 : 1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return status != 0;
}

std::string host_path;  // for the agent's process, which takes no arguments

int connect_to_test() {
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (UnixAddress::at(host_path).value().connect(fd) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/// A frame that came.
struct Received {
    uint32_t type = 0;
    uint32_t number = 0;
    std::string payload;
    /// The number with this tag; -1 where there is none.
    [[nodiscard]] int64_t value(Tag tag) const {
        const Frame whole{type, number, reinterpret_cast<const uint8_t*>(payload.data()),
                          static_cast<uint32_t>(payload.size())};
        FieldReader fields{whole};
        uint64_t found = 0;
        for (Field field; fields.next(field);) {
            if (field.tag == tag && field.number(found)) {
                return static_cast<int64_t>(found);
            }
        }
        return -1;
    }
    [[nodiscard]] std::string text(Tag tag) const {
        const Frame whole{type, number, reinterpret_cast<const uint8_t*>(payload.data()),
                          static_cast<uint32_t>(payload.size())};
        FieldReader fields{whole};
        for (Field field; fields.next(field);) {
            if (field.tag == tag && field.text() != nullptr) {
                return field.text();
            }
        }
        return "";
    }
};

/// An agent in a process of its own, and the host that it connects to.
class AgentOverSockets : public testing::Test {
  protected:
    void SetUp() override {
        host_path = folder_.path() / "host";
        std::filesystem::remove(host_path);
        listener_ = test::listen_unix(host_path);
        process_ = fork();
        if (process_ == 0) {
            static Agent agent{connect_to_test};
            _exit(agent.serve() ? 0 : 1);
        }
        control_ = next_connection();
        const Received hello = read_frame(control_.get());
        EXPECT_EQ(hello.type, kHello);
        EXPECT_EQ(hello.value(kVersionTag), static_cast<int64_t>(kVersion));
    }
    void TearDown() override {
        if (process_ > 0) {
            EXPECT_EQ(end(), 0);
        }
    }

    /// Ends the control connection; the agent's exit status.
    int end() {
        control_.reset();
        int status = 0;
        waitpid(process_, &status, 0);
        process_ = 0;
        return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
    }
    UniqueFd next_connection() {
        EXPECT_TRUE(wait_for(listener_.get())) << "no connection";
        return UniqueFd{accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC)};
    }
    static bool wait_for(int fd) {
        pollfd entry{fd, POLLIN, 0};
        return poll(&entry, 1, kPatienceMs) == 1;
    }
    static Received read_frame(int fd) {
        const std::string header = test::read_up_to(fd, kHeaderSize, kPatienceMs);
        if (header.size() < kHeaderSize) {
            return {};
        }
        const auto* words = reinterpret_cast<const uint8_t*>(header.data());
        return {load_word(words), load_word(words + 4),
                test::read_up_to(fd, load_word(words + 8), kPatienceMs)};
    }
    /// The next report, but for those that a command runs.
    Received report() {
        Received next = read_frame(control_.get());
        for (; next.type == kStarted; next = read_frame(control_.get())) {
            started_.push_back(next.number);
        }
        return next;
    }
    void send(const std::string& bytes) { test::write_all(control_.get(), bytes); }
    void run(uint32_t number, const std::vector<std::string>& words, const test::FillFrame& more = {}) {
        send(frame(kRun, number, [&](FrameWriter& writer) {
            for (const std::string& word : words) {
                writer.add_text(kArgument, word.c_str());
            }
            writer.add_text(kEnvironment, "PATH=/usr/bin:/bin");
            if (more) {
                more(writer);
            }
        }));
    }
    /// Takes the three streams of a command that was started.
    std::map<uint32_t, UniqueFd> streams(uint32_t number) {
        std::map<uint32_t, UniqueFd> result;
        for (int count = 0; count < 3; ++count) {
            UniqueFd fd = next_connection();
            const Received first = read_frame(fd.get());
            EXPECT_EQ(first.number, number);
            EXPECT_EQ(first.payload, "");
            result[first.type] = std::move(fd);
        }
        EXPECT_TRUE(result.contains(kInput) && result.contains(kOutput) && result.contains(kErrors));
        return result;
    }
    static std::string all_of(const UniqueFd& fd) { return test::read_up_to(fd.get(), 1 << 26, kPatienceMs); }
    /// A command that gets no input; what it printed.
    std::string output_of(const std::vector<std::string>& words, const test::FillFrame& more = {},
                          uint32_t number = 1) {
        run(number, words, more);
        auto fds = streams(number);
        fds.at(kInput).reset();
        std::string printed = all_of(fds.at(kOutput)) + all_of(fds.at(kErrors));
        EXPECT_EQ(report().value(kStatus), 0) << printed;
        return printed;
    }

    const test::TemporaryFolder folder_;
    UniqueFd listener_;
    UniqueFd control_;
    pid_t process_ = 0;
    std::vector<uint32_t> started_;
};

TEST_F(AgentOverSockets, RunsACommandWithItsStreamsApart) {
    run(9, {"sh", "-c", "cat; echo wrong >&2; exit 3"});
    auto fds = streams(9);
    const std::string bytes{"bin\0ary\xff\r\n", 10};
    test::write_all(fds.at(kInput).get(), bytes);
    EXPECT_EQ(test::read_up_to(fds.at(kOutput).get(), bytes.size()), bytes);
    shutdown(fds.at(kInput).get(), SHUT_WR);
    EXPECT_EQ(all_of(fds.at(kOutput)), "");
    EXPECT_EQ(all_of(fds.at(kErrors)), "wrong\n");
    const Received exited = report();
    EXPECT_EQ(exited.type, kExited);
    EXPECT_EQ(exited.number, 9U);
    EXPECT_EQ(exited.value(kStatus), 3);
    EXPECT_EQ(exited.value(kBySignal), -1);
}

TEST_F(AgentOverSockets, GivesItWhatTheRequestSaysAndNothingElse) {
    EXPECT_EQ(output_of({"sh", "-c", "pwd; echo \"$#,$1\"; env | sort; ls /proc/self/fd | wc -l", "x", "a b"},
                        [](FrameWriter& writer) {
                            writer.add_text(kEnvironment, "NAME=with space");
                            writer.add_text(kPath, "/usr");
                        }),
              // Three streams, and the one that ls lists.
              "/usr\n1,a b\nNAME=with space\nPATH=/usr/bin:/bin\nPWD=/usr\n4\n");
    EXPECT_THAT(output_of({"cat", "/proc/self/stat"}), testing::Not(testing::IsEmpty()));
    EXPECT_EQ(output_of({"sh", "-c", "test $(cut -d' ' -f5 /proc/$$/stat) = $$ && echo leads"}), "leads\n")
        << "it is in a process group of its own";
    EXPECT_THAT(output_of({"grep", "SigBlk", "/proc/self/status"}), testing::HasSubstr("0000000000000000"));
}

TEST_F(AgentOverSockets, TakesAsManyArgumentsAsARequestHasRoomFor) {
    std::vector<std::string> words(20'000, "x");
    words[0] = "sh";
    words[1] = "-c";
    words[2] = "echo $#";
    EXPECT_EQ(output_of(words), "19996\n");
}

TEST_F(AgentOverSockets, TellsOfWhatCannotBeRun) {
    run(1, {"no-such-program"});
    Received failed = report();
    EXPECT_EQ(failed.type, kFailed);
    EXPECT_EQ(failed.number, 1U);
    EXPECT_EQ(failed.value(kError), ENOENT);
    run(2, {"/etc/passwd"});
    failed = report();
    EXPECT_EQ(failed.number, 2U);
    EXPECT_EQ(failed.value(kError), EACCES);
    run(3, {"true"}, [](FrameWriter& writer) { writer.add_text(kPath, "/no/such/folder"); });
    failed = report();
    EXPECT_EQ(failed.number, 3U);
    EXPECT_EQ(failed.value(kError), ENOENT);
    EXPECT_EQ(failed.text(kText), "to enter the working folder");
    EXPECT_THAT(started_, testing::IsEmpty());
    EXPECT_EQ(output_of({"echo", "goes on"}), "goes on\n");
    EXPECT_THAT(started_, testing::ElementsAre(1U));
}

TEST_F(AgentOverSockets, ReadsFiles) {
    const auto read = [&](const std::string& path) {
        send(frame(kRead, 6, [&](FrameWriter& writer) { writer.add_text(kPath, path.c_str()); }));
        return report();
    };
    const auto content = [](const Received& from) {
        return from.type == kContents && from.number == 6 ? from.payload.substr(8) : "none";
    };
    EXPECT_EQ(content(read(folder_.file("small", std::string("a\0b", 3)))), std::string("a\0b", 3));
    EXPECT_EQ(content(read(folder_.file("empty", ""))), "");
    EXPECT_EQ(content(read(folder_.file("large", std::string(kMostRead + 1, 'x')))),
              std::string(kMostRead, 'x'));
    EXPECT_EQ(content(read("/proc/sys/kernel/ostype")), "Linux\n");
    EXPECT_EQ(read(folder_.path() / "none").value(kError), ENOENT);
    EXPECT_EQ(read(folder_.path()).value(kError), EISDIR);
}

TEST_F(AgentOverSockets, CarriesSignalsToAWholeProcessGroup) {
    run(4, {"sh", "-c", "sleep 1000 & echo up; wait"});
    auto fds = streams(4);
    EXPECT_EQ(test::read_up_to(fds.at(kOutput).get(), 3), "up\n");
    send(frame(kSignal, 5, [](FrameWriter& writer) { writer.add_number(kValue, SIGKILL); }));  // nobody
    send(frame(kSignal, 4, [](FrameWriter& writer) { writer.add_number(kValue, SIGTERM); }));
    const Received exited = report();
    EXPECT_EQ(exited.number, 4U);
    EXPECT_EQ(exited.value(kBySignal), SIGTERM);
    EXPECT_EQ(all_of(fds.at(kOutput)), "") << "its child is gone too, or this would not end";
}

TEST_F(AgentOverSockets, RunsSeveralAtOnceAndNoneHoldsAnotherUp) {
    run(1, {"sh", "-c", "head -c 4000000 /dev/zero; echo done >&2"});
    auto full = streams(1);  // nobody reads its output
    run(2, {"cat"});
    auto other = streams(2);
    test::write_all(other.at(kInput).get(), "still here");
    EXPECT_EQ(test::read_up_to(other.at(kOutput).get(), 10), "still here");
    other.at(kInput).reset();
    Received exited = report();
    EXPECT_EQ(exited.number, 2U);
    EXPECT_EQ(exited.value(kStatus), 0);
    EXPECT_EQ(all_of(full.at(kOutput)).size(), 4'000'000U);
    EXPECT_EQ(all_of(full.at(kErrors)), "done\n");
    exited = report();
    EXPECT_EQ(exited.number, 1U);
    EXPECT_EQ(exited.value(kStatus), 0);
}

TEST_F(AgentOverSockets, AWriterLearnsThatNobodyReads) {
    run(1, {"yes"});
    auto fds = streams(1);
    EXPECT_EQ(test::read_up_to(fds.at(kOutput).get(), 4), "y\ny\n");
    fds.at(kOutput).reset();
    EXPECT_EQ(report().value(kBySignal), SIGPIPE);
    // And the host that a command takes no more input.
    run(2, {"sh", "-c", "exec <&-; echo closed; sleep 1000"});
    fds = streams(2);
    EXPECT_EQ(test::read_up_to(fds.at(kOutput).get(), 7), "closed\n");
    const std::string much(1 << 22, 'x');
    EXPECT_LT(::send(fds.at(kInput).get(), much.data(), much.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(much.size()));
    send(frame(kSignal, 2, [](FrameWriter& writer) { writer.add_number(kValue, SIGKILL); }));
    EXPECT_EQ(report().value(kBySignal), SIGKILL);
}

TEST_F(AgentOverSockets, MakesFoldersAndFilesInPlaceOfLinks) {
    const std::string victim = folder_.file("victim", "untouched");
    std::filesystem::create_symlink(victim, folder_.path() / "link");
    const std::string deep = folder_.path() / "a/b/c";
    const std::string link = folder_.path() / "link";
    send(frame(kFolder, 1, [&](FrameWriter& writer) {
        writer.add_text(kPath, deep.c_str());
        writer.add_number(kMode, 01777);
    }));
    send(frame(kFile, 2, [&](FrameWriter& writer) {
        writer.add_text(kPath, link.c_str());
        writer.add_number(kMode, 0640);
        writer.add_bytes(kContent, "text", 4);
    }));
    EXPECT_EQ(output_of({"stat", "-c", "%a %F %s", deep, link}).substr(0, 14), "1777 directory");
    std::stringstream text;
    text << std::ifstream{link}.rdbuf();
    EXPECT_EQ(text.str(), "text");
    EXPECT_FALSE(std::filesystem::is_symlink(link));
    EXPECT_EQ(std::filesystem::file_size(victim), 9U);
    send(frame(kFile, 3, [](FrameWriter& writer) {
        writer.add_text(kPath, "/proc/no/such");
        writer.add_number(kMode, 0644);
        writer.add_bytes(kContent, "", 0);
    }));
    const Received failed = report();
    EXPECT_EQ(failed.number, 3U);
    EXPECT_EQ(failed.value(kError), ENOENT);
}

TEST_F(AgentOverSockets, SendsATreeWithoutWhatIsNoFile) {
    static_cast<void>(folder_.file("tree/folder/file", std::string(100'000, 'x')));
    static_cast<void>(folder_.file("tree/empty", ""));
    const std::filesystem::path tree = folder_.path() / "tree";
    std::filesystem::create_symlink("/etc", tree / "link");
    ASSERT_EQ(mkfifo((tree / "pipe").c_str(), 0600), 0);
    send(frame(kSendTree, 6, [&](FrameWriter& writer) { writer.add_text(kPath, tree.c_str()); }));
    const UniqueFd stream = next_connection();
    Received received = read_frame(stream.get());
    EXPECT_EQ(received.type, kTree);
    EXPECT_EQ(received.number, 6U);
    std::map<std::string, std::string> found;
    std::string path;
    for (received = read_frame(stream.get()); received.type != kEnd; received = read_frame(stream.get())) {
        if (received.type == kEntry) {
            path = received.text(kPath);
            EXPECT_FALSE(found.contains(path));
            found[path] = received.text(kTarget);
            EXPECT_EQ(S_ISDIR(received.value(kMode)), path == "folder");
        } else {
            ASSERT_EQ(received.type, kData);
            found[path] += received.payload;
        }
    }
    EXPECT_EQ(
        found,
        (std::map<std::string, std::string>{
            {"folder", ""}, {"folder/file", std::string(100'000, 'x')}, {"empty", ""}, {"link", "/etc"}}));
    EXPECT_EQ(all_of(stream), "");
}

TEST_F(AgentOverSockets, RelaysWhoComesToAnAddress) {
    constexpr uint16_t kTried = 17017;
    send(frame(kRelay, 8, [](FrameWriter& writer) {
        writer.add_number(kIp, 0x7f000005);
        writer.add_number(kPortNumber, kTried);
    }));
    EXPECT_EQ(output_of({"true"}), "");  // so that it listens
    const UniqueFd client{socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    const sockaddr_in where = test::at("127.0.0.5", kTried);
    ASSERT_EQ(connect(client.get(), reinterpret_cast<const sockaddr*>(&where), sizeof where), 0);
    const UniqueFd stream = next_connection();
    const Received first = read_frame(stream.get());
    EXPECT_EQ(first.type, kRelayed);
    EXPECT_EQ(first.number, 8U);
    test::write_all(client.get(), "question");
    EXPECT_EQ(test::read_up_to(stream.get(), 8), "question");
    test::write_all(stream.get(), "answer");
    shutdown(stream.get(), SHUT_WR);
    EXPECT_EQ(all_of(client), "answer");
    test::write_all(client.get(), "more");
    shutdown(client.get(), SHUT_WR);
    EXPECT_EQ(all_of(stream), "more") << "each half closes apart";
}

TEST_F(AgentOverSockets, RelaysWhoComesToASocket) {
    const std::string place = folder_.path() / "relayed";
    send(frame(kRelaySocket, 9, [&](FrameWriter& writer) {
        writer.add_text(kPath, place.c_str());
        writer.add_number(kMode, 0620);
    }));
    EXPECT_EQ(output_of({"stat", "-c", "%F %a", place}), "socket 620\n");
    const UniqueFd client = test::connect_unix(place);
    const UniqueFd stream = next_connection();
    const Received first = read_frame(stream.get());
    EXPECT_EQ(first.type, kRelayed);
    EXPECT_EQ(first.number, 9U);
    test::write_all(client.get(), "question");
    EXPECT_EQ(test::read_up_to(stream.get(), 8), "question");
    const std::string long_path(200, 'x');
    send(frame(kRelaySocket, 10, [&](FrameWriter& writer) {
        writer.add_text(kPath, long_path.c_str());
        writer.add_number(kMode, 0600);
    }));
    EXPECT_EQ(report().value(kError), ENAMETOOLONG);
}

TEST_F(AgentOverSockets, CarriesTheDatagramsOfAPort) {
    constexpr uint16_t kTried = 17018;
    const auto at_port = [](uint64_t port) {
        return frame(kRelayPort, 11, [=](FrameWriter& writer) {
            writer.add_number(kIp, 0x7f000006);
            writer.add_number(kPortNumber, port);
        });
    };
    send(at_port(kTried));
    const UniqueFd carried = next_connection();
    const Received first = read_frame(carried.get());
    EXPECT_EQ(first.type, kDatagrams);
    EXPECT_EQ(first.number, 11U);
    const UniqueFd client{socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
    const sockaddr_in own = test::at("127.0.0.7", 17019);
    const sockaddr_in where = test::at("127.0.0.6", kTried);
    ASSERT_EQ(bind(client.get(), reinterpret_cast<const sockaddr*>(&own), sizeof own), 0);
    ASSERT_EQ(connect(client.get(), reinterpret_cast<const sockaddr*>(&where), sizeof where), 0);
    const std::string large(kMostDatagram, 'x');
    for (const std::string& text : {std::string{"question"}, large + "y", large}) {
        ASSERT_EQ(::send(client.get(), text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
    }
    const std::string whose{"\x7f\0\0\7\x42\x7b", 6};
    EXPECT_EQ(test::read_up_to(carried.get(), 16), (std::string{"\0\10", 2} + whose).append("question"));
    EXPECT_EQ(test::read_up_to(carried.get(), 8 + kMostDatagram),
              (std::string{"\x10\0", 2} + whose).append(large))
        << "what is too long for the host is lost";
    test::write_all(carried.get(), (std::string{"\0\6", 2} + whose).append("answer"));
    EXPECT_EQ(test::read_up_to(client.get(), 6), "answer");
    send(at_port(kTried + 2));
    EXPECT_EQ(report().value(kError), EAGAIN) << "there is one such port";
    // Connections there, too.
    const UniqueFd stream{socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    ASSERT_EQ(connect(stream.get(), reinterpret_cast<const sockaddr*>(&where), sizeof where), 0);
    const UniqueFd relayed = next_connection();
    const Received second = read_frame(relayed.get());
    EXPECT_EQ(second.type, kRelayed);
    EXPECT_EQ(second.number, 11U);
    // A host that sends what is none is left.
    test::write_all(carried.get(), std::string(8, '\xff'));
    EXPECT_EQ(all_of(carried), "");
    EXPECT_EQ(output_of({"echo", "here"}), "here\n");
}

TEST_F(AgentOverSockets, GivesUpCapabilitiesForGood) {
    if (geteuid() != 0) {
        GTEST_SKIP() << "only root has capabilities to give up";
    }
    const std::string printed = output_of({"grep", "Cap", "/proc/self/status"}, [](FrameWriter& writer) {
        writer.add_number(kCapabilities, uint64_t{1} << CAP_CHOWN);
    });
    EXPECT_THAT(printed, testing::HasSubstr("CapEff:\t0000000000000001"));
    EXPECT_THAT(printed, testing::HasSubstr("CapBnd:\t0000000000000001"));
}

TEST_F(AgentOverSockets, WhatARootsLinksLeadToIsInThatRoot) {
    if (geteuid() != 0) {
        GTEST_SKIP() << "only root may enter another root";
    }
    const std::string root = folder_.path() / "root";
    std::filesystem::create_directories(root + "/real");
    std::filesystem::create_directory_symlink("/real", root + "/link");
    const auto in_root = [&](Type type, const std::string& path, const test::FillFrame& fill) {
        send(frame(type, 7, [&](FrameWriter& writer) {
            writer.add_text(kRoot, root.c_str());
            writer.add_text(kPath, path.c_str());
            fill(writer);
        }));
    };
    in_root(kFolder, "/link/made/deep", [](FrameWriter&) {});
    in_root(kFile, "/link/file", [](FrameWriter& writer) {
        writer.add_number(kMode, 0600);
        writer.add_bytes(kContent, "first", 5);
    });
    in_root(kFile, "/link/file", [](FrameWriter& writer) { writer.add_bytes(kContent, "2nd", 3); });
    in_root(kLink, "/link/to", [](FrameWriter& writer) { writer.add_text(kTarget, "file"); });
    in_root(kFile, "/link/missing", [](FrameWriter& writer) { writer.add_bytes(kContent, "x", 1); });
    const Received failed = report();  // behind all of the others
    EXPECT_EQ(failed.type, kFailed);
    EXPECT_EQ(failed.value(kError), ENOENT);
    EXPECT_TRUE(std::filesystem::is_directory(root + "/real/made/deep"));
    EXPECT_EQ(test::contents_of(root + "/real/to"), "2ndst") << "into the file that is there";
    // And the agent is back in its own.
    EXPECT_EQ(output_of({"sh", "-c", "test -e /real || echo own"}), "own\n");
}

TEST_F(AgentOverSockets, ACommandMayHaveNamespacesAndOthersJoinThem) {
    if (geteuid() != 0 || unshare_is_refused()) {
        GTEST_SKIP() << "namespaces may not be made here";
    }
    run(1, {"sh", "-c", "echo $$; hostname; read line; echo $line"}, [](FrameWriter& writer) {
        writer.add_number(kNamespaces, CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC);
        writer.add_text(kHostName, "inside");
        writer.add_text(kUser, "0");
    });
    auto fds = streams(1);
    EXPECT_EQ(test::read_up_to(fds[kOutput].get(), 9, kPatienceMs), "1\ninside\n");
    EXPECT_EQ(output_of(
                  {"sh", "-c", "hostname; kill -0 1 && echo seen"},
                  [](FrameWriter& writer) { writer.add_number(kJoined, 1); }, 2),
              "inside\nseen\n");
    test::write_all(fds[kInput].get(), "end\n");
    EXPECT_EQ(all_of(fds[kOutput]), "end\n");
    EXPECT_EQ(report().value(kStatus), 0);
    // What has ended cannot be joined.
    run(5, {"true"}, [](FrameWriter& writer) { writer.add_number(kJoined, 1); });
    const Received failed = report();
    EXPECT_EQ(failed.type, kFailed);
    EXPECT_EQ(failed.value(kError), ESRCH);
}

TEST_F(AgentOverSockets, ACommandMayBeTheChildOfAnInit) {
    if (geteuid() != 0 || unshare_is_refused()) {
        GTEST_SKIP() << "namespaces may not be made here";
    }
    constexpr uint64_t kMayKill = uint64_t{1} << CAP_KILL;
    const auto with_init = [](FrameWriter& writer) {
        writer.add_number(kNamespaces, CLONE_NEWPID);
        writer.add_number(kInit, 1);
        writer.add_number(kCapabilities, kMayKill);
    };
    // Outside, its command is the child of a process that has no file open and only these capabilities.
    const std::string look =
        "read x y z parent rest </proc/self/stat; cd /proc/$parent; cat comm; grep CapPrm status; ls fd | wc "
        "-l";
    EXPECT_EQ(output_of({"sh", "-c", "test $$ != 1 && echo $PPID; " + look}, with_init),
              "1\ninit\nCapPrm:\t0000000000000020\n0\n");

    // Signals reach it once, and its end is the init's, as an exit status.
    run(3, {"sh", "-c", "trap 'echo got' HUP; echo on; until read x; do :; done; kill -TERM $$"}, with_init);
    auto fds = streams(3);
    EXPECT_EQ(test::read_up_to(fds[kOutput].get(), 3, kPatienceMs), "on\n");
    send(frame(kSignal, 3, [](FrameWriter& writer) { writer.add_number(kValue, SIGHUP); }));
    EXPECT_EQ(test::read_up_to(fds[kOutput].get(), 4, kPatienceMs), "got\n");
    test::write_all(fds[kInput].get(), "\n");
    EXPECT_EQ(all_of(fds[kOutput]), "");
    EXPECT_EQ(report().value(kStatus), 128 + SIGTERM);

    // Orphans are reaped: whoever is left by its parent is gone once it has ended.
    EXPECT_EQ(output_of({"sh", "-c",
                         "(sh -c 'echo $$ >orphan; mv orphan there; exec sleep 0.2' &); "
                         "until [ -e there ]; do sleep 0.02; done; read pid <there; "
                         "for i in $(seq 500); do kill -0 $pid 2>/dev/null || break; sleep 0.02; done; "
                         "kill -0 $pid 2>/dev/null || echo reaped"},
                        [&](FrameWriter& writer) {
                            with_init(writer);
                            writer.add_text(kPath, folder_.path().c_str());
                        }),
              "reaped\n");

    run(5, {"nosuch"}, with_init);
    const Received failed = report();
    EXPECT_EQ(failed.type, kFailed);
    EXPECT_EQ(failed.value(kError), ENOENT);
    EXPECT_EQ(failed.text(kText), kToRunIt);
}

TEST(AgentUsers, AreLookedUpAsDockerDoes) {
    const test::TemporaryFolder folder;
    const std::string users = folder.path() / "passwd";
    const std::string groups = folder.path() / "group";
    std::ofstream{users} << "root:x:0:0:root:/root:/bin/sh\nbroken line\n1002:x:5:6::/five:\n"
                            "worker:x:1000:1001::/home/worker:/bin/sh\n";
    std::ofstream{groups} << "root:x:0:\nstaff:x:50:nobody,worker\nworkers:x:1001:\nbig:x:9:worker\n";
    const struct {
        const char* text;
        uid_t id;
        gid_t group;
        std::vector<gid_t> further;
        const char* home;
    } rows[] = {
        {"0", 0, 0, {}, "/root"},
        {"", 0, 0, {}, "/root"},
        {"worker", 1000, 1001, {50, 9}, "/home/worker"},
        {"1000", 1000, 1001, {50, 9}, "/home/worker"},
        {"worker:staff", 1000, 50, {}, "/home/worker"},
        {"worker:7", 1000, 7, {}, "/home/worker"},
        {":50", 0, 50, {}, "/root"},
        {"1002", 5, 6, {}, "/five"},  // a name of digits
        {"77", 77, 0, {}, "/"},
    };
    for (const auto& row : rows) {
        User user;
        EXPECT_EQ(find_user(row.text, users.c_str(), groups.c_str(), user), nullptr) << row.text;
        EXPECT_EQ(user.id, row.id) << row.text;
        EXPECT_EQ(user.group, row.group) << row.text;
        EXPECT_EQ(user.groups[0], row.group) << row.text;
        EXPECT_EQ(std::vector<gid_t>(user.groups + 1, user.groups + user.group_count), row.further)
            << row.text;
        EXPECT_STREQ(user.home, row.home) << row.text;
    }
    for (const std::string text : {"stranger", "-1", "2147483648", "worker:strangers", "0x5"}) {
        User user;
        EXPECT_NE(find_user(text.c_str(), users.c_str(), groups.c_str(), user), nullptr) << text;
        EXPECT_EQ(errno, ENOENT) << text;
    }
    User user;
    EXPECT_EQ(find_user("5:6", "/nowhere", "/nowhere", user), nullptr);
    EXPECT_NE(find_user(std::string(300, 'x').c_str(), users.c_str(), groups.c_str(), user), nullptr);
    // Nobody waits for a pipe that an image has there.
    const std::string pipe = folder.path() / "pipe";
    ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
    EXPECT_NE(find_user("worker", pipe.c_str(), pipe.c_str(), user), nullptr);
}

TEST_F(AgentOverSockets, EndsWhateverIsMalformedAndTellsIt) {
    const auto text = [](Tag tag, const std::string& value) {
        return [=](FrameWriter& writer) { writer.add_text(tag, value.c_str()); };
    };
    const auto number = [](Tag tag, uint64_t value) {
        return [=](FrameWriter& writer) { writer.add_number(tag, value); };
    };
    const auto more = [](std::pair<Tag, uint64_t> field) {
        return [=](FrameWriter& writer) {
            writer.add_text(kArgument, "true");
            writer.add_number(field.first, field.second);
        };
    };
    const auto bytes = [](Tag tag, const std::string& value) {
        return [=](FrameWriter& writer) {
            writer.add_text(kArgument, "true");
            writer.add_bytes(tag, value.data(), value.size());
        };
    };
    const struct {
        const char* name;
        std::string bytes;
        bool is_told = true;
    } rows[] = {
        {"a type that is none", frame(200, 1)},
        {"a report", test::hello_frame()},
        {"no argument", frame(kRun, 1, text(kEnvironment, "A=B"))},
        {"an argument that is no text", frame(kRun, 1, number(kArgument, 5))},
        {"a field of another request", frame(kRun, 1, number(kValue, 1))},
        {"a namespace that is not a command's to have", frame(kRun, 1, more({kNamespaces, CLONE_NEWUSER}))},
        {"a name for a namespace that is not its own", frame(kRun, 1,
                                                             [](FrameWriter& writer) {
                                                                 writer.add_text(kArgument, "true");
                                                                 writer.add_text(kHostName, "x");
                                                             })},
        {"an init without processes of its own", frame(kRun, 1, more({kInit, 1}))},
        {"an init that is no flag", frame(kRun, 1, more({kInit, 2}))},
        {"a long name", frame(kRun, 1, text(kHostName, std::string(65, 'x')))},
        {"what joins and has its own", frame(kRun, 1,
                                             [](FrameWriter& writer) {
                                                 writer.add_text(kArgument, "true");
                                                 writer.add_number(kJoined, 2);
                                                 writer.add_number(kNamespaces, CLONE_NEWUTS);
                                             })},
        {"a place of the agent's own that is hidden", frame(kRun, 1,
                                                            [](FrameWriter& writer) {
                                                                writer.add_text(kArgument, "true");
                                                                writer.add_text(kHidden, "/proc");
                                                            })},
        {"too many places", frame(kRun, 1,
                                  [](FrameWriter& writer) {
                                      for (size_t count = 0; count <= RunRequest::kMostPlaces; ++count) {
                                          writer.add_text(kUnwritable, "/x");
                                      }
                                  })},
        {"a limit of nothing", frame(kRun, 1, bytes(kLimit, std::string(24, '\x7f')))},
        {"a short limit", frame(kRun, 1, bytes(kLimit, std::string(23, '\0')))},
        {"too many limits", frame(kRun, 1,
                                  [](FrameWriter& writer) {
                                      for (size_t count = 0; count <= RunRequest::kMostLimits; ++count) {
                                          writer.add_bytes(kLimit, std::string(24, '\0').data(), 24);
                                      }
                                  })},
        {"a flag of two", frame(kRun, 1, more({kNoNewPrivileges, 2}))},
        {"a large number that it joins", frame(kRun, 1, more({kJoined, uint64_t{1} << 32}))},
        {"a node that is none", frame(kNode, 1,
                                      [](FrameWriter& writer) {
                                          writer.add_text(kPath, "/nowhere");
                                          writer.add_number(kMode, 0666);
                                          writer.add_number(kDevice, 1);
                                      })},
        {"a folder that is a node", frame(kFolder, 1,
                                          [](FrameWriter& writer) {
                                              writer.add_text(kPath, "/nowhere");
                                              writer.add_number(kMode, S_IFCHR | 0666);
                                          })},
        {"a link to nowhere", frame(kLink, 1, text(kPath, "/nowhere"))},
        {"a large terminal", frame(kRun, 1, number(kRows, 65536))},
        {"a command of no number", frame(kRun, kEveryCommand, text(kArgument, "true"))},
        {"signal 0", frame(kSignal, 1, number(kValue, 0))},
        {"signal 65", frame(kSignal, 1, number(kValue, 65))},
        {"no signal", frame(kSignal, 1)},
        {"two signals", frame(kSignal, 1,
                              [](FrameWriter& writer) {
                                  writer.add_number(kValue, 1);
                                  writer.add_number(kValue, 2);
                              })},
        {"a wide terminal", frame(kResize, 1, number(kColumns, 1 << 20))},
        {"no path of a folder", frame(kFolder, 1)},
        {"a folder's large mode", frame(kFolder, 1, number(kMode, 010000))},
        {"a mount without a kind", frame(kMount, 1, text(kPath, "/tmp"))},
        {"an address without a prefix", frame(kAddress, 1, text(kSource, "lo"))},
        {"a path twice", frame(kSendTree, 1,
                               [](FrameWriter& writer) {
                                   writer.add_text(kPath, "/nowhere");
                                   writer.add_text(kPath, "/nowhere");
                               })},
        {"a size with one side", frame(kResize, 1, number(kRows, 5))},
        {"a long prefix", frame(kAddress, 1, number(kPrefix, 33))},
        {"port 0", frame(kRelay, 1, number(kPortNumber, 0))},
        {"port 65536", frame(kRelay, 1, number(kPortNumber, 65536))},
        {"a port of no address", frame(kRelayPort, 1, number(kPortNumber, 53))},
        {"a tree of nothing", frame(kSendTree, 1)},
        {"a cut field", test::raw_frame(kFolder, 1, "xxxxxxx")},
        {"a field longer than its frame", test::raw_frame(kFolder, 1, std::string(8, '\xff'))},
        {"too large", test::raw_frame(kRun, 1, std::string(kMostRequest + 1, 'x')).substr(0, 1000), false},
    };
    for (const auto& row : rows) {
        SCOPED_TRACE(row.name);
        send(row.bytes);
        if (row.is_told) {
            const Received failed = report();
            EXPECT_EQ(failed.type, kFailed);
            EXPECT_EQ(failed.value(kError), EBADMSG);
        }
        EXPECT_EQ(report().type, 0U) << "the connection is still there";
        EXPECT_EQ(end(), 1);
        SetUp();
    }
}

TEST_F(AgentOverSockets, EndsWithTheHost) {
    run(1, {"sh", "-c", "echo $$; exec sleep 1000"});
    auto fds = streams(1);
    const pid_t command = std::stoi(test::read_up_to(fds.at(kOutput).get(), 32, 1000));
    EXPECT_EQ(end(), 0);
    kill(command, SIGKILL);  // in a guest everything ends with the agent
}

}  // namespace
}  // namespace hull::agent
