// What a container's supervisor and daemon read of each other, of a guest's processes, and of a log. Input: a
// byte that says of what kind it is, and the text.
#include <unistd.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/error.h"
#include "container/api/api_error.h"
#include "container/api/process_table.h"
#include "container/image/json.h"
#include "container/supervisor/channel.h"
#include "container/supervisor/container_files.h"
#include "container/supervisor/exec_config.h"
#include "container/supervisor/guest_process.h"
#include "container/supervisor/log.h"
#include "tests/support/files.h"

using namespace hull;
using namespace hull::container;

namespace {

const std::string kTried = "cannot read it";

void require(bool holds) {
    if (!holds) {
        std::abort();
    }
}

void read_state(std::string_view text) {
    const RunState state = RunState::from_json(std::string{text});
    require(state.exit_status >= 0 && state.exit_status <= 255 && state.supervisor >= 0);
    require(RunState::from_json(state.to_json()).to_json() == state.to_json());
}

void read_run_file(std::string_view text) {
    const RunFile file = RunFile::from_json(parse_json_object(text, kTried), kTried);
    require(!file.config.command.empty() && file.log.most_files > 0);
    const auto again = file.to_json();
    require(boost::json::serialize(RunFile::from_json(again, kTried).to_json()) ==
            boost::json::serialize(again));
}

void read_exec(std::string_view text) {
    const ExecConfig config = ExecConfig::from_json(parse_json_object(text, kTried));
    require(!config.command.empty());
    const auto again = config.to_json();
    require(boost::json::serialize(ExecConfig::from_json(again).to_json()) == boost::json::serialize(again));
}

/// The last entries are those that the whole has at its end.
void read_log(std::string_view text) {
    static const test::TemporaryFolder folder;
    const auto path = folder.file("log", text);
    size_t all = 0;
    for (LogReader reader{path, std::nullopt}; reader.next();) {
        ++all;
    }
    size_t some = 0;
    for (LogReader reader{path, 3}; reader.next();) {
        ++some;
    }
    require(some <= 3 && some <= all);
}

/// What a program prints is read as it was, if it is text.
void write_log(std::string_view text) {
    static const test::TemporaryFolder folder;
    const auto path = folder.path() / "log";
    unlink(path.c_str());
    LogWriter writer{path, {.most_bytes = 1000, .most_files = 1000}};
    LogReader reader{path, std::nullopt};
    const bool is_ascii = text.find_first_not_of("\n abcdefghijklmnopqrstuvwxyz\"\\") == std::string::npos;
    std::string got;
    const auto read = [&] {
        while (const auto entry = reader.next()) {
            require(!entry->text.empty() && entry->stream == LogStream::errors);
            got += entry->text;
        }
    };
    writer.add(LogStream::errors, text.substr(0, text.size() / 2));
    read();
    writer.add(LogStream::errors, text.substr(text.size() / 2));
    writer.flush();
    read();
    require(!is_ascii || got == text);
    for (unsigned number = 1; unlink((path.string() + "." + std::to_string(number)).c_str()) == 0; ++number) {
    }
}

/// Of the guest's words, three of its files behind each other with a byte of 255 between them.
void read_process(std::string_view text) {
    const auto part = [&] {
        const std::string_view taken = text.substr(0, text.find('\xff'));
        text.remove_prefix(std::min(taken.size() + 1, text.size()));
        return taken;
    };
    const std::string_view stat = part();
    const std::string_view status = part();
    const auto process = GuestProcess::parse(stat, status, part(), parse_uptime(text));
    static_cast<void>(parse_pids(text));
    if (process) {
        ProcessList list{.memory = parse_memory(text), .all = {*process}};
        list.all.resize(ProcessList::kMost, *process);
        const auto message = list.to_json();
        require(boost::json::serialize(message).size() <= Channel::kMostBytes);
        require(boost::json::serialize(ProcessList::from_json(message).to_json()) ==
                boost::json::serialize(message));
        static_cast<void>(ProcessTable{"aux"}.show(list, std::chrono::system_clock::now()));
    }
}

void read_processes(std::string_view text) {
    const ProcessList list = ProcessList::from_json(parse_json_object(text, kTried));
    static_cast<void>(ProcessTable{""}.show(list, {}));
}

/// What a user wants to see of them.
void read_options(std::string_view text) {
    try {
        const auto shown = ProcessTable{std::string{text}}.show({.memory = 0, .all = {{.pid = 1}}}, {});
        require(shown.at("Titles").as_array().size() == shown.at("Processes").at(0).as_array().size());
    } catch (const ApiError& error) {
        require(error.status() == 400 || error.status() == 500);
    }
}

}  // namespace

// NOLINTNEXTLINE(readability-identifier-naming): the name that libFuzzer calls
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size == 0) {
        return 0;
    }
    const std::string_view text{reinterpret_cast<const char*>(data + 1), size - 1};
    static constexpr void (*kReaders[])(std::string_view) = {read_state,     read_run_file, read_exec,
                                                             read_log,       write_log,     read_process,
                                                             read_processes, read_options};
    try {
        kReaders[data[0] % std::size(kReaders)](text);
    } catch (const Error& error) {
        require(error.status() == ExitStatus::bad_file);
    }
    return 0;
}
