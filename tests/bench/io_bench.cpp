// Collects what guests measure of their own I/O: the measuring part of scripts/bench-io.
//
//   hull_io_bench --runs N --jobs J,J… --json FILE --title TEXT --case NAME COMMAND… [--case NAME COMMAND…]…
//
// Runs the cases in turn until each has N results for each of its jobs. A command boots a guest that prints a
// line `BENCH JOB NANOSECONDS` for each job and `BENCH end`; the word {jobs} in it stands for those that are
// still to be done. A guest that is silent for too long is ended, counted, and run again. The case "own" is
// the guest's own part, which is subtracted from the others; "hull BUS" is held against "qemu BUS". Prints a
// table and appends the same as a line of JSON.

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

namespace {

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
    size_t runs = 5;
    std::vector<Case> cases;
};

[[noreturn]] void fail(const std::string& why) {
    std::cerr << "hull_io_bench: " << why << "\n";
    std::exit(1);
}

Arguments parse(int argc, char** argv) {
    Arguments arguments;
    for (int i = 1; i < argc; ++i) {
        const std::string word = argv[i];
        const auto value = [&]() -> std::string {
            return ++i < argc ? argv[i] : (fail(word + " needs a value"), "");
        };
        if (word == "--case") {
            arguments.cases.push_back({.name = value(), .command = {}});
        } else if (!arguments.cases.empty()) {
            arguments.cases.back().command.push_back(word);
        } else if (word == "--title") {
            arguments.title = value();
        } else if (word == "--json") {
            arguments.json = value();
        } else if (word == "--runs") {
            arguments.runs = std::stoul(value());
        } else if (word == "--jobs") {
            std::istringstream list{value()};
            for (std::string job; std::getline(list, job, ',');) {
                arguments.jobs.push_back(job);
            }
        } else {
            fail("unknown word " + word);
        }
    }
    if (arguments.cases.empty() || arguments.jobs.empty() || arguments.runs < 1) {
        fail("--jobs, --runs and at least one --case are needed");
    }
    return arguments;
}

[[noreturn]] void exec_in_child(const std::vector<std::string>& command, const std::string& jobs,
                                int output) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setpgid(0, 0);
    const int nothing = open("/dev/null", O_RDONLY);
    dup2(nothing, 0);
    dup2(output, 1);
    dup2(output, 2);
    std::vector<std::string> words = command;
    std::vector<char*> pointers;
    for (std::string& word : words) {
        if (const size_t place = word.find("{jobs}"); place != std::string::npos) {
            word.replace(place, 6, jobs);
        }
        pointers.push_back(word.data());
    }
    pointers.push_back(nullptr);
    execvp(pointers[0], pointers.data());
    _exit(127);
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

void run_once(Case& test, const std::vector<std::string>& jobs, size_t runs) {
    constexpr int kPatienceMs = 2500;  // of the clock here, which counts a spinning guest's instructions, too
    std::string missing;
    for (const std::string& job : jobs) {
        if (test.ns[job].size() < runs) {
            missing += (missing.empty() ? "" : ",") + job;
        }
    }
    if (missing.empty()) {
        return;
    }
    int output[2];
    if (pipe2(output, O_CLOEXEC) != 0) {
        fail("no pipe");
    }
    const pid_t child = fork();
    if (child == 0) {
        exec_in_child(test.command, missing, output[1]);
    }
    close(output[1]);
    std::string seen;
    std::string line;
    bool ended = false;
    int results = 0;
    pollfd entry{output[0], POLLIN, 0};
    char chunk[4096];
    while (!ended && poll(&entry, 1, kPatienceMs) == 1) {
        const ssize_t got = read(output[0], chunk, sizeof chunk);
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
    close(output[0]);
    if (ended && results == 0) {
        fail(test.name + " measured nothing; its last words: " + seen);
    }
    if (!ended) {
        constexpr int kMostHung = 50;
        std::cerr << "x" << std::flush;
        if (++test.hung > kMostHung) {
            fail(test.name + " hung too often; its last words: " +
                 (seen.size() > 2000 ? seen.substr(seen.size() - 2000) : seen));
        }
    } else {
        std::cerr << "." << std::flush;
    }
}

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values.empty() ? 0 : values[values.size() / 2];
}

/// Of the case of this name, less the guest's own part; 0 where there is none.
double cost(const Arguments& arguments, const std::string& name, const std::string& job) {
    double all = 0;
    double own = 0;
    for (const Case& test : arguments.cases) {
        const auto found = test.ns.find(job);
        const double figure = found == test.ns.end() ? 0 : median(found->second);
        (test.name == "own"  ? own
         : test.name == name ? all
                             : own) += test.name == "own" || test.name == name ? figure : 0;
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
    json << "]}\n";
    std::printf("\n%-14s", "hung, repeated");
    for (const Case& test : arguments.cases) {
        std::printf(" %8d %9s", test.hung, "");
    }
    std::printf("\n");
    if (!arguments.json.empty()) {
        std::ofstream{arguments.json, std::ios::app} << json.str();
    }
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
            run_once(test, arguments.jobs, arguments.runs);
        }
    }
    std::cerr << "\n";
    print(arguments);
    return 0;
}
