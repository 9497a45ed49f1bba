// What a hostile guest (guest/hostile) is told, and what it says at its end.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <map>
#include <regex>
#include <string>

namespace hull::test {

/// How many things it does, and what its choices follow from: $HULL_HOSTILE_ROUNDS (200) and
/// $HULL_HOSTILE_SEED (1).
inline uint64_t hostile_number(const char* variable, uint64_t otherwise) {
    const char* text = std::getenv(variable);
    return text == nullptr ? otherwise : std::stoull(text);
}
inline uint64_t hostile_rounds() {
    return hostile_number("HULL_HOSTILE_ROUNDS", 200);
}
inline uint64_t hostile_seed() {
    return hostile_number("HULL_HOSTILE_SEED", 1);
}
inline std::string hostile_cmdline(uint64_t rounds) {
    return "nokaslr seed=" + std::to_string(hostile_seed()) + " rounds=" + std::to_string(rounds);
}

/// What it printed, among what it wrote to the console for another reason.
struct HostileReport {
    explicit HostileReport(const std::string& printed) {
        std::smatch found;
        // Only its end: the rest may be long.
        const size_t begin = printed.rfind("hostile: seed ");
        const std::string end = begin == std::string::npos ? "" : printed.substr(begin);
        const std::regex device{R"(hostile: device \d+ of type (\d+): \d+ chains made, (\d+) used)"};
        for (std::sregex_iterator at{end.begin(), end.end(), device}, none; at != none; ++at) {
            ++devices[std::stoi((*at)[1])];
            answers[std::stoi((*at)[1])] += std::stoull((*at)[2]);
        }
        if (std::regex_search(end, found, std::regex{R"(hostile: (\d+) rounds done)"})) {
            rounds = std::stoull(found[1]);
        }
    }
    std::map<int, int> devices;       ///< how many of each type it found
    std::map<int, uint64_t> answers;  ///< how many chains came back from those of each type
    uint64_t rounds = 0;              ///< of all its processors; 0 where it did not get to its end
};

}  // namespace hull::test
