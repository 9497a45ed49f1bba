#include "vmm/machine/share_config.h"

#include "devices/fs/share.h"
#include "vmm/machine/option_text.h"

namespace hull {

namespace {

constexpr const char* kForm = "write tag=T,path=DIR[,readonly]";

}  // namespace

ShareConfig ShareConfig::parse(const std::string& text) {
    const std::vector<OptionWord> words = split_words(text);
    refuse_repeats("--share", text, words);
    ShareConfig share;
    for (const OptionWord& word : words) {
        if (word.is_flag("readonly")) {
            share.readonly = true;
        } else if (word.is_value("tag")) {
            share.tag = *word.value;
        } else if (word.is_value("path")) {
            share.path = *word.value;
        } else {
            refuse_option("--share", text, "'" + word.text + "' has no meaning there",
                          std::string{kForm} + "; a comma in a name is written twice");
        }
    }
    if (share.path.empty()) {
        refuse_option("--share", text, "it names no folder", kForm);
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
    return "tag=" + double_commas(tag) + ",path=" + double_commas(path.string()) +
           (readonly ? ",readonly" : "");
}

}  // namespace hull
