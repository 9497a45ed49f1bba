#include "container/build/build.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <utility>
#include <variant>

#include "base/error.h"
#include "base/printable.h"
#include "container/api/api_error.h"
#include "container/build/glob.h"
#include "container/image/config_change.h"
#include "container/image/made_image.h"
#include "container/supervisor/container_files.h"

namespace hull::container {

namespace {

[[noreturn]] void refuse(const std::string& why) {
    throw ApiError{400, why};
}

/// Whether two images are run alike.
bool is_run_alike(const ImageConfig& one, const ImageConfig& other) {
    return one.author == other.author && one.user == other.user && one.environment == other.environment &&
           one.entrypoint == other.entrypoint && one.command == other.command &&
           one.working_folder == other.working_folder && one.exposed_ports == other.exposed_ports &&
           one.volumes == other.volumes && one.labels == other.labels &&
           one.stop_signal == other.stop_signal && one.shell == other.shell &&
           one.triggers == other.triggers && one.health == other.health;
}

/// Of an archive in which nothing is.
const Digest& empty_archive() {
    static const Digest digest = Digest::of(std::vector<std::byte>(1024));
    return digest;
}

bool is_given(const std::vector<std::string>& environment, std::string_view beginning) {
    return std::ranges::any_of(environment,
                               [&](const std::string& variable) { return variable.starts_with(beginning); });
}

}  // namespace

Digest Build::run(const Dockerfile& file) {
    escape_ = file.escape;
    take_source_date();
    Stages stages = parse_stages(file);
    if (!options_.target.empty()) {
        const auto target = stages.find(options_.target);
        if (!target) {
            refuse("failed to reach build target " + options_.target + " in Dockerfile");
        }
        stages.all.resize(*target + 1);
    }
    for (const auto& [name, value] : options_.labels) {
        stages.all.back().instructions.push_back({.kind = Instruction::Kind::label,
                                                  .code = "LABEL " + name + "=" + value,
                                                  .flags = {},
                                                  .arguments = {name, value},
                                                  .is_literal = true,
                                                  .health = {}});
    }
    stages_ = &stages;
    for (const std::string& note : options_.notes) {
        output_.print(note + "\n");
    }
    for (const std::string& warning : file.warnings) {
        output_.print_error(warning + "\n");
    }
    size_t total = stages.arguments.size();
    for (const BuildStage& stage : stages.all) {
        total += 1 + stage.instructions.size();
    }
    auto print_step = [&, step = size_t{0}](const std::string& code) mutable {
        if (output_.is_given_up()) {
            refuse("Build cancelled");
        }
        output_.print("Step " + std::to_string(++step) + "/" + std::to_string(total) + " : " + code + "\n");
    };
    for (const Instruction& argument : stages.arguments) {
        print_step(argument.code);
        declare_global(argument);
    }
    for (const BuildStage& stage : stages.all) {
        const auto has_name = [&](const BuildStage& other) { return other.name == stage.name; };
        if (!stage.name.empty() &&
            std::ranges::count_if(stages.all.begin(), stages.all.begin() + std::ssize(done_), has_name) > 0) {
            refuse(stage.name + " stage name already used");
        }
        const auto print_image = [&] {
            output_.print(" ---> " + (stage_.image ? stage_.image->id.short_digits() : "") + "\n");
        };
        print_step(stage.code);
        begin(stage);
        print_image();
        for (const Instruction& instruction : stage.instructions) {
            print_step(instruction.code);
            carry_out(instruction);
            print_image();
        }
        if (stage_.image) {
            output_.tell_image(stage_.image->id);
        }
        done_.push_back(stage_.image);
    }
    if (const std::vector<std::string> unused = arguments_.unused(); !unused.empty()) {
        std::string names;
        for (const std::string& name : unused) {
            names += (names.empty() ? "" : " ") + name;
        }
        output_.print("[Warning] One or more build-args [" + names + "] were not consumed\n");
    }
    if (!stage_.image) {
        refuse("No image was generated. Is your Dockerfile empty?");
    }
    return stage_.image->id;
}

void Build::take_source_date() {
    const auto text = arguments_.given("SOURCE_DATE_EPOCH");
    if (!text || text->empty()) {
        return;
    }
    constexpr uint64_t kLastSecond = 9'000'000'000;  // the clock's own end is not far behind
    uint64_t seconds = 0;
    const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), seconds);
    if (error != std::errc{} || end != text->data() + text->size() || seconds > kLastSecond) {
        refuse("invalid SOURCE_DATE_EPOCH: " + in_quotes(*text) + " is no number of seconds since 1970");
    }
    source_date_ = static_cast<int64_t>(seconds);
}

