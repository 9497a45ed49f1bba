#include "vmm/machine/vsock_config.h"

#include <linux/vm_sockets.h>

#include "devices/vsock/host_socket.h"
#include "vmm/machine/option_text.h"

namespace hull {

VsockConfig VsockConfig::parse(const std::string& text) {
    constexpr const char* kForm = "write cid=N,socket=PATH";
    VsockConfig vsock;
    for (const OptionWord& word : split_words(text)) {
        if (word.is_value("cid") && vsock.cid == 0) {
            // The addresses below are the hypervisor's, the guest's own loopback and the host's, and the last
            // one is any (VIRTIO 1.2, 5.10.4).
            vsock.cid = parse_number(*word.value, "--vsock cid", VMADDR_CID_HOST + 1, VMADDR_CID_ANY - 1);
        } else if (word.is_value("socket") && vsock.path.empty() && !word.value->empty()) {
            vsock.path = *word.value;
        } else {
            refuse_option("--vsock", text, "'" + word.text + "' has no meaning there", kForm);
        }
    }
    if (vsock.cid == 0 || vsock.path.empty()) {
        refuse_option("--vsock", text, "it does not say both the guest's address and a socket's path", kForm);
    }
    if (vsock.path.size() > virtio::kMostVsockPath) {
        refuse_option("--vsock", text,
                      "a socket's path has at most " + std::to_string(virtio::kMostVsockPath) + " bytes here",
                      "give a shorter one");
    }
    return vsock;
}

std::string VsockConfig::text() const {
    return "cid=" + std::to_string(cid) + ",socket=" + double_commas(path);
}

}  // namespace hull
