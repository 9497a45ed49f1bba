// What a client may want of a container and of a network. Input: the body of POST /containers/create, …/exec,
// …/update, /networks/create and …/connect.
#include <algorithm>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/error.h"
#include "container/api/api_error.h"
#include "container/api/create_body.h"
#include "container/api/exec_body.h"
#include "container/api/network_body.h"
#include "container/api/update_body.h"
#include "container/supervisor/container_files.h"
#include "tests/support/plain_image.h"

using namespace hull;
using namespace hull::container;

namespace {

StoredImage make_image() {
    StoredImage image = test::plain_image();
    image.config.command = {"sh"};
    image.config.exposed_ports = {"80/tcp"};
    return image;
}

void require(bool is_so) {
    if (!is_so) {
        std::abort();
    }
}

bool has_nul(const std::string& text) {
    return text.find('\0') != std::string::npos;
}

/// Names are words of a line.
void require_words(const Attachment& attachment) {
    const auto is_word = [](const std::string& text) {
        return !text.empty() && text.find_first_of(std::string{" \n\t#\0", 5}) == std::string::npos;
    };
    require(std::ranges::all_of(attachment.aliases, is_word));
    require(std::ranges::all_of(
        attachment.links, [&](const auto& link) { return is_word(link.first) && is_word(link.second); }));
    require(attachment.mac.empty() || attachment.mac.size() == 17);
}

}  // namespace

// NOLINTNEXTLINE(readability-identifier-naming): the name that libFuzzer calls
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static const StoredImage image = make_image();
    boost::system::error_code error;
    const boost::json::value body =
        boost::json::parse(std::string_view{reinterpret_cast<const char*>(data), size}, error);
    if (error) {
        return 0;
    }
    static const ContainerSpec updated = parse_create_body({{"Image", "box"}}, image);
    try {
        check_update_body(body);
        const SpecChange change = parse_update_body(body, updated);
        require(!change.limits.cpus || *change.limits.cpus > 0);
        require(change.limits.memory.value_or(1) > 0 && change.limits.processes.value_or(1) > 0);
    } catch (const ApiError&) {
    }
    try {
        const ContainerSpec spec = parse_create_body(body, image);
        const ContainerConfig& config = spec.run.config;
        require(!config.command.empty() && !config.command.front().empty());
        require(std::ranges::none_of(config.command, has_nul) &&
                std::ranges::none_of(config.environment, has_nul) &&
                std::ranges::none_of(config.extra_hosts, has_nul) && !has_nul(config.user));
        require(config.working_folder.starts_with('/'));
        require(config.has_network || spec.ports.empty());
        require(std::ranges::all_of(spec.ports, [](const PortBinding& port) {
            return port.container_port != 0 && (port.protocol == "tcp" || port.protocol == "udp");
        }));
        require(!config.group.cpus || *config.group.cpus > 0);
        require(std::ranges::all_of(spec.mounts, [](const ContainerMount& mount) {
            const bool is_bind = mount.kind == ContainerMount::Kind::bind;
            return mount.target.starts_with('/') && mount.target != "/" && !has_nul(mount.target) &&
                   mount.target.find("/../") == std::string::npos &&
                   (!is_bind || mount.source.starts_with('/')) &&
                   (is_bind || mount.is_anonymous == mount.volume.empty());
        }));
        require(spec.run.log.most_files >= 1);
        require(!spec.networks.empty() && spec.networks.size() <= Attachment::kMost);
        std::ranges::for_each(spec.networks, require_words);
        // What its supervisor reads is what was meant.
        static const std::string tried = "cannot read it back";
        const RunFile again = RunFile::from_json(
            boost::json::parse(boost::json::serialize(spec.run.to_json())).as_object(), tried);
        require(again.config.command == config.command && again.config.sysctls == config.sysctls);
        static_cast<void>(boost::json::serialize(spec.config));
        static_cast<void>(boost::json::serialize(spec.host_config));
    } catch (const ApiError& refused) {
        require(refused.status() == 400 || refused.status() == 501);
    }
    try {
        require(!parse_exec_body(body, {}).command.front().empty());
    } catch (const ApiError& refused) {
        require(refused.status() == 400);
    }
    try {
        const NetworkSpec network = parse_network_body(body);
        require(!network.subnet || (network.subnet->first & ~network.subnet->mask()) == 0);
        require(std::ranges::none_of(network.labels, [](const auto& each) { return has_nul(each.second); }));
    } catch (const ApiError& refused) {
        require(refused.status() == 400 || refused.status() == 403 || refused.status() == 404 ||
                refused.status() == 501);
    }
    try {
        const ConnectBody asked = parse_connect_body(body);
        require(!asked.container.empty());
        require_words(asked.endpoint);
    } catch (const ApiError& refused) {
        require(refused.status() == 400 || refused.status() == 501);
    }
    return 0;
}