std::string Build::time_of_making() const {
    using Clock = std::chrono::system_clock;
    if (source_date_ == 0) {
        return "1970-01-01T00:00:00Z";  // which time_text() has for no time
    }
    return time_text(source_date_ ? Clock::time_point{std::chrono::seconds{*source_date_}} : Clock::now());
}

Lookup Build::global_lookup() const {
    return [this](const std::string& name) { return arguments_.find_global(name); };
}

Lookup Build::lookup() const {
    return [this](const std::string& name) -> std::optional<std::string> {
        const std::string beginning = name + "=";
        for (const std::string& variable : stage_.config.environment) {
            if (variable.starts_with(beginning)) {
                return variable.substr(beginning.size());
            }
        }
        return arguments_.find(name);
    };
}

void Build::check_platform(const std::string& platform) const {
    const std::string wanted = expand_word(platform, escape_, global_lookup());
    const Platform here = Platform::of_this_host();
    if (!wanted.empty() && wanted != here.text() && wanted != here.os) {
        refuse("images for '" + printable(wanted) + "' do not run here: this is " + here.text());
    }
}

StoredImage Build::image_of(const std::string& name, bool pulls) {
    auto image = store_.find(name);
    if (!image || pulls) {
        host_.pull(name);
        image = store_.find(name);
    }
    if (!image) {
        throw ApiError{404, "No such image: " + name};
    }
    return *std::move(image);
}

void Build::take_image(StoredImage image) {
    stage_.config = image.config;
    stage_.image = std::move(image);
}

