// A container's supervisor with a machine that is none: the test is its guest's agent.
#include "container/supervisor/supervisor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <boost/json/serialize.hpp>
#include <filesystem>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/unique_fd.h"
#include "container/supervisor/contents_question.h"
#include "tests/support/files.h"
#include "tests/support/frames.h"
#include "tests/support/sockets.h"
#include "tests/support/supervised.h"

namespace hull::container {
namespace {

using namespace std::chrono_literals;
using boost::json::object;
using test::frame;
using test::Supervised;
using testing::HasSubstr;

constexpr int kPatienceMs = 60'000;

class SupervisorTest : public testing::Test {
  protected:
    SupervisorTest() {
        files_.folder = folder_.path() / "123456789012";
        std::filesystem::create_directory(files_.folder);
        std::error_code error;
        std::filesystem::create_hard_link(HULL_SUPERVISOR, supervisor_, error);
        if (error) {
            std::filesystem::copy_file(HULL_SUPERVISOR, supervisor_);
        }
        static_cast<void>(folder_.file("hull-agent.initramfs", ""));
        machine_is("while [ ! -e \"$0.off\" ]; do sleep 0.02; done");
        run_.config.command = {"program"};
        run_.config.host_name = "x";
        run_.config.user = "somebody";
        run_.machine.writable = folder_.file("disk", "x");
    }
    /// What the machine's process is instead.
    void machine_is(const std::string& script) const {
        const auto file = folder_.file("hull", "#!/bin/sh\n" + script + "\n");
        std::filesystem::permissions(file, std::filesystem::perms::owner_all);
    }
    Supervised& boot() {
        running_.reset();
        return running_.emplace(supervisor_, files_, run_);
    }
    /// A connection of the guest's.
    [[nodiscard]] UniqueFd connect() const {
        const std::string path = files_.folder / "vsock_1024";
        for (int tries = 0; tries < 2000; ++tries) {
            UniqueFd fd = std::filesystem::exists(path) ? test::connect_unix(path) : UniqueFd{};
            if (fd.valid()) {
                return fd;
            }
            std::this_thread::sleep_for(10ms);
        }
        ADD_FAILURE() << "nobody listens";
        return UniqueFd{};
    }
    void greet() {
        control_ = connect();
        report(test::hello_frame());
    }
    void report(const std::string& bytes) const {
        static_cast<void>(send(control_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL));
    }
    static std::string status(uint32_t number, uint64_t value) {
        return frame(agent::kExited, number,
                     [&](agent::FrameWriter& writer) { writer.add_number(agent::kStatus, value); });
    }
    static std::string failure(uint32_t number, uint64_t error, const char* what) {
        return frame(agent::kFailed, number, [&](agent::FrameWriter& writer) {
            writer.add_number(agent::kError, error);
            writer.add_text(agent::kText, what);
        });
    }
    struct Request {
        uint32_t type = 0;
        uint32_t number = 0;
        std::string payload;
    };
    /// The next request of this type; those before it are passed over.
    [[nodiscard]] Request wait_for(uint32_t type) const {
        for (;;) {
            const std::string header = test::read_up_to(control_.get(), agent::kHeaderSize, kPatienceMs);
            if (header.size() < agent::kHeaderSize) {
                ADD_FAILURE() << "no request of type " << type;
                return {};
            }
            const auto* words = reinterpret_cast<const uint8_t*>(header.data());
            Request request{agent::load_word(words), agent::load_word(words + 4), ""};
            request.payload = test::read_up_to(control_.get(), agent::load_word(words + 8), kPatienceMs);
            if (request.type == type) {
                return request;
            }
        }
    }
    void answer_read(const std::string& contents) const {
        const Request read = wait_for(agent::kRead);
        report(frame(agent::kContents, read.number, [&](agent::FrameWriter& writer) {
            writer.add_bytes(agent::kContent, contents.data(), contents.size());
        }));
    }
    UniqueFd open_stream(agent::Type kind, uint32_t number) const {
        UniqueFd fd = connect();
        test::write_all(fd.get(), frame(kind, number));
        return fd;
    }
    /// Starts the command, and gives it its streams.
    void start() {
        boot();
        greet();
        container::Channel channel = container::Channel::connect(files_.socket());
        ASSERT_TRUE(channel.send({{"do", "start"}}));
        EXPECT_EQ(wait_for(agent::kRun).number, 1U);
        open_streams(1);
        report(frame(agent::kStarted, 1));
        ASSERT_EQ(Supervised::kind(Supervised::next(channel)), "done");
        EXPECT_EQ(running_->state().stage, RunState::Stage::running);
    }
    void open_streams(uint32_t number) {
        input_ = open_stream(agent::kInput, number);
        output_ = open_stream(agent::kOutput, number);
        errors_ = open_stream(agent::kErrors, number);
    }
    void close_streams() {
        input_.reset();
        output_.reset();
        errors_.reset();
    }
    /// The command has ended, and its guest does what a guest does.
    RunState end(uint64_t value, const std::string& memory_events = "low 0\noom_kill 0\n") {
        report(status(1, value));
        close_streams();
        answer_read(memory_events);
        EXPECT_EQ(test::read_up_to(control_.get(), 1, kPatienceMs), "") << "it is to power off";
        static_cast<void>(folder_.file("hull.off", ""));
        return running_->wait();
    }

