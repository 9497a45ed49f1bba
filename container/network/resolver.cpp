#include "container/network/resolver.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <iterator>
#include <sstream>

#include "base/error.h"
#include "base/small_file.h"
#include "container/network/socket_address.h"

namespace hull::container {

Resolver parse_resolver(const std::string& text) {
    Resolver found;
    std::istringstream lines{text};
    for (std::string line; std::getline(lines, line);) {
        std::istringstream words{line.substr(0, line.find_first_of("#;"))};
        std::string keyword;
        words >> keyword;
        const std::vector<std::string> values{std::istream_iterator<std::string>{words}, {}};
        if (keyword == "nameserver" && !values.empty() && SocketAddress::parse(values.front(), 0)) {
            found.servers.push_back(values.front());
        } else if (keyword == "search" || keyword == "domain") {
            found.search = values;  // the last one counts
        } else if (keyword == "options") {
            found.options.insert(found.options.end(), values.begin(), values.end());
        }
    }
    return found;
}

Resolver host_resolver() {
    Resolver found;
    try {
        found = parse_resolver(file_text("/etc/resolv.conf"));
    } catch (const Error&) {
        // There is none.
    }
    if (found.servers.empty()) {
        found.servers = {"8.8.8.8", "8.8.4.4"};
    }
    return found;
}

bool is_for_bridges(const std::string& server) {
    in_addr address{};
    return inet_pton(AF_INET, server.c_str(), &address) == 1 &&
           ntohl(address.s_addr) >> IN_CLASSA_NSHIFT != IN_LOOPBACKNET;
}

}  // namespace hull::container
