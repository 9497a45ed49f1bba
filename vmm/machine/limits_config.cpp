#include "vmm/machine/limits_config.h"

#include <charconv>
#include <cmath>
#include <limits>

#include "vmm/machine/option_text.h"

namespace hull {

namespace {

constexpr const char* kIoForm = "write for example rbps=50M,wbps=20M,riops=1000,wiops=500, or some of these";

}  // namespace

IoLimit IoLimit::parse(const std::string& text) {
    const auto bytes = [](const OptionWord& word) {
        return parse_bytes_per_second(*word.value, "--io-limit " + word.key);
    };
    const auto number = [](const OptionWord& word) {
        return parse_number(*word.value, "--io-limit " + word.key, 1, std::numeric_limits<uint32_t>::max());
    };
    const std::vector<OptionWord> words = split_words(text);
    refuse_repeats("--io-limit", text, words);
    IoLimit limit;
    for (const OptionWord& word : words) {
        if (word.is_value("rbps")) {
            limit.read_bytes = bytes(word);
        } else if (word.is_value("wbps")) {
            limit.write_bytes = bytes(word);
        } else if (word.is_value("riops")) {
            limit.reads = number(word);
        } else if (word.is_value("wiops")) {
            limit.writes = number(word);
        } else {
            refuse_option("--io-limit", text, "'" + word.text + "' has no meaning there", kIoForm);
        }
    }
    return limit;
}

std::string IoLimit::text() const {
    std::string text;
    const auto add = [&](const char* key, uint64_t value, const std::string& as_text) {
        if (value != 0) {
            text += (text.empty() ? "" : ",") + std::string{key} + "=" + as_text;
        }
    };
    add("rbps", read_bytes, std::to_string(read_bytes / 1024) + "K");
    add("wbps", write_bytes, std::to_string(write_bytes / 1024) + "K");
    add("riops", reads, std::to_string(reads));
    add("wiops", writes, std::to_string(writes));
    return text;
}

uint64_t parse_memory_limit(const std::string& text) {
    const uint64_t bytes = parse_memory_size(text, "--memory-limit");
    if (bytes < LimitsConfig::kLeastMemory || bytes % (uint64_t{1} << 20) != 0) {
        refuse_option("--memory-limit", text, "a limit is at least 16M, in whole MiB", "give more");
    }
    return bytes;
}

uint32_t parse_cpu_quota(const std::string& text) {
    constexpr double kMost = LimitsConfig::kMostCpu / 1000.0;
    constexpr double kLeast = LimitsConfig::kLeastCpu / 1000.0;
    double processors = 0;
    const char* end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data(), end, processors);
    if (error != std::errc{} || rest != end || !(processors >= kLeast && processors <= kMost)) {
        refuse_option("--cpu-quota", text, "it is not a number of processors from 0.01 to 1000",
                      "write for example 1.5 for the time of one and a half");
    }
    return static_cast<uint32_t>(std::lround(processors * 1000));
}

std::string cpu_quota_text(uint32_t thousandths) {
    std::string text = std::to_string(thousandths % 1000 + 1000).substr(1);
    text.erase(text.find_last_not_of('0') + 1);
    return std::to_string(thousandths / 1000) + (text.empty() ? "" : "." + text);
}

}  // namespace hull
