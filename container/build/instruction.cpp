#include "container/build/instruction.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <initializer_list>
#include <string_view>
#include <utility>

#include "container/api/api_error.h"

namespace hull::container {

namespace {

using Kind = Instruction::Kind;
using std::chrono::nanoseconds;

[[noreturn]] void refuse(const std::string& why) {
    throw ApiError{400, why};
}

/// What an instruction takes.
struct Shape {
    std::string_view keyword;
    Kind kind;
    size_t least;  ///< arguments
    size_t most;
    std::initializer_list<std::string_view> flags;
};

constexpr size_t kAny = SIZE_MAX;
const Shape kShapes[] = {
    {"add", Kind::add, 2, kAny, {"chown", "chmod"}},
    {"arg", Kind::arg, 1, kAny, {}},
    {"cmd", Kind::cmd, 0, kAny, {}},
    {"copy", Kind::copy, 2, kAny, {"chown", "chmod", "from"}},
    {"entrypoint", Kind::entrypoint, 0, kAny, {}},
    {"env", Kind::env, 1, kAny, {}},
    {"expose", Kind::expose, 1, kAny, {}},
    {"healthcheck", Kind::healthcheck, 1, kAny, {"interval", "timeout", "start-period", "retries"}},
    {"label", Kind::label, 1, kAny, {}},
    {"maintainer", Kind::maintainer, 1, 1, {}},
    {"onbuild", Kind::onbuild, 1, kAny, {}},
    {"run", Kind::run, 0, kAny, {}},
    {"shell", Kind::shell, 1, kAny, {}},
    {"stopsignal", Kind::stopsignal, 1, 1, {}},
    {"user", Kind::user, 1, 1, {}},
    {"volume", Kind::volume, 1, kAny, {}},
    {"workdir", Kind::workdir, 1, 1, {}},
};

/// The values of flags, all of which are known.
std::map<std::string, std::string> flags_of(const DockerfileLine& line,
                                            std::initializer_list<std::string_view> known) {
    std::map<std::string, std::string> flags;
    for (const std::string& flag : line.flags) {
        const size_t sign = flag.find('=');
        const std::string name = flag.substr(2, sign == std::string::npos ? sign : sign - 2);
        if (line.keyword == "run" && (name == "mount" || name == "network" || name == "security")) {
            refuse("RUN --" + name +
                   " is BuildKit's and is not supported here: leave it out, and COPY what the command needs");
        }
        if (std::ranges::find(known, name) == known.end()) {
            refuse("Unknown flag: " + name);
        }
        if (flags.contains(name)) {
            refuse("Duplicate flag specified: " + name);
        }
        if (sign == std::string::npos) {
            refuse("Missing a value on flag: " + name);
        }
        flags[name] = flag.substr(sign + 1);
    }
    return flags;
}

void check_count(const std::string& name, size_t count, size_t least, size_t most) {
    if (count >= least && count <= most) {
        return;
    }
    if (most == 1) {
        refuse(name + " requires exactly one argument");
    }
    if (least == 2) {
        refuse(name +
               " requires at least two arguments, but only one was provided. Destination could not be "
               "determined");
    }
    refuse(name + " requires at least one argument");
}

/// Go's "1m30s", "1.5h", "100ms".
nanoseconds duration_of(const std::string& flag, const std::string& text) {
    struct Unit {
        std::string_view name;
        double nanoseconds;
    };
    static constexpr Unit kUnits[] = {{"ns", 1},  {"us", 1e3}, {"ms", 1e6},
                                      {"s", 1e9}, {"m", 6e10}, {"h", 3.6e12}};
    const auto fail = [&](const std::string& why) { refuse("time: " + why + " " + in_quotes(text)); };
    std::string_view rest = text;
    if (rest == "0") {
        return nanoseconds{0};
    }
    double sum = 0;
    do {
        double number = 0;
        const auto [end, error] =
            std::from_chars(rest.data(), rest.data() + rest.size(), number, std::chars_format::fixed);
        if (error != std::errc{} || number < 0 || rest.front() == '-') {
            fail("invalid duration");
        }
        rest.remove_prefix(static_cast<size_t>(end - rest.data()));
        const std::string_view name = rest.substr(0, rest.find_first_of("0123456789."));
        const auto* const unit = std::ranges::find(kUnits, name, &Unit::name);
        if (unit == std::end(kUnits)) {
            fail(name.empty() ? "missing unit in duration"
                              : "unknown unit " + in_quotes(name) + " in duration");
        }
        sum += number * unit->nanoseconds;
        rest.remove_prefix(name.size());
    } while (!rest.empty());
    constexpr double kMost = 9e18;
    if (sum > kMost) {
        fail("invalid duration");
    }
    constexpr nanoseconds kLeast = std::chrono::milliseconds{1};
    const nanoseconds duration{std::llround(sum)};
    if (duration != nanoseconds{0} && duration < kLeast) {
        refuse("Interval " + in_quotes(flag) + " cannot be less than 1ms");
    }
    return duration;
}

HealthCheck health_check(Instruction& instruction) {
    const std::string type = to_upper(instruction.arguments.front());
    instruction.arguments.erase(instruction.arguments.begin());
    HealthCheck health;
    if (type == "NONE") {
        if (!instruction.arguments.empty()) {
            refuse("HEALTHCHECK NONE takes no arguments");
        }
        health.test = {"NONE"};
        return health;
    }
    if (type != "CMD") {
        refuse("Unknown type " + in_quotes(type) + " in HEALTHCHECK (try CMD)");
    }
    if (instruction.arguments.empty()) {
        refuse("Missing command after HEALTHCHECK CMD");
    }
    health.test = instruction.arguments;
    health.test.insert(health.test.begin(), instruction.is_list ? "CMD" : "CMD-SHELL");
    const auto duration = [&](const char* name) {
        const std::string text = instruction.flag(name);
        return text.empty() ? nanoseconds{0} : duration_of(name, text);
    };
    health.interval = duration("interval");
    health.timeout = duration("timeout");
    health.start_period = duration("start-period");
    if (const std::string text = instruction.flag("retries"); !text.empty()) {
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), health.retries);
        if (error != std::errc{} || end != text.data() + text.size()) {
            refuse("strconv.ParseInt: parsing " + in_quotes(text) + ": invalid syntax");
        }
        if (health.retries < 1) {
            refuse("--retries must be at least 1 (not " + std::to_string(health.retries) + ")");
        }
    }
    return health;
}

