#include "vmm/main/control.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <boost/json.hpp>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <system_error>

#include "base/signals.h"
#include "base/small_file.h"
#include "base/unique_fd.h"
#include "vmm/api/http_client.h"
#include "vmm/machine/snapshot.h"

namespace hull {

namespace fs = std::filesystem;
namespace json = boost::json;

namespace {

constexpr const char* kHelp =
    "Usage: hull ctl SOCKET VERB\n"
    "Controls a machine that was started with --api-socket SOCKET.\n\n"
    "  pause            stop its processors\n"
    "  resume           let them run again\n"
    "  snapshot FOLDER  freeze it into FOLDER, from which 'hull restore' goes on; it stops for\n"
    "                   that long only. A snapshot that is there already is replaced\n"
    "  stop             ask its guest to power off; it ends after its --stop-timeout anyway\n"
    "  status           print whether it runs\n"
    "  config           print what it is, as JSON\n\n"
    "Exit status: 0 done, 2 wrong usage or refused by the machine, 4 nobody listens at SOCKET or FOLDER\n"
    "cannot be written, 15 the machine ended before it answered.\n";
constexpr const char* kSnapshotHelp =
    "Usage: hull snapshot verify FOLDER\n"
    "Looks at every byte of a snapshot. Exit status: 0 it is whole, 4 it is not.\n";
constexpr const char* kAdvice = "see 'hull ctl --help'";

/// The machine's answer; throws where it refuses.
std::string ask(const fs::path& socket, const std::string& method, const std::string& target,
                const json::object& body = {}) {
    const HttpAnswer answer =
        ask_machine(socket, {method, target, body.empty() ? "" : json::serialize(body)});
    constexpr unsigned kFirstError = 300;
    if (answer.status < kFirstError) {
        return answer.body;
    }
    boost::system::error_code error;
    const json::value value = json::parse(answer.body, error);
    const auto* const fault =
        !error && value.is_object() ? value.get_object().if_contains("fault_message") : nullptr;
    // A machine's own errors say all: what was tried, why it failed, and what to do.
    throw Error{ExitStatus::usage, fault != nullptr && fault->is_string()
                                       ? std::string{fault->get_string()}
                                       : "the machine answered with status " + std::to_string(answer.status)};
}

std::string state_of(const fs::path& socket) {
    const json::value value = json::parse(ask(socket, "GET", "/"));
    return std::string{value.at("state").as_string()};
}

void change(const fs::path& socket, const char* state) {
    ask(socket, "PATCH", "/vm", {{"state", state}});
}

[[noreturn]] void refuse_folder(const fs::path& folder, const std::string& why, const std::string& advice) {
    throw Error{ExitStatus::bad_file, "cannot write a snapshot to '" + folder.string() + "'", why, advice};
}

/// Removes a folder that holds nothing but a snapshot, or the beginning of one. False where it holds more,
/// which stays.
bool remove_snapshot(const fs::path& folder) {
    const SnapshotFiles files = SnapshotFiles::in(folder);
    std::error_code error;
    for (const fs::path& file : {files.state, files.memory}) {
        fs::remove(file, error);
        fs::remove(file.string() + ".new", error);
    }
    return !fs::exists(folder, error) || (fs::remove(folder, error) && !error);
}

/// Whether it can be replaced: a folder with a snapshot, or an empty one.
void check_folder(const fs::path& folder) {
    std::error_code error;
    if (!fs::exists(folder, error)) {
        return;
    }
    if (!fs::is_directory(folder, error)) {
        refuse_folder(folder, "it is no folder", "give another one");
    }
    for (const auto& entry : fs::directory_iterator{folder, error}) {
        const std::string name = entry.path().filename();
        if (name != "state" && name != "memory") {
            refuse_folder(folder, "it has something else in it ('" + name + "')", "give a new one");
        }
    }
}

void keep_names_in(const fs::path& folder) {
    if (!sync_folder(folder)) {
        refuse_folder(folder, errno_text(errno), "check the disk");
    }
}

/// Puts `made` where `folder` is or is to be, in one step.
void put_in_place(const fs::path& made, const fs::path& folder) {
    constexpr const char* kWhere = "give a new folder";
    if (renameat2(AT_FDCWD, made.c_str(), AT_FDCWD, folder.c_str(), RENAME_NOREPLACE) == 0) {
        keep_names_in(folder.parent_path());
        return;
    }
    if (errno != EEXIST) {
        refuse_folder(folder, errno_text(errno), kWhere);
    }
    if (renameat2(AT_FDCWD, made.c_str(), AT_FDCWD, folder.c_str(), RENAME_EXCHANGE) != 0) {
        refuse_folder(folder, "the one that is there cannot be replaced: " + errno_text(errno), kWhere);
    }
    keep_names_in(folder.parent_path());
    remove_snapshot(made);  // the earlier one
}

void take_snapshot(const fs::path& socket, const std::string& given) {
    fs::path folder = fs::absolute(given).lexically_normal();
    if (folder.filename().empty()) {
        folder = folder.parent_path();
    }
    check_folder(folder);
    const fs::path made = folder.string() + ".new";
    constexpr mode_t kMode = 0700;
    if (!remove_snapshot(made) || mkdir(made.c_str(), kMode) != 0) {
        refuse_folder(made, errno == 0 ? "it is in the way" : errno_text(errno),
                      "check the folder above and who may write there");
    }
    // Ctrl-C would leave the machine paused.
    const UniqueFd signals = catch_signals({SIGINT, SIGTERM, SIGHUP});
    const bool was_running = state_of(socket) == "Running";
    const auto go_on = [&] {
        if (was_running) {
            change(socket, "Resumed");
        }
    };
    try {
        if (was_running) {
            change(socket, "Paused");
        }
        const SnapshotFiles files = SnapshotFiles::in(made);
        ask(socket, "PUT", "/snapshot/create",
            {{"snapshot_path", files.state.string()}, {"mem_file_path", files.memory.string()}});
        put_in_place(made, folder);
    } catch (...) {
        remove_snapshot(made);
        go_on();
        throw;
    }
    go_on();
}

}  // namespace

ExitStatus run_control(const std::vector<std::string>& arguments) {
    if (arguments.size() == 1 && (arguments.front() == "--help" || arguments.front() == "-h")) {
        std::fputs(kHelp, stdout);
        return ExitStatus::success;
    }
    if (arguments.size() < 2) {
        throw Error{ExitStatus::usage, "cannot tell what to do", "a socket and a verb are needed", kAdvice};
    }
    const fs::path socket = arguments[0];
    const std::string& verb = arguments[1];
    const size_t words = verb == "snapshot" ? 3 : 2;
    if (arguments.size() != words) {
        throw Error{ExitStatus::usage, "cannot use '" + verb + "' so",
                    words == 3 ? "it takes one folder" : "it takes nothing more", kAdvice};
    }
    if (verb == "pause") {
        change(socket, "Paused");
    } else if (verb == "resume") {
        change(socket, "Resumed");
    } else if (verb == "snapshot") {
        take_snapshot(socket, arguments[2]);
    } else if (verb == "stop") {
        ask(socket, "PUT", "/actions", {{"action_type", "SendCtrlAltDel"}});
    } else if (verb == "status") {
        std::puts(state_of(socket).c_str());
    } else if (verb == "config") {
        std::puts(ask(socket, "GET", "/vm/config").c_str());
    } else {
        throw Error{ExitStatus::usage, "cannot do '" + verb + "'", "it is no verb of hull ctl's", kAdvice};
    }
    return ExitStatus::success;
}

ExitStatus run_snapshot(const std::vector<std::string>& arguments) {
    if (arguments.size() == 1 && (arguments.front() == "--help" || arguments.front() == "-h")) {
        std::fputs(kSnapshotHelp, stdout);
        return ExitStatus::success;
    }
    if (arguments.size() != 2 || arguments[0] != "verify") {
        throw Error{ExitStatus::usage, "cannot tell what to do", "it is not 'verify' and a folder",
                    "see 'hull snapshot --help'"};
    }
    const SnapshotFiles files = SnapshotFiles::in(arguments[1]);
    const SnapshotState state = SnapshotState::read(files.state);
    SnapshotMemory::parse(state.section("memory")).verify(open_input_file(files.memory, "snapshot's memory"));
    return ExitStatus::success;
}

}  // namespace hull
