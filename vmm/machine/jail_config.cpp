#include "vmm/machine/jail_config.h"

#include "vmm/machine/option_text.h"

namespace hull {

namespace {

using Layer = JailConfig::Layer;
using Mode = JailConfig::Mode;

}  // namespace

std::string JailConfig::without_text() const {
    std::string text;
    for (const Layer layer : without) {
        text += (text.empty() ? "" : ",") + std::string{name_of(layer)};
    }
    return text;
}

bool apply_jail_option(JailConfig& config, const std::string& key, const std::string& value) {
    if (key == "jail") {
        config.mode = parse_jail_mode(value);
    } else if (key == "jail-without") {
        config.without = parse_jail_layers(value);
    } else if (key == "jail-user") {
        if (value.empty()) {
            refuse_option("--jail-user", value, "it names nobody", "give a user, or leave it out");
        }
        config.user = value;
    } else {
        return false;
    }
    return true;
}

const char* name_of(Mode mode) {
    switch (mode) {
        case Mode::off:
            return "off";
        case Mode::strict:
            return "strict";
        case Mode::on:
            break;
    }
    return "on";
}

Mode parse_jail_mode(const std::string& text) {
    for (const Mode mode : {Mode::off, Mode::on, Mode::strict}) {
        if (text == name_of(mode)) {
            return mode;
        }
    }
    refuse_option("--jail", text, "it is neither on, off nor strict", "give one of these");
}

const char* name_of(Layer layer) {
    switch (layer) {
        case Layer::user:
            return "user";
        case Layer::landlock:
            return "landlock";
        case Layer::seccomp:
            return "seccomp";
        case Layer::namespaces:
            break;
    }
    return "namespaces";
}

std::set<Layer> parse_jail_layers(const std::string& text) {
    std::set<Layer> layers;
    for (const OptionWord& word : split_words(text)) {
        const size_t before = layers.size();
        for (const Layer layer : {Layer::namespaces, Layer::user, Layer::landlock, Layer::seccomp}) {
            if (word.text == name_of(layer)) {
                layers.insert(layer);
            }
        }
        if (layers.size() == before) {
            refuse_option("--jail-without", text,
                          "'" + word.text + "' is no layer of the jail, or comes twice",
                          "give some of namespaces, user, landlock and seccomp");
        }
    }
    return layers;
}

}  // namespace hull
