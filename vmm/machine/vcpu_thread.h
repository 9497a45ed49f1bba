// A thread that runs one vCPU and serves its exits.
#pragma once

#include <atomic>
#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <semaphore>
#include <string>
#include <thread>

#include "devices/bus/bus.h"
#include "vmm/kvm/vcpu.h"

namespace hull {

/// What the vCPUs of a machine share. All must outlive the threads.
struct VcpuSurroundings {
    const Bus& ports;
    const Bus& memory;
    /// Called on the vCPU's thread when it cannot go on: with Shutdown, SystemEvent or Failure.
    std::function<void(uint32_t vcpu_index, const VcpuExit&)> on_end;
};

/// Runs a vCPU from start() until it cannot go on or the destructor is called, which interrupts it and waits.
class VcpuThread {
  public:
    /// Returns when the thread is guarded (base/thread_guard.h). Throws Error (no_resources) where the host
    /// has no thread left, and what the guard throws.
    VcpuThread(Vcpu vcpu, const VcpuSurroundings& surroundings);
    VcpuThread(const VcpuThread&) = delete;
    VcpuThread& operator=(const VcpuThread&) = delete;
    ~VcpuThread();

    /// Once.
    void start() { go_.release(); }

    /// Stops the vCPU between two instructions, what it has asked of a device done: asks for that and returns
    /// at once, so that all vCPUs of a machine may be asked before wait_until_paused() waits for each. Of one
    /// that has not been started, too. One thread calls these three.
    void request_pause();
    /// Returns where it will run no more until resume(): it has stopped, or it cannot go on.
    void wait_until_paused();
    void resume();

    /// The vCPU, which only the caller of wait_until_paused() may use, until resume().
    [[nodiscard]] Vcpu& paused_vcpu() { return vcpu_; }

    /// Installs the handler of the signal that interrupts vCPU threads. Once a process, before the first
    /// thread.
    static void install_kick_handler();

  private:
    void run();
    void interrupt();
    void serve_exits();
    void rest();
    /// False where the vCPU cannot go on.
    bool serve(const VcpuExit& exit);

    Vcpu vcpu_;
    const VcpuSurroundings& surroundings_;
    std::atomic<bool> stop_{false};
    std::atomic<bool> is_pause_asked_{false};
    std::mutex mutex_;  // the next two, and when a request to exit is made and taken back
    std::condition_variable changed_;
    bool is_still_ = true;  // it does not run, and will not while a pause is asked for
    std::binary_semaphore guarded_{0};
    std::exception_ptr failure_;  // of the guard
    std::binary_semaphore go_{0};
    std::thread thread_;  // last: it uses all of the above
};

}  // namespace hull