    const test::TemporaryFolder folder_;
    const std::filesystem::path supervisor_ = folder_.path() / "hull-supervisor";
    ContainerFiles files_;
    RunFile run_;
    UniqueFd control_;
    UniqueFd input_;
    UniqueFd output_;
    UniqueFd errors_;
    std::optional<Supervised> running_;
};

TEST_F(SupervisorTest, RunsACommandToItsEnd) {
    start();
    const UniqueFd client = running_->attach();
    test::write_all(output_.get(), "printed\n");
    EXPECT_EQ(test::framed(client.get(), "printed\n"), "1:printed\n");
    const RunState state = end(4);
    EXPECT_EQ(state.exit_status, 4);
    EXPECT_EQ(state.error, "");
    EXPECT_FALSE(state.is_out_of_memory);
    EXPECT_EQ(test::framed(client.get()), "");
    LogReader log{files_.log(), std::nullopt};
    EXPECT_EQ(log.next().value().text, "printed\n");
    EXPECT_EQ(running_->exit_status(), 0);
}

TEST_F(SupervisorTest, ProbesItsHealth) {
    run_.health = HealthProbe{.command = {"probe", "it"}, .interval = 300ms, .timeout = 60s, .retries = 2};
    run_.config.environment = {"A=b"};
    start();
    container::Channel watch = container::Channel::connect(files_.socket());
    ASSERT_TRUE(watch.send({{"do", "watch"}}));
    const auto next_of = [&](const std::string& kind) {
        object told;
        do {
            told = Supervised::next(watch);
        } while (!told.empty() && Supervised::kind(told) != kind);
        return told;
    };
    const auto probe = [&](int status, const std::string& printed) {
        const Request run = wait_for(agent::kRun);
        EXPECT_THAT(run.payload, HasSubstr("probe"));
        EXPECT_THAT(run.payload, HasSubstr("A=b"));
        const UniqueFd input = open_stream(agent::kInput, run.number);
        const UniqueFd output = open_stream(agent::kOutput, run.number);
        const UniqueFd errors = open_stream(agent::kErrors, run.number);
        report(frame(agent::kStarted, run.number));
        test::write_all(output.get(), printed);
        EXPECT_EQ(test::read_up_to(input.get(), 1, kPatienceMs), "") << "it gets no input";
        report(SupervisorTest::status(run.number, static_cast<uint64_t>(status)));
    };
    probe(0, "w\xff" + std::string(1, '\0') + "ll\n");
    EXPECT_EQ(Supervised::kind(next_of("probe-begun")), "probe-begun");
    EXPECT_EQ(next_of("probe-ended").at("status"), 0);
    EXPECT_EQ(next_of("health").at("status"), "healthy");
    EXPECT_EQ(running_->state().health->log.at(0).output, "w\xef\xbf\xbd?ll\n");
    probe(1, std::string(5000, 'x'));
    probe(3, "");
    EXPECT_EQ(next_of("health").at("status"), "unhealthy");
    const Health health = running_->state().health.value();
    EXPECT_EQ(health.failing_streak, 2);
    ASSERT_EQ(health.log.size(), 3U);
    EXPECT_EQ(health.log[1].output, std::string(4096, 'x') + "...");
    const Request refused = wait_for(agent::kRun);
    report(failure(refused.number, ENOENT, agent::kToRunIt));
    next_of("state");
    const HealthResult last = running_->state().health->log.at(3);
    EXPECT_EQ(last.exit_code, -1);
    EXPECT_THAT(last.output, HasSubstr(R"(exec: "probe": executable file not found in $PATH: unknown)"));
    EXPECT_EQ(end(0).health->status, Health::Status::unhealthy);
}

TEST_F(SupervisorTest, EndsAProbeThatTakesTooLong) {
    run_.health = HealthProbe{.command = {"probe"}, .interval = 1ms, .timeout = 1ms, .retries = 1};
    start();
    const Request run = wait_for(agent::kRun);
    report(frame(agent::kStarted, run.number));
    EXPECT_EQ(wait_for(agent::kSignal).number, run.number);
    const Health health = running_->state().health.value();
    EXPECT_EQ(health.status, Health::Status::unhealthy);
    EXPECT_EQ(health.log.at(0).exit_code, -1);
    EXPECT_EQ(health.log.at(0).output, "Health check exceeded timeout (1ms)");
    report(status(run.number, 137));
    const Request second = wait_for(agent::kRun);  // not before the first has gone
    EXPECT_NE(second.number, run.number);
    // Nobody is probed whose processes stand still.
    std::thread asks{[this] {
        EXPECT_EQ(Supervised::kind(running_->ask({{"do", "freeze"}, {"on", true}})), "done");
    }};
    answer_read("1\n");
    asks.join();
    report(status(second.number, 137));
    EXPECT_EQ(Supervised::kind(running_->ask({{"do", "signal"}, {"value", 10}})), "done");
    Request next = wait_for(agent::kSignal);
    while (next.number == second.number) {
        next = wait_for(agent::kSignal);  // that the probe was to end
    }
    EXPECT_EQ(next.number, 1U);
    const std::string header = test::read_up_to(control_.get(), agent::kHeaderSize, 100);
    EXPECT_EQ(header, "") << "a probe, while it is paused";
    end(0);
}

TEST_F(SupervisorTest, LimitsARunningContainer) {
    run_.config.group.memory = 100'000'000;
    run_.machine.cpus = 1;
    start();
    const auto kind_of = [&](const object& question) { return Supervised::kind(running_->ask(question)); };
    std::thread asks{[&] {
        EXPECT_EQ(kind_of({{"do", "limit"},
                           {"memory", "50000000"},
                           {"kept_memory", "40000000"},
                           {"nano_cpus", 250'000'000}}),
                  "done");
    }};
    for (const auto& [file, limit] : {std::pair{"/c/container/memory.max", "50000000"},
                                      {"/c/container/memory.low", "40000000"},
                                      {"/c/container/cpu.max", "25000 100000"},
                                      {"/c/container/pids.max", "max"}}) {
        EXPECT_THAT(wait_for(agent::kFile).payload, testing::AllOf(HasSubstr(file), HasSubstr(limit)));
    }
    answer_read("max\n");
    asks.join();
    // A guest that cannot do it.
    std::thread asks_again{[&] {
        const object answer =
            running_->ask({{"do", "limit"}, {"memory", "50000000"}, {"nano_cpus", 250'000'000}});
        EXPECT_EQ(answer.at("why"), "the guest cannot set these limits");
    }};
    report(failure(wait_for(agent::kFile).number, EBUSY, "to write"));
    answer_read("max\n");
    asks_again.join();
    // A machine does not grow.
    EXPECT_THAT(std::string{running_->ask({{"do", "limit"}, {"memory", "200000000"}}).at("why").as_string()},
                HasSubstr("its machine has 163 MiB while it runs"));
    EXPECT_EQ(kind_of({{"do", "limit"}}), "failed") << "nor without a limit";
    EXPECT_EQ(end(0).exit_status, 0);
}

TEST_F(SupervisorTest, TellsThatMemoryWasOut) {
    start();
    EXPECT_TRUE(end(137, "low 0\noom 4\noom_kill 12\noom_group_kill 0\n").is_out_of_memory);
}

TEST_F(SupervisorTest, AThrownAwayGuestIsKilledAtOnce) {
    run_.is_thrown_away = true;
    start();
    report(status(1, 0));
    close_streams();
    answer_read("");
    EXPECT_EQ(running_->wait().exit_status, 0);
}

TEST_F(SupervisorTest, AGuestWithADiskThatIsKeptPowersOffHoweverItEnds) {
    run_.is_thrown_away = true;
    run_.config.shared = {{.source = "/v", .target = "/v", .by = SharedMount::By::disk}};
    start();
    EXPECT_EQ(Supervised::kind(running_->ask({{"do", "end"}})), "done");
    running_->ask({{"do", "end"}});  // as docker rm -f has it
    EXPECT_EQ(test::read_up_to(control_.get(), 1, kPatienceMs), "") << "it is to power off";
    static_cast<void>(folder_.file("hull.off", ""));
    EXPECT_EQ(running_->wait().exit_status, 137);
}

TEST_F(SupervisorTest, AGuestThatIsKeptPowersOff) {
    run_.is_thrown_away = true;
    start();
    EXPECT_EQ(Supervised::kind(running_->ask({{"do", "keep"}})), "done");
    EXPECT_EQ(end(3).exit_status, 3);
}

TEST_F(SupervisorTest, AnAgentThatTakesNothingIsGivenOnlySoMuch) {
    start();
    const object signal{{"do", "signal"}, {"value", 10}};
    object answer;
    constexpr int kMost = 100'000;  // of a dozen bytes and more
    int count = 0;
    for (; count < kMost && Supervised::kind(answer = running_->ask(signal)) == "done"; ++count) {
    }
    EXPECT_LT(count, kMost);
    EXPECT_EQ(answer.at("why"), "the guest's agent does not answer");
    EXPECT_EQ(Supervised::kind(running_->ask({{"do", "end"}})), "done");
    EXPECT_EQ(running_->wait().exit_status, 137);
}

TEST_F(SupervisorTest, OnlyItsFirstInputClientEndsTheInput) {
    run_.config.has_input = true;
    run_.input_ends_with_client = true;
    start();
    const UniqueFd looking = running_->attach({{"input", false}});
    shutdown(looking.get(), SHUT_WR);
    const UniqueFd typing = running_->attach({{"first", "61"}});
    test::write_all(typing.get(), "b");
    EXPECT_EQ(test::read_up_to(input_.get(), 2), "ab");
    EXPECT_FALSE(is_readable(input_.get()));
    shutdown(typing.get(), SHUT_WR);
    EXPECT_EQ(test::read_up_to(input_.get(), 1, kPatienceMs), "");
    EXPECT_TRUE(is_readable(input_.get())) << "its end";
    test::write_all(errors_.get(), "still told");
    EXPECT_EQ(test::framed(typing.get(), "told"), "2:still told");
    end(0);
}

TEST_F(SupervisorTest, InputStaysOpenWithoutThat) {
    run_.config.has_input = true;
    start();
    for (const char* word : {"one", "two"}) {
        UniqueFd typing = running_->attach();
        test::write_all(typing.get(), word);
        typing.reset();
        EXPECT_EQ(test::read_up_to(input_.get(), 3), word);
    }
    EXPECT_FALSE(is_readable(input_.get()));
    end(0);
}

TEST_F(SupervisorTest, ThereIsNoInputWhereItIsToHaveNone) {
    start();
    EXPECT_EQ(test::read_up_to(input_.get(), 1, kPatienceMs), "");
    const UniqueFd typing = running_->attach();
    test::write_all(typing.get(), std::string(200'000, 'x'));  // which nobody holds up
    end(0);
}

TEST_F(SupervisorTest, KeysAreLookedForAcrossWhatComes) {
    run_.config.tty = true;
    run_.config.has_input = true;
    boot();
    greet();
    const UniqueFd client = running_->attach({{"keys", boost::json::array{1, 1, 2}}});
    container::Channel channel = container::Channel::connect(files_.socket());
    ASSERT_TRUE(channel.send({{"do", "start"}}));
    static_cast<void>(wait_for(agent::kRun));
    input_ = open_stream(agent::kTerminal, 1);
    report(frame(agent::kStarted, 1));
    EXPECT_EQ(Supervised::kind(Supervised::next(channel)), "done");
    test::write_all(client.get(), "a\x01");
    EXPECT_EQ(test::read_up_to(input_.get(), 1), "a");
    EXPECT_EQ(test::read_up_to(input_.get(), 1, 50), "") << "may be the first of them";
    test::write_all(client.get(), "b\x01\x01");
    EXPECT_EQ(test::read_up_to(input_.get(), 2),
              "\x01"
              "b");
    test::write_all(input_.get(), "shown");
    EXPECT_EQ(test::read_up_to(client.get(), 5), "shown") << "as it is";
    test::write_all(client.get(), "\x02");
    EXPECT_EQ(test::read_up_to(client.get(), 1, kPatienceMs), "");
    EXPECT_FALSE(is_readable(input_.get()));
    input_.reset();
    report(status(1, 0));
    answer_read("");
    static_cast<void>(folder_.file("hull.off", ""));
    EXPECT_EQ(running_->wait().exit_status, 0);
}

TEST_F(SupervisorTest, AClientThatTakesNothingIsLeftBehindAtTheEnd) {
    start();
    const UniqueFd lazy = running_->attach();
    const std::string part(32 << 10, 'x');
    size_t written = 0;
    for (ssize_t got = 1; got > 0;) {
        pollfd entry{output_.get(), POLLOUT, 0};
        got = poll(&entry, 1, 2000) == 1 ? send(output_.get(), part.data(), part.size(), MSG_DONTWAIT) : 0;
        written += static_cast<size_t>(std::max<ssize_t>(got, 0));
    }
    EXPECT_GT(written, StreamClient::kMostWaiting);
    EXPECT_LT(written, 4 * StreamClient::kMostWaiting);
    EXPECT_EQ(end(0).exit_status, 0);
}

TEST_F(SupervisorTest, SaysWhyAProgramIsNotRun) {
    struct Row {
        const char* program;
        uint64_t error;
        const char* what;
        int status;
        const char* why;
    };
    const Row rows[] = {
        {"nosuch", ENOENT, agent::kToRunIt, 127, "exec: \"nosuch\": executable file not found in $PATH"},
        {"/no/such", ENOENT, agent::kToRunIt, 127,
         "exec: \"/no/such\": stat /no/such: no such file or directory"},
        {"x", EACCES, agent::kToRunIt, 126, "exec: \"x\": permission denied"},
        {"x", ENOENT, "to find the user in /etc/passwd", 128,
         "unable to find user somebody: no matching entries in passwd file"},
        {"x", EIO, "to set a limit", 128, "the agent fails to set a limit: Input/output error"},
    };
    for (const Row& row : rows) {
        std::filesystem::remove(folder_.path() / "hull.off");
        run_.config.command = {row.program};
        boot();
        greet();
        container::Channel channel = container::Channel::connect(files_.socket());
        ASSERT_TRUE(channel.send({{"do", "start"}}));
        static_cast<void>(wait_for(agent::kRun));
        report(failure(1, row.error, row.what));
        EXPECT_EQ(test::read_up_to(control_.get(), 1, kPatienceMs), "") << "it is to power off";
        static_cast<void>(folder_.file("hull.off", ""));
        const object answer = Supervised::next(channel);
        EXPECT_EQ(answer.at("is"), "failed");
        EXPECT_EQ(answer.at("why"), row.why);
        const RunState state = running_->wait();
        EXPECT_EQ(state.exit_status, row.status);
        EXPECT_EQ(state.error, row.why);
        EXPECT_EQ(state.started, std::chrono::system_clock::time_point{});
    }
}

TEST_F(SupervisorTest, SaysWhyThereIsNoMachine) {
    machine_is("echo noise >&2; echo 'hull: cannot open the disk: it is gone' >&2; exit 4");
    boot();
    EXPECT_EQ(running_->wait().error, "cannot open the disk: it is gone");
    EXPECT_EQ(running_->state().exit_status, 128);
    machine_is("head -c 100000 /dev/zero >&2; exit 0");
    boot();
    EXPECT_THAT(running_->wait().error, HasSubstr("the guest has ended by itself"));
    std::filesystem::remove(folder_.path() / "hull");
    boot();
    EXPECT_THAT(running_->wait().error, HasSubstr("cannot find 'hull'"));
    EXPECT_EQ(running_->exit_status(), 0);
}

TEST_F(SupervisorTest, AHostileGuestHarmsItsContainerOnly) {
    const std::string too_large = [] {
        std::string bytes = test::raw_frame(agent::kFailed, 0, "");
        agent::store_word(reinterpret_cast<uint8_t*>(bytes.data()) + 8, ~0U);
        return bytes;
    }();
    const std::string rows[] = {too_large, test::hello_frame(), frame(agent::kRun, 1),
                                failure(ContainerGuest::kFirstSetUp + 3, EIO, "to mount"), "garbage, really"};
    for (const std::string& row : rows) {
        start();
        report(row + row);
        control_ = UniqueFd{};
        const RunState state = running_->wait();
        EXPECT_EQ(running_->exit_status(), 0);
        EXPECT_EQ(state.exit_status, 128);
        EXPECT_NE(state.error, "");
        close_streams();
    }
    // Reports of what nobody asked for change nothing.
    start();
    report(frame(agent::kStarted, 1) + frame(agent::kStarted, 77) + status(77, 3) + failure(77, 1, "x") +
           frame(agent::kContents, 5,
                 [](agent::FrameWriter& writer) { writer.add_bytes(agent::kContent, "x", 1); }));
    const UniqueFd again = open_stream(agent::kOutput, 1);
    const UniqueFd other = open_stream(agent::kOutput, 77);
    EXPECT_EQ(test::read_up_to(again.get(), 1, kPatienceMs), "");
    EXPECT_EQ(test::read_up_to(other.get(), 1, kPatienceMs), "");
    EXPECT_EQ(end(0).exit_status, 0);
}

TEST_F(SupervisorTest, RemembersHowFurtherCommandsEnded) {
    start();
    const UniqueFd main_output = std::move(output_);
    const UniqueFd main_errors = std::move(errors_);
    const ExecConfig config{.command = {"nosuch"}, .environment = {}, .user = "", .working_folder = ""};
    const auto ask = [&](uint32_t number, const std::string& report_of_it) {
        Channel channel = Channel::connect(files_.socket());
        EXPECT_TRUE(channel.send({{"do", "exec"}, {"number", number}, {"exec", config.to_json()}}));
        EXPECT_EQ(wait_for(agent::kRun).number, number + 1);
        report(report_of_it);
        return boost::json::serialize(Supervised::next(channel));
    };
    Channel watch = Channel::connect(files_.socket());
    ASSERT_TRUE(watch.send({{"do", "watch"}}));
    EXPECT_EQ(Supervised::kind(Supervised::next(watch)), "state");
    EXPECT_EQ(ask(1, frame(agent::kStarted, 2)), R"({"is":"done"})");
    EXPECT_EQ(running_->ask({{"do", "state-of-exec"}, {"number", 1}}).at("running"), true);
    open_streams(2);
    report(status(2, 9));
    close_streams();
    EXPECT_EQ(ask(2, failure(3, ENOENT, agent::kToRunIt)),
              R"({"is":"failed","why":"exec: \"nosuch\": executable file not found in $PATH","status":127})");
    EXPECT_EQ(running_->ask({{"do", "state-of-exec"}, {"number", 1}}).at("status"), 9);
    EXPECT_EQ(running_->ask({{"do", "state-of-exec"}, {"number", 2}}).at("status"), 127);
    // A daemon that comes later begins with the same numbers.
    EXPECT_EQ(ask(1, frame(agent::kStarted, 2)), R"({"is":"done"})");
    report(status(2, 8));
    EXPECT_EQ(ask(3, frame(agent::kStarted, 4)), R"({"is":"done"})");
    EXPECT_EQ(running_->ask({{"do", "state-of-exec"}, {"number", 1}}).at("status"), 8);
    EXPECT_EQ(running_->ask({{"do", "watch"}}).at("last_exec"), 3);
    EXPECT_EQ(Supervised::kind(running_->ask({{"do", "end"}})), "done");
    EXPECT_EQ(running_->wait().exit_status, 137);
    std::vector<std::string> told;
    for (object next = Supervised::next(watch); !next.empty(); next = Supervised::next(watch)) {
        told.push_back(next.at("is") == "state" ? "state" : boost::json::serialize(next));
    }
    EXPECT_THAT(told, testing::ElementsAre(R"({"is":"exec-ended","number":1,"status":9})",
                                           R"({"is":"exec-ended","number":1,"status":8})",
                                           R"({"is":"exec-ended","number":3,"status":137})", "state"))
        << "of what has run, and the container's end last";
}

TEST_F(SupervisorTest, TellsItsProcesses) {
    start();
    const auto ask = [&] {
        Channel channel = Channel::connect(files_.socket());
        EXPECT_TRUE(channel.send({{"do", "processes"}}));
        return channel;
    };
    const auto path_of_read = [&] {
        const Request read = wait_for(agent::kRead);
        return std::pair{read.number, read.payload.substr(8, read.payload.size() - 9)};
    };
    const auto answer_path = [&](const std::string& path, const std::string& contents) {
        const auto [number, asked] = path_of_read();
        EXPECT_EQ(asked, path);
        report(frame(agent::kContents, number, [&](agent::FrameWriter& writer) {
            writer.add_bytes(agent::kContent, contents.data(), contents.size());
        }));
    };
    Channel channel = ask();
    answer_path("/p/uptime", "20.00 1.00\n");
    answer_path("/p/meminfo", "MemTotal: 1000 kB\n");
    answer_path("/c/container/cgroup.procs", "5\n6\n");
    answer_path("/p/5/stat", "5 (sh) S 0 5 5 0 -1 0 0 0 0 0 100 20 0 0 20 0 1 0 1000 4096 3");
    answer_path("/p/5/status", "Uid:\t1\t2\t3\t4\n");
    answer_path("/p/5/cmdline", std::string{"sh\0-c\0", 6});
    const auto [gone, path] = path_of_read();
    EXPECT_EQ(path, "/p/6/stat");
    report(failure(gone, ENOENT, "to read a file"));
    report(failure(path_of_read().first, ENOENT, "to read a file"));
    report(failure(path_of_read().first, ENOENT, "to read a file"));
    const ProcessList list = ProcessList::from_json(Supervised::next(channel));
    EXPECT_EQ(list.memory, 1000U);
    ASSERT_EQ(list.all.size(), 1U);
    EXPECT_EQ(list.all[0].command_line, "sh -c");
    EXPECT_EQ(list.all[0].user, 2U);
    EXPECT_EQ(list.all[0].age, 10'000U);

    // More than are listed, of an agent that says anything.
    Channel many = ask();
    answer_path("/p/uptime", "?");
    answer_path("/p/meminfo", "");
    std::string pids;
    for (size_t pid = 1; pid <= ProcessList::kMost + 1; ++pid) {
        pids += std::to_string(pid) + "\n";
    }
    answer_path("/c/container/cgroup.procs", pids);
    EXPECT_EQ(Supervised::next(many).at("why"),
              "more than 400 processes run in the container, which are not listed");
    EXPECT_EQ(end(0).exit_status, 0);
}

TEST_F(SupervisorTest, RefusesWhatItDoesNotUnderstand) {
    start();
    const object rows[] = {
        {},
        {{"do", 1}},
        {{"do", "dance"}},
        {{"do", "attach"}},
        {{"do", "exec"}, {"number", 1}},
        {{"do", "exec"}, {"number", 0}, {"exec", object{{"command", boost::json::array{"x"}}}}},
        {{"do", "exec"}, {"number", 0x4000'0000}, {"exec", object{{"command", boost::json::array{"x"}}}}},
        {{"do", "exec"}, {"number", 1}, {"exec", object{{"command", boost::json::array{}}}}},
        {{"do", "signal"}},
        {{"do", "signal"}, {"value", 0}},
        {{"do", "signal"}, {"value", 65}},
        {{"do", "resize"}, {"rows", 65536}, {"columns", 1}},
        {{"do", "resize"}, {"rows", 1}},
        {{"do", "freeze"}, {"on", 1}},
        {{"do", "limit"}, {"memory", "-1"}},
        {{"do", "limit"}, {"pids", -1}},
        {{"do", "state-of-exec"}},
    };
    for (const object& row : rows) {
        const object answer = running_->ask(row);
        EXPECT_EQ(Supervised::kind(answer), "failed") << boost::json::serialize(row);
    }
    for (const object& row : {object{{"first", "6"}}, object{{"first", "zz"}}, object{{"keys", 1}},
                              object{{"keys", boost::json::array{256}}}, object{{"input", "yes"}}}) {
        object answer;
        const UniqueFd client = running_->attach(row, &answer);
        EXPECT_EQ(Supervised::kind(answer), "failed") << boost::json::serialize(row);
        EXPECT_EQ(test::read_up_to(client.get(), 1, kPatienceMs), "");
    }
    // More than may be connected: they wait, and nobody is harmed.
    std::vector<Channel> many;
    for (int index = 0; index < 80; ++index) {
        many.push_back(Channel::connect(files_.socket()));
        ASSERT_TRUE(many.back().valid());
        many.back().send({{"do", "watch"}});
    }
    many.clear();
    EXPECT_EQ(Supervised::kind(running_->ask({{"do", "watch"}})), "state");
    EXPECT_EQ(end(0).exit_status, 0);
}

TEST_F(SupervisorTest, HandsOverATransferWithTheContainersFiles) {
    start();
    Channel channel = Channel::connect(files_.socket());
    object question =
        ContentsQuestion{.what = ContentsQuestion::What::files, .path = "/x", .user = {}}.to_json();
    question["do"] = "contents";
    ASSERT_TRUE(channel.send(question));
    const Request pack = wait_for(agent::kPack);
    const UniqueFd invented = open_stream(agent::kTransfer, pack.number + 1);
    const UniqueFd guest = open_stream(agent::kTransfer, pack.number);
    auto answer = channel.receive();
    ASSERT_TRUE(answer && answer->descriptor.valid());
    EXPECT_EQ(Supervised::kind(answer->what), "contents");
    test::write_all(guest.get(), "bytes");
    EXPECT_EQ(test::read_up_to(answer->descriptor.get(), 5, kPatienceMs), "bytes");
    answer.reset();
    EXPECT_EQ(test::read_up_to(guest.get(), 1, kPatienceMs), "") << "the supervisor keeps no end of it";
    EXPECT_EQ(test::read_up_to(invented.get(), 1, kPatienceMs), "");
    // What the agent cannot do is told, and no reason to end.
    ASSERT_TRUE(channel.send(question));
    report(failure(wait_for(agent::kPack).number, EAGAIN, "to make a process"));
    EXPECT_EQ(Supervised::kind(Supervised::next(channel)), "failed");
    question["what"] = 17;
    ASSERT_TRUE(channel.send(question));
    EXPECT_EQ(Supervised::kind(Supervised::next(channel)), "failed");
    EXPECT_EQ(end(0).exit_status, 0);
}

TEST_F(SupervisorTest, AQuietOneRunsNothingAndLeavesNoTrace) {
    run_.is_quiet = true;
    run_.config.has_network = true;
    boot();
    object question =
        ContentsQuestion{.what = ContentsQuestion::What::status, .path = "/", .user = {}}.to_json();
    question["do"] = "contents";
    Channel channel = Channel::connect(files_.socket());
    ASSERT_TRUE(channel.send(question)) << "before there is a guest";
    greet();
    const Request look = wait_for(agent::kLook);
    const UniqueFd guest = open_stream(agent::kTransfer, look.number);
    EXPECT_EQ(Supervised::kind(Supervised::next(channel)), "contents");
    EXPECT_EQ(Supervised::kind(running_->ask({{"do", "start"}})), "failed");
    EXPECT_EQ(Supervised::kind(running_->ask({{"do", "settle"}})), "done");
    EXPECT_EQ(Supervised::kind(running_->ask(question)), "failed") << "the container is about to start";
    EXPECT_FALSE(is_readable(control_.get())) << "a transfer goes on";
    channel = Channel{UniqueFd{}};
    EXPECT_EQ(test::read_up_to(control_.get(), 1, kPatienceMs), "") << "it is to power off";
    static_cast<void>(folder_.file("hull.off", ""));
    running_->wait_for_end();
    EXPECT_FALSE(std::filesystem::exists(files_.state())) << "of a run there is nothing to tell";
    EXPECT_FALSE(std::filesystem::exists(files_.log()));
}

TEST_F(SupervisorTest, AQuietOneThatNobodyNeedsEnds) {
    run_.is_quiet = true;
    run_.is_thrown_away = true;  // by the run, and not by who looks at it before
    boot();
    Channel channel = Channel::connect(files_.socket());
    object question = ContentsQuestion{}.to_json();
    question["do"] = "contents";
    ASSERT_TRUE(channel.send(question));
    greet();
    const UniqueFd guest = open_stream(agent::kTransfer, wait_for(agent::kLook).number);
    EXPECT_EQ(Supervised::kind(Supervised::next(channel)), "contents");
    channel = Channel{UniqueFd{}};  // as where its daemon is killed
    EXPECT_EQ(test::read_up_to(control_.get(), 1, kPatienceMs), "") << "it is to power off";
    static_cast<void>(folder_.file("hull.off", ""));
    running_->wait_for_end();
    EXPECT_EQ(running_->exit_status(), 0);
}

TEST_F(SupervisorTest, OneThatIsLookedIntoAfterwardsKeepsItsMachineForThat) {
    run_.is_open_afterwards = true;
    start();
    Channel watch = Channel::connect(files_.socket());
    ASSERT_TRUE(watch.send({{"do", "watch"}}));
    Supervised::next(watch);
    report(status(1, 3));
    close_streams();
    answer_read("oom_kill 0\n");
    const object told = Supervised::next(watch);
    EXPECT_EQ(told.at("state").at("exit_status"), 3);
    EXPECT_EQ(running_->state().stage, RunState::Stage::ended);
    EXPECT_EQ(running_->state().supervisor, 0);
    Channel channel = Channel::connect(files_.socket());
    object question =
        ContentsQuestion{.what = ContentsQuestion::What::upper, .path = "/", .user = {}}.to_json();
    question["do"] = "contents";
    ASSERT_TRUE(channel.send(question));
    const UniqueFd guest = open_stream(agent::kTransfer, wait_for(agent::kPack).number);
    EXPECT_EQ(Supervised::kind(Supervised::next(channel)), "contents");
    EXPECT_EQ(Supervised::kind(running_->ask({{"do", "start"}})), "failed");
    EXPECT_EQ(Supervised::kind(running_->ask({{"do", "settle"}})), "done");
    EXPECT_FALSE(is_readable(control_.get())) << "a transfer goes on";
    channel = Channel{UniqueFd{}};
    EXPECT_EQ(test::read_up_to(control_.get(), 1, kPatienceMs), "") << "it is to power off";
    static_cast<void>(folder_.file("hull.off", ""));
    running_->wait_for_end();
    EXPECT_EQ(running_->state().exit_status, 3) << "it tells nothing new";
}

TEST_F(SupervisorTest, AQuietOneWhoseGuestFailsSaysWhy) {
    run_.is_quiet = true;
    machine_is("echo 'hull: cannot open a disk' >&2; exit 4");
    boot();
    object question = ContentsQuestion{}.to_json();
    question["do"] = "contents";
    const object answer = running_->ask(question);
    if (Supervised::kind(answer) != "nothing") {  // it may have been too quick
        EXPECT_THAT(std::string{answer.at("why").as_string()}, HasSubstr("cannot open a disk"));
    }
    running_->wait_for_end();
    EXPECT_FALSE(std::filesystem::exists(files_.state()));
}

TEST_F(SupervisorTest, ARunFileThatIsNoneIsTold) {
    run_.config.command = {};
    boot();
    EXPECT_THAT(running_->wait().error, HasSubstr("it has no command"));
    EXPECT_EQ(running_->state().exit_status, 128);
}

TEST_F(SupervisorTest, WhatOneThatWasKilledHasLeftIsInNobodysWay) {
    start();
    kill(running_->pid(), SIGKILL);
    running_->wait();
    EXPECT_TRUE(std::filesystem::exists(files_.folder / "vsock_1024"));
    EXPECT_TRUE(std::filesystem::exists(files_.folder / "console"));
    start();
    EXPECT_EQ(end(0).exit_status, 0);
    EXPECT_FALSE(std::filesystem::exists(files_.folder / "vsock_1024"));
    EXPECT_FALSE(std::filesystem::exists(files_.folder / "console"));
}

}  // namespace
}  // namespace hull::container
