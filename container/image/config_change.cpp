#include "container/image/config_change.h"

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <cctype>
#include <charconv>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/printable.h"

namespace hull::container {

namespace json = boost::json;

namespace {

[[noreturn]] void refuse(std::string_view line, const std::string& why) {
    throw Error{
        ExitStatus::usage, "cannot change the image by '" + printable(line) + "'", why,
        "write it as in a Dockerfile: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME or "
        "WORKDIR"};
}

std::string_view trimmed(std::string_view text) {
    constexpr std::string_view kSpace = " \t\r";
    text.remove_prefix(std::min(text.find_first_not_of(kSpace), text.size()));
    return text.substr(0, text.find_last_not_of(kSpace) + 1);
}

/// One line, taken apart.
struct Instruction {
    std::string_view line;
    std::string name;       // in large letters
    std::string_view rest;  // not empty
};

/// A JSON list of texts; none where it is something else, which is then of the shell's form.
std::optional<std::vector<std::string>> list_of(std::string_view text) {
    boost::system::error_code error;
    const json::value value = json::parse(text, error);
    if (error || !value.is_array()) {
        return std::nullopt;
    }
    std::vector<std::string> result;
    for (const json::value& each : value.get_array()) {
        if (!each.is_string() || each.get_string().find('\0') != json::string::npos) {
            return std::nullopt;
        }
        result.emplace_back(each.get_string());
    }
    return result;
}

std::vector<std::string> command_of(const Instruction& instruction) {
    if (auto list = list_of(instruction.rest)) {
        return *std::move(list);
    }
    return {"/bin/sh", "-c", std::string{instruction.rest}};
}

/// Words between spaces; quotes keep these in, and a backslash keeps what is behind it as it is.
std::vector<std::string> words_of(const Instruction& instruction) {
    std::vector<std::string> words;
    bool is_in_word = false;
    char quote = '\0';
    for (size_t at = 0; at < instruction.rest.size(); ++at) {
        char c = instruction.rest[at];
        const bool is_space = quote == '\0' && (c == ' ' || c == '\t');
        if (is_space) {
            is_in_word = false;
            continue;
        }
        if (!is_in_word) {
            words.emplace_back();
            is_in_word = true;
        }
        if (c == quote) {
            quote = '\0';
            continue;
        }
        if (quote == '\0' && (c == '"' || c == '\'')) {
            quote = c;
            continue;
        }
        if (c == '\\' && quote != '\'') {
            if (++at == instruction.rest.size()) {
                refuse(instruction.line, "it ends with a backslash");
            }
            c = instruction.rest[at];
        }
        words.back() += c;
    }
    if (quote != '\0') {
        refuse(instruction.line, "a quote is not closed");
    }
    return words;
}

/// "KEY=VALUE KEY=VALUE", or, in the old form, "KEY ALL THE REST".
std::vector<std::pair<std::string, std::string>> pairs_of(const Instruction& instruction) {
    const std::string_view first = instruction.rest.substr(0, instruction.rest.find_first_of(" \t"));
    if (first.find('=') == std::string_view::npos) {
        const std::string_view rest = trimmed(instruction.rest.substr(first.size()));
        if (rest.empty()) {
            refuse(instruction.line, "it has no value");
        }
        return {{std::string{first}, std::string{rest}}};
    }
    std::vector<std::pair<std::string, std::string>> pairs;
    for (const std::string& word : words_of(instruction)) {
        const size_t sign = word.find('=');
        if (sign == std::string::npos || sign == 0) {
            refuse(instruction.line, "'" + printable(word) + "' is no KEY=VALUE");
        }
        pairs.emplace_back(word.substr(0, sign), word.substr(sign + 1));
    }
    return pairs;
}

void set_environment(ImageConfig& config, const Instruction& instruction) {
    for (const auto& [key, value] : pairs_of(instruction)) {
        const std::string beginning = key + "=";
        const auto same = std::ranges::find_if(
            config.environment, [&](const std::string& each) { return each.starts_with(beginning); });
        if (same == config.environment.end()) {
            config.environment.push_back(beginning + value);
        } else {
            *same = beginning + value;
        }
    }
}

uint16_t port_of(std::string_view text, const Instruction& instruction) {
    uint16_t port = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
    if (error != std::errc{} || end != text.data() + text.size() || port == 0) {
        refuse(instruction.line, "'" + printable(text) + "' is no port");
    }
    return port;
}

/// "80", "80/udp", "8000-8010/tcp".
void expose(ImageConfig& config, const Instruction& instruction) {
    for (const std::string& word : words_of(instruction)) {
        const size_t slash = word.find('/');
        const std::string protocol = slash == std::string::npos ? "tcp" : word.substr(slash + 1);
        if (protocol != "tcp" && protocol != "udp" && protocol != "sctp") {
            refuse(instruction.line, "'" + printable(protocol) + "' is no protocol");
        }
        const std::string_view range = std::string_view{word}.substr(0, slash);
        const size_t dash = range.find('-');
        const unsigned first = port_of(range.substr(0, dash), instruction);
        const unsigned last =
            dash == std::string_view::npos ? first : port_of(range.substr(dash + 1), instruction);
        if (last < first) {
            refuse(instruction.line, "a range of ports ends before it begins");
        }
        for (unsigned port = first; port <= last; ++port) {
            const std::string name = std::to_string(port) + "/" + protocol;
            if (std::ranges::find(config.exposed_ports, name) == config.exposed_ports.end()) {
                config.exposed_ports.push_back(name);
            }
        }
    }
}

void set_stop_signal(ImageConfig& config, const Instruction& instruction) {
    const bool is_name = std::ranges::all_of(
        instruction.rest, [](unsigned char c) { return std::isalnum(c) != 0 || c == '+' || c == '-'; });
    if (!is_name) {
        refuse(instruction.line, "that is no signal");
    }
    config.stop_signal = instruction.rest;
}

void add_volumes(ImageConfig& config, const Instruction& instruction) {
    const auto list = list_of(instruction.rest);
    for (const std::string& volume : list ? *list : words_of(instruction)) {
        if (volume.empty()) {
            refuse(instruction.line, "a volume has no place");
        }
        if (std::ranges::find(config.volumes, volume) == config.volumes.end()) {
            config.volumes.push_back(volume);
        }
    }
}

void carry_out(ImageConfig& config, const Instruction& instruction) {
    if (instruction.name == "CMD") {
        config.command = command_of(instruction);
    } else if (instruction.name == "ENTRYPOINT") {
        config.entrypoint = command_of(instruction);
    } else if (instruction.name == "ENV") {
        set_environment(config, instruction);
    } else if (instruction.name == "EXPOSE") {
        expose(config, instruction);
    } else if (instruction.name == "LABEL") {
        for (const auto& [key, value] : pairs_of(instruction)) {
            config.labels.insert_or_assign(key, value);
        }
    } else if (instruction.name == "STOPSIGNAL") {
        set_stop_signal(config, instruction);
    } else if (instruction.name == "USER") {
        config.user = instruction.rest;
    } else if (instruction.name == "VOLUME") {
        add_volumes(config, instruction);
    } else if (instruction.name == "WORKDIR") {
        // A relative one is below the one before.
        const std::filesystem::path before = config.working_folder.empty() ? "/" : config.working_folder;
        config.working_folder = (before / std::string{instruction.rest}).lexically_normal();
    } else {
        refuse(instruction.line, instruction.name + " is not supported here");
    }
}

json::object set_of(const std::vector<std::string>& texts) {
    json::object set;
    for (const std::string& text : texts) {
        set[text] = json::object{};
    }
    return set;
}

}  // namespace

void change_config(ImageConfig& config, std::string_view instructions) {
    while (!instructions.empty()) {
        const std::string_view line = trimmed(instructions.substr(0, instructions.find('\n')));
        instructions.remove_prefix(std::min(instructions.find('\n'), instructions.size() - 1) + 1);
        if (line.empty() || line.starts_with('#')) {
            continue;
        }
        const std::string_view word = line.substr(0, line.find_first_of(" \t"));
        Instruction instruction{
            .line = line, .name = std::string{word}, .rest = trimmed(line.substr(word.size()))};
        std::ranges::transform(instruction.name, instruction.name.begin(),
                               [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
        if (instruction.rest.empty()) {
            refuse(line, "there is nothing behind it");
        }
        carry_out(config, instruction);
    }
}

json::object health_json(const HealthCheck& health) {
    json::object shown{{"Test", array_of(health.test)}};
    const auto set = [&shown](const char* key, int64_t value) {
        if (value != 0) {
            shown[key] = value;
        }
    };
    set("Interval", health.interval.count());
    set("Timeout", health.timeout.count());
    set("StartPeriod", health.start_period.count());
    set("Retries", health.retries);
    return shown;
}

std::string config_text(const ImageConfig& config) {
    json::object run;
    const auto set = [&run](const char* key, json::value value, bool is_set) {
        if (is_set) {
            run[key] = std::move(value);
        }
    };
    set("User", json::string{config.user}, !config.user.empty());
    set("ExposedPorts", set_of(config.exposed_ports), !config.exposed_ports.empty());
    set("Env", array_of(config.environment), !config.environment.empty());
    set("Entrypoint", array_of(config.entrypoint), !config.entrypoint.empty());
    set("Cmd", array_of(config.command), !config.command.empty());
    set("Volumes", set_of(config.volumes), !config.volumes.empty());
    set("WorkingDir", json::string{config.working_folder}, !config.working_folder.empty());
    json::object labels;
    for (const auto& [key, value] : config.labels) {
        labels[key] = value;
    }
    set("Labels", std::move(labels), !config.labels.empty());
    set("StopSignal", json::string{config.stop_signal}, !config.stop_signal.empty());
    set("Shell", array_of(config.shell), !config.shell.empty());
    set("OnBuild", array_of(config.triggers), !config.triggers.empty());
    if (config.health) {
        run["Healthcheck"] = health_json(*config.health);
    }
    json::array layers;
    for (const Digest& layer : config.layers) {
        layers.emplace_back(layer.text());
    }
    json::array history;
    for (const ImageConfig::Step& step : config.history) {
        json::object made{{"created", step.created}};
        if (!step.created_by.empty()) {
            made["created_by"] = step.created_by;
        }
        if (!step.comment.empty()) {
            made["comment"] = step.comment;
        }
        if (step.is_empty) {
            made["empty_layer"] = true;
        }
        history.push_back(std::move(made));
    }
    json::object image{{"created", config.created}, {"architecture", config.architecture}, {"os", config.os}};
    if (!config.author.empty()) {
        image["author"] = config.author;
    }
    image["config"] = std::move(run);
    image["rootfs"] = {{"type", "layers"}, {"diff_ids", std::move(layers)}};
    image["history"] = std::move(history);
    return json::serialize(image);
}

}  // namespace hull::container
