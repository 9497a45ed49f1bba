// What a container's daemon and its supervisor leave and tell each other.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <array>
#include <boost/json/serialize.hpp>
#include <boost/json/string.hpp>
#include <cstring>
#include <string>
#include <vector>

#include "container/image/json.h"
#include "container/supervisor/channel.h"
#include "container/supervisor/container_files.h"
#include "container/supervisor/exec_config.h"
#include "tests/support/errors.h"
#include "tests/support/files.h"

namespace hull::container {
namespace {

using testing::HasSubstr;

RunFile full_run_file() {
    RunFile file;
    file.config = {.host_name = "name",
                   .command = {"sh", "-c", "echo \"\xc3\xa4\""},
                   .environment = {"A=b"},
                   .user = "1:2",
                   .working_folder = "/w",
                   .tty = true,
                   .has_input = true,
                   .has_init = true,
                   .is_read_only = true,
                   .no_new_privileges = true,
                   .capabilities = ~uint64_t{0},
                   .limits = {{7, 1024, ~uint64_t{0}}},
                   .tmpfs = {{"/t", uint64_t{1} << 63, "size=1m"}},
                   .shared = {{.source = "/s,1",
                               .target = "/t",
                               .is_read_only = true,
                               .by = SharedMount::By::disk,
                               .is_filled = true}},
                   .sockets = {{.source = "/run/x", .target = "/x", .mode = 0660}},
                   .shm_size = 1,
                   .group = {.memory = 2, .kept_memory = 1, .cpus = 0.1, .processes = 3},
                   .has_network = false,
                   .endpoints = {{.bridge = "b",
                                  .address = ~0U,
                                  .gateway = 1U << 31,
                                  .prefix = 16,
                                  .mac = "02:00:00:00:00:01",
                                  .is_way_out = true},
                                 {.bridge = "c", .address = 1, .gateway = 0, .prefix = 24, .mac = "m"}},
                   .extra_hosts = {"1.2.3.4\tx"},
                   .has_names = true,
                   .name_servers = {"9.9.9.9"},
                   .search_domains = {"example.org"},
                   .resolver_options = {"ndots:2"},
                   .sysctls = {"net.ipv4.ip_forward=1"},
                   .is_privileged = true,
                   .rows = 31,
                   .columns = 97};
    file.machine = {.kernel = "/k",
                    .initramfs = "/i",
                    .layers = {"/a", "/b"},
                    .writable = "/d",
                    .is_writable_kept = true,
                    .cpus = 4,
                    .ports = {"127.0.0.1:1:2"},
                    .words = {"--no-jail"}};
    file.log = {.is_kept = false, .most_bytes = ~uint64_t{0}, .most_files = 5};
    file.input_ends_with_client = true;
    file.is_thrown_away = true;
    file.is_open_afterwards = true;
    file.is_quiet = true;
    file.health = HealthProbe{.command = {"a"}, .retries = 5};
    return file;
}

TEST(RunFile, IsReadAsItWasWritten) {
    const test::TemporaryFolder folder;
    const ContainerFiles files{folder.path()};
    const RunFile file = full_run_file();
    file.write(files);
    const RunFile read = RunFile::read(files);
    EXPECT_EQ(boost::json::serialize(read.to_json()), boost::json::serialize(file.to_json()));
    EXPECT_EQ(read.config.limits.at(0).hard, ~uint64_t{0});
    EXPECT_EQ(read.config.tmpfs.at(0).flags, uint64_t{1} << 63);
    EXPECT_EQ(read.config.shared.at(0).source, "/s,1");
    EXPECT_TRUE(read.is_open_afterwards && read.is_quiet);
    EXPECT_TRUE(read.config.shared.at(0).is_read_only &&
                read.config.shared.at(0).by == SharedMount::By::disk && read.config.shared.at(0).is_filled);
    EXPECT_EQ(read.config.sockets.at(0).mode, 0660U);
    EXPECT_EQ(read.config.group.cpus, 0.1);
    EXPECT_EQ(read.config.command, file.config.command);
    EXPECT_EQ(read.config.endpoints, file.config.endpoints);
    EXPECT_EQ(read.machine.layers, file.machine.layers);
    RunFile plain;
    plain.config.command = {"x"};
    plain.write(files);
    const RunFile plain_read = RunFile::read(files);
    EXPECT_TRUE(plain_read.config.endpoints.empty());
    EXPECT_FALSE(plain_read.config.group.memory || plain_read.config.group.cpus ||
                 plain_read.config.group.processes);
    struct stat status {};
    ASSERT_EQ(stat(files.run().c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0600U) << "variables may be secret";
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator{folder.path()}, {}), 1);
}

TEST(RunFile, IsRefusedWhereItIsNone) {
    const test::TemporaryFolder folder;
    const ContainerFiles files{folder.path()};
    const std::string good = boost::json::serialize(full_run_file().to_json());
    const auto changed = [&](const std::string& what, const std::string& to) {
        std::string text = good;
        const size_t at = text.find(what);
        EXPECT_NE(at, std::string::npos) << what;
        return text.replace(at, what.size(), to);
    };
    const std::string rows[] = {
        "",
        "null",
        "[]",
        good.substr(0, good.size() / 2),
        good + "x",
        changed(R"("command":["sh","-c")", R"("command":[0)"),
        changed(R"("sh")", R"("s\u0000h")"),
        changed(R"("soft":"1024")", R"("soft":1024)"),
        changed(R"("soft":"1024")", R"("soft":"-1")"),
        changed(R"("soft":"1024")", R"("soft":"1024k")"),
        changed(R"("shm_size":"1")", R"("shm_size":"18446744073709551616")"),
        changed(R"("resource":7)", R"("resource":4294967296)"),
        changed(R"("pids":3)", R"("pids":-3)"),
        changed(R"("nano_cpus":)", R"("nano_cpus":0.)"),
        changed(R"("most_files":5)", R"("most_files":0)"),
        changed(R"("config":)", R"("confog":)"),
        changed(R"("tty":true)", R"("tty":"yes")"),
    };
    for (const std::string& row : rows) {
        static_cast<void>(folder.file("run.json", row));
        test::expect_error([&] { RunFile::read(files); }, ExitStatus::bad_file, {"run.json"});
    }
    std::filesystem::remove(files.run());
    test::expect_error([&] { RunFile::read(files); }, ExitStatus::bad_file, {"No such file"});
    std::filesystem::create_directory(files.run());
    test::expect_error([&] { RunFile::read(files); }, ExitStatus::bad_file, {"no regular file"});
}

TEST(RunFile, SaysThatItCannotBeWritten) {
    test::expect_error([&] { full_run_file().write({"/no/such/folder"}); }, ExitStatus::bad_file,
                       {"/no/such/folder/run.json"});
}

TEST(RunState, IsReadAsItWasWritten) {
    const auto now = std::chrono::system_clock::now();
    const RunState state{.stage = RunState::Stage::ended,
                         .is_paused = true,
                         .supervisor = 12,
                         .started = now,
                         .finished = now + std::chrono::nanoseconds{1},
                         .exit_status = 255,
                         .is_out_of_memory = true,
                         .error = "exec: \"x\"",
                         .health = Health{.status = Health::Status::healthy, .failing_streak = 2}};
    const RunState read = RunState::from_json(state.to_json());
    EXPECT_EQ(read.to_json(), state.to_json());
    EXPECT_EQ(read.finished, state.finished);
    EXPECT_EQ(RunState::from_json(RunState{}.to_json()).to_json(), RunState{}.to_json());
}

TEST(RunState, IsRefusedWhereItIsNone) {
    const std::string good = RunState{}.to_json();
    const auto changed = [&](const std::string& what, const std::string& to) {
        std::string text = good;
        return text.replace(text.find(what), what.size(), to);
    };
    const std::string rows[] = {"",
                                "{}",
                                good.substr(1),
                                changed(R"("booting")", R"("begun")"),
                                changed(R"("exit_status":0)", R"("exit_status":256)"),
                                changed(R"("exit_status":0)", R"("exit_status":-1)"),
                                changed(R"("supervisor":0)", R"("supervisor":2147483648)"),
                                changed(R"("started":0)", R"("started":"now")"),
                                changed(R"("is_paused":false)", R"("is_paused":0)")};
    for (const std::string& row : rows) {
        test::expect_error([&] { RunState::from_json(row); }, ExitStatus::bad_file, {"container's state"});
    }
}

TEST(TimeText, IsRfc3339) {
    using std::chrono::system_clock;
    EXPECT_EQ(time_text({}), "0001-01-01T00:00:00Z");
    EXPECT_EQ(time_text(system_clock::time_point{std::chrono::nanoseconds{1'704'164'645'000'000'006}}),
              "2024-01-02T03:04:05.000000006Z");
    EXPECT_EQ(time_text(system_clock::time_point{std::chrono::nanoseconds{-1}}),
              "1969-12-31T23:59:59.999999999Z");
}

TEST(ExecConfig, IsReadAsItWasWritten) {
    const ExecConfig config{.command = {"a", ""},
                            .environment = {"B=c"},
                            .user = "u",
                            .working_folder = "/d",
                            .tty = true,
                            .has_input = true,
                            .is_privileged = true};
    const auto object = config.to_json();
    EXPECT_EQ(boost::json::serialize(ExecConfig::from_json(object).to_json()),
              boost::json::serialize(object));
    for (const char* wrong :
         {R"({})", R"({"command":[]})", R"({"command":"x"})", R"({"command":["x"],"working_folder":"rel"})",
          R"({"command":["x"],"tty":1})", R"({"command":["x\u0000"]})"}) {
        test::expect_error([&] { ExecConfig::from_json(parse_json_object(wrong, "x")); },
                           ExitStatus::bad_file, {"further command"});
    }
}

class ChannelTest : public testing::Test {
  protected:
    ChannelTest() {
        std::array<int, 2> ends{};
        EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()), 0);
        raw_ = ends[1];
        one_.emplace(UniqueFd{ends[0]});
        other_.emplace(UniqueFd{ends[1]});
    }
    /// Sends bytes, with these descriptors.
    void send_raw(std::string bytes, const std::vector<int>& descriptors = {}) const {
        iovec part{bytes.data(), bytes.size()};
        std::vector<char> control(CMSG_SPACE(descriptors.size() * sizeof(int)));
        msghdr message{};
        message.msg_iov = &part;
        message.msg_iovlen = 1;
        if (!descriptors.empty()) {
            message.msg_control = control.data();
            message.msg_controllen = control.size();
            cmsghdr* const rights = CMSG_FIRSTHDR(&message);
            rights->cmsg_level = SOL_SOCKET;
            rights->cmsg_type = SCM_RIGHTS;
            rights->cmsg_len = CMSG_LEN(descriptors.size() * sizeof(int));
            std::memcpy(CMSG_DATA(rights), descriptors.data(), descriptors.size() * sizeof(int));
        }
        ASSERT_EQ(sendmsg(raw_, &message, 0), static_cast<ssize_t>(bytes.size()));
    }
    static size_t open_files() {
        return static_cast<size_t>(std::distance(std::filesystem::directory_iterator{"/proc/self/fd"}, {}));
    }

    int raw_ = -1;  // of other_
    std::optional<Channel> one_;
    std::optional<Channel> other_;
};

