#include "container/api/progress_lines.h"

#include <boost/json/serialize.hpp>
#include <utility>

namespace hull::container {

namespace json = boost::json;

void ProgressLines::tell(const std::string& status, const std::string& id) {
    json::object line{{"status", status}};
    if (!id.empty()) {
        line["id"] = id;
    }
    write(line);
}

void ProgressLines::tell(const LayerProgress& layer) {
    json::object line{{"status", layer.words()}, {"id", layer.layer.short_digits()}};
    if (layer.is_moving()) {
        line["progressDetail"] = {{"current", layer.done}, {"total", layer.total}};
    }
    write(line);
}

void ProgressLines::tell_progress(const std::string& status, uint64_t done, uint64_t total) {
    write({{"status", status}, {"progressDetail", {{"current", done}, {"total", total}}}});
}

void ProgressLines::tell(const PushProgress& layer) {
    json::object detail;
    if (layer.phase == PushProgress::Phase::pushing) {
        detail = {{"current", layer.done}, {"total", layer.total}};
    }
    write({{"status", layer.words()},
           {"progressDetail", std::move(detail)},
           {"id", layer.layer.short_digits()}});
}

void ProgressLines::tell(const Pushed& pushed, const std::string& tag) {
    tell(tag + ": digest: " + pushed.manifest.text() + " size: " + std::to_string(pushed.size));
    write({{"progressDetail", json::object{}},
           {"aux", {{"Tag", tag}, {"Digest", pushed.manifest.text()}, {"Size", pushed.size}}}});
}

void ProgressLines::tell(const LoadProgress& layer) {
    write({{"status", "Loading layer"},
           {"progressDetail", {{"current", layer.done}, {"total", layer.total}}},
           {"id", layer.layer.short_digits()}});
}

void ProgressLines::tell(const Loaded& loaded) {
    for (const Reference& name : loaded.names) {
        print("Loaded image: " + name.familiar_text() + "\n");
    }
    if (loaded.names.empty()) {
        print("Loaded image ID: " + loaded.image.text() + "\n");
    }
}

void ProgressLines::print(const std::string& text) {
    write({{"stream", text}});
}

void ProgressLines::tell_of_image(const Digest& image) {
    write({{"aux", {{"ID", image.text()}}}});
}

void ProgressLines::fail(const std::string& why, int code) {
    json::object detail{{"message", why}};
    if (code != 0) {
        detail["code"] = code;
    }
    write({{"errorDetail", std::move(detail)}, {"error", why}});
}

void ProgressLines::write(const json::object& line) {
    if (!call_.is_begun()) {
        call_.begin("application/json");
    }
    is_vain_ = !call_.write(json::serialize(line) + "\r\n");
}

}  // namespace hull::container
