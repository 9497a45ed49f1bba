#include "vmm/main/watched_machine.h"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <utility>

namespace hull {

WatchedMachine::WatchedMachine(EventLoop& loop, UniqueFd console, int pidfd, std::function<void()> on_end)
    : loop_{loop}, console_{std::move(console)}, pidfd_{pidfd} {
    loop_.watch(console_.get(), [this] { take_console(); });
    loop_.watch(pidfd_, std::move(on_end));
}

WatchedMachine::~WatchedMachine() {
    loop_.forget(console_.get());
    loop_.forget(pidfd_);
}

bool WatchedMachine::could_not_start() const {
    siginfo_t info{};
    waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(pidfd_), &info, WEXITED | WNOWAIT | WNOHANG);
    return info.si_code == CLD_EXITED && info.si_status >= static_cast<int>(ExitStatus::internal_failure) &&
           info.si_status <= static_cast<int>(ExitStatus::no_resources);
}

std::string WatchedMachine::last_words() {
    take_console();
    std::ranges::replace_if(
        words_, [](char byte) { return (byte < ' ' && byte != '\n') || byte > '~'; }, ' ');
    return words_;
}

void WatchedMachine::fail(ExitStatus status, const std::string& tried, const std::string& why) {
    const std::string words = last_words();
    if (!words.empty()) {
        std::fprintf(stderr, "%s\n", words.c_str());
    }
    throw Error{status, tried, why, words.empty() ? "" : "the guest's last words are above"};
}

void WatchedMachine::take_console() {
    constexpr size_t kMost = 8000;  // a panic with its registers and where it came from
    std::array<char, 4096> part{};
    const ssize_t got = read(console_.get(), part.data(), part.size());
    if (got > 0) {
        words_.append(part.data(), static_cast<size_t>(got));
        words_.erase(0, words_.size() - std::min(words_.size(), kMost));
    }
}

}  // namespace hull
