#include "base/worker_thread.h"

#include <sys/prctl.h>

#include <utility>

namespace hull {

WorkerThread::WorkerThread(std::string name, std::function<void(int)> body)
    : stop_{make_eventfd()}, thread_{[name = std::move(name), body = std::move(body), stop = stop_.get()] {
          prctl(PR_SET_NAME, name.c_str());
          body(stop);
      }} {}

WorkerThread::~WorkerThread() {
    signal_eventfd(stop_.get());
    thread_.join();
}

}  // namespace hull
