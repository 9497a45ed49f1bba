// Of Build: what each instruction does.
#include <algorithm>
#include <charconv>
#include <utility>

#include "base/log.h"
#include "base/printable.h"
#include "container/api/api_error.h"
#include "container/api/signal_names.h"
#include "container/build/build.h"
#include "container/build/copy.h"
#include "container/build/layer_changes.h"
#include "container/image/timestamp.h"
#include "container/layer/merged_layers.h"

namespace hull::container {

namespace {

using Kind = Instruction::Kind;

[[noreturn]] void refuse(const std::string& why) {
    throw ApiError{400, why};
}

std::string joined(const std::vector<std::string>& texts) {
    std::string all;
    for (const std::string& text : texts) {
        all += (all.empty() ? "" : " ") + text;
    }
    return all;
}

void set_variable(std::vector<std::string>& environment, const std::string& name, const std::string& value) {
    const std::string beginning = name + "=";
    const auto same = std::ranges::find_if(
        environment, [&](const std::string& variable) { return variable.starts_with(beginning); });
    if (same == environment.end()) {
        environment.push_back(beginning + value);
    } else {
        *same = beginning + value;
    }
}

std::pair<std::string, std::optional<std::string>> name_and_value(const std::string& word) {
    const size_t sign = word.find('=');
    return {word.substr(0, sign),
            sign == std::string::npos ? std::nullopt : std::optional{word.substr(sign + 1)}};
}

uint16_t port_of(std::string_view text, const std::string& whole) {
    uint16_t port = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
    if (error != std::errc{} || end != text.data() + text.size()) {
        refuse("Invalid containerPort: " + whole);
    }
    return port;
}

/// As Go prints a HealthConfig with %q.
std::string words_of(const HealthCheck& health) {
    const auto duration = [](std::chrono::nanoseconds time) { return "\"" + duration_text(time) + "\""; };
    const std::string retries = health.retries < ' '
                                    ? in_quotes(std::string(1, static_cast<char>(health.retries)))
                                    : "\"" + std::to_string(health.retries) + "\"";
    return "&{" + list_in_quotes(health.test) + " " + duration(health.interval) + " " +
           duration(health.timeout) + " " + duration(health.start_period) + " '" +
           retries.substr(1, retries.size() - 2) + "'}";
}

/// The last name of an address's path.
std::string file_name_in(const std::string& url) {
    std::string_view rest = url;
    rest = rest.substr(0, rest.find_first_of("?#"));
    rest.remove_prefix(rest.find("//") + 2);
    const size_t slash = rest.find('/');
    const std::string path = slash == std::string_view::npos ? "" : clean_path(rest.substr(slash));
    return name_of(path);
}

std::string in_shell_quotes(std::string_view text) {
    std::string quoted = "'";
    for (const char byte : text) {
        quoted += byte == '\'' ? "'\\''" : std::string(1, byte);
    }
    return quoted + "'";
}

/// What the shell is to do for a RUN with here-documents: one that stands alone is itself what is to be done.
std::string script_of(const std::string& line, const std::vector<HereDocument>& documents) {
    const HereDocument& first = documents.front();
    if (trim(line) != first.word || first.has_descriptor) {
        std::string script = line + "\n";
        for (const HereDocument& document : documents) {
            script += document.text + document.name + "\n";
        }
        return script;
    }
    std::string script = first.content();
    if (!script.starts_with("#!")) {
        return script;
    }
    // The interpreter reads it from a descriptor, so that no file is made that would have to go again.
    const std::string_view line_of_it = trim(std::string_view{script}.substr(2, script.find('\n') - 2));
    const size_t blank = std::min(line_of_it.find_first_of(" \t"), line_of_it.size());
    const std::string_view argument = trim(line_of_it.substr(blank));
    return "exec " + in_shell_quotes(line_of_it.substr(0, blank)) +
           (argument.empty() ? "" : " " + in_shell_quotes(argument)) + " /dev/fd/3 3<<" +
           in_shell_quotes(first.name) + "\n" + script + first.name + "\n";
}

/// Removes a step's container, whatever the host says to that.
void discard(StepContainer& container) {
    try {
        container.remove();
    } catch (const std::exception& error) {
        log_warning("cannot remove the container " + container.id() + " of a build: " + error.what());
    }
}

}  // namespace

std::vector<std::string> Build::shell() const {
    return stage_.config.shell.empty() ? std::vector<std::string>{"/bin/sh", "-c"} : stage_.config.shell;
}

std::string Build::expand(const Instruction& instruction, const std::string& word) const {
    return instruction.is_literal ? word : expand_word(word, escape_, lookup());
}

void Build::expand_all(Instruction& instruction) const {
    switch (instruction.kind) {
        case Kind::add:
        case Kind::arg:
        case Kind::copy:
        case Kind::env:
        case Kind::label:
        case Kind::stopsignal:
        case Kind::user:
        case Kind::volume:
        case Kind::workdir:
            for (std::string& word : instruction.arguments) {
                word = expand(instruction, word);
            }
            for (const char* const flag : {"chown", "chmod"}) {
                if (instruction.flags.contains(flag)) {
                    instruction.flags[flag] = expand(instruction, instruction.flags[flag]);
                }
            }
            break;
        case Kind::expose: {
            std::vector<std::string> ports;
            for (const std::string& word : instruction.arguments) {
                const std::vector<std::string> words = expand_words(word, escape_, lookup());
                ports.insert(ports.end(), words.begin(), words.end());
            }
            instruction.arguments = std::move(ports);
            break;
        }
        default:
            break;
    }
}

void Build::carry_out(Instruction instruction) {
    expand_all(instruction);
    ImageConfig& config = stage_.config;
    const std::vector<std::string>& words = instruction.arguments;
    switch (instruction.kind) {
        case Kind::add:
        case Kind::copy:
            return copy(instruction);
        case Kind::run:
            return run_command(instruction);
        case Kind::workdir:
            return change_folder(instruction);
        case Kind::arg:
            declare(instruction);
            return commit("ARG " + joined(words));
        case Kind::env:
        case Kind::label:
            return set_pairs(instruction, instruction.kind == Kind::label);
        case Kind::cmd:
        case Kind::entrypoint:
            return set_command(instruction);
        case Kind::expose:
            return expose(instruction);
        case Kind::healthcheck:
            return set_health(instruction);
        case Kind::maintainer:
            config.author = words.front();
            return commit("MAINTAINER " + words.front());
        case Kind::onbuild:
            config.triggers.push_back(words.front());
            return commit("ONBUILD " + words.front());
        case Kind::shell:
            config.shell = words;
            return commit("SHELL [" + joined(words) + "]");
        case Kind::stopsignal:
            if (!signal_number(words.front())) {
                refuse("Invalid signal: " + words.front());
            }
            config.stop_signal = words.front();
            return commit("STOPSIGNAL " + words.front());
        case Kind::user:
            config.user = words.front();
            return commit("USER " + words.front());
        case Kind::volume:
            for (const std::string& volume : words) {
                if (volume.empty()) {
                    refuse("VOLUME specified can not be an empty string");
                }
                if (std::ranges::find(config.volumes, volume) == config.volumes.end()) {
                    config.volumes.push_back(volume);
                }
            }
            return commit("VOLUME [" + joined(words) + "]");
    }
}

void Build::set_pairs(const Instruction& instruction, bool are_labels) {
    const std::string name = are_labels ? "LABEL" : "ENV";
    std::string comment = name;
    for (size_t index = 0; index + 1 < instruction.arguments.size(); index += 2) {
        const std::string& key = instruction.arguments[index];
        const std::string& value = instruction.arguments[index + 1];
        if (key.empty()) {
            refuse(name + " names can not be blank");
        }
        if (are_labels) {
            stage_.config.labels.insert_or_assign(key, value);
        } else {
            set_variable(stage_.config.environment, key, value);
        }
        comment += " " + key + "=" + value;
    }
    commit(comment);
}

void Build::declare_global(const Instruction& instruction) {
    for (const std::string& word : instruction.arguments) {
        const auto [name, value] = name_and_value(expand_word(word, escape_, global_lookup()));
        arguments_.add_global(name, value);
    }
}

void Build::declare(const Instruction& instruction) {
    for (const std::string& word : instruction.arguments) {
        const auto [name, value] = name_and_value(word);
        arguments_.add(name, value);
    }
}

void Build::set_command(const Instruction& instruction) {
    std::vector<std::string> command = instruction.arguments;
    if (!instruction.is_list && (instruction.kind == Kind::cmd || !command.empty())) {
        std::vector<std::string> with_shell = shell();
        with_shell.insert(with_shell.end(), command.begin(), command.end());
        command = std::move(with_shell);
    }
    if (instruction.kind == Kind::cmd) {
        stage_.config.command = command;
        stage_.is_command_set = stage_.is_command_set || !instruction.arguments.empty();
        return commit("CMD " + list_in_quotes(command));
    }
    stage_.config.entrypoint = command;
    if (!stage_.is_command_set) {
        stage_.config.command.clear();
    }
    commit("ENTRYPOINT " + list_in_quotes(command));
}

void Build::expose(const Instruction& instruction) {
    for (const std::string& word : instruction.arguments) {
        const size_t slash = word.find('/');
        const std::string protocol = slash == std::string::npos ? "tcp" : to_lower(word.substr(slash + 1));
        if (protocol != "tcp" && protocol != "udp" && protocol != "sctp") {
            refuse("Invalid proto: " + protocol);
        }
        // What stands before a colon is of the host, and of no use in an image.
        std::string range = word.substr(0, slash);
        range.erase(0, range.rfind(':') + 1);
        const size_t dash = range.find('-');
        const unsigned first = port_of(range.substr(0, dash), range);
        const unsigned last = dash == std::string::npos ? first : port_of(range.substr(dash + 1), range);
        if (last < first) {
            refuse("Invalid containerPort: " + range);
        }
        for (unsigned port = first; port <= last; ++port) {
            const std::string name = std::to_string(port) + "/" + protocol;
            if (std::ranges::find(stage_.config.exposed_ports, name) == stage_.config.exposed_ports.end()) {
                stage_.config.exposed_ports.push_back(name);
            }
        }
    }
    commit("EXPOSE " + joined(instruction.arguments));
}

void Build::set_health(const Instruction& instruction) {
    const std::optional<HealthCheck>& before = stage_.config.health;
    if (before && !before->test.empty() && before->test.front() != "NONE") {
        output_.print("Note: overriding previous HEALTHCHECK: [" + joined(before->test) + "]\n");
    }
    stage_.config.health = instruction.health;
    commit("HEALTHCHECK " + words_of(*instruction.health));
}

void Build::change_folder(const Instruction& instruction) {
    const std::string& path = instruction.arguments.front();
    if (path.empty()) {
        refuse("cannot normalize nothing");
    }
    std::string& folder = stage_.config.working_folder;
    folder = path.starts_with('/') ? path : "/" + clean_path(folder + "/" + path);
    const std::string made_by = comment_of("WORKDIR " + folder);
    if (take_cached(made_by)) {
        return;
    }
    const MergedLayers below{disks()};
    const std::string place = resolve_path(below, folder);
    const auto there = below.look(place);
    if (there && there->entry.kind != TarEntry::Kind::folder) {
        refuse("Cannot mkdir: " + folder + " is not a directory");
    }
    if (there) {
        return add(made_by, std::nullopt);
    }
    LayerChanges changes{store_, below, source_date_};
    changes.make_folders(place, {});
    add(made_by, changes.take(store_));
}

/// None: a stage in which nothing was done to an empty image.
std::optional<StoredImage> Build::image_to_copy_from(const std::string& from) {
    const std::string name = to_lower(from);
    for (size_t index = 0; index < done_.size(); ++index) {
        if (!name.empty() && stages_->all[index].name == name) {
            return done_[index];
        }
    }
    size_t number = 0;
    const auto [end, error] = std::from_chars(from.data(), from.data() + from.size(), number);
    if (error != std::errc{} || end != from.data() + from.size()) {
        return image_of(from, false);
    }
    if (number >= done_.size()) {
        refuse(number == done_.size() ? "refers to current build stage" : "index out of bounds");
    }
    return done_[number];
}

void Build::copy(const Instruction& instruction) {
    const std::string name = instruction.kind == Kind::add ? "ADD" : "COPY";
    std::vector<std::string> paths = instruction.arguments;
    const std::string destination = paths.back();
    paths.pop_back();
    std::vector<std::string> urls;
    std::erase_if(paths, [&](const std::string& path) {
        const bool is_url = path.starts_with("http://") || path.starts_with("https://");
        if (is_url) {
            urls.push_back(path);
        }
        return is_url;
    });
    if (!urls.empty() && instruction.kind == Kind::copy) {
        refuse("COPY failed: source can't be a URL for COPY");
    }
    std::optional<MergedLayers> other;
    if (const std::string from = instruction.flag("from"); !from.empty()) {
        try {
            const auto image = image_to_copy_from(from);
            other.emplace(image ? image->layers : std::vector<std::filesystem::path>{});
        } catch (const ApiError& error) {
            throw ApiError{error.status(), "invalid from flag value " + from + ": " + error.what()};
        }
    }
    const FileTree& tree = other ? static_cast<const FileTree&>(*other) : context_;
    BuildContext made{context_.folder()};
    std::vector<CopySource> sources;
    try {
        if (!paths.empty() || (urls.empty() && instruction.documents.empty())) {
            sources = find_sources(tree, paths, !other);
        }
        add_made_sources(instruction, urls, sources, made);
    } catch (const ApiError& error) {
        throw ApiError{error.status(), name + " failed: " + error.what()};
    }
    if (sources.size() > 1 && !destination.ends_with('/')) {
        refuse("When using " + name +
               " with more than one source file, the destination must be a directory and end with a /");
    }
    const std::string chown = instruction.flag("chown");
    const std::string chmod = instruction.flag("chmod");
    std::string comment = name + " ";
    comment += chmod.empty() ? "" : "--chmod=" + chmod + " ";
    comment += chown.empty() ? "" : "--chown=" + chown;
    comment += hash_of(sources) + " in " + destination + " ";
    const std::string made_by = comment_of(comment);
    if (take_cached(made_by)) {
        return;
    }
    const MergedLayers below{disks()};
    CopyOptions options{
        .destination = destination.starts_with('/')
                           ? destination
                           : "/" + joined_path(clean_path(stage_.config.working_folder), destination),
        .owner = {},
        .mode = {},
        .unpacks = false};
    if (!chown.empty()) {
        options.owner = find_owner(below, chown);
    } else if (!other) {
        options.owner = Owner{};
    }
    if (!chmod.empty()) {
        uint32_t mode = 0;
        const auto [end, error] = std::from_chars(chmod.data(), chmod.data() + chmod.size(), mode, 8);
        if (error != std::errc{} || end != chmod.data() + chmod.size() || mode > 07777) {
            refuse("invalid chmod parameter: '" + chmod +
                   "'. it should be octal string and between 0 and 07777");
        }
        options.mode = mode;
    }
    LayerChanges changes{store_, below, source_date_};
    for (const CopySource& source : sources) {
        options.unpacks = instruction.kind == Kind::add && source.tree != &made;
        copy_source(changes, source, options);
    }
    add(made_by, changes.take(store_));
}

void Build::add_made_sources(const Instruction& instruction, const std::vector<std::string>& urls,
                             std::vector<CopySource>& sources, BuildContext& made) {
    for (const std::string& url : urls) {
        const std::string name = file_name_in(url);
        if (name.empty()) {
            refuse("cannot determine filename from url: " + url);
        }
        constexpr uint32_t kMode = 0600;
        const BuildHost::Fetched fetched = host_.fetch(url);
        made.put({.path = name, .link = "", .mode = kMode, .mtime = fetched.modified}, fetched.content);
        sources.push_back(find_source(made, name, false));
        output_.print("\n");
    }
    for (const HereDocument& document : instruction.documents) {
        made.put_text(document.name, document.is_literal
                                         ? document.content()
                                         : expand_text(document.content(), escape_, lookup()));
        sources.push_back(find_source(made, document.name, false));
    }
}

void Build::run_command(const Instruction& instruction) {
    std::vector<std::string> command = instruction.arguments;
    if (!instruction.documents.empty()) {
        command = {script_of(command.front(), instruction.documents)};
    }
    if (!instruction.is_list) {
        std::vector<std::string> with_shell = shell();
        with_shell.insert(with_shell.end(), command.begin(), command.end());
        command = std::move(with_shell);
    }
    std::vector<std::string> environment = stage_.config.environment;
    const std::vector<std::string> arguments = arguments_.all_but(environment);
    environment.insert(environment.end(), arguments.begin(), arguments.end());
    // So that a command is another one with other arguments.
    std::vector<std::string> counted;
    for (const std::string& argument : arguments) {
        if (arguments_.counts(argument.substr(0, argument.find('=')))) {
            counted.push_back(argument);
        }
    }
    std::string made_by = joined(command);
    if (!arguments.empty()) {
        made_by = "|" + std::to_string(counted.size()) + " " + joined(counted) +
                  (counted.empty() ? "" : " ") + made_by;
    }
    if (take_cached(made_by)) {
        return;
    }
    if (!stage_.image) {
        refuse("there is nothing to run in an empty image (FROM scratch): COPY a program into it before RUN");
    }
    const std::unique_ptr<StepContainer> container = host_.create(*stage_.image, command, environment);
    constexpr size_t kShortId = 12;
    const std::string id = container->id().substr(0, kShortId);
    output_.print(" ---> Running in " + id + "\n");
    std::optional<TakenLayer> layer;
    try {
        if (const int status = container->run(output_); status != 0) {
            throw RunFailed{
                "The command '" + joined(command) + "' returned a non-zero code: " + std::to_string(status),
                status};
        }
        layer.emplace(container->changes(store_, source_date_));
        add(made_by, std::move(layer));
    } catch (const RunFailed&) {
        // It is kept to be looked at, as docker keeps it.
        if (options_.always_removes || output_.is_given_up()) {
            output_.print("Removing intermediate container " + id + "\n");
            discard(*container);
        }
        throw;
    } catch (...) {
        discard(*container);
        throw;
    }
    if (options_.removes || options_.always_removes) {
        discard(*container);
        output_.print("Removing intermediate container " + id + "\n");
    }
}

}  // namespace hull::container