void check_chmod(const Instruction& instruction) {
    const std::string mode = instruction.flag("chmod");
    if (mode.find('$') != std::string::npos) {
        return;  // what that becomes is looked at later
    }
    const bool is_octal = mode.find_first_not_of("01234567") == std::string::npos;
    constexpr size_t kMostDigits = 5;  // a leading zero among them
    if (!is_octal || mode.size() > kMostDigits || (mode.size() == kMostDigits && mode.front() != '0')) {
        refuse("invalid chmod parameter: '" + mode + "'. it should be octal string and between 0 and 07777");
    }
}

/// What is to be carried out later, which must be right itself.
void take_trigger(Instruction& instruction, const DockerfileLine& line) {
    const std::string trigger = to_upper(line.arguments.front());
    if (trigger == "ONBUILD") {
        refuse("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed");
    }
    if (trigger == "MAINTAINER" || trigger == "FROM") {
        refuse(trigger + " isn't allowed as an ONBUILD trigger");
    }
    constexpr size_t kKeyword = 7;
    std::string whole{trim(std::string_view{line.code}.substr(kKeyword))};
    for (const HereDocument& document : line.documents) {
        whole += (whole.ends_with('\n') ? "" : "\n") + document.text + document.name + "\n";
    }
    instruction.arguments = {std::move(whole)};
}

void check_pairs(const Instruction& instruction, const std::string& name) {
    for (size_t index = 0; index < instruction.arguments.size(); index += 2) {
        if (instruction.arguments[index].empty()) {
            refuse(name + " names can not be blank");
        }
    }
}

