// A named thread that sleeps until its owner has something for it.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "base/thread_guard.h"

namespace hull {

/// A thread that is made with its owner, when the process may still make threads, and runs one body after the
/// other. Sleeping, it costs its stack. One thread at a time calls its members, and none of them from a body.
class WorkerThread {
  public:
    /// `stop_fd` becomes readable when the body is to end, which it must then do soon; it is not the body's
    /// to read.
    using Body = std::function<void(int stop_fd)>;
    /// Gets what must be there before the thread's guard closes (guard_this_thread()), on the thread itself,
    /// with the descriptor that all of its bodies will have; says of which kind it is.
    using Prepare = std::function<ThreadKind(int stop_fd)>;

    /// Returns when the thread is guarded. `name` shows in ps and in the debugger, cut at 15 characters.
    /// Throws Error (no_resources) where the host has no thread or descriptor left, and what `prepare` and
    /// the guard throw.
    WorkerThread(std::string name, const Prepare& prepare);
    WorkerThread(ThreadKind kind, std::string name);
    WorkerThread(const WorkerThread&) = delete;
    WorkerThread& operator=(const WorkerThread&) = delete;
    /// Stops what runs and ends the thread. One that is guarded may not do what the end of a thread takes: it
    /// sleeps on until its process ends, and touches nothing of its owner's any more.
    ~WorkerThread();

    /// Has the thread run `body`, while nothing else runs on it. An exception that leaves it ends the
    /// process.
    void start(Body body);
    /// Tells the body to end and returns when it has. Harmless where none was started, or it has ended.
    void stop();
    /// Has the thread do something, while no body runs on it, and returns when it is done; throws what it
    /// throws. For what the caller's own guard refuses.
    void call(const std::function<void()>& what);

  private:
    struct State;
    static void run(State& state);
    void wait_until_idle();

    std::shared_ptr<State> state_;  // the thread has it, too
    bool is_started_ = false;
    std::thread thread_;
};

}  // namespace hull
