// A container's supervisor with real kernels, which a test asks in its daemon's place.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <boost/json/serialize.hpp>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "container/image/store.h"
#include "container/machine/writable_disk.h"
#include "container/supervisor/exec_config.h"
#include "container/supervisor/log.h"
#include "tests/support/files.h"
#include "tests/support/hull_process.h"
#include "tests/support/image_store.h"
#include "tests/support/sandbox_rig.h"
#include "tests/support/supervised.h"

namespace hull::test {
namespace {

using namespace std::chrono_literals;
using boost::json::object;
using container::RunState;
using testing::HasSubstr;

constexpr int kPatienceMs = 120'000;

class SupervisedContainer : public testing::Test {
  protected:
    static void SetUpTestSuite() {
        folder = std::make_unique<TemporaryFolder>();
        container::Store store{folder->path() / "store", container::Store::Use::shared};
        store_image(store, "box", {busybox_layer()}, R"("config":{"Env":["PATH=/bin"],"Cmd":["sh"]})");
        layers = store.find("box")->layers;
        empty = container::empty_disk(folder->path());
    }
    static void TearDownTestSuite() { folder.reset(); }
    void SetUp() override {
        before_ = look();
        files_.folder = folder->path() / "c" / std::to_string(100'000'000'000 + ++count);
        std::filesystem::create_directories(files_.folder);
        ASSERT_EQ(
            std::system(("cp --sparse=always " + empty.string() + " " + files_.disk().string()).c_str()), 0);
        run_.config.host_name = "named";
        run_.config.environment = {"PATH=/bin", "OF=container"};
        run_.config.has_network = false;
        run_.machine.kernel = guest_file("small/bzImage");
        run_.machine.layers = layers;
        run_.machine.writable = files_.disk();
        run_.machine.is_writable_kept = true;
    }
    void TearDown() override {
        running_.reset();
        std::filesystem::remove(files_.disk());
        Remains after = look();
        for (int tries = 0; tries < 500 && after != before_; ++tries) {
            std::this_thread::sleep_for(10ms);
            after = look();
        }
        EXPECT_EQ(after.programs, before_.programs);
        EXPECT_EQ(after.mounts, before_.mounts);
        EXPECT_EQ(after.cgroups, before_.cgroups);
    }
    static Remains look() {
        Remains found = Remains::look();
        found.folders.clear();
        found.sockets.clear();  // those of supervisors lie in their folders
        return found;
    }

    static std::filesystem::path supervisor() {
        const char* given = std::getenv("HULL_TEST_BINARY");
        const std::filesystem::path hull = given == nullptr ? HULL_SOURCE_DIR "/build/release/hull" : given;
        return hull.parent_path() / "hull-supervisor";
    }
    /// Boots the container with this command.
    Supervised& boot(const std::string& script) {
        run_.config.command = {"sh", "-c", script};
        running_.reset();
        return running_.emplace(supervisor(), files_, run_);
    }
    /// Runs it to its end; what its log has.
    std::string log_of(const std::string& script) {
        Supervised& box = boot(script);
        EXPECT_EQ(box.start(), "done");
        state_ = box.wait();
        EXPECT_EQ(box.exit_status(), 0);
        return log();
    }
    [[nodiscard]] std::string log() const {
        container::LogReader reader{files_.log(), std::nullopt};
        std::string all;
        while (const auto entry = reader.next()) {
            all += (entry->stream == container::LogStream::errors ? "E:" : "") + entry->text;
        }
        return all;
    }
    static object exec(uint64_t number, const std::string& script, bool tty = false) {
        const container::ExecConfig config{.command = {"sh", "-c", script},
                                           .environment = {"PATH=/bin", "OF=exec"},
                                           .user = "",
                                           .working_folder = "",
                                           .tty = tty,
                                           .has_input = true};
        return {{"do", "exec"}, {"number", number}, {"exec", config.to_json()}};
    }

    static std::unique_ptr<TemporaryFolder> folder;
    static std::vector<std::filesystem::path> layers;
    static std::filesystem::path empty;
    static uint64_t count;
    Remains before_;
    container::ContainerFiles files_;
    container::RunFile run_;
    std::optional<Supervised> running_;
    RunState state_;
};

std::unique_ptr<TemporaryFolder> SupervisedContainer::folder;
std::vector<std::filesystem::path> SupervisedContainer::layers;
std::filesystem::path SupervisedContainer::empty;
uint64_t SupervisedContainer::count = 0;

TEST_F(SupervisedContainer, RunsItsCommandAndTellsHowItEnded) {
    const auto before = std::chrono::system_clock::now();
    EXPECT_EQ(log_of("echo out; sleep 1; echo err >&2; sleep 1; hostname; echo $OF; exit 3"),
              "out\nE:err\nnamed\ncontainer\n");
    EXPECT_EQ(state_.stage, RunState::Stage::ended);
    EXPECT_EQ(state_.exit_status, 3);
    EXPECT_EQ(state_.error, "");
    EXPECT_FALSE(state_.is_out_of_memory);
    EXPECT_EQ(state_.supervisor, 0);
    EXPECT_GT(state_.started, before);
    EXPECT_GT(state_.finished, state_.started);
    for (const char* left : {"vsock", "vsock_1024", "console"}) {
        EXPECT_FALSE(std::filesystem::exists(files_.folder / left)) << left;
    }
}

TEST_F(SupervisedContainer, WaitsForItsStartWithItsClients) {
    run_.config.has_input = true;
    run_.input_ends_with_client = true;
    Supervised& box = boot("echo ready >&2; sleep 1; cat; echo end");
    container::Channel watch = container::Channel::connect(files_.socket());
    ASSERT_TRUE(watch.send({{"do", "watch"}}));
    EXPECT_EQ(Supervised::next(watch).at("state").as_object().at("stage"), "booting");
    const UniqueFd client = box.attach({{"first", "6669727374 "}});
    EXPECT_EQ(read_up_to(client.get(), 1), "") << "which is no hexadecimal number";
    const UniqueFd typing = box.attach({{"first", "66697273740a"}});
    write_all(typing.get(), "second\n");
    std::this_thread::sleep_for(1s);
    EXPECT_EQ(box.state().stage, RunState::Stage::booting) << "it has not been told to start";
    EXPECT_EQ(box.start(), "done");
    EXPECT_EQ(framed(typing.get(), "second\n"), "2:ready\n1:first\nsecond\n");
    object state;
    do {
        state = Supervised::next(watch);
        ASSERT_EQ(Supervised::kind(state), "state");
    } while (state.at("state").as_object().at("stage") == "booting");
    EXPECT_EQ(state.at("state").as_object().at("stage"), "running");
    shutdown(typing.get(), SHUT_WR);
    EXPECT_EQ(framed(typing.get()), "1:end\n");
    EXPECT_EQ(Supervised::next(watch).at("state").as_object().at("stage"), "ended");
    EXPECT_EQ(box.wait().exit_status, 0);
    EXPECT_EQ(log(), "E:ready\nfirst\nsecond\nend\n");
}

TEST_F(SupervisedContainer, RunsFurtherCommands) {
    Supervised& box = boot("echo up; hostname; sleep 1000");
    EXPECT_EQ(Supervised::kind(box.ask(exec(1, "true"))), "failed") << "it does not run yet";
    ASSERT_EQ(box.start(), "done");
    object answer;
    const UniqueFd one =
        box.attach(exec(1, "echo $OF; hostname; cat; ls /proc/1/cwd >/dev/null && exit 7"), &answer);
    EXPECT_EQ(Supervised::kind(answer), "done") << boost::json::serialize(answer);
    EXPECT_EQ(box.ask({{"do", "state-of-exec"}, {"number", 1}}).at("running"), true);
    const UniqueFd terminal = box.attach(exec(2, "stty size; tty; read x; echo got $x", true));
    write_all(terminal.get(), "word\n");
    EXPECT_THAT(read_up_to(terminal.get(), 1000, kPatienceMs), HasSubstr("got word"));
    EXPECT_EQ(box.ask({{"do", "state-of-exec"}, {"number", 2}}).at("status"), 0);
    write_all(one.get(), "typed\n");
    shutdown(one.get(), SHUT_WR);
    EXPECT_EQ(framed(one.get()), "1:exec\nnamed\ntyped\n");
    // Whoever is told of its end can ask how it ended.
    EXPECT_EQ(box.ask({{"do", "state-of-exec"}, {"number", 1}}).at("status"), 7);
    answer = box.ask(exec(3, "exit 0"));
    EXPECT_EQ(Supervised::kind(answer), "done") << "without a client";
    object missing = exec(4, "");
    missing["exec"].as_object()["command"] = boost::json::array{"nosuch"};
    answer = box.ask(missing);
    EXPECT_EQ(boost::json::serialize(answer),
              R"({"is":"failed","why":"exec: \"nosuch\": executable file not found in $PATH","status":127})");
    missing["exec"].as_object()["command"] = boost::json::array{"/etc/passwd"};
    missing["number"] = 5;
    answer = box.ask(missing);
    EXPECT_EQ(answer.at("status"), 126);
    EXPECT_EQ(answer.at("why"), "exec: \"/etc/passwd\": permission denied");
    EXPECT_EQ(box.ask({{"do", "state-of-exec"}, {"number", 4}}).at("status"), 127);
    EXPECT_EQ(Supervised::kind(box.ask({{"do", "state-of-exec"}, {"number", 99}})), "failed");
    const UniqueFd left = box.attach(exec(6, "sleep 1000"));
    // The command is the first process, and deaf to what it does not catch.
    EXPECT_EQ(Supervised::kind(box.ask({{"do", "signal"}, {"value", 15}})), "done");
    EXPECT_EQ(Supervised::kind(box.ask({{"do", "signal"}, {"value", 15}, {"number", 6}})), "done");
    EXPECT_EQ(framed(left.get()), "");
    EXPECT_EQ(box.ask({{"do", "state-of-exec"}, {"number", 6}}).at("status"), 128 + 15);
    EXPECT_EQ(Supervised::kind(box.ask({{"do", "signal"}, {"value", 9}})), "done");
    EXPECT_EQ(box.wait().exit_status, 128 + 9);
}

TEST_F(SupervisedContainer, ATerminalIsDetachedByItsKeys) {
    run_.config.tty = true;
    run_.config.has_input = true;
    run_.input_ends_with_client = true;
    Supervised& box = boot("stty size; while read x; do echo got-$x; done");
    EXPECT_EQ(Supervised::kind(box.ask({{"do", "resize"}, {"rows", 31}, {"columns", 97}})), "done");
    const object keys{{"keys", boost::json::array{16, 17}}};
    const UniqueFd first = box.attach(keys);
    ASSERT_EQ(box.start(), "done");
    const auto wait_for = [](const UniqueFd& from, std::string_view text) {
        std::string told;
        while (told.find(text) == std::string::npos) {
            const std::string part = read_up_to(from.get(), 1, kPatienceMs);
            if (part.empty()) {
                ADD_FAILURE() << "no '" << text << "' in " << told;
                return;
            }
            told += part;
        }
    };
    wait_for(first, "31 97");
    write_all(first.get(), std::string{"one\n\x10z\n"});
    wait_for(first, "got-\x10z\r\n");
    write_all(first.get(), std::string{"\x10\x11"});
    EXPECT_EQ(read_up_to(first.get(), 1, kPatienceMs), "") << "its end";
    const UniqueFd second = box.attach(keys);
    write_all(second.get(), "two\n");
    wait_for(second, "got-two");
    EXPECT_EQ(Supervised::kind(box.ask({{"do", "end"}})), "done");
    EXPECT_EQ(box.wait().exit_status, 137);
    EXPECT_THAT(log(), HasSubstr("got-one"));
    EXPECT_THAT(log(), HasSubstr("got-\x10z"));
}

TEST_F(SupervisedContainer, FreezesAndTellsOfItsGroup) {
    run_.config.group.memory = 64 << 20;
    Supervised& box = boot("i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done");
    ASSERT_EQ(box.start(), "done");
    const UniqueFd client = box.attach();
    EXPECT_FALSE(framed(client.get(), "\n").empty());
    const object group = box.ask({{"do", "group"}}).at("files").as_object();
    EXPECT_EQ(group.at("memory.max"), "67108864\n");
    EXPECT_THAT(std::string{group.at("cpu.stat").as_string()}, HasSubstr("usage_usec"));
    EXPECT_THAT(std::string{group.at("memory.events").as_string()}, HasSubstr("oom_kill 0"));
    EXPECT_EQ(Supervised::kind(box.ask({{"do", "freeze"}, {"on", true}})), "done");
    EXPECT_TRUE(box.state().is_paused);
    std::this_thread::sleep_for(1s);
    while (is_readable(client.get())) {
        read_up_to(client.get(), 1);
    }
    std::this_thread::sleep_for(2s);
    EXPECT_FALSE(is_readable(client.get()));
    EXPECT_EQ(Supervised::kind(box.ask({{"do", "freeze"}, {"on", false}})), "done");
    EXPECT_FALSE(read_up_to(client.get(), 1, kPatienceMs).empty());
    EXPECT_EQ(Supervised::kind(box.ask({{"do", "signal"}, {"value", 9}})), "done");
    EXPECT_EQ(box.wait().exit_status, 137);
}

TEST_F(SupervisedContainer, TellsThatMemoryWasOut) {
    run_.config.group.memory = 24 << 20;
    log_of("exec tail /dev/zero");
    EXPECT_EQ(state_.exit_status, 137);
    EXPECT_TRUE(state_.is_out_of_memory);
}

TEST_F(SupervisedContainer, KeepsItsDiskFromRunToRun) {
    EXPECT_EQ(log_of("i=0; while [ $i -lt 300 ]; do echo $i >/tmp/f$i; i=$((i+1)); done; rm /etc/old"), "");
    std::filesystem::remove(files_.log());
    EXPECT_EQ(log_of("ls /tmp | wc -l; cat /tmp/f299; ls /etc/old 2>&1; echo x >/etc/hosts"),
              "300\n299\nls: /etc/old: No such file or directory\n");
    std::filesystem::remove(files_.log());
    EXPECT_EQ(log_of("grep -c localhost /etc/hosts; cat /etc/hostname"), "2\nnamed\n");
}

TEST_F(SupervisedContainer, IsStartedAgainWhereItsSupervisorWasKilled) {
    {
        Supervised& box = boot("echo 1 >/tmp/x; sync; echo up; sleep 1000");
        const UniqueFd client = box.attach();
        ASSERT_EQ(box.start(), "done");
        for (int tries = 0; tries < 1000 && log() != "up\n"; ++tries) {
            std::this_thread::sleep_for(10ms);
        }
        kill(box.pid(), SIGKILL);
        box.wait();
        EXPECT_EQ(framed(client.get()), "1:up\n");
        EXPECT_EQ(box.state().stage, RunState::Stage::running) << "nobody could write another";
    }
    EXPECT_THAT(log_of("cat /tmp/x; echo again"), HasSubstr("again\n"));
    EXPECT_EQ(state_.exit_status, 0) << state_.error;
}

TEST_F(SupervisedContainer, SaysWhyItCouldNotRun) {
    run_.config.command = {"nosuch"};
    object answer;
    {
        Supervised box{supervisor(), files_, run_};
        answer = box.ask({{"do", "start"}});
        EXPECT_EQ(answer.at("status"), 127);
        EXPECT_EQ(answer.at("why"), "exec: \"nosuch\": executable file not found in $PATH");
        state_ = box.wait();
        EXPECT_EQ(state_.exit_status, 127);
        EXPECT_EQ(state_.error, "exec: \"nosuch\": executable file not found in $PATH");
        EXPECT_EQ(state_.started, std::chrono::system_clock::time_point{});
    }
    run_.config.command = {"true"};
    run_.config.user = "nobody-known";
    {
        Supervised box{supervisor(), files_, run_};
        answer = box.ask({{"do", "start"}});
        EXPECT_EQ(answer.at("status"), 128);
        EXPECT_THAT(box.wait().error, HasSubstr("nobody-known"));
    }
    run_.machine.kernel = "/etc/passwd";
    {
        Supervised box{supervisor(), files_, run_};
        state_ = box.wait();
        EXPECT_EQ(state_.exit_status, 128);
        EXPECT_THAT(state_.error, HasSubstr("/etc/passwd"));
    }
}

TEST_F(SupervisedContainer, ATermEndsItsMachine) {
    run_.is_thrown_away = true;
    Supervised& box = boot("echo up; sleep 1000");
    ASSERT_EQ(box.start(), "done");
    kill(box.pid(), SIGTERM);
    EXPECT_EQ(box.wait().exit_status, 137);
    EXPECT_EQ(box.exit_status(), 0);
}

TEST_F(SupervisedContainer, AClientThatTakesNothingHoldsOnlyItsOwnUp) {
    Supervised& box = boot("head -c 3000000 /dev/zero; echo end >&2; sleep 1000");
    const UniqueFd lazy = box.attach();
    ASSERT_EQ(box.start(), "done");
    EXPECT_EQ(Supervised::kind(box.ask({{"do", "group"}})), "group");
    object answer;
    const UniqueFd other = box.attach(exec(1, "echo alive"), &answer);
    EXPECT_EQ(framed(other.get()), "1:alive\n");
    EXPECT_LT(std::filesystem::file_size(files_.log()), 15'000'000U);
    size_t got = 0;
    while (got < 3'000'000) {
        const size_t part = read_up_to(lazy.get(), 100'000, kPatienceMs).size();
        ASSERT_GT(part, 0U);
        got += part;
    }
    EXPECT_EQ(Supervised::kind(box.ask({{"do", "end"}})), "done");
    EXPECT_EQ(box.wait().exit_status, 137);
}

}  // namespace
}  // namespace hull::test
