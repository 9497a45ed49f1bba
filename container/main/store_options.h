// The options that several of hulld's commands have.
#pragma once

#include <boost/program_options/options_description.hpp>
#include <boost/program_options/variables_map.hpp>
#include <filesystem>

#include "container/image/registry.h"
#include "container/image/store.h"

namespace hull::container {

/// Adds --data-root.
void add_store_option(boost::program_options::options_description& known);
/// The folder that it names, or the default one, absolute. Throws Error (usage).
std::filesystem::path data_root(const boost::program_options::variables_map& values);
/// The store that is there. Throws Error.
Store open_store(const boost::program_options::variables_map& values, Store::Use use);

/// Adds --insecure-registry and --registry-mirror.
void add_registry_options(boost::program_options::options_description& known);
RegistryOptions registry_options(const boost::program_options::variables_map& values);

}  // namespace hull::container
