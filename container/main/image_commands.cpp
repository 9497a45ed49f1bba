#include "container/main/image_commands.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/program_options.hpp>
#include <cstdio>

#include "container/image/pull.h"
#include "container/main/human.h"
#include "container/main/pull_progress.h"
#include "container/main/store_options.h"
#include "container/main/usage.h"

namespace hull::container {

namespace options = boost::program_options;

namespace {

/// What 'hull images' says of an image under one of its names.
using Row = std::array<std::string, 5>;

void print(const std::vector<Row>& rows) {
    // As docker's: at least so wide, and at least so much between two.
    constexpr size_t kWidth = 10;
    constexpr size_t kSpace = 3;
    std::array<size_t, std::tuple_size_v<Row>> widths{};
    for (const Row& row : rows) {
        for (size_t column = 0; column < row.size(); ++column) {
            widths.at(column) = std::max({widths.at(column), kWidth, row.at(column).size() + kSpace});
        }
    }
    for (const Row& row : rows) {
        std::string line;
        size_t end = 0;
        for (size_t column = 0; column < row.size(); ++column) {
            line += row.at(column);
            end += widths.at(column);
            if (column + 1 < row.size()) {
                line.resize(end, ' ');
            }
        }
        std::puts(line.c_str());
    }
}

void add_rows(std::vector<Row>& rows, const StoredImage& image, const std::string& id) {
    constexpr const char* kNone = "<none>";
    const std::string age = human_age(image.config.created, std::chrono::system_clock::now());
    const std::string size = human_size(image.size);
    std::vector<std::array<std::string, 2>> names;
    std::string repository = kNone;
    for (const std::string& name : image.names) {
        const Reference reference = Reference::parse(name);
        repository = reference.familiar_repository();
        if (!reference.tag.empty()) {
            names.push_back({repository, reference.tag});
        }
    }
    if (names.empty()) {
        names.push_back({repository, kNone});
    }
    for (const auto& [its_repository, tag] : names) {
        rows.push_back({its_repository, tag, id, age, size});
    }
}

}  // namespace

ExitStatus run_pull(const std::vector<std::string>& arguments) {
    Usage usage{
        .name = "pull",
        .text =
            "Usage: hull pull [OPTION…] NAME[:TAG|@DIGEST]\n"
            "Gets an image from a registry: from docker.io, or from HOST[:PORT]/NAME. A registry that "
            "wants to\n"
            "know who you are finds what 'docker login' has left in ~/.docker/config.json. The last "
            "line that is\n"
            "printed is the image's whole name.\n"};
    add_store_option(usage.known);
    add_registry_options(usage.known);
    usage.known.add_options()("quiet,q", options::value<OptionValues>()->zero_tokens(),
                              "print the image's whole name only");
    OptionValues words;
    const auto values = usage.read(arguments, &words, 1, 1);
    if (!values) {
        return ExitStatus::success;
    }
    const Reference reference = Reference::parse(words.front());
    Store store = open_store(*values, Store::Use::shared);
    const bool is_quiet = values->count("quiet") > 0;
    PullProgress progress{stdout, isatty(STDOUT_FILENO) == 1};
    const Pulled pulled = pull(store, reference, registry_options(*values), [&](const LayerProgress& layer) {
        if (!is_quiet) {
            progress.show(layer);
        }
    });
    if (!is_quiet) {
        std::printf("Digest: %s\n", pulled.manifest.text().c_str());
        std::printf("Status: %s for %s\n", pulled.is_new ? "Downloaded newer image" : "Image is up to date",
                    reference.familiar_text().c_str());
    }
    std::puts(reference.text().c_str());
    return ExitStatus::success;
}

ExitStatus run_images(const std::vector<std::string>& arguments) {
    Usage usage{.name = "images",
                .text =
                    "Usage: hull images [OPTION…]\n"
                    "Lists the images that are here, with the size of their disks.\n"};
    add_store_option(usage.known);
    usage.known.add_options()("quiet,q", options::value<OptionValues>()->zero_tokens(),
                              "print their ids only");
    OptionValues words;
    const auto values = usage.read(arguments, &words, 0, 0);
    if (!values) {
        return ExitStatus::success;
    }
    std::vector<Row> rows{{"REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"}};
    const bool is_quiet = values->count("quiet") > 0;
    for (const StoredImage& image : open_store(*values, Store::Use::shared).list()) {
        if (image.is_parent && image.names.empty()) {
            continue;  // a step of a build's
        }
        const std::string id = image.id.short_digits();
        if (is_quiet) {
            std::puts(id.c_str());
        }
        add_rows(rows, image, id);
    }
    if (!is_quiet) {
        print(rows);
    }
    return ExitStatus::success;
}

ExitStatus run_rmi(const std::vector<std::string>& arguments) {
    Usage usage{.name = "rmi",
                .text =
                    "Usage: hull rmi [OPTION…] IMAGE…\n"
                    "Removes names of images, and images with their last names. An IMAGE is a name, an id "
                    "or the\n"
                    "beginning of one. The disk space of what no image needs is freed, unless an image is "
                    "being pulled;\n"
                    "the next time then.\n"};
    add_store_option(usage.known);
    usage.known.add_options()("force,f", options::value<OptionValues>()->zero_tokens(),
                              "remove an image given by its id with names in several repositories");
    OptionValues words;
    const auto values = usage.read(arguments, &words, 1, SIZE_MAX);
    if (!values) {
        return ExitStatus::success;
    }
    Store store = open_store(*values, Store::Use::shared);
    for (const std::string& word : words) {
        const Store::Removed removed = store.remove(word, values->count("force") > 0);
        for (const std::string& name : removed.names) {
            std::printf("Untagged: %s\n", Reference::parse(name).familiar_text().c_str());
        }
        if (removed.image) {
            std::printf("Deleted: %s\n", removed.image->text().c_str());
        }
    }
    store.collect();
    return ExitStatus::success;
}

}  // namespace hull::container
