#include "container/life/container_record.h"

#include <sys/stat.h>

#include <array>
#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <cerrno>
#include <optional>
#include <string_view>
#include <system_error>

#include "base/error.h"
#include "base/small_file.h"
#include "container/image/json.h"
#include "container/life/container_name.h"
#include "container/machine/writable_disk.h"

namespace hull::container {

namespace fs = std::filesystem;
namespace json = boost::json;
using std::chrono::nanoseconds;

namespace {

constexpr uint64_t kMostPort = 65535;
constexpr std::array<std::string_view, 4> kPolicies{"no", "always", "unless-stopped", "on-failure"};

json::array ports_of(const std::vector<PortBinding>& ports) {
    json::array all;
    for (const PortBinding& port : ports) {
        all.push_back({{"Protocol", port.protocol},
                       {"ContainerPort", port.container_port},
                       {"HostAddress", port.host_address},
                       {"HostPort", port.host_port}});
    }
    return all;
}

json::array mounts_of(const std::vector<ContainerMount>& mounts) {
    json::array all;
    for (const ContainerMount& mount : mounts) {
        json::object one{{"Source", mount.source},           {"Target", mount.target},
                         {"Volume", mount.volume},           {"Mode", mount.mode},
                         {"IsReadOnly", mount.is_read_only}, {"MakesSource", mount.makes_source},
                         {"IsFilled", mount.is_filled},      {"IsAnonymous", mount.is_anonymous}};
        if (mount.is_cached) {
            one.emplace("IsCached", *mount.is_cached);
        }
        all.push_back(std::move(one));
    }
    return all;
}

ContainerMount mount_from(const JsonObject& mount) {
    const std::string volume = mount.text("Volume");
    return {.kind = volume.empty() ? ContainerMount::Kind::bind : ContainerMount::Kind::volume,
            .source = mount.text("Source"),
            .target = mount.text("Target"),
            .volume = volume,
            .mode = mount.text("Mode"),
            .is_read_only = mount.flag("IsReadOnly"),
            .is_cached = mount.has("IsCached") ? std::optional{mount.flag("IsCached")} : std::nullopt,
            .makes_source = mount.flag("MakesSource"),
            .is_filled = mount.flag("IsFilled"),
            .is_anonymous = mount.flag("IsAnonymous")};
}

json::array networks_of(const std::vector<Attachment>& networks) {
    json::array all;
    for (const Attachment& each : networks) {
        std::vector<std::string> links;
        for (const auto& [other, alias] : each.links) {
            links.push_back(other + ":" + alias);
        }
        all.push_back({{"Name", each.name},
                       {"Network", each.network},
                       {"Aliases", array_of(each.aliases)},
                       {"Links", array_of(links)},
                       {"Address", each.address ? address_text(*each.address) : ""},
                       {"Mac", each.mac}});
    }
    return all;
}

Attachment attachment_from(const JsonObject& object) {
    Attachment found{.name = object.text("Name"),
                     .network = object.text("Network"),
                     .aliases = object.texts("Aliases"),
                     .address = parse_address(object.text("Address")),
                     .mac = object.text("Mac")};
    for (const std::string& link : object.texts("Links")) {
        const size_t colon = link.find(':');
        found.links.emplace_back(link.substr(0, colon), link.substr(colon + 1));
    }
    return found;
}

uint16_t port_number(const JsonObject& object, std::string_view key) {
    const uint64_t number = object.number(key);
    if (number > kMostPort) {
        object.refuse("a port's number is above 65535");
    }
    return static_cast<uint16_t>(number);
}

RestartPolicy::Kind policy_kind(const JsonObject& object) {
    const std::string word = object.text("RestartPolicy");
    for (size_t kind = 0; kind < kPolicies.size(); ++kind) {
        if (kPolicies[kind] == word) {
            return static_cast<RestartPolicy::Kind>(kind);
        }
    }
    object.refuse("its policy is unknown");
}

/// Of the values that are kept whole and not looked into.
json::object object_in(const json::object& record, std::string_view key) {
    const json::value* value = record.if_contains(key);
    return value != nullptr && value->is_object() ? value->get_object() : json::object{};
}

}  // namespace

void ContainerRecord::write(const ContainerFiles& files) const {
    const json::object record{{"Id", id},
                              {"Name", name},
                              {"Created", nanoseconds{created.time_since_epoch()}.count()},
                              {"Image", spec.image},
                              {"ImageName", spec.image_name},
                              {"Config", spec.config},
                              {"HostConfig", spec.host_config},
                              {"Ports", ports_of(spec.ports)},
                              {"Mounts", mounts_of(spec.mounts)},
                              {"Networks", networks_of(networks)},
                              {"RestartPolicy", kPolicies.at(static_cast<size_t>(spec.restart.kind))},
                              {"MostRestarts", spec.restart.most},
                              {"IsRemovedAtEnd", spec.is_removed_at_end},
                              {"StopSignal", spec.stop_signal},
                              {"StopTimeout", spec.stop_timeout.count()},
                              {"WasStopped", was_stopped},
                              {"Restarts", restarts}};
    replace_file(files.record(), json::serialize(record));
}

void ContainerRecord::create_files(const fs::path& root, const ContainerFiles& files) const {
    const auto make = [](const fs::path& folder) {
        if (mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) {
            throw Error{ExitStatus::no_resources, "cannot make the folder '" + folder.string() + "'",
                        errno_text(errno), "make room, and check who may write there"};
        }
    };
    make(files.folder.parent_path());
    make(files.folder);
    try {
        make_disk(root, files.disk(), !spec.is_removed_at_end);
        spec.run.write(files);
        write(files);  // the last: what lacks it was not finished
    } catch (...) {
        std::error_code ignored;
        fs::remove_all(files.folder, ignored);
        throw;
    }
}

ContainerRecord ContainerRecord::read(const ContainerFiles& files) {
    const std::string tried = "cannot use '" + files.record().string() + "'";
    const json::object whole = parse_json_object(file_text(files.record()), tried);
    const JsonObject object{whole, tried};
    ContainerRecord record;
    record.id = object.text("Id");
    record.name = object.text("Name");
    if (record.id.size() != 64 || !is_name(record.name) ||
        !files.folder.filename().string().starts_with(short_id(record.id))) {
        object.refuse("its id or its name is none");
    }
    record.created =
        std::chrono::system_clock::time_point{nanoseconds{static_cast<int64_t>(object.number("Created"))}};
    ContainerSpec& spec = record.spec;
    spec.image = object.text("Image");
    spec.image_name = object.text("ImageName");
    spec.config = object_in(whole, "Config");
    spec.host_config = object_in(whole, "HostConfig");
    for (const JsonObject& port : object.objects("Ports")) {
        spec.ports.push_back({.protocol = port.text("Protocol"),
                              .container_port = port_number(port, "ContainerPort"),
                              .host_address = port.text("HostAddress"),
                              .host_port = port_number(port, "HostPort")});
    }
    for (const JsonObject& mount : object.objects("Mounts")) {
        spec.mounts.push_back(mount_from(mount));
    }
    for (const JsonObject& network : object.objects("Networks")) {
        record.networks.push_back(attachment_from(network));
    }
    spec.restart = {policy_kind(object), static_cast<unsigned>(object.number("MostRestarts"))};
    spec.is_removed_at_end = object.flag("IsRemovedAtEnd");
    spec.stop_signal = static_cast<int>(object.number("StopSignal"));
    if (const json::value* timeout = whole.if_contains("StopTimeout");
        timeout != nullptr && timeout->is_int64()) {
        spec.stop_timeout = std::chrono::seconds{timeout->get_int64()};
    }
    spec.run = RunFile::read(files);
    record.was_stopped = object.flag("WasStopped");
    record.restarts = static_cast<unsigned>(object.number("Restarts"));
    return record;
}

}  // namespace hull::container
