// The program hulld: the commands of hull's that need images, which hull starts under their names. A
// machine's process must hold little, so it links nothing of registries and image formats.

#include <algorithm>
#include <array>
#include <cstdio>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "container/main/build_command.h"
#include "container/main/daemon.h"
#include "container/main/image_commands.h"
#include "container/main/run_command.h"
#include "vmm/main/keeper.h"

namespace hull::container {

namespace {

struct Command {
    std::string_view name;
    /// Of the words behind the command. Throws Error.
    ExitStatus (*run)(const std::vector<std::string>& arguments);
};

constexpr std::array kCommands{
    Command{"build", run_build}, Command{"daemon", run_daemon}, Command{"images", run_images},
    Command{"pull", run_pull},   Command{"rmi", run_rmi},       Command{"run", run_run},
};

ExitStatus run(const std::vector<std::string>& arguments) {
    if (arguments.empty()) {
        throw Error{ExitStatus::usage, "cannot tell what to do", "no command was given", "see 'hull --help'"};
    }
    if (arguments.front() == "--version") {
        std::puts("hulld " HULL_VERSION);
        return ExitStatus::success;
    }
    const auto* const command = std::ranges::find(kCommands, arguments.front(), &Command::name);
    if (command == kCommands.end()) {
        throw Error{ExitStatus::usage, "cannot do '" + arguments.front() + "'",
                    "it is not a command of hulld's", "see 'hull --help'"};
    }
    return command->run({arguments.begin() + 1, arguments.end()});
}

}  // namespace

}  // namespace hull::container

int main(int argc, char** argv) {
    const std::vector<std::string> arguments{argv + 1, argv + argc};
    return static_cast<int>(hull::report_errors([&] { return hull::container::run(arguments); }));
}
