#include "container/api/engine.h"

#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <chrono>
#include <filesystem>
#include <set>
#include <thread>
#include <utility>

#include "base/printable.h"
#include "container/api/container_json.h"
#include "container/api/filters.h"
#include "container/api/json_shapes.h"
#include "container/image/config_change.h"
#include "container/image/timestamp.h"
#include "container/life/file_tree.h"

namespace hull::container {

namespace json = boost::json;

namespace {

/// What Docker has for an image that does not say when it was made: the year 1.
int64_t seconds_of(const std::string& time) {
    constexpr std::chrono::seconds kYearOne{-62'135'596'800};
    return parse_time(time).value_or(kYearOne).count();
}

struct Names {
    json::array tags;
    json::array digests;
};

/// An image's names, as clients show them.
Names names_of(const StoredImage& image) {
    Names names;
    for (const std::string& name : image.names) {
        const Reference reference = Reference::parse(name);
        if (!reference.tag.empty()) {
            names.tags.emplace_back(reference.familiar_text());
        }
        json::string digest{reference.familiar_repository() + "@" + image.manifest.text()};
        if (std::ranges::find(names.digests, json::value(digest)) == names.digests.end()) {
            names.digests.emplace_back(std::move(digest));
        }
    }
    return names;
}

std::string parent_of(const StoredImage& image) {
    return image.parent && image.parent != Store::nothing() ? image.parent->text() : "";
}

/// An element of GET /images/json.
json::object list_json(const StoredImage& image) {
    Names names = names_of(image);
    return {{"Id", image.id.text()},
            {"ParentId", parent_of(image)},
            {"RepoTags", std::move(names.tags)},
            {"RepoDigests", std::move(names.digests)},
            {"Created", seconds_of(image.config.created)},
            {"Size", image.size},
            {"SharedSize", -1},
            {"VirtualSize", image.size},
            {"Labels", map_of(image.config.labels)},
            {"Containers", -1}};
}

/// Whether a name is one of those that "NAME" or "NAME:TAG" means.
bool is_meant(const std::string& name, const std::string& wanted) {
    const Reference reference = Reference::parse(name);
    return reference.familiar_repository() == wanted || reference.familiar_text() == wanted ||
           reference.text() == wanted;
}

bool passes(const StoredImage& image, const std::string& filter, const std::vector<std::string>& wanted) {
    const auto any = [&](const auto& is_met) { return std::ranges::any_of(wanted, is_met); };
    if (filter == "reference") {
        return any([&](const std::string& meant) {
            return std::ranges::any_of(image.names,
                                       [&](const std::string& name) { return is_meant(name, meant); });
        });
    }
    if (filter == "label") {
        return std::ranges::all_of(
            wanted, [&](const std::string& label) { return has_label(image.config.labels, label); });
    }
    if (filter == "dangling") {
        return any([&](const std::string& value) {
            const bool is_wanted = value == "1" || value == "true";
            if (!is_wanted && value != "0" && value != "false") {
                throw ApiError{400, "Invalid filter 'dangling=" + value + "'"};
            }
            return image.names.empty() == is_wanted;
        });
    }
    throw ApiError{400, "Invalid filter '" + filter + "'"};
}

json::object config_of(const ImageConfig& config) {
    json::object shown = default_config();
    shown["User"] = config.user;
    shown["ExposedPorts"] = set_of(config.exposed_ports);
    shown["Env"] = array_of(config.environment);
    shown["Cmd"] = or_null(array_of(config.command));
    shown["Volumes"] = set_of(config.volumes);
    shown["WorkingDir"] = config.working_folder;
    shown["Entrypoint"] = or_null(array_of(config.entrypoint));
    shown["Labels"] = map_of(config.labels);
    shown["StopSignal"] = config.stop_signal;
    shown["OnBuild"] = or_null(array_of(config.triggers));
    if (!config.shell.empty()) {
        shown["Shell"] = array_of(config.shell);
    }
    if (config.health) {
        shown["Healthcheck"] = health_json(*config.health);
    }
    return shown;
}

[[noreturn]] void refuse_missing(const std::string& image) {
    const bool is_id = image.starts_with("sha256:");
    throw ApiError{404, "No such image: " + (is_id ? image : Reference::parse(image).familiar_text())};
}

}  // namespace

void Engine::answer(ApiCall& call) {
    const RequestTarget& target = call.target();
    const std::string& path = target.path;
    const bool is_get = call.is("GET");
    const bool is_post = call.is("POST");
    try {
        if (path == "/_ping" && is_get) {
            return call.send_text("OK");
        }
        if (path == "/version" && is_get) {
            return show_version(call);
        }
        if (path == "/info" && is_get) {
            return show_info(call);
        }
        if (path == "/images/json" && is_get) {
            return list_images(call);
        }
        if (path == "/images/prune" && is_post) {
            return prune_images(call);
        }
        if (const auto name = target.between("/images/", "/json"); name && is_get) {
            return inspect_image(call, *name);
        }
        if (const auto name = target.between("/images/", "/history"); name && is_get) {
            return show_history(call, *name);
        }
        if (const auto name = target.between("/images/", "/tag"); name && is_post) {
            return tag_image(call, *name);
        }
        if (const auto name = target.between("/images/", ""); name && call.is("DELETE")) {
            return remove_image(call, *name);
        }
        if (path == "/system/df" && is_get) {
            return show_use(call);
        }
        if (transfer_api_.answer(call) || contents_api_.answer(call) || build_api_.answer(call) ||
            container_api_.answer(call) || volume_api_.answer(call) || network_api_.answer(call)) {
            return;
        }
    } catch (const Error& error) {
        // What a client has named wrongly; everything else is ours, or the host's.
        throw ApiError{error.status() == ExitStatus::usage ? 400U : 500U, error.what()};
    }
    throw ApiError{404, "page not found"};
}

void Engine::show_version(ApiCall& call) const {
    utsname host{};
    uname(&host);
    const Platform platform = Platform::of_this_host();
    const std::string api = "1." + std::to_string(kApiVersion);
    const std::string least = "1." + std::to_string(kLeastApiVersion);
    call.send({{"Platform", {{"Name", "Hull"}}},
               {"Components", json::array{{{"Name", "Engine"},
                                           {"Version", HULL_VERSION},
                                           {"Details",
                                            {{"ApiVersion", api},
                                             {"MinAPIVersion", least},
                                             {"Arch", platform.architecture},
                                             {"Os", platform.os},
                                             {"KernelVersion", host.release}}}}}},
               {"Version", HULL_VERSION},
               {"ApiVersion", api},
               {"MinAPIVersion", least},
               {"Os", platform.os},
               {"Arch", platform.architecture},
               {"KernelVersion", host.release}});
}

void Engine::show_info(ApiCall& call) const {
    utsname host{};
    uname(&host);
    struct sysinfo memory {};
    sysinfo(&memory);
    size_t running = 0;
    size_t paused = 0;
    const std::vector<ContainerView> containers = containers_.list();
    for (const ContainerView& container : containers) {
        using Stage = ContainerView::Stage;
        running += container.stage == Stage::running || container.stage == Stage::restarting ? 1 : 0;
        paused += container.stage == Stage::paused ? 1 : 0;
    }
    call.send({{"ID", host.nodename},
               {"Name", host.nodename},
               {"ServerVersion", HULL_VERSION},
               {"Images", store_.count()},
               {"Containers", containers.size()},
               {"ContainersRunning", running},
               {"ContainersPaused", paused},
               {"ContainersStopped", containers.size() - running - paused},
               {"Driver", "erofs"},
               {"DockerRootDir", store_.root().string()},
               {"OperatingSystem", "Hull"},
               {"OSType", "linux"},
               {"Architecture", host.machine},
               {"KernelVersion", host.release},
               {"NCPU", std::thread::hardware_concurrency()},
               {"MemTotal", uint64_t{memory.totalram} * memory.mem_unit},
               {"IndexServerAddress", "https://index.docker.io/v1/"},
               {"RegistryConfig",
                {{"InsecureRegistryCIDRs", json::array{"127.0.0.0/8"}},
                 {"IndexConfigs", json::object{}},
                 {"Mirrors", array_of(registries_.mirrors)}}},
               {"Swarm", {{"LocalNodeState", "inactive"}}},
               {"SecurityOptions", json::array{}},
               {"Warnings", nullptr}});
}

void Engine::show_use(ApiCall& call) const {
    const std::vector<ContainerView> all = containers_.list();
    json::array images;
    std::set<std::filesystem::path> layers;
    for (const StoredImage& image : store_.list()) {
        json::object shown = list_json(image);
        shown["Containers"] = std::ranges::count_if(
            all, [&](const ContainerView& container) { return container.spec->image == image.id.text(); });
        images.push_back(std::move(shown));
        layers.insert(image.layers.begin(), image.layers.end());
    }
    uint64_t size = 0;
    for (const std::filesystem::path& layer : layers) {
        std::error_code gone;  // meanwhile
        const uintmax_t bytes = std::filesystem::file_size(layer, gone);
        size += gone ? 0 : bytes;
    }
    json::array containers;
    const auto now = std::chrono::system_clock::now();
    for (const ContainerView& container : all) {
        json::object shown = container::list_json(container, now);
        shown["SizeRw"] = tree_size(container.files.disk());
        containers.push_back(std::move(shown));
    }
    json::array volumes;
    for (const Volume& volume : containers_.volumes().list()) {
        json::object shown = volume_json(volume);
        shown["UsageData"] = {{"RefCount", containers_.volumes().users(volume.name).size()},
                              {"Size", tree_size(volume.folder)}};
        volumes.push_back(std::move(shown));
    }
    call.send({{"LayersSize", size},
               {"Images", std::move(images)},
               {"Containers", std::move(containers)},
               {"Volumes", std::move(volumes)},
               {"BuildCache", json::array{}},
               {"BuilderSize", 0}});
}

StoredImage Engine::find_image(const std::string& name) const {
    if (auto image = store_.find(name)) {
        return *std::move(image);
    }
    refuse_missing(name);
}

void Engine::require_image(const std::string& name) const {
    if (!store_.has(name)) {
        refuse_missing(name);
    }
}

void Engine::require_unused(const std::string& name) const {
    const auto image = store_.find(name);
    if (!image) {
        return;
    }
    // By one of several names nothing but that name goes.
    const bool is_id = std::ranges::none_of(image->names, [&](const std::string& each) {
        const Reference reference = Reference::parse(each);
        return reference.text() == name || reference.familiar_text() == name ||
               reference.familiar_repository() == name;
    });
    if (!is_id && image->names.size() > 1) {
        return;
    }
    for (const ContainerView& container : containers_.list()) {
        if (container.spec->image != image->id.text()) {
            continue;
        }
        // Docker lets a stopped container's go by force; here its disks would be gone, too.
        constexpr size_t kDigits = 12;
        const std::string words = container.is_running() ? "running" : "stopped";
        const std::string id = container.id.substr(0, kDigits);
        const std::string short_id = image->id.short_digits();
        std::string why = "conflict: unable to ";
        why += is_id ? "delete " + short_id : "remove repository reference \"" + printable(name) + "\"";
        why += " (cannot be forced) - ";
        if (is_id) {
            why.append("image is being used by ").append(words).append(" container ").append(id);
        } else {
            why.append("container ").append(id).append(" is using its referenced image ").append(short_id);
        }
        throw ApiError{409, why};
    }
}

std::function<bool(const Digest&)> Engine::used_by_containers() const {
    std::set<std::string> used;
    for (const ContainerView& container : containers_.list()) {
        used.insert(container.spec->image);
    }
    return [used = std::move(used)](const Digest& image) { return used.contains(image.text()); };
}

void Engine::list_images(ApiCall& call) const {
    const auto filters = parse_filters(call.target().find("filters").value_or(""));
    json::array all;
    const auto reference = filters.find("reference");
    const bool is_all = call.target().is_set("all");
    for (StoredImage& image : store_.list()) {
        if (image.names.empty() && image.is_parent && !is_all) {
            continue;  // one of a build's steps
        }
        const bool is_wanted = std::ranges::all_of(
            filters, [&](const auto& filter) { return passes(image, filter.first, filter.second); });
        if (!is_wanted) {
            continue;
        }
        if (reference != filters.end()) {  // it is shown by these names only
            std::erase_if(image.names, [&](const std::string& name) {
                return std::ranges::none_of(reference->second,
                                            [&](const std::string& meant) { return is_meant(name, meant); });
            });
        }
        all.push_back(list_json(image));
    }
    call.send(all);
}

void Engine::inspect_image(ApiCall& call, const std::string& name) const {
    const StoredImage image = find_image(name);
    Names names = names_of(image);
    json::array layers;
    for (const Digest& layer : image.config.layers) {
        layers.emplace_back(layer.text());
    }
    call.send({{"Id", image.id.text()},
               {"RepoTags", std::move(names.tags)},
               {"RepoDigests", std::move(names.digests)},
               {"Parent", parent_of(image)},
               {"Comment", image.config.history.empty() ? "" : image.config.history.back().comment},
               {"Created", image.config.created},
               {"DockerVersion", ""},
               {"Author", image.config.author},
               {"Config", config_of(image.config)},
               {"Architecture", image.config.architecture},
               {"Os", image.config.os},
               {"Size", image.size},
               {"VirtualSize", image.size},
               {"GraphDriver", {{"Data", nullptr}, {"Name", "erofs"}}},
               {"RootFS", {{"Type", "layers"}, {"Layers", std::move(layers)}}},
               {"Metadata", {{"LastTagTime", "0001-01-01T00:00:00Z"}}}});
}

void Engine::show_history(ApiCall& call, const std::string& name) const {
    const StoredImage image = find_image(name);
    json::array all;
    size_t layer = 0;
    for (const ImageConfig::Step& step : image.config.history) {
        uint64_t size = 0;
        if (!step.is_empty && layer < image.layers.size()) {
            size = std::filesystem::file_size(image.layers[layer++]);
        }
        all.push_back({{"Id", "<missing>"},
                       {"Created", seconds_of(step.created)},
                       {"CreatedBy", step.created_by},
                       {"Tags", nullptr},
                       {"Size", size},
                       {"Comment", step.comment}});
    }
    std::ranges::reverse(all);
    // Images of which it was built here have a step less each.
    std::optional<StoredImage> made = image;
    for (auto step = all.begin(); step != all.end() && made; ++step) {
        Names names = names_of(*made);
        json::object& shown = step->get_object();
        shown["Id"] = made->id.text();
        shown["Tags"] = or_null(std::move(names.tags));
        made = made->parent ? store_.find(made->parent->text()) : std::nullopt;
    }
    call.send(all);
}

void Engine::tag_image(ApiCall& call, const std::string& name) {
    require_image(name);
    std::string repository = call.target().find("repo").value_or("");
    if (const auto tag = call.target().find("tag"); tag && !tag->empty()) {
        repository += ":" + *tag;
    }
    const Reference reference = Reference::parse(repository);
    if (reference.digest) {
        throw ApiError{400, "refusing to create a tag with a digest reference"};
    }
    store_.tag(name, reference);
    tell_of_image(events_, "tag", reference.familiar_text());
    call.send_nothing(201);
}

void Engine::remove_image(ApiCall& call, const std::string& name) {
    require_image(name);
    require_unused(name);
    Store::Removed removed;
    try {
        const auto is_used = used_by_containers();
        const bool keeps_parents = call.target().is_set("noprune");
        removed = store_.remove(name, call.target().is_set("force"),
                                [&](const Digest& parent) { return keeps_parents || is_used(parent); });
    } catch (const Error& error) {
        throw ApiError{error.status() == ExitStatus::usage ? 409U : 500U, error.what()};
    }
    json::array all;
    for (const std::string& gone : removed.names) {
        all.push_back(json::object{{"Untagged", Reference::parse(gone).familiar_text()}});
        tell_of_image(events_, "untag", Reference::parse(gone).familiar_text());
    }
    if (removed.image) {
        all.push_back(json::object{{"Deleted", removed.image->text()}});
        tell_of_image(events_, "delete", removed.image->text());
    }
    for (const Digest& parent : removed.parents) {
        all.push_back(json::object{{"Deleted", parent.text()}});
        tell_of_image(events_, "delete", parent.text());
    }
    store_.collect();
    call.send(all);
}

void Engine::prune_images(ApiCall& call) {
    const auto filters = parse_filters(call.target().find("filters").value_or(""));
    for (const auto& filter : filters) {
        if (filter.first != "dangling" && filter.first != "label") {
            throw ApiError{400, "Invalid filter '" + filter.first + "'"};
        }
    }
    const auto dangling = filters.find("dangling");
    const bool takes_all = dangling != filters.end() && !dangling->second.empty() &&
                           (dangling->second.front() == "false" || dangling->second.front() == "0");
    const auto label = filters.find("label");
    json::array deleted;
    const auto is_used = used_by_containers();
    for (const StoredImage& each : store_.list()) {
        // Some are gone with their children meanwhile, or have none any more: these are the newer ones.
        const auto found = store_.has(each.id.text()) ? store_.find(each.id.text()) : std::nullopt;
        if (!found || found->is_parent) {
            continue;
        }
        const StoredImage& image = *found;
        const bool is_wanted = (takes_all || image.names.empty()) && !is_used(image.id) &&
                               (label == filters.end() || passes(image, "label", label->second));
        if (!is_wanted) {
            continue;
        }
        const Store::Removed removed = store_.remove(image.id.text(), true, is_used);
        for (const std::string& gone : removed.names) {
            deleted.push_back(json::object{{"Untagged", Reference::parse(gone).familiar_text()}});
        }
        deleted.push_back(json::object{{"Deleted", image.id.text()}});
        for (const Digest& parent : removed.parents) {
            deleted.push_back(json::object{{"Deleted", parent.text()}});
        }
    }
    const uint64_t freed = store_.collect().value_or(0);
    call.send({{"ImagesDeleted", or_null(std::move(deleted))}, {"SpaceReclaimed", freed}});
}

}  // namespace hull::container
