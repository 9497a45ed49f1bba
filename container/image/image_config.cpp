#include "container/image/image_config.h"

#include <algorithm>

#include "base/error.h"
#include "container/image/json.h"
#include "container/image/manifest.h"

namespace hull::container {

HealthCheck health_check_from(const JsonObject& health) {
    const auto duration = [&](const char* key) {
        return std::chrono::nanoseconds{health.integer(key).value_or(0)};
    };
    return {.test = health.texts("Test"),
            .interval = duration("Interval"),
            .timeout = duration("Timeout"),
            .start_period = duration("StartPeriod"),
            .retries = health.integer("Retries").value_or(0)};
}

ImageConfig ImageConfig::parse(std::string_view text) {
    static const std::string tried = "cannot use the image's configuration";
    const boost::json::object whole = parse_json_object(text, tried);
    const JsonObject image{whole, tried};
    ImageConfig result;
    result.architecture = image.text("architecture");
    result.os = image.text("os");
    if (result.os != "linux") {
        image.refuse("it is not for Linux");
    }
    result.created = image.text("created");
    result.author = image.text("author");

    const JsonObject config = image.object("config");
    result.user = config.text("User");
    result.environment = config.texts("Env");
    result.entrypoint = config.texts("Entrypoint");
    result.command = config.texts("Cmd");
    result.working_folder = config.text("WorkingDir");
    result.exposed_ports = config.object("ExposedPorts").keys();
    result.volumes = config.object("Volumes").keys();
    const JsonObject labels = config.object("Labels");
    for (const std::string& key : labels.keys()) {
        result.labels.emplace(key, labels.text(key));
    }
    result.stop_signal = config.text("StopSignal");
    result.shell = config.texts("Shell");
    result.triggers = config.texts("OnBuild");
    if (config.has("Healthcheck")) {
        result.health = health_check_from(config.object("Healthcheck"));
    }

    const JsonObject root = image.object("rootfs");
    if (const std::string type = root.text("type"); type != "layers") {
        image.refuse("its rootfs is not of the type 'layers'");
    }
    for (const std::string& digest : root.texts("diff_ids")) {
        const std::optional<Digest> layer = Digest::parse(digest);
        if (!layer) {
            image.refuse("one of 'diff_ids' is no digest (sha256: and 64 digits)");
        }
        result.layers.push_back(*layer);
    }
    if (result.layers.size() > Manifest::kMostLayers) {
        image.refuse("it has more than 127 layers");
    }
    for (const JsonObject& step : image.objects("history")) {
        result.history.push_back({.created = step.text("created"),
                                  .created_by = step.text("created_by"),
                                  .comment = step.text("comment"),
                                  .is_empty = step.flag("empty_layer")});
    }
    if (std::ranges::count(result.history, false, &Step::is_empty) >
        static_cast<ptrdiff_t>(result.layers.size())) {
        image.refuse("its history tells of more layers than it has");
    }
    return result;
}

}  // namespace hull::container
