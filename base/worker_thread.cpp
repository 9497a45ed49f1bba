#include "base/worker_thread.h"

#include <sys/prctl.h>

#include <condition_variable>
#include <exception>
#include <mutex>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/unique_fd.h"

namespace hull {

struct WorkerThread::State {
    const UniqueFd stop = make_eventfd();
    std::mutex mutex;  // what follows
    std::condition_variable changed;
    bool is_ready = false;
    std::exception_ptr failure;  // instead of being ready
    Body body;                   // to be run
    bool is_busy = false;        // from when there is a body until it has ended
    bool is_over = false;
};

WorkerThread::WorkerThread(ThreadKind kind, std::string name)
    : WorkerThread{std::move(name), [kind](int /*stop_fd*/) { return kind; }} {}

WorkerThread::WorkerThread(std::string name, const Prepare& prepare) : state_{std::make_shared<State>()} {
    const std::string tried = "cannot start the thread '" + name + "'";
    try {
        thread_ = std::thread{[state = state_, name = std::move(name), &prepare] {
            prctl(PR_SET_NAME, name.c_str());
            std::exception_ptr failure;
            try {
                guard_this_thread(prepare(state->stop.get()));
            } catch (...) {
                failure = std::current_exception();
            }
            {
                const std::lock_guard lock{state->mutex};
                state->is_ready = failure == nullptr;
                state->failure = failure;
            }
            state->changed.notify_all();
            if (!failure) {
                run(*state);
            }
        }};
    } catch (const std::system_error& error) {
        throw Error{ExitStatus::no_resources, tried, error.code().message(),
                    "raise the limit of processes (ulimit -u)"};
    }
    std::unique_lock lock{state_->mutex};
    state_->changed.wait(lock, [this] { return state_->is_ready || state_->failure; });
    if (const std::exception_ptr failure = std::exchange(state_->failure, nullptr)) {
        lock.unlock();
        thread_.join();
        std::rethrow_exception(failure);
    }
}

WorkerThread::~WorkerThread() {
    stop();
    if (threads_are_guarded()) {
        thread_.detach();
        return;
    }
    {
        const std::lock_guard lock{state_->mutex};
        state_->is_over = true;
    }
    state_->changed.notify_all();
    thread_.join();
}

void WorkerThread::run(State& state) {
    std::unique_lock lock{state.mutex};
    for (;;) {
        state.changed.wait(lock, [&state] { return state.body || state.is_over; });
        if (state.is_over) {
            return;
        }
        Body body = std::exchange(state.body, nullptr);
        lock.unlock();
        body(state.stop.get());
        body = nullptr;  // what it holds goes while its owner still waits
        lock.lock();
        state.is_busy = false;
        state.changed.notify_all();
    }
}

void WorkerThread::start(Body body) {
    {
        const std::lock_guard lock{state_->mutex};
        state_->body = std::move(body);
        state_->is_busy = true;
    }
    is_started_ = true;
    state_->changed.notify_all();
}

void WorkerThread::wait_until_idle() {
    std::unique_lock lock{state_->mutex};
    state_->changed.wait(lock, [this] { return !state_->is_busy; });
}

void WorkerThread::stop() {
    if (!std::exchange(is_started_, false)) {
        return;
    }
    signal_eventfd(state_->stop.get());
    wait_until_idle();
    drain_eventfd(state_->stop.get());
}

void WorkerThread::call(const std::function<void()>& what) {
    std::exception_ptr failure;
    start([&](int /*stop_fd*/) {
        try {
            what();
        } catch (...) {
            failure = std::current_exception();
        }
    });
    wait_until_idle();
    is_started_ = false;
    if (failure) {
        std::rethrow_exception(failure);
    }
}

}  // namespace hull