TEST_F(ChannelTest, CarriesMessagesAndDescriptors) {
    test::Pipe pipe = test::make_pipe();
    EXPECT_TRUE(one_->send({{"do", "attach"}}, pipe.write_end.get()));
    EXPECT_TRUE(one_->send({{"do", "start"}}));
    auto message = other_->receive();
    ASSERT_TRUE(message.has_value());
    EXPECT_EQ(message->what.at("do"), "attach");
    ASSERT_TRUE(message->descriptor.valid());
    EXPECT_NE(fcntl(message->descriptor.get(), F_GETFD) & FD_CLOEXEC, 0);
    test::write_all(message->descriptor.get(), "x");
    EXPECT_EQ(test::read_up_to(pipe.read_end.get(), 1), "x");
    message = other_->receive();
    ASSERT_TRUE(message.has_value());
    EXPECT_FALSE(message->descriptor.valid());
    one_.reset();
    EXPECT_FALSE(other_->receive().has_value());
    EXPECT_TRUE(other_->is_at_end());
    EXPECT_FALSE(other_->send({{"is", "done"}}));
}

TEST_F(ChannelTest, MessagesAreBounded) {
    EXPECT_TRUE(one_->send({{"x", std::string(Channel::kMostBytes - 100, 'x')}}));
    const auto message = other_->receive();
    ASSERT_TRUE(message.has_value());
    EXPECT_EQ(message->what.at("x").as_string().size(), Channel::kMostBytes - 100);
    test::expect_error(
        [&] {
            one_->send({{"x", std::string(Channel::kMostBytes, 'x')}});
        },
        ExitStatus::usage, {"160 KiB"});
}

