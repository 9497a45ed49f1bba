#include "vmm/machine/disk_config.h"

#include <linux/virtio_blk.h>

#include <algorithm>
#include <limits>

#include "devices/block/block.h"
#include "vmm/machine/option_text.h"

namespace hull {

namespace {

constexpr const char* kForm =
    "write FILE[,id=NAME][,readonly|overlay][,direct][,queues=N][,iops=N][,bps=SIZE], "
    "part=FILE,part=FILE,… for a disk of partitions, or socket=PATH[,id=NAME][,queues=N]";

bool is_sound_id(const std::string& id) {
    return !id.empty() && id.size() <= VIRTIO_BLK_ID_BYTES &&
           std::ranges::all_of(id, [](char c) { return c > ' ' && c < 0x7f; });
}

}  // namespace

DiskConfig DiskConfig::parse(const std::string& text) {
    std::vector<OptionWord> words = split_words(text);
    DiskConfig disk{.path = {}, .parts = {}, .id = {}};
    if (!words.front().is_value("part")) {
        disk.is_served = words.front().is_value("socket");
        disk.path = disk.is_served ? *words.front().value : words.front().text;
        words.erase(words.begin());
        if (disk.path.empty()) {
            refuse_option("--disk", text, "it names no file", kForm);
        }
    }
    refuse_repeats("--disk", text, words, "part");
    for (const OptionWord& word : words) {
        if (disk.is_served && word.key != "id" && word.key != "queues") {
            refuse_option("--disk", text, "'" + word.text + "' is for the server of the disk to do",
                          "write socket=PATH[,id=NAME][,queues=N]");
        }
        if (word.is_flag("readonly") || word.is_flag("overlay")) {
            if (disk.use != virtio::DiskUse::write) {
                refuse_option("--disk", text, "what cannot be written needs no overlay",
                              "leave readonly or overlay out");
            }
            disk.use = word.key == "readonly" ? virtio::DiskUse::read : virtio::DiskUse::overlay;
        } else if (word.is_value("part")) {
            if (!disk.path.empty() || word.value->empty()) {
                refuse_option("--disk", text, "a disk is one FILE or has partitions, each with a file",
                              kForm);
            }
            disk.parts.emplace_back(*word.value);
        } else if (word.is_flag("direct")) {
            disk.direct = true;
        } else if (word.is_value("queues")) {
            disk.queues = parse_number(*word.value, "--disk queues", 1, virtio::kMostBlockQueues);
        } else if (word.is_value("iops")) {
            disk.iops = parse_number(*word.value, "--disk iops", 1, std::numeric_limits<uint32_t>::max());
        } else if (word.is_value("bps")) {
            disk.bps = parse_bytes_per_second(*word.value, "--disk bps");
        } else if (word.is_value("id")) {
            disk.id = *word.value;
            if (!is_sound_id(disk.id)) {
                refuse_option("--disk", text, "an id has 1 to 20 printable characters and no space",
                              "give such a one");
            }
        } else {
            refuse_option("--disk", text, "'" + word.text + "' has no meaning there",
                          std::string{kForm} + "; a comma in a name is written twice");
        }
    }
    if (disk.parts.size() > virtio::PartitionTable::kMostPartitions) {
        refuse_option("--disk", "part=…", "it has " + std::to_string(disk.parts.size()) + " partitions",
                      "give at most " + std::to_string(virtio::PartitionTable::kMostPartitions));
    }
    return disk;
}

std::string DiskConfig::name(size_t number) const {
    return id.empty() ? "disk" + std::to_string(number) : id;
}

std::string DiskConfig::text() const {
    std::string text = (is_served ? "socket=" : "") + double_commas(path.string());
    for (const std::filesystem::path& part : parts) {
        text += (text.empty() ? "part=" : ",part=") + double_commas(part.string());
    }
    text += id.empty() ? "" : ",id=" + double_commas(id);
    text += use == virtio::DiskUse::read ? ",readonly" : "";
    text += use == virtio::DiskUse::overlay ? ",overlay" : "";
    text += direct ? ",direct" : "";
    text += queues == 1 ? "" : ",queues=" + std::to_string(queues);
    text += iops == 0 ? "" : ",iops=" + std::to_string(iops);
    return text + (bps == 0 ? "" : ",bps=" + std::to_string(bps / 1024) + "K");
}

}  // namespace hull
