#include "vmm/machine/console_config.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "devices/console/console_queues.h"
#include "vmm/machine/option_text.h"

namespace hull {

namespace {

constexpr std::string_view kVirtio = "virtio";
constexpr std::string_view kFile = "file:";

constexpr std::array<std::pair<PortConfig::Kind, const char*>, 3> kPortKinds = {
    {{PortConfig::Kind::file, "file"},
     {PortConfig::Kind::socket, "socket"},
     {PortConfig::Kind::pipe, "pipe"}}};

/// Such that a file of this name can be made in the guest's /dev/virtio-ports.
bool is_sound_name(const std::string& name) {
    const auto is_letter_or_digit = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    };
    return !name.empty() && name.size() <= virtio::kMostPortName && is_letter_or_digit(name.front()) &&
           std::ranges::all_of(name, [&](char c) {
               return is_letter_or_digit(c) || c == '.' || c == '-' || c == '_' || c == ':';
           });
}

}  // namespace

ConsoleConfig ConsoleConfig::parse(const std::string& text) {
    ConsoleConfig console;
    std::string_view where = text;
    if (where == kVirtio) {
        return {.path = {}, .virtio = true};
    }
    if (where.starts_with(kVirtio) && where.substr(kVirtio.size()).starts_with(':')) {
        console.virtio = true;
        where.remove_prefix(kVirtio.size() + 1);
    }
    if (where == "none") {
        console.kind = Kind::none;
    } else if (where.starts_with(kFile) && where.size() > kFile.size()) {
        console.kind = Kind::file;
        console.path = where.substr(kFile.size());
    } else if (where != "stdio") {
        refuse_option("--console", text,
                      "it is neither stdio, none, file:PATH nor virtio[:…] with one of these",
                      "give one of these");
    }
    return console;
}

std::string ConsoleConfig::text() const {
    switch (kind) {
        case Kind::stdio:
            return virtio ? "virtio" : "stdio";
        case Kind::none:
            return virtio ? "virtio:none" : "none";
        case Kind::file:
            break;
    }
    return (virtio ? "virtio:file:" : "file:") + path.string();
}

PortConfig PortConfig::parse(const std::string& text) {
    constexpr const char* kForm = "write NAME,file=PATH or NAME,socket=PATH or NAME,pipe=PATH";
    const std::vector<OptionWord> words = split_words(text);
    PortConfig port{.name = words.front().text, .path = {}};
    if (!is_sound_name(port.name)) {
        refuse_option("--port", text,
                      "a name has 1 to 64 letters, digits and . - _ : and begins with a letter or digit",
                      kForm);
    }
    for (size_t number = 1; number < words.size(); ++number) {
        const OptionWord& word = words[number];
        const auto kind = std::ranges::find_if(
            kPortKinds, [&](const auto& row) { return word.is_value(row.second) && !word.value->empty(); });
        if (kind == kPortKinds.end() || !port.path.empty()) {
            refuse_option("--port", text, "'" + word.text + "' has no meaning there", kForm);
        }
        port.kind = kind->first;
        port.path = *word.value;
    }
    if (port.path.empty()) {
        refuse_option("--port", text, "it does not say what is at the host's side", kForm);
    }
    return port;
}

std::string PortConfig::text() const {
    const auto row = std::ranges::find(kPortKinds, kind, &std::pair<PortConfig::Kind, const char*>::first);
    return name + "," + row->second + "=" + double_commas(path.string());
}

}  // namespace hull
