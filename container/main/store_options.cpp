#include "container/main/store_options.h"

#include <boost/program_options.hpp>

#include "container/image/authorization.h"
#include "vmm/main/command_line.h"

namespace hull::container {

namespace options = boost::program_options;

void add_store_option(options::options_description& known) {
    known.add_options()  //
        ("data-root", options::value<OptionValues>()->value_name("DIR"),
         "where images are (default: /var/lib/hull for root, ~/.local/share/hull for others)");
}

std::filesystem::path data_root(const options::variables_map& values) {
    std::filesystem::path root;
    if (values.count("data-root") > 0) {
        root = single_value(values["data-root"].as<OptionValues>(), "data-root");
        if (root.empty()) {
            throw Error{ExitStatus::usage, "cannot use --data-root", "it names no folder", "give one"};
        }
    } else {
        root = default_data_root();
    }
    return std::filesystem::absolute(root);
}

Store open_store(const options::variables_map& values, Store::Use use) {
    return Store{data_root(values), use};
}

void add_registry_options(options::options_description& known) {
    known.add_options()  //
        ("insecure-registry", options::value<OptionValues>()->value_name("HOST[:PORT]"),
         "a registry whose certificate is not checked, or that has no TLS (as those on the loopback may "
         "be); may be given several times")  //
        ("registry-mirror", options::value<OptionValues>()->value_name("URL"),
         "a registry that is asked for images of docker.io before that; may be given several times");
}

RegistryOptions registry_options(const options::variables_map& values) {
    const auto all = [&](const char* name) {
        return values.count(name) > 0 ? values[name].as<OptionValues>() : OptionValues{};
    };
    return {.insecure = all("insecure-registry"),
            .mirrors = all("registry-mirror"),
            .credentials = default_credentials_file()};
}

}  // namespace hull::container
