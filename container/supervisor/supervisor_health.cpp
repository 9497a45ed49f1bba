// Of Supervisor: how its container's health is probed, and who is told.
#include <signal.h>

#include <cstdint>
#include <string>
#include <utility>

#include "container/supervisor/supervisor.h"

namespace hull::container {

void Supervisor::begin_health() {
    if (!run_.health) {
        return;
    }
    health_.emplace(
        loop_, *run_.health, kFirstProbe, kProbes,
        HealthMonitor::Events{.run = [this](uint32_t number) { return run_probe(number); },
                              .kill =
                                  [this](uint32_t number) {
                                      client_->request(agent::kSignal, number, [](agent::FrameWriter& frame) {
                                          frame.add_number(agent::kValue, SIGKILL);
                                      });
                                  },
                              .told = [this](HealthResult result) { take_health(std::move(result)); }});
    health_->begin();
}

std::string Supervisor::run_probe(uint32_t number) {
    if (client_->is_behind()) {
        return "the guest's agent does not answer";
    }
    ExecConfig probe;
    probe.command = run_.health->command;
    probe.environment = run_.config.environment;
    if (!guest_->run_further(number, probe, [](agent::FrameWriter&) {})) {
        return "its words and variables are too long";
    }
    tell_watchers({{"is", "probe-begun"}});
    return "";
}

void Supervisor::take_health(HealthResult result) {
    const bool has_changed = state_.health->take(std::move(result), *run_.health, state_.started);
    tell_state();
    if (has_changed) {
        tell_watchers({{"is", "health"}, {"status", state_.health->word()}});
    }
}

/// As with dockerd: what nobody probes is not well.
void Supervisor::end_health() {
    health_.reset();
    if (state_.health) {
        state_.health->status = Health::Status::unhealthy;
    }
}

/// While its processes stand still.
void Supervisor::hold_health(bool is_held) {
    if (!health_) {
        return;
    }
    if (is_held) {
        health_->stop();
        state_.health->status = Health::Status::unhealthy;
    } else {
        health_->begin();
    }
}

}  // namespace hull::container
