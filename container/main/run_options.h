// The command line of `hull run`.
#pragma once

#include <boost/program_options/variables_map.hpp>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "container/machine/container_config.h"

namespace hull::container {

/// What the command line says. Its options are docker's, word for word, where docker has such.
struct RunOptions {
    std::string image;
    ImageOverrides overrides;
    ContainerConfig config;  ///< without what apply_image() puts in
    std::string name;        ///< empty: one by chance
    std::vector<std::string> ports;
    std::filesystem::path kernel;
    std::filesystem::path initramfs;
    std::vector<std::string> jail_words;          ///< as `hull boot` takes them
    boost::program_options::variables_map store;  ///< of the store and registries (store_options.h)
    bool help = false;
};

/// Reads the arguments behind `hull run`: options, an image, and whatever follows it. Variables without a
/// value are this process's. Throws Error (usage, or bad_file for a file of variables).
RunOptions parse_run_options(const std::vector<std::string>& arguments);

/// The text of `hull run --help`.
std::string run_help();

}  // namespace hull::container
