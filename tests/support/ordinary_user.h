// A user who is not root, for tests that root runs.
#pragma once

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/files.h"
#include "tests/support/hull_process.h"

namespace hull::test {

/// User 1234 with Hull and what it needs to boot the small kernel, in a folder that everybody can read.
class OrdinaryUser {
  public:
    /// Whether there can be one: only root can become another user.
    static bool possible() { return geteuid() == 0; }

    OrdinaryUser() {
        const char* given = std::getenv("HULL_TEST_BINARY");
        const std::filesystem::path hull = given == nullptr ? HULL_SOURCE_DIR "/build/release/hull" : given;
        for (const auto& [from, to] :
             {std::pair{hull.string(), "hull"},
              {(hull.parent_path() / "hull-user-net").string(), "hull-user-net"},
              {(hull.parent_path() / "hull-file-server").string(), "hull-file-server"},
              {(hull.parent_path() / "hull-agent.initramfs").string(), "hull-agent.initramfs"},
              {guest_file("small/bzImage"), "kernel"},
              {guest_file("initramfs-small"), "initramfs"}}) {
            std::filesystem::copy_file(from, folder_.path() / to);
        }
        folder_.file("as-user", "#!/bin/sh\nexec setpriv --reuid 1234 --regid 1234 --clear-groups '" +
                                    path("hull") + "' \"$@\"\n");
        if (std::system(("cd '" + folder_.path().string() + "' && chmod 755 . as-user && chmod 666 /dev/kvm")
                            .c_str()) != 0) {
            throw std::runtime_error{"cannot make way for another user"};
        }
    }

    [[nodiscard]] const TemporaryFolder& folder() const { return folder_; }
    [[nodiscard]] std::string path(const std::string& name) const { return folder_.path() / name; }
    /// Makes a file or folder of the folder, and what is in it, the user's.
    void give(const std::string& name) const {
        if (std::system(("chown -R 1234:1234 '" + path(name) + "'").c_str()) != 0) {
            throw std::runtime_error{"cannot give a file away"};
        }
    }
    /// Boots as this user, with these options beside the kernel and the initramfs.
    [[nodiscard]] std::unique_ptr<HullProcess> boot(
        std::vector<std::string> options, HullProcess::Input input = HullProcess::Input::nothing) const {
        options.insert(options.begin(),
                       {"boot", "--kernel", path("kernel"), "--initramfs", path("initramfs")});
        return start(std::move(options), input);
    }
    /// Starts hull as this user, with these words.
    [[nodiscard]] std::unique_ptr<HullProcess> start(
        std::vector<std::string> words, HullProcess::Input input = HullProcess::Input::nothing) const {
        const char* given = std::getenv("HULL_TEST_BINARY");
        const std::string before = given == nullptr ? "" : given;
        setenv("HULL_TEST_BINARY", path("as-user").c_str(), 1);
        auto started = std::make_unique<HullProcess>(std::move(words), input);
        given == nullptr ? unsetenv("HULL_TEST_BINARY") : setenv("HULL_TEST_BINARY", before.c_str(), 1);
        return started;
    }

  private:
    TemporaryFolder folder_;
};

}  // namespace hull::test
