// The keeper and its machine as two processes, the machine played by a few lines; and the terminal between
// them.
#include "vmm/main/keeper.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cstring>
#include <stdexcept>
#include <string>
#include <thread>

#include "tests/support/files.h"
#include "tests/support/sockets.h"
#include "vmm/api/http_client.h"
#include "vmm/machine/keeper_message.h"
#include "vmm/machine/machine.h"

namespace hull {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

bool same_mode(const termios& a, const termios& b) {
    return a.c_iflag == b.c_iflag && a.c_oflag == b.c_oflag && a.c_cflag == b.c_cflag &&
           a.c_lflag == b.c_lflag && std::memcmp(a.c_cc, b.c_cc, sizeof a.c_cc) == 0;
}

termios mode_of(int fd) {
    termios mode{};
    EXPECT_EQ(tcgetattr(fd, &mode), 0);
    return mode;
}

bool is_raw(int fd) {
    return (mode_of(fd).c_lflag & (ICANON | ECHO | ISIG)) == 0;
}

TEST(RawTerminal, TakesEveryKeyAndGivesTheModeBack) {
    const test::Terminal pair = test::make_terminal();
    const termios found = mode_of(pair.program.get());
    RawTerminal terminal{pair.program.get()};
    EXPECT_TRUE(terminal.is_terminal());
    EXPECT_TRUE(same_mode(mode_of(pair.program.get()), found)) << "changed before enter()";
    terminal.restore();  // nothing to do yet
    terminal.enter();
    EXPECT_TRUE(is_raw(pair.program.get()));
    EXPECT_NE(mode_of(pair.program.get()).c_oflag & OPOST, 0U) << "lines of Hull's would look like stairs";
    terminal.restore();
    EXPECT_TRUE(same_mode(mode_of(pair.program.get()), found));
    terminal.restore();
    EXPECT_TRUE(same_mode(mode_of(pair.program.get()), found));
}

TEST(RawTerminal, LeavesWhatIsNoTerminalAlone) {
    const test::Pipe pipe = test::make_pipe();
    for (const int fd : {pipe.read_end.get(), -1}) {
        RawTerminal terminal{fd};
        EXPECT_FALSE(terminal.is_terminal());
        terminal.enter();
        terminal.restore();
    }
}

/// Runs keep_machine() in a process of its own, since it forks and blocks signals, with a terminal, a pipe on
/// which the machine reports, and one for standard error.
class KeeperTest : public testing::Test {
  protected:
    using MachineBody = std::function<ExitStatus(int control_fd)>;

    ~KeeperTest() override {
        if (keeper_ > 0) {
            kill(keeper_, SIGKILL);
            waitpid(keeper_, nullptr, 0);
        }
    }

