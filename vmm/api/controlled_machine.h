// What the API can have done with a machine.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "vmm/machine/config.h"
#include "vmm/machine/snapshot.h"

namespace hull {

/// A machine that runs, as its keeper sees it. One thread: that of the keeper's loop, on which `done` is
/// called later, or at once; never where the machine ends first.
class ControlledMachine {
  public:
    /// Why it was not done, for a person; empty: it was.
    using Done = std::function<void(const std::string& why_not)>;

    virtual ~ControlledMachine() = default;

    [[nodiscard]] virtual const MachineConfig& config() const = 0;
    [[nodiscard]] virtual bool is_paused() const = 0;
    /// Stops the vCPUs, and lets them run again; harmless where they do so already.
    virtual void pause(Done done) = 0;
    virtual void resume(Done done) = 0;
    /// Freezes the machine, which is paused, into two files, which at any moment are there as they were
    /// before or as they are afterwards; each alone.
    virtual void save(const SnapshotFiles& files, Done done) = 0;
    /// Asks the guest to power itself off.
    virtual void press_power_button() = 0;
};

}  // namespace hull
