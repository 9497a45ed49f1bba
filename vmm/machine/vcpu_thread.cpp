#include "vmm/machine/vcpu_thread.h"

#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>

#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/thread_guard.h"

namespace hull {

namespace {

int kick_signal() {
    return SIGRTMIN;
}

/// Calls `access` for each of the `count` elements of a port access that a string instruction made.
template <typename Bytes, typename Access>
void for_each_element(Bytes data, uint32_t count, Access access) {
    const size_t size = count == 0 ? 0 : data.size() / count;
    for (uint32_t i = 0; i < count; ++i) {
        access(data.subspan(i * size, size));
    }
}

template <typename... Ts>
struct Overloaded : Ts... {
    using Ts::operator()...;
};
template <typename... Ts>
Overloaded(Ts...) -> Overloaded<Ts...>;

}  // namespace

void VcpuThread::install_kick_handler() {
    // The handler has nothing to do: that the signal is delivered is what interrupts KVM_RUN.
    struct sigaction action {};
    action.sa_handler = [](int) {};
    sigaction(kick_signal(), &action, nullptr);
}

VcpuThread::VcpuThread(Vcpu vcpu, const VcpuSurroundings& surroundings)
    : vcpu_{std::move(vcpu)}, surroundings_{surroundings} {
    try {
        thread_ = std::thread{[this] { run(); }};
    } catch (const std::system_error& error) {
        throw Error{ExitStatus::no_resources,
                    "cannot start the thread of vCPU " + std::to_string(vcpu_.index()),
                    error.code().message(), "raise the limit of processes (ulimit -u)"};
    }
    guarded_.acquire();
    if (failure_) {
        thread_.join();
        std::rethrow_exception(failure_);
    }
}

VcpuThread::~VcpuThread() {
    {
        const std::lock_guard lock{mutex_};
        stop_.store(true);
        interrupt();
    }
    go_.release();  // where it was not started; otherwise nobody looks any more
    changed_.notify_all();
    thread_.join();
}

/// Whichever comes first is seen: the flag by a KVM_RUN that is about to start, the signal by one that is
/// under way.
void VcpuThread::interrupt() {
    vcpu_.request_exit();
    pthread_kill(thread_.native_handle(), kick_signal());
}

void VcpuThread::request_pause() {
    const std::lock_guard lock{mutex_};
    is_pause_asked_.store(true);
    interrupt();
}

void VcpuThread::wait_until_paused() {
    std::unique_lock lock{mutex_};
    changed_.wait(lock, [this] { return is_still_; });
}

void VcpuThread::resume() {
    {
        const std::lock_guard lock{mutex_};
        is_pause_asked_.store(false);
    }
    changed_.notify_all();
}

void VcpuThread::run() {
    prctl(PR_SET_NAME, ("vcpu " + std::to_string(vcpu_.index())).c_str());
    try {
        guard_this_thread(ThreadKind::vcpu);
    } catch (...) {
        failure_ = std::current_exception();
    }
    const bool is_guarded = failure_ == nullptr;
    guarded_.release();
    if (is_guarded) {
        go_.acquire();
        serve_exits();
    }
}

void VcpuThread::serve_exits() {
    rest();  // where a pause was asked for before the start
    while (!stop_.load()) {
        const VcpuExit exit = vcpu_.run();
        if (!serve(exit)) {
            surroundings_.on_end(vcpu_.index(), exit);
            break;
        }
        if (is_pause_asked_.load()) [[unlikely]] {
            rest();
        }
    }
    const std::lock_guard lock{mutex_};
    is_still_ = true;
    changed_.notify_all();
}

/// Waits while a pause is asked for, or the thread is to end.
void VcpuThread::rest() {
    // What a device has answered reaches the vCPU's registers only as KVM_RUN is called again, which may have
    // the next part of the same access then (5., immediate_exit).
    while (is_pause_asked_.load()) {
        const VcpuExit exit = vcpu_.run();
        if (std::holds_alternative<vcpu_exit::Interrupted>(exit)) {
            break;
        }
        if (!serve(exit)) {
            surroundings_.on_end(vcpu_.index(), exit);
            stop_.store(true);
            return;
        }
    }
    std::unique_lock lock{mutex_};
    is_still_ = true;
    changed_.notify_all();
    changed_.wait(lock, [this] { return !is_pause_asked_.load() || stop_.load(); });
    is_still_ = false;
    if (!stop_.load()) {
        vcpu_.withdraw_exit_request();
    }
}

bool VcpuThread::serve(const VcpuExit& exit) {
    return std::visit(Overloaded{
                          [this](const vcpu_exit::PortWrite& access) {
                              for_each_element(
                                  access.data, access.count, [&](std::span<const std::byte> element) {
                                      surroundings_.ports.write(GuestAddress{access.port}, element);
                                  });
                              return true;
                          },
                          [this](const vcpu_exit::PortRead& access) {
                              for_each_element(access.data, access.count, [&](std::span<std::byte> element) {
                                  surroundings_.ports.read(GuestAddress{access.port}, element);
                              });
                              return true;
                          },
                          [this](const vcpu_exit::MemoryWrite& access) {
                              surroundings_.memory.write(access.address, access.data);
                              return true;
                          },
                          [this](const vcpu_exit::MemoryRead& access) {
                              surroundings_.memory.read(access.address, access.data);
                              return true;
                          },
                          [](const vcpu_exit::Interrupted&) { return true; },
                          [](const vcpu_exit::Shutdown&) { return false; },
                          [](const vcpu_exit::SystemEvent&) { return false; },
                          [](const vcpu_exit::Failure&) { return false; },
                      },
                      exit);
}

}  // namespace hull
