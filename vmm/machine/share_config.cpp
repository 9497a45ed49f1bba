#include "vmm/machine/share_config.h"

#include <algorithm>
#include <string_view>

#include "devices/fs/share.h"
#include "vmm/machine/option_text.h"

namespace hull {

namespace {

constexpr const char* kForm =
    "write tag=T,path=DIR[,readonly][,cached], or tag=T,part=PATH,… with readonly-part=PATH for what is not "
    "to be "
    "written to";

void refuse_repeats(const std::string& text, const std::vector<OptionWord>& words) {
    std::vector<OptionWord> others = words;
    std::erase_if(others, [](const OptionWord& word) { return word.key == "readonly-part"; });
    refuse_repeats("--share", text, others, "part");
}

}  // namespace

ShareConfig ShareConfig::parse(const std::string& text) {
    const std::vector<OptionWord> words = split_words(text);
    refuse_repeats(text, words);
    ShareConfig share;
    for (const OptionWord& word : words) {
        if (word.is_flag("readonly")) {
            share.readonly = true;
        } else if (word.is_flag("cached")) {
            share.cached = true;
        } else if (word.is_value("tag")) {
            share.tag = *word.value;
        } else if (word.is_value("path")) {
            share.path = *word.value;
        } else if (word.is_value("part") || word.is_value("readonly-part")) {
            share.parts.push_back({.path = *word.value, .readonly = word.key != "part"});
        } else {
            refuse_option("--share", text, "'" + word.text + "' has no meaning there",
                          std::string{kForm} + "; a comma in a name is written twice");
        }
    }
    if (share.path.empty() == share.parts.empty()) {
        refuse_option("--share", text,
                      share.parts.empty() ? "it names no folder" : "it is one folder or has parts", kForm);
    }
    if (std::ranges::any_of(share.parts, [](const Part& part) { return part.path.empty(); })) {
        refuse_option("--share", text, "a part has no path", kForm);
    }
    if (share.parts.size() > kMostParts) {
        refuse_option("--share", "tag=" + share.tag + ",part=…",
                      "it has " + std::to_string(share.parts.size()) + " parts",
                      "give at most " + std::to_string(kMostParts));
    }
    if (share.tag.empty() || share.tag.size() > virtio::kMostTag ||
        share.tag.find('\0') != std::string::npos) {
        refuse_option("--share", text,
                      "a tag has 1 to " + std::to_string(virtio::kMostTag) +
                          " characters, and the guest mounts the folder by it",
                      kForm);
    }
    return share;
}

std::string ShareConfig::text() const {
    std::string all = "tag=" + double_commas(tag);
    for (const Part& part : parts) {
        all += (part.readonly ? ",readonly-part=" : ",part=") + double_commas(part.path.string());
    }
    return all + (path.empty() ? "" : ",path=" + double_commas(path.string())) +
           (readonly ? ",readonly" : "") + (cached ? ",cached" : "");
}

}  // namespace hull
