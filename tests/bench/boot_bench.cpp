// Times how long commands take from exec to a line on their standard output: the measuring part of
// scripts/bench-boot.
//
//   hull_boot_bench --marker TEXT --runs N --json FILE --title TEXT --case NAME COMMAND… [--case NAME
//   COMMAND…]…
//
// Runs the cases in turn, N times each and once more before that, which is not counted; a case whose name
// starts with "peer:" is a peer. Prints a table with every case's ratio to the best peer, and appends the
// same as a line of JSON.

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "tests/bench/cases.h"
#include "tests/support/resident.h"

namespace {

using namespace hull::bench;

using Clock = std::chrono::steady_clock;

struct Case {
    std::string name;
    std::vector<std::string> command;
    std::vector<double> ms{};
    /// To the guest's first instruction, where the command tells (hull --timing).
    std::vector<double> own_ms{};
    std::vector<double> resident_kib{};  // of all its processes, guest memory left out
};

struct Arguments {
    std::string marker;
    std::string title;
    std::string json;
    int runs = 5;
    std::vector<Case> cases;
};

Arguments parse(int argc, char** argv) {
    Arguments arguments;
    arguments.cases =
        parse_cases<Case>(argc, argv,
                          {{"--marker", [&](const std::string& value) { arguments.marker = value; }},
                           {"--title", [&](const std::string& value) { arguments.title = value; }},
                           {"--json", [&](const std::string& value) { arguments.json = value; }},
                           {"--runs", [&](const std::string& value) { arguments.runs = std::stoi(value); }}});
    if (arguments.cases.empty() || arguments.marker.empty() || arguments.runs < 1) {
        fail("--marker, --runs and at least one --case are needed");
    }
    return arguments;
}

std::vector<pid_t> children_of(pid_t parent) {
    std::vector<pid_t> all{parent};
    for (size_t i = 0; i < all.size(); ++i) {
        const std::string process = std::to_string(all[i]);
        std::ifstream list{"/proc/" + process + "/task/" + process + "/children"};
        for (pid_t child = 0; list >> child;) {
            all.push_back(child);
        }
    }
    return all;
}

/// Of the process that has the most: the machine's, beside its keeper.
double largest_resident_kib(pid_t parent) {
    uint64_t largest = 0;
    for (const pid_t process : children_of(parent)) {
        largest = std::max(largest, hull::test::resident_kib(process));
    }
    return static_cast<double>(largest);
}

/// What "hull: timing: first instruction after X ms" says in `text`; 0 where it is not there.
double first_instruction_ms(const std::string& text) {
    const std::string key = "first instruction after ";
    const size_t place = text.find(key);
    return place == std::string::npos ? 0 : std::atof(text.c_str() + place + key.size());
}

void run_once(Case& test, const std::string& marker, bool counted) {
    constexpr int kPatienceMs = 120'000;
    char error_file[] = "/tmp/hull_boot_bench.XXXXXX";
    const int errors = mkostemp(error_file, O_CLOEXEC);
    const auto begin = Clock::now();
    const auto [child, output] = start(test.command, errors);
    std::string seen;
    bool found = false;
    char chunk[4096];
    pollfd entry{output, POLLIN, 0};
    while (!found && poll(&entry, 1, kPatienceMs) == 1) {
        const ssize_t got = read(output, chunk, sizeof chunk);
        if (got <= 0) {
            break;
        }
        seen.append(chunk, static_cast<size_t>(got));
        found = seen.find(marker) != std::string::npos;
    }
    const std::chrono::duration<double, std::milli> taken = Clock::now() - begin;
    const double resident = found ? largest_resident_kib(child) : 0;
    if (found) {
        kill(child, SIGINT);  // hull then prints its timing at once: nobody answers the power button
        kill(child, SIGINT);
    }
    for (int i = 0; i < 100 && waitpid(child, nullptr, WNOHANG) == 0; ++i) {
        usleep(10'000);
        if (i == 90) {
            kill(child, SIGKILL);
        }
    }
    close(output);
    std::ifstream error_stream{error_file};
    const std::string error_text{std::istreambuf_iterator<char>{error_stream}, {}};
    close(errors);
    unlink(error_file);
    if (!found) {
        fail(test.name + " never printed the marker; its last words: " + last_words(seen) + error_text);
    }
    if (counted) {
        test.ms.push_back(taken.count());
        test.resident_kib.push_back(resident);
        if (const double own = first_instruction_ms(error_text); own > 0) {
            test.own_ms.push_back(own);
        }
    }
}

bool is_peer(const Case& test) {
    return test.name.starts_with("peer:");
}

void print(const Arguments& arguments) {
    double best_peer = 0;
    for (const Case& test : arguments.cases) {
        if (is_peer(test) && (best_peer == 0 || median(test.ms) < best_peer)) {
            best_peer = median(test.ms);
        }
    }
    std::printf("\n%s\n%-44s %9s %9s %9s %7s %9s %10s\n", arguments.title.c_str(), "", "median ms", "min",
                "max", "ratio", "own ms", "own KiB");
    std::ostringstream json;
    json << "{\"title\": \"" << arguments.title << "\", \"cases\": [";
    for (const Case& test : arguments.cases) {
        const auto [least, most] = std::minmax_element(test.ms.begin(), test.ms.end());
        const double ratio = best_peer > 0 ? median(test.ms) / best_peer : 0;
        std::printf("%-44s %9.1f %9.1f %9.1f %7.3f %9.2f %10.0f\n", test.name.c_str(), median(test.ms),
                    *least, *most, ratio, median(test.own_ms), median(test.resident_kib));
        json << (&test == arguments.cases.data() ? "" : ", ") << "{\"name\": \"" << test.name
             << "\", \"median_ms\": " << median(test.ms) << ", \"min_ms\": " << *least
             << ", \"max_ms\": " << *most << ", \"ratio_to_best_peer\": " << ratio
             << ", \"to_first_instruction_ms\": " << median(test.own_ms)
             << ", \"resident_kib\": " << median(test.resident_kib) << "}";
    }
    json << "]}";
    append_line(arguments.json, json.str());
}

}  // namespace

int main(int argc, char** argv) {
    Arguments arguments = parse(argc, argv);
    for (int run = 0; run <= arguments.runs; ++run) {
        for (Case& test : arguments.cases) {
            run_once(test, arguments.marker, run > 0);
            std::cerr << "." << std::flush;
        }
    }
    std::cerr << "\n";
    print(arguments);
    return 0;
}