void Build::begin(const BuildStage& stage) {
    arguments_.begin_stage();
    check_platform(stage.platform);
    const std::string base = expand_word(stage.base, escape_, global_lookup());
    if (base.empty()) {
        refuse("base name (" + stage.base + ") should not be blank");
    }
    stage_ = {};
    const std::string name = to_lower(base);
    const auto* const end = stages_->all.data() + done_.size();
    const auto* const other =
        std::find_if(stages_->all.data(), end, [&](const BuildStage& each) { return each.name == name; });
    if (other != end) {
        if (const auto& image = done_[static_cast<size_t>(other - stages_->all.data())]) {
            take_image(*image);
        }
    } else if (base != "scratch") {
        take_image(image_of(base, options_.pulls));
    }
    if (!stage_.image) {
        const Platform here = Platform::of_this_host();
        stage_.config.architecture = here.architecture;
        stage_.config.os = here.os;
    }
    if (!is_given(stage_.config.environment, "PATH=")) {
        stage_.config.environment.emplace_back(
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    }
    if (!stage_.config.triggers.empty()) {
        run_triggers(std::exchange(stage_.config.triggers, {}));
    }
}

void Build::run_triggers(const std::vector<std::string>& triggers) {
    output_.print("# Executing " + std::to_string(triggers.size()) + " build trigger" +
                  (triggers.size() > 1 ? "s" : "") + "\n");
    for (const std::string& trigger : triggers) {
        const Dockerfile file = parse_dockerfile(trigger);
        if (file.lines.size() != 1) {
            refuse("onbuild trigger should be a single expression");
        }
        carry_out(parse_instruction(file.lines.front()));
    }
}

bool Build::take_cached(const std::string& made_by) {
    if (!options_.uses_cache || stage_.is_cache_over) {
        return false;
    }
    static const ImageConfig nothing;
    const std::optional<StoredImage>& image = stage_.image;
    const std::vector<ImageConfig::Step>& history = image ? image->config.history : nothing.history;
    std::optional<StoredImage> found;
    for (StoredImage& child : store_.children(image ? image->id : Store::nothing())) {
        const std::vector<ImageConfig::Step>& steps = child.config.history;
        if (steps.size() == history.size() + 1 && std::equal(history.begin(), history.end(), steps.begin()) &&
            steps.back().created_by == made_by && is_run_alike(child.config, stage_.config) &&
            (!source_date_ || child.config.created == time_of_making()) &&
            (!found || found->config.created < child.config.created)) {
            found = std::move(child);
        }
    }
    if (!found) {
        stage_.is_cache_over = true;
        return false;
    }
    output_.print(" ---> Using cache\n");
    take_image(*std::move(found));
    return true;
}

std::string Build::comment_of(const std::string& text) const {
    std::string words;
    for (const std::string& word : shell()) {
        words += word + " ";
    }
    return words + "#(nop) " + text;
}

void Build::commit(const std::string& comment) {
    const std::string made_by = comment_of(" " + comment);
    if (!take_cached(made_by)) {
        add(made_by, std::nullopt);
    }
}

void Build::add(const std::string& made_by, std::optional<TakenLayer> layer) {
    if (layer && layer->unpacked == empty_archive()) {
        layer.reset();
    }
    std::vector<Descriptor> layers;
    if (stage_.image) {
        const auto parsed = parse_manifest(store_.read_blob(stage_.image->manifest, Manifest::kMostBytes), "",
                                           Platform::of_this_host());
        const auto* const manifest = std::get_if<Manifest>(&parsed);
        if (manifest == nullptr || manifest->layers.size() != stage_.image->config.layers.size()) {
            throw Error{ExitStatus::bad_file, "cannot build on the image " + stage_.image->id.text(),
                        "what is kept of it is not whole", "pull it again"};
        }
        for (const Descriptor& each : manifest->layers) {
            layers.push_back(describe_layer(store_, each.digest, each.size));
        }
    }
    ImageConfig config = stage_.config;
    config.created = time_of_making();
    config.history.push_back(
        {.created = config.created, .created_by = made_by, .comment = "", .is_empty = !layer.has_value()});
    if (layer) {
        if (config.layers.size() >= Manifest::kMostLayers) {
            refuse("max depth exceeded: an image has " + std::to_string(Manifest::kMostLayers) +
                   " layers at most");
        }
        config.layers.push_back(layer->unpacked);
        const Digest packed = layer->packed;
        const uint64_t size = layer->packed_size;
        keep_layer(store_, *std::move(layer));
        layers.push_back(describe_layer(store_, packed, size));
    }
    const std::string text = config_text(config);
    if (text.size() > Manifest::kMostConfigBytes) {
        refuse("the image's configuration would be larger than " +
               std::to_string(Manifest::kMostConfigBytes >> 20U) + " MiB");
    }
    const Digest id =
        keep_made_image(store_, text, layers, {}, stage_.image ? stage_.image->id : Store::nothing());
    take_image(store_.find(id.text()).value());
}

std::vector<std::filesystem::path> Build::disks() const {
    return stage_.image ? stage_.image->layers : std::vector<std::filesystem::path>{};
}

std::string list_in_quotes(const std::vector<std::string>& texts) {
    std::string list;
    for (const std::string& text : texts) {
        list += (list.empty() ? "" : " ") + in_quotes(text);
    }
    return "[" + list + "]";
}

Dockerfile take_dockerfile(BuildContext& context, std::string name) {
    const auto missing = [&]() -> ApiError {
        return {400, "Cannot locate specified Dockerfile: " + printable(name)};
    };
    constexpr const char* kUsual = "Dockerfile";
    if (!context.look(resolve_path(context, name)) && name == kUsual &&
        context.look(to_lower(name)).has_value()) {
        name = to_lower(name);
    }
    const auto text = context.text(name, kMostDockerfileBytes);
    if (!text) {
        throw missing();
    }
    if (text->empty()) {
        throw ApiError{400, "the Dockerfile (" + name + ") cannot be empty"};
    }
    Dockerfile file;
    try {
        file = parse_dockerfile(*text);
    } catch (const ApiError& error) {
        throw ApiError{400, "failed to parse " + name + ": " + error.what()};
    }
    if (const auto ignored = context.text(".dockerignore", kMostDockerfileBytes)) {
        const std::vector<std::string> lines = ignore_lines(*ignored);
        for (const std::string& each : {std::string{".dockerignore"}, clean_path(name)}) {
            if (is_ignored(each, lines)) {
                context.remove(each);
            }
        }
    }
    return file;
}

}  // namespace hull::container
