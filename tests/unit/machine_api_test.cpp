// The API of a machine: a real server and clients over sockets, the machine played.
#include "vmm/api/machine_api.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/errors.h"
#include "tests/support/files.h"
#include "tests/support/sockets.h"
#include "vmm/api/http_client.h"

namespace hull {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

/// Notes what it is asked, and does it at once unless it is to be slow.
class PlayedMachine final : public ControlledMachine {
  public:
    [[nodiscard]] const MachineConfig& config() const override { return config_; }
    [[nodiscard]] bool is_paused() const override { return paused; }
    void pause(Done done) override {
        finish("pause", std::move(done), [this] { paused = true; });
    }
    void resume(Done done) override {
        finish("resume", std::move(done), [this] { paused = false; });
    }
    void save(const SnapshotFiles& files, Done done) override {
        finish("save " + files.state.string() + " " + files.memory.string(), std::move(done), [] {});
    }
    void press_power_button() override { asked.emplace_back("power"); }

    MachineConfig config_;
    std::string why_not;  // what is done is not done, for this reason
    std::vector<std::string> asked;
    std::vector<std::function<void()>> later;  // where it is slow
    bool is_slow = false;
    bool paused = false;

  private:
    void finish(const std::string& what, Done done, const std::function<void()>& act) {
        asked.push_back(what);
        const auto end = [this, done = std::move(done), act] {
            if (why_not.empty()) {
                act();
            }
            done(why_not);
        };
        if (is_slow) {
            later.push_back(end);
        } else {
            end();
        }
    }
};

class MachineApiTest : public testing::Test {
  protected:
    MachineApiTest() {
        machine_.config_.kernel = "/kernel";
        machine_.config_.initramfs = {"/initramfs"};
        machine_.config_.cmdline_raw = "words";
        machine_.config_.cpus = 2;
        machine_.config_.memory = uint64_t{256} << 20;
        machine_.config_.disks = {DiskConfig::parse("/disk,readonly"), DiskConfig::parse("/other,id=two")};
        machine_.config_.nets = {NetConfig::parse("tap=tap7,mac=02:00:00:00:00:07"),
                                 NetConfig::parse("user")};
        machine_.config_.vsock = VsockConfig::parse("cid=5,socket=/vsock");
        loop_.watch(stop_.get(), [this] { loop_.stop(); });
        loop_.watch(wake_.get(), [this] {
            drain_eventfd(wake_.get());
            for (const auto& end : std::exchange(machine_.later, {})) {
                end();
            }
        });
        thread_ = std::thread{[this] { loop_.run(); }};
    }
    ~MachineApiTest() override { stop(); }

    /// Ends the loop: from then on, what the machine was asked can be looked at.
    void stop() {
        if (thread_.joinable()) {
            signal_eventfd(stop_.get());
            thread_.join();
        }
    }
    /// Has a slow machine do what it was asked.
    void let_it_finish() { signal_eventfd(wake_.get()); }

    HttpAnswer ask(const std::string& method, const std::string& target, const std::string& body = "") {
        return ask_machine(path_, {method, target, body});
    }
    /// What comes for these bytes until the connection ends.
    std::string exchange(const std::string& bytes) {
        const UniqueFd fd = test::connect_unix(path_);
        test::write_all(fd.get(), bytes);
        shutdown(fd.get(), SHUT_WR);
        return test::read_up_to(fd.get(), SIZE_MAX);
    }
    static std::string request(const std::string& line, const std::string& body = "") {
        return line + " HTTP/1.1\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
    }