    void start(const MachineBody& machine) {
        keeper_ = fork();
        ASSERT_GE(keeper_, 0);
        if (keeper_ == 0) {
            dup2(errors_.write_end.get(), STDERR_FILENO);
            reports_.read_end.reset();
            EventLoop loop;
            std::optional<HttpServer> server;
            if (api_.valid()) {
                server.emplace(loop, std::move(api_), "Hull API", nullptr);
            }
            const ExitStatus status = report_errors([&] {
                return keep_machine({.terminal = terminal_,
                                     .stop_timeout = stop_timeout_,
                                     .broker = broker_,
                                     .config = config_,
                                     .loop = loop,
                                     .api = server ? &*server : nullptr,
                                     .fork = fork,
                                     .run = machine});
            });
            _exit(static_cast<int>(status));
        }
        reports_.write_end.reset();
        errors_.write_end.reset();
    }
    /// For the machine's side: tells the test something.
    void report(const std::string& text) { test::write_all(reports_.write_end.get(), text); }
    /// For the test's side: what the machine reports next.
    std::string next_report(size_t size = 1) { return test::read_up_to(reports_.read_end.get(), size); }
    void signal_keeper(int number) const { ASSERT_EQ(kill(keeper_, number), 0); }
    /// The keeper's exit status, or 1000 + the signal that ended it.
    int wait_for_keeper() {
        int status = 0;
        EXPECT_EQ(waitpid(keeper_, &status, 0), keeper_);
        keeper_ = -1;
        return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
    }
    std::string errors() { return test::read_up_to(errors_.read_end.get(), 100'000); }
    int tty() const { return pair_.program.get(); }

    const test::Terminal pair_ = test::make_terminal();
    const termios found_ = mode_of(pair_.program.get());
    RawTerminal terminal_{pair_.program.get()};
    std::chrono::milliseconds stop_timeout_{3'600'000};
    jail::Broker broker_;
    MachineConfig config_;
    UniqueFd api_;  // where it is to have one
    test::Pipe reports_ = test::make_pipe();
    test::Pipe errors_ = test::make_pipe();
    pid_t keeper_ = -1;
};

TEST_F(KeeperTest, TheMachinesExitStatusIsTheUsers) {
    start([this](int) {
        report(is_raw(tty()) ? "r" : "c");
        return ExitStatus::guest_panic;
    });
    EXPECT_EQ(next_report(), "r") << "the terminal was not raw while the machine ran";
    EXPECT_EQ(wait_for_keeper(), static_cast<int>(ExitStatus::guest_panic));
    EXPECT_TRUE(same_mode(mode_of(tty()), found_));
    EXPECT_EQ(errors(), "");
}

TEST_F(KeeperTest, AnErrorOfTheMachinesIsPrintedOnce) {
    start([](int) -> ExitStatus { throw Error{ExitStatus::bad_file, "cannot x", "y", "do z"}; });
    EXPECT_EQ(wait_for_keeper(), static_cast<int>(ExitStatus::bad_file));
    EXPECT_EQ(errors(), "hull: cannot x: y; do z\n");
    EXPECT_TRUE(same_mode(mode_of(tty()), found_));
}

TEST_F(KeeperTest, AMachineThatIsKilledIsTold) {
    start([this](int) {
        report("r");
        raise(SIGKILL);
        return ExitStatus::success;
    });
    EXPECT_EQ(next_report(), "r");
    EXPECT_EQ(wait_for_keeper(), static_cast<int>(ExitStatus::machine_died));
    EXPECT_TRUE(same_mode(mode_of(tty()), found_));
    EXPECT_NE(errors().find("ended by signal 9"), std::string::npos);
}

/// A machine that reports each message of the keeper's, and its end.
ExitStatus report_messages(int control_fd, int reports, int messages) {
    for (int i = 0; i < messages; ++i) {
        char message = 0;
        if (read(control_fd, &message, 1) != 1) {
            message = 'E';
        }
        test::write_all(reports, std::string(1, message));
    }
    return ExitStatus::forced_stop;
}

TEST_F(KeeperTest, ASignalPressesTheButtonAndASecondOneStops) {
    for (const int number : {SIGTERM, SIGINT, SIGHUP}) {
        SCOPED_TRACE(strsignal(number));
        reports_ = test::make_pipe();
        errors_ = test::make_pipe();
        start([this](int control_fd) {
            report("r");
            return report_messages(control_fd, reports_.write_end.get(), 2);
        });
        ASSERT_EQ(next_report(), "r");
        signal_keeper(number);
        EXPECT_EQ(next_report(), "s");
        signal_keeper(SIGTERM);
        EXPECT_EQ(next_report(), "k");
        EXPECT_EQ(wait_for_keeper(), static_cast<int>(ExitStatus::forced_stop));
        EXPECT_TRUE(same_mode(mode_of(tty()), found_));
    }
}

TEST_F(KeeperTest, ATerminalsNewSizeIsToldAndIsNoReasonToStop) {
    start([this](int control_fd) {
        report("r");
        return report_messages(control_fd, reports_.write_end.get(), 2);
    });
    ASSERT_EQ(next_report(), "r");
    signal_keeper(SIGWINCH);
    EXPECT_EQ(next_report(), "w");
    signal_keeper(SIGTERM);
    EXPECT_EQ(next_report(), "s");
    EXPECT_EQ(wait_for_keeper(), static_cast<int>(ExitStatus::forced_stop));
}

TEST_F(KeeperTest, SignalsDoNotReachTheMachineItself) {
    start([this](int control_fd) {
        report("r");
        raise(SIGTERM);
        raise(SIGINT);
        raise(SIGHUP);
        report("a");
        return report_messages(control_fd, reports_.write_end.get(), 1);
    });
    EXPECT_EQ(next_report(2), "ra");
    signal_keeper(SIGTERM);
    EXPECT_EQ(next_report(), "s");
    EXPECT_EQ(wait_for_keeper(), static_cast<int>(ExitStatus::forced_stop));
}

TEST_F(KeeperTest, AMachineThatDoesNotReactIsKilledHoweverManySignalsCome) {
    start([this](int) -> ExitStatus {
        report("r");
        for (;;) {
            pause();
        }
    });
    ASSERT_EQ(next_report(), "r");
    const auto begin = Clock::now();
    int status = 0;
    while (waitpid(keeper_, &status, WNOHANG) == 0 && Clock::now() - begin < 30s) {
        kill(keeper_, SIGTERM);
        std::this_thread::sleep_for(200ms);
    }
    EXPECT_LT(Clock::now() - begin, 15s);
    ASSERT_TRUE(WIFEXITED(status));
    keeper_ = -1;
    EXPECT_EQ(WEXITSTATUS(status), static_cast<int>(ExitStatus::forced_stop));
    EXPECT_TRUE(same_mode(mode_of(tty()), found_));
}

TEST_F(KeeperTest, AMachineThatDoesNotReactIsKilledSomeTimeAfterTheFirstSignal) {
    stop_timeout_ = 10ms;
    start([this](int) -> ExitStatus {
        report("r");
        for (;;) {
            pause();
        }
    });
    ASSERT_EQ(next_report(), "r");
    signal_keeper(SIGTERM);
    EXPECT_EQ(wait_for_keeper(), static_cast<int>(ExitStatus::forced_stop));
    EXPECT_TRUE(same_mode(mode_of(tty()), found_));
}

TEST_F(KeeperTest, AMachineWhoseKeeperIsKilledLearnsItAndRestoresTheTerminal) {
    start([this](int control_fd) {
        report(is_raw(tty()) ? "r" : "c");
        report_messages(control_fd, reports_.write_end.get(), 1);
        terminal_.restore();
        report("t");
        return ExitStatus::forced_stop;
    });
    ASSERT_EQ(next_report(), "r");
    signal_keeper(SIGKILL);
    EXPECT_EQ(wait_for_keeper(), 1000 + SIGKILL);
    EXPECT_EQ(next_report(2), "Et");
    EXPECT_EQ(next_report(), "") << "the machine did not end";
    EXPECT_TRUE(same_mode(mode_of(tty()), found_));
}

TEST(ReportErrors, PrintsOneLineAndGivesTheStatus) {
    struct Row {
        std::function<ExitStatus()> body;
        ExitStatus status;
        const char* printed;
    };
    const std::vector<Row> rows = {
        {[] { return ExitStatus::guest_reboot; }, ExitStatus::guest_reboot, ""},
        {[]() -> ExitStatus {
             throw Error{ExitStatus::usage, "cannot do it", "it is wrong", "mend it"};
         },
         ExitStatus::usage, "hull: cannot do it: it is wrong; mend it\n"},
        {[]() -> ExitStatus { throw std::bad_alloc{}; }, ExitStatus::no_resources,
         "hull: cannot go on: out of memory; give the host or its limits more (ulimit -v)\n"},
        {[]() -> ExitStatus { throw std::out_of_range{"vector"}; }, ExitStatus::internal_failure,
         "hull: a defect in hull: vector; please report it\n"},
    };
    for (const Row& row : rows) {
        testing::internal::CaptureStderr();
        EXPECT_EQ(report_errors(row.body), row.status);
        EXPECT_EQ(testing::internal::GetCapturedStderr(), row.printed);
    }
}

class KeeperApiTest : public KeeperTest {
  protected:
    KeeperApiTest() { api_ = test::listen_unix(path_, SOCK_NONBLOCK); }

    HttpAnswer change(const std::string& state) {
        return ask_machine(path_, {"PATCH", "/vm", R"({"state":")" + state + R"("})"});
    }
    HttpAnswer freeze() {
        const SnapshotFiles files = SnapshotFiles::in(folder_.path());
        return ask_machine(path_, {"PUT", "/snapshot/create",
                                   R"({"snapshot_path":")" + files.state.string() + R"(","mem_file_path":")" +
                                       files.memory.string() + R"("})"});
    }
    std::string state() { return test::contents_of(folder_.path() / "state"); }
    void stop() {
        signal_keeper(SIGTERM);
        EXPECT_EQ(wait_for_keeper(), 0);
    }
    /// A machine that does all with `answer`, until its button is pressed.
    static ExitStatus serve(int control, const std::function<std::string(const KeeperRequest&)>& answer) {
        for (;;) {
            const std::optional<KeeperRequest> request = receive_request(control);
            if (!request || request->message == KeeperMessage::press_power_button) {
                return ExitStatus::success;
            }
            send_answer(control, answer(*request));
        }
    }

    const test::TemporaryFolder folder_;
    const std::string path_ = (folder_.path() / "api").string();
};

TEST_F(KeeperApiTest, HasTheMachineDoWhatItsClientsAsk) {
    start([](int control) {
        return serve(control, [](const KeeperRequest& request) {
            if (request.message == KeeperMessage::save) {
                test::write_all(request.descriptors.at(0).get(), "state");
                test::write_all(request.descriptors.at(1).get(), "memory");
            }
            return "";
        });
    });
    EXPECT_EQ(change("Paused").status, 204U);
    EXPECT_NE(ask_machine(path_, {"GET", "/", ""}).body.find("Paused"), std::string::npos);
    EXPECT_EQ(freeze().status, 204U);
    EXPECT_EQ(state(), "state");
    EXPECT_EQ(test::contents_of(folder_.path() / "memory"), "memory");
    EXPECT_EQ(change("Resumed").status, 204U);
    EXPECT_NE(ask_machine(path_, {"GET", "/", ""}).body.find("Running"), std::string::npos);
    stop();
}

TEST_F(KeeperApiTest, LeavesTheEarlierSnapshotWhereTheMachineCannot) {
    folder_.file("state", "earlier");
    start([](int control) {
        return serve(control, [](const KeeperRequest& request) {
            return request.message == KeeperMessage::save ? "cannot write: \x1b[31mno room" : "";
        });
    });
    EXPECT_EQ(change("Paused").status, 204U);
    const HttpAnswer answer = freeze();
    EXPECT_EQ(answer.status, 400U);
    EXPECT_EQ(answer.body, R"({"fault_message":"cannot write: ?[31mno room"})")
        << "a guest may have broken out there";
    EXPECT_EQ(state(), "earlier");
    EXPECT_FALSE(std::filesystem::exists(folder_.path() / "state.new"));
    stop();
}

TEST_F(KeeperApiTest, OutlivesAMachineThatAnswersWhatNobodyAsked) {
    start([](int control) {
        for (int number = 0; number < 20; ++number) {
            send_answer(control, std::string(10'000, 'x'));
        }
        return serve(control, [](const KeeperRequest&) { return ""; });
    });
    change("Paused");
    EXPECT_EQ(ask_machine(path_, {"GET", "/", ""}).status, 200U);
    stop();
}

TEST_F(KeeperApiTest, EndsItsClientsWithTheMachine) {
    start([](int control) {
        static_cast<void>(receive_request(control));
        return ExitStatus::guest_panic;
    });
    const HttpAnswer answer = change("Paused");
    EXPECT_EQ(answer.status, 400U);
    EXPECT_EQ(answer.body, R"({"fault_message":"the machine has ended"})");
    EXPECT_EQ(wait_for_keeper(), static_cast<int>(ExitStatus::guest_panic));
}

}  // namespace
}  // namespace hull
