#include "vmm/jail/seccomp.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "base/thread_guard.h"
#include "vmm/arch/arch.h"
#include "vmm/jail/filters.h"

namespace hull::jail {

namespace {

/// SYS_SECCOMP of asm-generic/siginfo.h, which cannot be included beside signal.h.
constexpr int kFromSeccomp = 1;

Refusal refusal = Refusal::fail;

/// Of this thread, for the handler.
thread_local ThreadKind this_threads_kind = ThreadKind::main;

/// Text that is put together without memory from anywhere: a handler of a signal may have interrupted
/// malloc().
class Line {
  public:
    void add(std::string_view text) {
        const size_t part = std::min(text.size(), text_.size() - size_);
        std::memcpy(text_.data() + size_, text.data(), part);
        size_ += part;
    }
    void add(uint32_t number) {
        std::array<char, 10> digits{};
        size_t first = digits.size();
        do {
            digits.at(--first) = static_cast<char>('0' + number % 10);
            number /= 10;
        } while (number > 0);
        add(std::string_view{digits.data() + first, digits.size() - first});
    }
    void write_out() const { write_log_line({text_.data(), size_}); }

  private:
    std::array<char, 160> text_{};
    size_t size_ = 0;
};

/// Tells of it the first time that a thread of this kind makes this call.
void tell(int number, uint32_t architecture) {
    constexpr size_t kNumbers =
        1024;  // all that is beyond, and of other instruction sets, counts as the last
    static std::array<std::array<std::atomic<bool>, kNumbers>, kThreadKinds> told;
    const bool is_native = architecture == kNativeArchitecture;
    const auto place = static_cast<uint32_t>(number);
    auto& calls = told.at(static_cast<size_t>(this_threads_kind));
    if (calls.at(is_native && place < kNumbers ? place : kNumbers - 1).exchange(true)) {
        return;
    }
    const char* name = is_native ? name_of_call(number) : nullptr;
    Line line;
    line.add("hull: warning: the jail refuses a ");
    line.add(name_of(this_threads_kind));
    line.add(" thread the system call ");
    line.add(name != nullptr ? name : "number");
    line.add(name != nullptr ? " (" : " ");
    line.add(static_cast<uint32_t>(number));
    line.add(name != nullptr ? ")" : is_native ? "" : " of another instruction set");
    line.add("\n");
    line.write_out();
}

void take_refused_call(int /*signal*/, siginfo_t* info, void* context) {
    if (info->si_code != kFromSeccomp) {
        return;  // somebody sent it
    }
    const int before = errno;
    tell(info->si_syscall, info->si_arch);
    arch::set_system_call_result(*static_cast<ucontext_t*>(context), -EPERM);
    errno = before;
}

int seccomp(unsigned operation, const void* argument) {
    return static_cast<int>(syscall(SYS_seccomp, operation, 0, argument));
}

Error no_filters(int cause) {
    return {ExitStatus::jail_incomplete, "cannot close the jail's layer 'seccomp'", errno_text(cause),
            "use a kernel that has it (CONFIG_SECCOMP_FILTER), or do without (--jail-without seccomp)"};
}

void close_filter(ThreadKind kind) {
    if (kind == ThreadKind::main) {
        // The last one. Until here what is large may be given back whole; from now on all is brk()'s, since
        // the threads that serve the guest may not have memory mapped.
        mallopt(M_MMAP_MAX, 0);
    }
    const auto filter = filter_of(kind);
    std::vector<sock_filter> program{filter.begin(), filter.end()};
    for (sock_filter& step : program) {
        if (refusal == Refusal::kill && step.code == (BPF_RET | BPF_K) && step.k == SECCOMP_RET_TRAP) {
            step.k = SECCOMP_RET_KILL_PROCESS;
        }
    }
    this_threads_kind = kind;
    const sock_fprog whole{static_cast<unsigned short>(program.size()), program.data()};
    if (seccomp(SECCOMP_SET_MODE_FILTER, &whole) != 0) {
        throw no_filters(errno);
    }
}

}  // namespace

void install_thread_guard(Refusal how) {
    refusal = how;
    const uint32_t action = how == Refusal::kill ? SECCOMP_RET_KILL_PROCESS : SECCOMP_RET_TRAP;
    if (seccomp(SECCOMP_GET_ACTION_AVAIL, &action) != 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        throw no_filters(errno);
    }
    if (how == Refusal::fail) {
        struct sigaction handler {};
        handler.sa_sigaction = take_refused_call;
        handler.sa_flags = SA_SIGINFO;
        sigaction(SIGSYS, &handler, nullptr);
    }
    // An arena for each thread would be mapped and given back in the middle of its work.
    mallopt(M_ARENA_MAX, 1);
    set_thread_guard(close_filter);
}

}  // namespace hull::jail