    const test::TemporaryFolder folder_;
    const std::string path_ = (folder_.path() / "api").string();
    PlayedMachine machine_;
    MachineApi api_{machine_};
    EventLoop loop_;
    const UniqueFd stop_ = make_eventfd();
    const UniqueFd wake_ = make_eventfd();
    HttpServer server_{
        loop_, test::listen_unix(path_, SOCK_NONBLOCK), "Hull API",
        [this](const HttpRequest& asked, const HttpServer::Reply& reply) { api_.handle(asked, reply); }};
    std::thread thread_;
};

TEST_F(MachineApiTest, TellsWhatTheMachineIs) {
    EXPECT_EQ(ask("GET", "/").body,
              R"({"id":"hull","state":"Running","vmm_version":")" HULL_VERSION R"(","app_name":"Hull"})");
    EXPECT_EQ(ask("GET", "/version").body, R"({"firecracker_version":")" HULL_VERSION R"("})");
    EXPECT_EQ(
        ask("GET", "/machine-config").body,
        R"({"vcpu_count":2,"mem_size_mib":256,"smt":false,"track_dirty_pages":false,"huge_pages":"None"})");
    const HttpAnswer whole = ask("GET", "/vm/config");
    EXPECT_EQ(whole.status, 200U);
    EXPECT_EQ(
        whole.body,
        R"({"boot-source":{"kernel_image_path":"/kernel","boot_args":"words","initrd_path":"/initramfs"},)"
        R"("drives":[{"drive_id":"disk0","is_root_device":false,"is_read_only":true,"path_on_host":"/disk"},)"
        R"({"drive_id":"two","is_root_device":false,"is_read_only":false,"path_on_host":"/other"}],)"
        R"("machine-config":{"vcpu_count":2,"mem_size_mib":256,"smt":false,"track_dirty_pages":false,)"
        R"("huge_pages":"None"},"network-interfaces":[{"iface_id":"net0","host_dev_name":"tap7",)"
        R"("guest_mac":"02:00:00:00:00:07"},{"iface_id":"net1"}],)"
        R"("vsock":{"guest_cid":5,"uds_path":"/vsock"}})");
}

TEST_F(MachineApiTest, PausesFreezesAndResumes) {
    EXPECT_EQ(ask("PATCH", "/vm", R"({"state":"Paused"})").status, 204U);
    EXPECT_THAT(ask("GET", "/").body, HasSubstr(R"("state":"Paused")"));
    EXPECT_EQ(ask("PUT", "/snapshot/create", R"({"snapshot_path":"/s","mem_file_path":"/m"})").status, 204U);
    EXPECT_EQ(ask("PATCH", "/vm", R"({"state":"Resumed"})").status, 204U);
    EXPECT_EQ(ask("PUT", "/actions", R"({"action_type":"SendCtrlAltDel"})").status, 204U);
    stop();
    EXPECT_EQ(machine_.asked, (std::vector<std::string>{"pause", "save /s /m", "resume", "power"}));
}

TEST_F(MachineApiTest, SaysWhyTheMachineDidNot) {
    machine_.why_not = "cannot do it: the disk is full; make room";
    const HttpAnswer answer = ask("PATCH", "/vm", R"({"state":"Paused"})");
    EXPECT_EQ(answer.status, 400U);
    EXPECT_EQ(answer.body, R"({"fault_message":"cannot do it: the disk is full; make room"})");
}

TEST_F(MachineApiTest, RefusesWhatIsWrongAndDoesNothing) {
    struct Row {
        const char* method;
        const char* target;
        const char* body;
        const char* says;
    };
    const std::vector<Row> rows{
        {"GET", "/nothing", "", "Invalid request method and/or path: GET /nothing."},
        {"POST", "/vm", R"({"state":"Paused"})", "Invalid request method and/or path: POST /vm."},
        {"GET", "/vm", "", "Invalid request method and/or path"},
        {"PATCH", "/vm", "", "deserializing"},
        {"PATCH", "/vm", "{", "deserializing"},
        {"PATCH", "/vm", "[]", "it is no object"},
        {"PATCH", "/vm", "{}", "missing field `state`"},
        {"PATCH", "/vm", R"({"state":1})", "`state` is not a string"},
        {"PATCH", "/vm", R"({"state":"Stopped"})", "unknown variant `Stopped`"},
        {"PATCH", "/vm", R"({"state":"Paused","x":1})", "unknown field `x`"},
        {"PATCH", "/vm", R"({"state":"Paused"} trailing)", "deserializing"},
        {"PUT", "/actions", R"({"action_type":"InstanceStart"})", "not supported after starting the microVM"},
        {"PUT", "/actions", R"({"action_type":"FlushMetrics"})", "no metrics"},
        {"PUT", "/actions", R"({"action_type":"Dance"})", "unknown variant `Dance`"},
        {"PUT", "/snapshot/create", R"({"snapshot_path":"/s","mem_file_path":"/m"})", "pause it first"},
        {"PUT", "/snapshot/create", R"({"snapshot_path":"/s"})", "missing field `mem_file_path`"},
        {"PUT", "/snapshot/create", R"({"snapshot_type":"Diff","snapshot_path":"/s","mem_file_path":"/m"})",
         "no incremental snapshots"},
        {"PUT", "/snapshot/create", R"({"snapshot_type":"Half","snapshot_path":"/s","mem_file_path":"/m"})",
         "unknown variant `Half`"},
    };
    for (const Row& row : rows) {
        SCOPED_TRACE(std::string{row.method} + " " + row.target + " " + row.body);
        const HttpAnswer answer = ask(row.method, row.target, row.body);
        EXPECT_EQ(answer.status, 400U);
        EXPECT_THAT(answer.body, StartsWith(R"({"fault_message":")"));
        EXPECT_THAT(answer.body, HasSubstr(row.says));
    }
    stop();
    EXPECT_TRUE(machine_.asked.empty());
}

TEST_F(MachineApiTest, AnswersWhatIsNoHttpAndGoesOn) {
    EXPECT_THAT(exchange("what is this\r\n\r\n"), StartsWith("HTTP/1.1 400 "));
    EXPECT_THAT(exchange("GET / HTTP/1.1\r\nX: " + std::string(10'000, 'x') + "\r\n\r\n"),
                StartsWith("HTTP/1.1 400 "));
    EXPECT_THAT(exchange(request("PATCH /vm", std::string(HttpServer::kMostBody + 1, ' '))),
                StartsWith("HTTP/1.1 413 "));
    EXPECT_EQ(exchange("GET / HT"), "") << "half a request";
    EXPECT_EQ(exchange("PATCH /vm HTTP/1.1\r\nContent-Length: 100\r\n\r\n{"), "") << "half a body";
    EXPECT_EQ(exchange(""), "");
    EXPECT_EQ(ask("GET", "/").status, 200U);
}

TEST_F(MachineApiTest, AnswersOneConnectionsRequestsInTurn) {
    std::string many;
    for (int number = 0; number < 3000; ++number) {
        many += "GET /version HTTP/1.1\r\n\r\n";
    }
    const std::string all = exchange(many + "GET /version HTTP/1.1\r\nConnection: close\r\n\r\n");
    size_t count = 0;
    for (size_t at = all.find("HTTP/1.1 200"); at != std::string::npos;
         at = all.find("HTTP/1.1 200", at + 1)) {
        ++count;
    }
    EXPECT_EQ(count, 3001U);
}

TEST_F(MachineApiTest, WaitsForASlowMachineAndServesOthersMeanwhile) {
    machine_.is_slow = true;
    const UniqueFd waits = test::connect_unix(path_);
    test::write_all(waits.get(), request("PATCH /vm", R"({"state":"Paused"})"));
    shutdown(waits.get(), SHUT_WR);
    {
        const UniqueFd leaves = test::connect_unix(path_);
        test::write_all(leaves.get(), request("PATCH /vm", R"({"state":"Resumed"})"));
    }
    EXPECT_EQ(ask("GET", "/").status, 200U);
    let_it_finish();
    EXPECT_THAT(test::read_up_to(waits.get(), SIZE_MAX), StartsWith("HTTP/1.1 204 "));
    EXPECT_EQ(ask("GET", "/").status, 200U) << "the one that has left is nobody's trouble";
}

TEST_F(MachineApiTest, ServesManyClientsAtOnce) {
    std::vector<UniqueFd> clients;
    for (size_t number = 0; number < HttpServer::kMostClients + 20; ++number) {
        clients.push_back(test::connect_unix(path_));
        ASSERT_TRUE(clients.back().valid());
    }
    for (const UniqueFd& client : clients) {
        test::write_all(client.get(), "GET / HTTP/1.1\r\n\r\n");
    }
    size_t answered = 0;
    while (!clients.empty()) {
        answered += test::read_up_to(clients.front().get(), 12) == "HTTP/1.1 200" ? 1 : 0;
        clients.erase(clients.begin());  // and one of those that wait has its turn
    }
    EXPECT_EQ(answered, HttpServer::kMostClients + 20);
}

TEST(HttpClient, SaysWhyItReachesNoMachine) {
    const test::TemporaryFolder folder;
    test::expect_error(
        [&] {
            ask_machine(folder.path() / "none", {"GET", "/", ""});
        },
        ExitStatus::bad_file, {"none", "No such file", "--api-socket"});
    const std::string path = folder.path() / "dies";
    UniqueFd listener = test::listen_unix(path);
    std::thread server{[&listener] { UniqueFd{accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC)}; }};
    test::expect_error(
        [&] {
            ask_machine(path, {"GET", "/", ""});
        },
        ExitStatus::machine_died, {"dies", "has ended"});
    server.join();
}

}  // namespace
}  // namespace hull
