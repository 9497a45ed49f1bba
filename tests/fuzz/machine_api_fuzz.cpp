// A client of a machine's API: its bytes as they come over a socket, or a request's parts. Input: which of
// the two, and then the bytes, or a method, a path and a body, a line each.
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "base/event_loop.h"
#include "tests/fuzz/input.h"
#include "tests/support/files.h"
#include "tests/support/sockets.h"
#include "vmm/api/config_api.h"
#include "vmm/api/machine_api.h"

namespace {

using namespace hull;

/// Does at once what it is asked.
class PlayedMachine final : public ControlledMachine {
  public:
    [[nodiscard]] const MachineConfig& config() const override { return config_; }
    [[nodiscard]] bool is_paused() const override { return paused_; }
    void pause(Done done) override {
        paused_ = true;
        done("");
    }
    void resume(Done done) override {
        paused_ = false;
        done("it will not");
    }
    void save(const SnapshotFiles& /*files*/, Done done) override {
        test::require(paused_);
        done("");
    }
    void press_power_button() override {}

  private:
    MachineConfig config_;
    bool paused_ = false;
};

void serve(std::string_view bytes) {
    static const test::TemporaryFolder folder;
    static const std::string path = folder.path() / "api";
    unlink(path.c_str());
    PlayedMachine machine;
    MachineApi api{machine};
    EventLoop loop;
    const HttpServer server{
        loop, test::listen_unix(path, SOCK_NONBLOCK), "Hull API",
        [&](const HttpRequest& request, const HttpServer::Reply& reply) { api.handle(request, reply); }};
    const UniqueFd client = test::connect_unix(path, SOCK_NONBLOCK);
    // A first piece, so that the parser sees a beginning, and the rest.
    const size_t half = bytes.size() / 2;
    for (const std::string_view part : {bytes.substr(0, half), bytes.substr(half)}) {
        static_cast<void>(send(client.get(), part.data(), part.size(), MSG_NOSIGNAL));
        loop.set_deadline(std::chrono::milliseconds{0}, [&loop] { loop.stop(); });
        loop.run();
    }
    shutdown(client.get(), SHUT_WR);
    loop.set_deadline(std::chrono::milliseconds{0}, [&loop] { loop.stop(); });
    loop.run();
}

}  // namespace

// NOLINTNEXTLINE(readability-identifier-naming): the name that libFuzzer calls
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    std::string_view input{reinterpret_cast<const char*>(data), size};
    if (input.empty()) {
        return 0;
    }
    const char how = input.front();
    input.remove_prefix(1);
    if (how == 'h') {
        serve(input);
        return 0;
    }
    const auto line = [&input] {
        const std::string_view taken = input.substr(0, input.find('\n'));
        input.remove_prefix(std::min(input.size(), taken.size() + 1));
        return std::string{taken};
    };
    PlayedMachine machine;
    const std::string method = line();
    HttpRequest request{method, line(), ""};
    request.body = std::string{input};
    int answers = 0;
    const auto reply = [&](const HttpAnswer& answer) {
        ++answers;
        test::require(answer.status == 200 || answer.status == 204 || answer.status == 400);
        test::require((answer.status == 204) == answer.body.empty());
    };
    if (how == 'b') {
        ConfigApi api{MachineConfig{}, [](const ConfigApi::Start& start) { start.reply({}); }};
        api.handle(request, reply);
        static_cast<void>(api.config().to_json());
    } else {
        MachineApi{machine}.handle(request, reply);
    }
    test::require(answers == 1);
    return 0;
}
