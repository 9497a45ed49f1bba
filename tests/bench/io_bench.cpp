// Collects what guests measure of their own I/O: the measuring part of scripts/bench-io.
//
//   hull_io_bench --runs N --jobs J,J… --json FILE --title TEXT [--server COMMAND] --case NAME COMMAND…
//                 [--case NAME COMMAND…]…
//
// Runs the cases in turn until each has N results for each of its jobs. A command boots a guest that prints a
// line `BENCH JOB NANOSECONDS` for each job and `BENCH end`; the word {jobs} in it stands for those that are
// still to be done. A guest that is silent for too long is ended, counted, and run again. Each guest has a
// server of its own where one is named (its words are divided by spaces): one that was left by a guest that
// hung in the middle would go on waiting for that guest and turn away the next. The case "own" is the guest's
// own part, which is subtracted from the others; "hull BUS" is held against "qemu BUS". Prints a table and
// appends the same as a line of JSON.

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "tests/bench/cases.h"

namespace {

using namespace hull::bench;

struct Case {
    std::string name;
    std::vector<std::string> command;
    std::map<std::string, std::vector<double>> ns{};  // by job
    int hung = 0;
};

struct Arguments {
    std::string title;
    std::string json;
    std::vector<std::string> jobs;
    std::vector<std::string> server;  // empty: the guests need none
    size_t runs = 5;
    std::vector<Case> cases;
};

Arguments parse(int argc, char** argv) {
    Arguments arguments;
    arguments.cases =
        parse_cases<Case>(argc, argv,
                          {{"--title", [&](const std::string& value) { arguments.title = value; }},
                           {"--json", [&](const std::string& value) { arguments.json = value; }},
                           {"--runs", [&](const std::string& value) { arguments.runs = std::stoul(value); }},
                           {"--server",
                            [&](const std::string& value) {
                                std::istringstream words{value};
                                for (std::string word; words >> word;) {
                                    arguments.server.push_back(word);
                                }
                            }},
                           {"--jobs", [&](const std::string& value) {
                                std::istringstream list{value};
                                for (std::string job; std::getline(list, job, ',');) {
                                    arguments.jobs.push_back(job);
                                }
                            }}});
    if (arguments.cases.empty() || arguments.jobs.empty() || arguments.runs < 1) {
        fail("--jobs, --runs and at least one --case are needed");
    }
    return arguments;
}

/// The command with these jobs for its {jobs}.
std::vector<std::string> command_for(const Case& test, const std::string& jobs) {
    constexpr std::string_view kPlace = "{jobs}";
    std::vector<std::string> command = test.command;
    for (std::string& word : command) {
        if (const size_t place = word.find(kPlace); place != std::string::npos) {
            word.replace(place, kPlace.size(), jobs);
        }
    }
    return command;
}

/// A guest whose work is done ends by itself; what is killed leaves its disk a moment later.
void end(pid_t child, bool by_itself) {
    constexpr int kLooks = 100;
    for (int i = 0; by_itself && i < kLooks; ++i) {
        if (waitpid(child, nullptr, WNOHANG) == child) {
            return;
        }
        usleep(10'000);
    }
    kill(-child, SIGKILL);
    waitpid(child, nullptr, 0);
    usleep(500'000);
}

void run_once(Case& test, const Arguments& arguments) {
    constexpr int kPatienceMs = 2500;  // of the clock here, which counts a spinning guest's instructions, too
    std::string missing;
    for (const std::string& job : arguments.jobs) {
        if (test.ns[job].size() < arguments.runs) {
            missing += (missing.empty() ? "" : ",") + job;
        }
    }
    if (missing.empty()) {
        return;
    }
    const Child server = arguments.server.empty() ? Child{0, -1} : start(arguments.server);
    const auto [child, output] = start(command_for(test, missing));
    std::string seen;
    std::string line;
    bool ended = false;
    int results = 0;
    pollfd entry{output, POLLIN, 0};
    char chunk[4096];
    while (!ended && poll(&entry, 1, kPatienceMs) == 1) {
        const ssize_t got = read(output, chunk, sizeof chunk);
        if (got <= 0) {
            break;
        }
        seen.append(chunk, static_cast<size_t>(got));
        for (const char character : std::string_view{chunk, static_cast<size_t>(got)}) {
            if (character != '\n') {
                line += character;
                continue;
            }
            std::istringstream words{line};
            std::string mark;
            std::string job;
            if (double ns = 0; words >> mark >> job && mark == "BENCH") {
                ended = ended || job == "end";
                if (words >> ns) {
                    test.ns[job].push_back(ns);
                    ++results;
                }
            }
            line.clear();
        }
    }
    end(child, ended);
    close(output);
    if (server.process > 0) {
        kill(-server.process, SIGKILL);
        waitpid(server.process, nullptr, 0);
        close(server.output);
    }
    if (ended && results == 0) {
        fail(test.name + " measured nothing; its last words: " + seen);
    }
    if (!ended) {
        constexpr int kMostHung = 50;
        std::cerr << "x" << std::flush;
        if (++test.hung > kMostHung) {
            fail(test.name + " hung too often; its last words: " + last_words(seen));
        }
    } else {
        std::cerr << "." << std::flush;
    }
}

/// Of the case of this name, less the guest's own part; 0 where there is none.
double cost(const Arguments& arguments, const std::string& name, const std::string& job) {
    double all = 0;
    double own = 0;
    for (const Case& test : arguments.cases) {
        const auto found = test.ns.find(job);
        const double figure = found == test.ns.end() ? 0 : median(found->second);
        if (test.name == "own") {
            own = figure;
        } else if (test.name == name) {
            all = figure;
        }
    }
    return all > 0 ? all - own : 0;
}

void print(const Arguments& arguments) {
    std::printf("\n%s\n%-14s", arguments.title.c_str(), "");
    for (const Case& test : arguments.cases) {
        std::printf(" %18s", test.name.c_str());
    }
    std::ostringstream json;
    json << "{\"title\": \"" << arguments.title << "\", \"cases\": [";
    for (const std::string& job : arguments.jobs) {
        std::printf("\n%-14s", job.c_str());
        for (const Case& test : arguments.cases) {
            const auto& values = test.ns.at(job);
            const auto [least, most] = std::minmax_element(values.begin(), values.end());
            const std::string peer =
                test.name.starts_with("hull ") ? "qemu " + test.name.substr(5) : std::string{};
            const double net = test.name == "own" ? median(values) : cost(arguments, test.name, job);
            const double against = peer.empty() ? 0 : cost(arguments, peer, job);
            std::printf(" %8.0f", net);
            if (against > 0) {
                std::printf(" %9.3f", net / against);
            } else {
                std::printf(" %8.1f%%", median(values) > 0 ? (*most - *least) / median(values) * 100 : 0);
            }
            json << (json.str().ends_with("[") ? "" : ", ") << "{\"name\": \"" << test.name
                 << "\", \"job\": \"" << job << "\", \"median_ns\": " << median(values)
                 << ", \"min_ns\": " << *least << ", \"max_ns\": " << *most << ", \"cost_ns\": " << net
                 << ", \"ratio\": " << (against > 0 ? net / against : 0) << ", \"hung\": " << test.hung
                 << "}";
        }
    }
    json << "]}";
    std::printf("\n%-14s", "hung, repeated");
    for (const Case& test : arguments.cases) {
        std::printf(" %8d %9s", test.hung, "");
    }
    std::printf("\n");
    append_line(arguments.json, json.str());
}

bool is_done(const Arguments& arguments) {
    return std::ranges::all_of(arguments.cases, [&](const Case& test) {
        return std::ranges::all_of(arguments.jobs, [&](const std::string& job) {
            const auto found = test.ns.find(job);
            return found != test.ns.end() && found->second.size() >= arguments.runs;
        });
    });
}

}  // namespace

int main(int argc, char** argv) {
    Arguments arguments = parse(argc, argv);
    while (!is_done(arguments)) {
        for (Case& test : arguments.cases) {
            run_once(test, arguments);
        }
    }
    std::cerr << "\n";
    print(arguments);
    return 0;
}
