#include "devices/virtio/vhost_user_device.h"

#include <poll.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <utility>

namespace hull::virtio {

namespace {

/// How long a back end that has closed its connection may still end what it had begun.
constexpr std::chrono::milliseconds kSettle{200};
/// How often a back end that is gone is looked for.
constexpr std::chrono::milliseconds kLookAgain{1000};

/// Sleeps until `stop_fd` is readable; false where `most_ms` passed before.
bool is_stopped_within(int stop_fd, int most_ms) {
    pollfd entry{stop_fd, POLLIN, 0};
    return poll(&entry, 1, most_ms) > 0;
}

/// Takes what an eventfd counts that a back end has too, and may have read first: does not block. Not by
/// O_NONBLOCK, which the back end could take away.
void drain_shared(int fd) {
    uint64_t count = 0;
    const iovec target{&count, sizeof count};
    if (preadv2(fd, &target, 1, -1, RWF_NOWAIT) < 0 && errno == EOPNOTSUPP) {
        drain_eventfd(fd);  // before Linux 5.8
    }
}

/// Why a back end cannot serve such a device, or nothing.
std::string misfit(const VhostUser& server, const VhostUserKind& kind) {
    const size_t wanted = kind.queue_sizes.size() / kind.queues_counted_as_one;
    return server.most_queues() >= wanted ? ""
                                          : "it serves " + std::to_string(server.most_queues()) +
                                                " queues, and " + std::to_string(wanted) + " are wanted";
}

}  // namespace

VhostUser greet_vhost_user(VhostUserResult<UniqueFd> socket, const VhostUserKind& kind,
                           const std::string& tried, const std::string& advice) {
    if (!socket) {
        throw Error{ExitStatus::bad_file, tried, socket.error(), advice};
    }
    auto server = VhostUser::open(std::move(*socket), kind.needs);
    const std::string why = server ? misfit(*server, kind) : server.error();
    if (!why.empty()) {
        throw Error{ExitStatus::bad_file, tried, why, advice};
    }
    return std::move(*server);
}

VhostUserDevice::VhostUserDevice(VhostUserKind kind, VhostUser server, Find find, std::string name,
                                 std::chrono::milliseconds comes_back_within)
    : kind_{std::move(kind)},
      find_{std::move(find)},
      name_{std::move(name)},
      features_{server.features()},
      comes_back_within_{comes_back_within},
      given_configuration_{server.configuration().begin(), server.configuration().end()},
      configuration_{kind_.make_configuration(given_configuration_, true)},
      server_{std::move(server)},
      worker_{ThreadKind::vhost_user, name_} {
    std::ranges::generate_n(std::back_inserter(calls_), std::ssize(kind_.queue_sizes), make_eventfd);
}

void VhostUserDevice::read_configuration(uint64_t offset, std::span<std::byte> data) const {
    const std::lock_guard lock{configuration_mutex_};
    if (offset < configuration_.size()) {
        const auto rest = std::span{configuration_}.subspan(static_cast<size_t>(offset));
        std::memcpy(data.data(), rest.data(), std::min(data.size(), rest.size()));
    }
}

void VhostUserDevice::activate(Activation activation) {
    look_again_ = {};
    accepted_ = activation.features;
    memory_ = &activation.memory;
    driver_ = &activation.driver;
    for (ActiveQueue& queue : activation.queues) {
        const int call_fd = calls_[queue.index].get();
        queues_.push_back({std::move(queue), call_fd});
    }
    if (wait_until_) {
        if (queues_.size() == noted_queues_) {
            // Nobody could come back while this was stopped.
            wait_until_ = std::chrono::steady_clock::now() + comes_back_within_;
        } else {
            // In the note is what a queue has not any more.
            wait_until_.reset();
        }
    }
    noted_queues_ = queues_.size();
    worker_.start([this](int stop_fd) { serve(stop_fd); });
}

void VhostUserDevice::reset() {
    stop();
    worker_.call([this] { forget_owed(); });  // what is noted is let go there
}

void VhostUserDevice::stop() {
    worker_.stop();
    if (std::exchange(is_log_incomplete_, false)) {
        // Its back end may have written anywhere.
        for (const GuestMemory::Region& region : memory_->regions()) {
            memory_->mark_written(region.mapping.bytes());
        }
    }
    queues_.clear();
}

void VhostUserDevice::save(StateWriter& state) const {
    if (!kind_.unsaved.empty()) {
        throw Error{ExitStatus::usage, "cannot save the state of " + name_, kind_.unsaved,
                    "have the guest give it up and take it out of the machine before"};
    }
    if (is_owed_by_server_) {
        throw Error{ExitStatus::bad_file, "cannot save the state of " + name_,
                    "its server is lost, and requests may wait for it",
                    "try again when it is back, or when the guest has been told"};
    }
    const std::lock_guard lock{configuration_mutex_};
    state.put_bytes(configuration_);
}

void VhostUserDevice::load(StateReader& state) {
    const auto bytes = state.get_bytes();
    const std::vector<std::byte> seen{bytes.begin(), bytes.end()};
    state.require(seen == kind_.make_configuration(given_configuration_, true) ||
                      seen == kind_.make_configuration(given_configuration_, false),
                  "its server serves something else, which is not of the same size or kind");
    // The driver is told once this is active if that has changed.
    const std::lock_guard lock{configuration_mutex_};
    configuration_ = seen;
}

std::vector<VhostUserRing> VhostUserDevice::rings() const {
    std::vector<VhostUserRing> rings;
    for (const Queue& queue : queues_) {
        rings.push_back({.index = queue.active.index,
                         .queue = &queue.active.queue,
                         .kick_fd = queue.active.kick_fd,
                         .call_fd = queue.call_fd,
                         .err_fd = error_.get()});
    }
    return rings;
}

bool VhostUserDevice::is_served() {
    // It may have gone, or been replaced by another, while nobody looked.
    if (server_ && is_readable(server_->fd())) {
        lose_server("its connection has ended");
    }
    if (!server_) {
        reconnect();
    }
    tell_configuration();
    return server_.has_value();
}

void VhostUserDevice::serve(int stop_fd) {
    while (!is_readable(stop_fd) && has_ended(stop_fd)) {
        const bool is_served = this->is_served();
        if (!settle_owed()) {
            return;
        }
        if (!is_served) {
            wait_for_server(stop_fd);
            continue;
        }
        is_owed_by_server_ = true;
        is_log_incomplete_ = is_log_incomplete_ || (memory_->is_logged() && !server_->can_log());
        served_since_ = std::chrono::steady_clock::now();
        auto done = server_->start(passed_on(), *memory_, rings(), inflight_);
        if (done) {
            const std::string why = pass_calls(stop_fd);
            if (why.empty()) {
                done = server_->stop(rings());
                if (done) {
                    forget_owed();
                    return;
                }
            } else {
                done = tl::unexpected{why};
            }
        }
        lose_server(done.error());
    }
}

/// Whether a back end that is gone has had the time to end what it had begun; false where this is to stop
/// before.
bool VhostUserDevice::has_ended(int stop_fd) {
    if (!lost_at_) {
        return true;
    }
    const auto rest =
        std::chrono::ceil<std::chrono::milliseconds>(*lost_at_ + kSettle - std::chrono::steady_clock::now());
    if (is_stopped_within(stop_fd, static_cast<int>(std::max<int64_t>(rest.count(), 0)))) {
        return false;
    }
    lost_at_.reset();
    // It may have gone between an answer and its call.
    for (const Queue& queue : queues_) {
        driver_->used_buffers(queue.active.index);
    }
    return true;
}

void VhostUserDevice::lose_server(const std::string& why) {
    server_.reset();
    const auto now = std::chrono::steady_clock::now();
    if (is_owed_by_server_) {
        lost_at_ = now;
    }
    // One that dies again and again over the same request is not waited for longer each time.
    const bool was_steady = now - served_since_ >= comes_back_within_;
    if (is_owed_by_server_ && inflight_.fd.valid() && find_ && (!wait_until_ || was_steady)) {
        wait_until_ = now + comes_back_within_;
    }
    if (!std::exchange(server_is_missed_, true)) {
        log_warning(name_ + ": its server is lost (" + why + "), and the guest " +
                    (!find_ ? "gets errors"
                     : wait_until_
                         ? "waits for another for " + std::to_string(comes_back_within_.count() / 1000) +
                               " s before it gets errors"
                         : "gets errors until it is back"));
    }
    tell_configuration();
}

/// Before anybody else gets the queues, or nobody has them: sees to what a back end that is gone owes the
/// driver. False where a queue is broken, and the driver told.
bool VhostUserDevice::settle_owed() {
    const bool is_over = wait_until_ && std::chrono::steady_clock::now() >= *wait_until_;
    if (wait_until_ && !is_over && (!server_ || server_->notes_inflight())) {
        if (server_) {
            for (Queue& queue : queues_) {
                queue.active.queue.resume();
            }
        }
        return true;
    }
    const bool was_served = is_owed_by_server_;
    forget_owed();
    return (server_ && !was_served) || refuse_owed(was_served);
}

void VhostUserDevice::forget_owed() {
    is_owed_by_server_ = false;
    lost_at_.reset();
    inflight_ = {};
    wait_until_.reset();
}

/// Until the device is to stop, or until the back end is lost: then the answer says how.
std::string VhostUserDevice::pass_calls(int stop_fd) {
    std::vector<pollfd> entries{{stop_fd, POLLIN, 0}, {server_->fd(), POLLIN, 0}, {error_.get(), POLLIN, 0}};
    const size_t first_call = entries.size();
    for (const Queue& queue : queues_) {
        entries.push_back({queue.call_fd, POLLIN, 0});
    }
    for (;;) {
        if (poll(entries.data(), entries.size(), -1) < 0) {
            continue;
        }
        for (size_t index = 0; index < queues_.size(); ++index) {
            if (entries[first_call + index].revents != 0) {
                drain_shared(queues_[index].call_fd);
                wait_until_.reset();
                driver_->used_buffers(queues_[index].active.index);
            }
        }
        if (entries[0].revents != 0) {
            return "";
        }
        if (entries[1].revents != 0) {
            return "its connection has ended";
        }
        if (entries[2].revents != 0) {
            drain_shared(error_.get());
            driver_->needs_reset("its server finds a queue broken");
        }
    }
}

/// Answers all requests that nobody serves, and after a back end that was lost also for what waits for one;
/// false where a queue is broken, and the driver told.
bool VhostUserDevice::refuse_owed(bool was_served) {
    for (Queue& queue : queues_) {
        if (!was_served && kind_.waits && kind_.waits(queue.active.index)) {
            continue;
        }
        const auto refused = was_served ? refuse_taken(queue.active.queue) : refuse_new(queue.active.queue);
        if (!refused) {
            driver_->needs_reset(refused.error().what);
            return false;
        }
        if (*refused) {
            driver_->used_buffers(queue.active.index);
        }
    }
    return true;
}

/// What the back end that was lost has, or nobody has seen yet; whether there was something.
tl::expected<bool, QueueError> VhostUserDevice::refuse_taken(VirtQueue& queue) const {
    const auto heads = queue.take_over();
    if (!heads) {
        return tl::unexpected{heads.error()};
    }
    for (const uint16_t head : *heads) {
        auto chain = queue.pop_owed(head);
        if (!chain) {
            return tl::unexpected{chain.error()};
        }
        const uint32_t written = kind_.refuse(*chain);
        queue.push(std::move(*chain), written);
    }
    return !heads->empty();
}

/// What nobody has seen yet where all before was answered, at most a queue's size at a time; likewise.
tl::expected<bool, QueueError> VhostUserDevice::refuse_new(VirtQueue& queue) const {
    uint16_t refused = 0;
    for (; refused < queue.size(); ++refused) {
        auto chain = queue.pop();
        if (!chain) {
            return tl::unexpected{chain.error()};
        }
        if (!*chain) {
            break;
        }
        const uint32_t written = kind_.refuse(**chain);
        queue.push(std::move(**chain), written);
    }
    return refused > 0;
}

/// Until it is time to look for the back end again; sooner where the driver wants something that is refused
/// then.
void VhostUserDevice::wait_for_server(int stop_fd) {
    std::vector<pollfd> entries{{stop_fd, POLLIN, 0}};
    bool is_late = false;  // whether the driver made chains available before it knew that it should kick
    for (Queue& queue : queues_) {
        if (wait_until_ || (kind_.waits && kind_.waits(queue.active.index))) {
            continue;
        }
        entries.push_back({queue.active.kick_fd, POLLIN, 0});
        is_late = queue.active.queue.ask_for_kicks() || is_late;
    }
    const int most_ms = !find_ ? -1 : static_cast<int>(kLookAgain.count());
    if (poll(entries.data(), entries.size(), is_late ? 0 : most_ms) > 0) {
        for (const pollfd& entry : std::span{entries}.subspan(1)) {
            if (entry.revents != 0) {
                drain_shared(entry.fd);
            }
        }
    }
}

void VhostUserDevice::reconnect() {
    const auto now = std::chrono::steady_clock::now();
    if (!find_ || now < look_again_) {
        return;
    }
    look_again_ = now + kLookAgain;
    UniqueFd socket = find_();
    if (!socket.valid()) {
        return;
    }
    auto server = VhostUser::open(std::move(socket), kind_.needs);
    if (!server || !misfit(*server, kind_).empty() || (passed_on() & ~server->features()) != 0) {
        return;
    }
    given_configuration_.assign(server->configuration().begin(), server->configuration().end());
    server_.emplace(std::move(*server));
    if (std::exchange(server_is_missed_, false)) {
        log_warning(name_ + ": its server is back");
    }
}

/// What the driver sees of it now, where that has changed.
void VhostUserDevice::tell_configuration() {
    bool is_new = false;
    {
        const std::lock_guard lock{configuration_mutex_};
        auto configuration = kind_.make_configuration(given_configuration_, server_.has_value());
        is_new = configuration != configuration_;
        configuration_ = std::move(configuration);
    }
    if (is_new) {
        driver_->configuration_changed();
    }
}

}  // namespace hull::virtio
