// What a keeper and its machine say to each other, over a pair of sockets that keep messages apart
// (SOCK_SEQPACKET).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/unique_fd.h"

namespace hull {

/// What the keeper asks of its machine, one byte each. The end of the keeper's side means that the keeper is
/// gone, and ends the machine.
enum class KeeperMessage : uint8_t {
    press_power_button = 's',  ///< which resumes it, so that the guest can heed it
    terminal_resized = 'w',    ///< as many as there may be; the machine asks the terminal itself
    stop_now = 'k',
    // Each of these is answered, in turn.
    pause = 'p',   ///< stop the vCPUs, if they run
    resume = 'r',  ///< run them again, if they are paused
    save = 'f',    ///< write the machine, which is paused, to two empty files: a state file and a memory file
};

/// One message with the descriptors that go with it.
struct KeeperRequest {
    KeeperMessage message{};
    std::vector<UniqueFd> descriptors;
};

/// Neither waits. False where the other side is gone or takes no more; `descriptors`, at most two, stay the
/// caller's.
bool send_request(int socket, KeeperMessage message, std::span<const int> descriptors = {});
/// Why it was not done, at most kMostAnswer bytes of it; empty: it was.
bool send_answer(int socket, const std::string& why_not);
constexpr size_t kMostAnswer = 2000;

/// In the machine: nothing at the other side's end. The socket must be readable.
std::optional<KeeperRequest> receive_request(int socket);
/// In the keeper, which holds the machine for hostile: what could not be printed is replaced. Nothing at the
/// end.
std::optional<std::string> receive_answer(int socket);

}  // namespace hull
