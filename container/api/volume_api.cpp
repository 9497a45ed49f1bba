#include "container/api/volume_api.h"

#include <algorithm>
#include <array>
#include <boost/json/array.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/printable.h"
#include "container/api/api_error.h"
#include "container/api/container_filter.h"
#include "container/api/filters.h"
#include "container/api/json_shapes.h"
#include "container/image/json.h"
#include "container/supervisor/container_files.h"

namespace hull::container {

namespace json = boost::json;
using std::chrono::system_clock;

namespace {

void check_filters(const Filters& filters, std::initializer_list<std::string_view> known) {
    for (const auto& [filter, values] : filters) {
        if (std::ranges::find(known, filter) == known.end()) {
            throw ApiError{400, "invalid filter '" + printable(filter) + "'"};
        }
    }
}

bool has_labels(const Volume& volume, const Filters& filters) {
    const auto has = [&](const std::string& each) { return has_label(volume.labels, each); };
    const auto wanted = filters.find("label");
    const auto unwanted = filters.find("label!");
    return (wanted == filters.end() || std::ranges::all_of(wanted->second, has)) &&
           (unwanted == filters.end() || std::ranges::none_of(unwanted->second, has));
}

/// Whether any of a filter's values is met, or there is none of them.
template <class IsMet>
bool passes(const Filters& filters, const char* filter, const IsMet& is_met) {
    const auto found = filters.find(filter);
    return found == filters.end() || found->second.empty() || std::ranges::any_of(found->second, is_met);
}

}  // namespace

json::object volume_json(const Volume& volume) {
    const auto seconds = std::chrono::floor<std::chrono::seconds>(volume.created);
    std::string created = time_text(seconds);
    created.erase(created.find('.'), created.size() - 1 - created.find('.'));  // whole seconds, as Docker's
    return {{"CreatedAt", created},
            {"Driver", "local"},
            {"Labels", map_of(volume.labels)},
            {"Mountpoint", volume.folder.string()},
            {"Name", volume.name},
            {"Options", map_of(volume.options)},
            {"Scope", "local"}};
}

bool VolumeApi::answer(ApiCall& call) {
    const std::string& path = call.target().path;
    if (call.is("GET") && path == "/volumes") {
        list(call);
    } else if (call.is("POST") && path == "/volumes/create") {
        create(call);
    } else if (call.is("POST") && path == "/volumes/prune") {
        prune(call);
    } else if (const auto name = call.target().between("/volumes/", ""); name && call.is("GET")) {
        call.send(volume_json(volumes_.find(*name)));
    } else if (name && call.is("DELETE")) {
        remove(call, *name);
    } else {
        return false;
    }
    return true;
}

void VolumeApi::list(ApiCall& call) const {
    const Filters filters = parse_filters(call.target().find("filters").value_or(""));
    check_filters(filters, {"dangling", "driver", "label", "name"});
    json::array all;
    for (const Volume& volume : volumes_.list()) {
        const bool is_wanted =
            has_labels(volume, filters) &&
            passes(filters, "name", [&](const std::string& each) { return is_meant(each, volume.name); }) &&
            passes(filters, "driver", [](const std::string& each) { return each == "local"; }) &&
            passes(filters, "dangling", [&](const std::string& each) {
                return is_true("dangling", each) == volumes_.users(volume.name).empty();
            });
        if (is_wanted) {
            all.push_back(volume_json(volume));
        }
    }
    call.send({{"Volumes", std::move(all)}, {"Warnings", nullptr}});
}

void VolumeApi::create(ApiCall& call) {
    const json::value body = call.body();
    const std::string tried = "cannot create the volume";
    if (!body.is_object()) {
        throw ApiError{400, tried + ": its description is no object"};
    }
    VolumeSpec wanted;
    try {
        const JsonObject read{body.get_object(), tried, ""};
        const std::string driver = read.text("Driver");
        wanted = {.name = read.text("Name"),
                  .labels = read.text_map("Labels"),
                  .options = read.text_map("DriverOpts")};
        if (!driver.empty() && driver != "local") {
            throw ApiError{404, "create " + printable(wanted.name) + ": error looking up volume plugin " +
                                    printable(driver) + ": plugin \"" + printable(driver) + "\" not found"};
        }
        if (read.has("ClusterVolumeSpec")) {
            throw ApiError{501, "volumes of a cluster are not supported"};
        }
    } catch (const Error& error) {
        throw ApiError{400, error.what()};
    }
    call.send(volume_json(volumes_.create(wanted)), 201);
}

void VolumeApi::remove(ApiCall& call, const std::string& name) {
    try {
        volumes_.remove(name);
    } catch (const ApiError& error) {
        if (error.status() != 404 || !call.target().is_set("force")) {
            throw;
        }
    }
    call.send_nothing();
}

void VolumeApi::prune(ApiCall& call) {
    const Filters filters = parse_filters(call.target().find("filters").value_or(""));
    check_filters(filters, {"all", "label", "label!"});
    constexpr unsigned kAnonymousOnly = 42;  // since this version those with names are kept
    const auto all = filters.find("all");
    const bool takes_all = all != filters.end() && !all->second.empty()
                               ? is_true("all", all->second.front())
                               : call.target().version < kAnonymousOnly;
    json::array removed;
    uint64_t freed = 0;
    for (const Volume& volume : volumes_.list()) {
        const bool is_wanted = (takes_all || volume.is_anonymous()) && has_labels(volume, filters) &&
                               volumes_.users(volume.name).empty();
        if (!is_wanted) {
            continue;
        }
        try {
            freed += volumes_.remove(volume.name);
            removed.emplace_back(volume.name);
        } catch (const ApiError&) {
            // A container uses it now, or somebody else has removed it.
        }
    }
    events_.tell({.type = "volume",
                  .action = "prune",
                  .id = "",
                  .attributes = {{"reclaimed", std::to_string(freed)}},
                  .time = system_clock::now()});
    call.send({{"VolumesDeleted", or_null(std::move(removed))}, {"SpaceReclaimed", freed}});
}

}  // namespace hull::container
