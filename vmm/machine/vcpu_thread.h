// A thread that runs one vCPU and serves its exits.
#pragma once

#include <atomic>
#include <exception>
#include <functional>
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

    /// Installs the handler of the signal that interrupts vCPU threads. Once a process, before the first
    /// thread.
    static void install_kick_handler();

  private:
    void run();
    void serve_exits();
    /// False where the vCPU cannot go on.
    bool serve(const VcpuExit& exit);

    Vcpu vcpu_;
    const VcpuSurroundings& surroundings_;
    std::atomic<bool> stop_{false};
    std::binary_semaphore guarded_{0};
    std::exception_ptr failure_;  // of the guard
    std::binary_semaphore go_{0};
    std::thread thread_;  // last: it uses all of the above
};

}  // namespace hull