TEST_F(ChannelTest, WhoeverSendsSomethingElseIsAtItsEnd) {
    for (const std::string& row : {std::string{"x"}, std::string{"[]"}, std::string{"\xff"},
                                   "{\"x\":\"" + std::string(Channel::kMostBytes, 'x') + "\"}"}) {
        const size_t before = open_files();
        send_raw(row, {raw_, raw_});
        EXPECT_FALSE(one_->receive().has_value());
        EXPECT_TRUE(one_->is_at_end());
        EXPECT_EQ(open_files(), before);
    }
    // Several descriptors: one is taken, and none is left open.
    const size_t before = open_files();
    send_raw("{}", {raw_, raw_, raw_});
    EXPECT_TRUE(one_->receive().has_value());
    EXPECT_EQ(open_files(), before);
}

TEST_F(ChannelTest, OneThatDoesNotBlockHasNothingYet) {
    fcntl(one_->fd(), F_SETFL, O_NONBLOCK);
    EXPECT_FALSE(one_->receive().has_value());
    EXPECT_FALSE(one_->is_at_end());
    size_t sent = 0;
    while (sent < 100'000 && one_->send({{"x", std::string(1000, 'x')}})) {
        ++sent;
    }
    EXPECT_LT(sent, 100'000U);
}

TEST_F(ChannelTest, ThereIsNoneWhereNobodyListens) {
    EXPECT_FALSE(Channel::connect("/no/such/socket").valid());
    EXPECT_FALSE(Channel::connect("/" + std::string(200, 'x')).valid());
}

}  // namespace
}  // namespace hull::container
