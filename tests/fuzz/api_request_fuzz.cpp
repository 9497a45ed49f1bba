// What a client may send to the daemon, up to where the engine looks at it. Input: all that comes on a
// connection before its end.
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "container/api/filters.h"
#include "container/api/http_server.h"
#include "container/api/registry_login.h"

using namespace hull;
using namespace hull::container;

namespace {

void answer(ApiCall& call) {
    const RequestTarget& target = call.target();
    if (target.path.find('\0') != std::string::npos || target.version < kLeastApiVersion ||
        target.version > kApiVersion) {
        std::abort();
    }
    static_cast<void>(target.is_set("all"));
    static_cast<void>(parse_registry_login(call.header("X-Registry-Auth")));
    const auto name = target.between("/images/", "/json");
    if (name && name->empty()) {
        std::abort();
    }
    size_t wanted = 0;
    for (const auto& [filter, values] : parse_filters(target.find("filters").value_or(""))) {
        wanted += filter.size() + values.size();
    }
    if (call.is("PATCH")) {
        std::array<std::byte, 100> room;
        while (call.read_body(room) > 0) {
        }
        call.send_nothing();
    } else if (call.is("POST")) {
        call.send(call.body());
    } else if (call.is("GET") && wanted == 0) {
        call.begin("text/plain");
        call.write(target.path);
    } else {
        call.send_nothing();
    }
}

}  // namespace

// NOLINTNEXTLINE(readability-identifier-naming): the name that libFuzzer calls
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static HttpServer server{UniqueFd{}, answer, [](std::string_view method, const RequestTarget&) {
                                 return method == "PATCH";  // which no other request is
                             }};
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
        std::abort();
    }
    UniqueFd theirs{ends[0]};
    const UniqueFd ours{ends[1]};
    // Nobody reads what is answered, for which there must be room in the socket.
    const size_t count = std::min<size_t>(size, 1500);
    if (send(ours.get(), data, count, MSG_DONTWAIT) != static_cast<ssize_t>(count)) {
        std::abort();
    }
    shutdown(ours.get(), SHUT_WR);
    server.serve(std::move(theirs));
    return 0;
}
