// Of the Supervisor: who looks into the container, while its command runs or nothing does.
#include <algorithm>
#include <utility>

#include "container/network/links.h"
#include "container/supervisor/supervisor.h"

namespace hull::container {

namespace json = boost::json;

namespace {

constexpr int kFailed = 128;
constexpr std::chrono::minutes kForABoot{5};
constexpr std::chrono::seconds kUnused{5};
constexpr std::chrono::seconds kToSettle{30};
constexpr std::chrono::hours kNoEnd{24 * 365};
constexpr ptrdiff_t kMostTransfers = 32;  // which leaves connections for those who want something else

}  // namespace

void Supervisor::be_quiet() {
    run_.config.has_network = false;
    run_.config.tmpfs.clear();
    run_.config.endpoints.clear();
    run_.machine.ports.clear();
    loop_.set_deadline(kForABoot, [this] { fail("its guest does not come up"); });
}

/// Tells of the command's end while its machine is there still, whose network goes.
void Supervisor::be_quiet_from_now_on() {
    end_health();
    log_->flush();
    for (const Link& each : links_) {
        leave_bridge(each.link.tap(), each.link.endpoint().bridge);
    }
    tell_end();
    run_.is_quiet = true;  // before anybody asks who was told that
    is_done_ = false;
    end_clients();
    rest();
}

void Supervisor::perform_quietly(const std::shared_ptr<Connection>& from, const std::string& what,
                                 const json::object& question) {
    if (is_done_) {
        drop(from->channel.fd());  // who wants more starts another
    } else if (what == "contents") {
        open_contents(from, question);
    } else if (what == "settle") {
        is_settling_ = true;
        answer(from, {{"is", "done"}});
        rest();
    } else {
        refuse(from, "the container does not run", kFailed);
    }
}

void Supervisor::open_contents(const std::shared_ptr<Connection>& from, const json::object& question) {
    if (is_settling_) {
        refuse(from, "the container is about to start", kFailed);
        return;
    }
    const auto going_on =
        std::ranges::count_if(connections_, [](const auto& each) { return each.second->has_transfer; });
    if (going_on >= kMostTransfers) {
        refuse(from, "so many look into it already", kFailed);
        return;
    }
    const ContentsQuestion asked = ContentsQuestion::from_json(question);
    if (!is_guest_ready_) {
        waiting_for_guest_.emplace_back(from, asked);
        return;
    }
    ask_for_transfer(from, asked);
}

void Supervisor::ask_for_transfer(const Asker& asker, const ContentsQuestion& question) {
    const uint32_t number = ask([this, asker](const std::string* /*contents*/) {
        refuse(asker, "the guest cannot look into the container", kFailed);
        rest();
    });
    transfers_[number] = asker;
    guest_->transfer(number, question);
    rest();
}

void Supervisor::serve_waiting() {
    for (const auto& [asker, question] : std::exchange(waiting_for_guest_, {})) {
        if (!asker.expired()) {
            ask_for_transfer(asker, question);
        }
    }
    rest();
}

void Supervisor::take_transfer(uint32_t number, const UniqueFd& connection) {
    auto transfer = transfers_.extract(number);
    if (transfer.empty() || questions_.erase(number) == 0) {
        return;
    }
    if (const std::shared_ptr<Connection> to = transfer.mapped().lock()) {
        to->has_transfer = true;
        answer(to, {{"is", "contents"}}, connection.get());
    }
}

void Supervisor::refuse_transfers() {
    const std::string why = state_.error.empty() ? "the container has ended" : state_.error;
    for (const auto& [number, asker] : std::exchange(transfers_, {})) {
        refuse(asker, why, kFailed);
    }
    for (const auto& [asker, question] : std::exchange(waiting_for_guest_, {})) {
        refuse(asker, why, kFailed);
    }
}

/// Where nothing runs, the machine is there for transfers only, and a little longer.
void Supervisor::rest() {
    if (!run_.is_quiet || !is_guest_ready_ || is_done_) {
        return;
    }
    const bool is_busy = std::ranges::any_of(connections_, [](const auto& each) {
        return each.second->has_transfer || !each.second->is_answered;
    });
    const auto end = [this] { finish(0); };
    if (is_settling_) {
        loop_.set_deadline(is_busy ? kToSettle : std::chrono::seconds{0}, end);
    } else {
        loop_.set_deadline(is_busy ? std::chrono::seconds{kNoEnd} : kUnused, end);
    }
}

}  // namespace hull::container
