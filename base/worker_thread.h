// A named thread that is told to stop and joined by its owner.
#pragma once

#include <functional>
#include <string>
#include <thread>

#include "base/unique_fd.h"

namespace hull {

/// Runs one function on a thread of its own. The function gets a descriptor that becomes readable when the
/// thread is to end, and must then return soon. The destructor tells it so and waits for it.
class WorkerThread {
  public:
    /// `name` shows in ps and in the debugger, cut at 15 characters. An exception that leaves `body` ends the
    /// process.
    WorkerThread(std::string name, std::function<void(int stop_fd)> body);
    WorkerThread(const WorkerThread&) = delete;
    WorkerThread& operator=(const WorkerThread&) = delete;
    ~WorkerThread();

  private:
    UniqueFd stop_;
    std::thread thread_;  // last: it uses stop_
};

}  // namespace hull