bool is_stage_name(const std::string& name) {
    return !name.empty() && name.front() >= 'a' && name.front() <= 'z' &&
           name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-_.") == std::string::npos;
}

BuildStage parse_from(const DockerfileLine& line) {
    const std::vector<std::string>& words = line.arguments;
    BuildStage stage;
    if (words.size() == 3 && to_lower(words[1]) == "as") {
        stage.name = to_lower(words[2]);
        if (!is_stage_name(stage.name)) {
            refuse("invalid name for build stage: " + in_quotes(words[2]) +
                   ", name can't start with a number or contain symbols");
        }
    } else if (words.size() != 1) {
        refuse("FROM requires either one or three arguments");
    }
    const auto flags = flags_of(line, {"platform"});
    stage.platform = flags.contains("platform") ? flags.at("platform") : "";
    stage.base = words.front();
    stage.code = line.code;
    return stage;
}

}  // namespace

std::string Instruction::flag(const std::string& name) const {
    const auto found = flags.find(name);
    return found == flags.end() ? "" : found->second;
}

std::optional<size_t> Stages::find(const std::string& name) const {
    const std::string wanted = to_lower(name);
    for (size_t index = 0; index < all.size(); ++index) {
        if (!all[index].name.empty() && all[index].name == wanted) {
            return index;
        }
    }
    size_t number = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
    const bool is_number = error == std::errc{} && end == name.data() + name.size();
    return is_number && number < all.size() ? std::optional{number} : std::nullopt;
}

Instruction parse_instruction(const DockerfileLine& line) {
    const auto* const shape = std::ranges::find(kShapes, line.keyword, &Shape::keyword);
    const std::string name = to_upper(line.keyword);
    if (shape == std::end(kShapes)) {
        refuse("unknown instruction: " + name);
    }
    Instruction instruction{.kind = shape->kind,
                            .line = line.number,
                            .code = line.code,
                            .flags = flags_of(line, shape->flags),
                            .arguments = line.arguments,
                            .is_list = line.is_list,
                            .documents = line.documents,
                            .health = {}};
    const bool copies = shape->kind == Kind::add || shape->kind == Kind::copy;
    check_count(name, line.arguments.size() + (copies ? line.documents.size() : 0), shape->least,
                shape->most);
    switch (shape->kind) {
        case Kind::healthcheck:
            instruction.health = health_check(instruction);
            break;
        case Kind::onbuild:
            take_trigger(instruction, line);
            break;
        case Kind::env:
        case Kind::label:
            check_pairs(instruction, name);
            break;
        case Kind::add:
        case Kind::copy:
            check_chmod(instruction);
            break;
        case Kind::shell:
            if (!line.is_list) {
                refuse("SHELL requires the arguments to be in JSON form");
            }
            break;
        case Kind::volume:
            if (std::ranges::find(line.arguments, "") != line.arguments.end()) {
                refuse("VOLUME specified can not be an empty string");
            }
            break;
        case Kind::arg:
            if (std::ranges::any_of(line.arguments,
                                    [](const std::string& word) { return word.starts_with('='); })) {
                refuse("ARG names can not be blank");
            }
            break;
        default:
            break;
    }
    return instruction;
}

Stages parse_stages(const Dockerfile& file) {
    Stages stages;
    bool has_stage = true;
    for (const DockerfileLine& line : file.lines) {
        try {
            if (line.keyword == "from") {
                stages.all.push_back(parse_from(line));
                continue;
            }
            Instruction instruction = parse_instruction(line);
            if (!stages.all.empty()) {
                stages.all.back().instructions.push_back(std::move(instruction));
            } else if (instruction.kind == Kind::arg) {
                stages.arguments.push_back(std::move(instruction));
            } else {
                has_stage = false;
                break;
            }
        } catch (const ApiError& error) {
            const std::string why = error.what();
            throw ApiError{400, "dockerfile parse error line " + std::to_string(line.number) + ": " + why};
        }
    }
    if (!has_stage) {
        refuse("no build stage in current context");
    }
    if (stages.all.empty()) {
        refuse("No image was generated. Is your Dockerfile empty?");
    }
    return stages;
}

}  // namespace hull::container
