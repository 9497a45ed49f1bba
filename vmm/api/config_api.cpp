#include "vmm/api/config_api.h"

#include <algorithm>
#include <string_view>

#include "base/error.h"
#include "base/unique_fd.h"
#include "vmm/api/described_machine.h"
#include "vmm/api/request_body.h"
#include "vmm/arch/arch.h"
#include "vmm/machine/option_text.h"

namespace hull {

namespace {

using Reply = HttpServer::Reply;

constexpr uint64_t kMost = INT64_MAX;

[[noreturn]] void refuse(const std::string& why) {
    throw BadBody{why};
}

/// What is behind `prefix` in a path, where that is all it has.
std::optional<std::string> id_behind(const std::string& target, std::string_view prefix) {
    if (!target.starts_with(prefix) || target.size() == prefix.size() ||
        target.find('/', prefix.size()) != std::string::npos) {
        return std::nullopt;
    }
    return target.substr(prefix.size());
}

void need_same_id(const RequestBody& body, const char* name, const std::string& id) {
    if (body.text(name) != id) {
        refuse("The id from the path [" + id + "] does not match the id from the body [" + body.text(name) +
               "].");
    }
}

/// How much a second a token bucket lets through; 0: any amount.
uint64_t rate(const RequestBody& limiter, std::string_view name) {
    constexpr uint64_t kSecond = 1000;
    constexpr uint64_t kMostSize = uint64_t{1} << 50;
    if (!limiter.has(name)) {
        return 0;
    }
    const RequestBody bucket = limiter.object(name, {"size", "refill_time", "one_time_burst"});
    const uint64_t size = bucket.number("size", 1, kMostSize);
    return std::max<uint64_t>(size * kSecond / bucket.number("refill_time", 1, kMost), 1);
}

/// The most bytes and requests in a second; 0: any number.
struct Limits {
    uint64_t bytes = 0;  // whole KiB, as a device's words have them
    uint32_t requests = 0;
    friend bool operator==(const Limits&, const Limits&) = default;
};

Limits limits(const RequestBody& body, std::string_view name) {
    if (!body.has(name)) {
        return {};
    }
    constexpr uint64_t kKib = 1024;
    const RequestBody limiter = body.object(name, {"bandwidth", "ops"});
    const uint64_t bytes = rate(limiter, "bandwidth");
    return {.bytes = bytes == 0 ? 0 : std::max(bytes / kKib, uint64_t{1}) * kKib,
            .requests = static_cast<uint32_t>(std::min<uint64_t>(rate(limiter, "ops"), UINT32_MAX))};
}

}  // namespace

void ConfigApi::handle(const HttpRequest& request, const Reply& reply) {
    const std::string what = request.method + " " + request.target;
    try {
        if (const auto answer = describe(request, config_, "Not started")) {
            reply(*answer);
        } else if (what == "PUT /actions") {
            act(request, reply);
        } else if (what == "PUT /snapshot/load") {
            load_snapshot(request, reply);
        } else if (what == "PATCH /vm" || what == "PUT /snapshot/create") {
            refuse("The requested operation is not supported before starting the microVM.");
        } else if (configure(request)) {
            collect();
            reply({});
        } else {
            refuse("Invalid request method and/or path: " + what + ".");
        }
    } catch (const BadBody& error) {
        reply(HttpServer::fault(error.what()));
    } catch (const Error& error) {
        reply(HttpServer::fault(error.what()));
    }
}

bool ConfigApi::configure(const HttpRequest& request) {
    const bool is_put = request.method == "PUT";
    if (request.target == "/machine-config" && (is_put || request.method == "PATCH")) {
        put_machine(request, is_put);
        return true;
    }
    if (!is_put) {
        return false;
    }
    if (request.target == "/boot-source") {
        put_boot_source(request);
    } else if (const auto drive = id_behind(request.target, "/drives/")) {
        put_drive(request, *drive);
    } else if (const auto interface = id_behind(request.target, "/network-interfaces/")) {
        put_interface(request, *interface);
    } else if (request.target == "/vsock") {
        put_vsock(request);
    } else if (request.target == "/entropy") {
        put_entropy(request);
    } else {
        return false;
    }
    return true;
}

void ConfigApi::put_machine(const HttpRequest& request, bool is_whole) {
    const RequestBody body{
        request.body,
        {"vcpu_count", "mem_size_mib", "smt", "track_dirty_pages", "huge_pages", "cpu_template"}};
    constexpr uint64_t kMostMib = uint64_t{1} << 30;
    MachineConfig changed = config_;
    if (is_whole || body.has("vcpu_count")) {
        changed.cpus = static_cast<uint32_t>(body.number("vcpu_count", 1, arch::kMaxCpus));
    }
    if (is_whole || body.has("mem_size_mib")) {
        changed.memory = body.number("mem_size_mib", MachineConfig::kMinMemory >> 20, kMostMib) << 20;
    }
    if (body.flag("smt", false)) {
        refuse("Hull gives each vCPU a core of its own: leave smt out.");
    }
    if (body.flag("track_dirty_pages", false)) {
        refuse("Hull takes no incremental snapshots yet: leave track_dirty_pages out.");
    }
    if (body.text("cpu_template", "None") != "None") {
        refuse("Hull has no CPU templates: leave cpu_template out.");
    }
    if (is_whole || body.has("huge_pages")) {
        const std::string pages = body.text("huge_pages", "None");
        if (pages != "None" && pages != "2M") {
            RequestBody::refuse_variant(pages, "`None` or `2M`");
        }
        changed.hugepages = pages == "2M";
    }
    config_ = changed;
}

void ConfigApi::put_boot_source(const HttpRequest& request) {
    const RequestBody body{request.body, {"kernel_image_path", "initrd_path", "boot_args"}};
    const std::string kernel = body.text("kernel_image_path");
    static_cast<void>(open_input_file(kernel, "kernel"));
    std::vector<std::filesystem::path> initramfs;
    if (body.has("initrd_path")) {
        initramfs.emplace_back(body.text("initrd_path"));
        static_cast<void>(open_input_file(initramfs.front(), "initramfs"));
    }
    boot_args_ = body.has("boot_args") ? std::optional{body.text("boot_args")} : std::nullopt;
    config_.kernel = kernel;
    config_.initramfs = initramfs;
}

void ConfigApi::put_drive(const HttpRequest& request, const std::string& id) {
    const RequestBody body{request.body,
                           {"drive_id", "path_on_host", "is_root_device", "is_read_only", "partuuid",
                            "cache_type", "io_engine", "rate_limiter", "socket"}};
    need_same_id(body, "drive_id", id);
    const bool is_served = body.has("socket");
    const bool is_read_only = body.flag("is_read_only", false);
    std::string text =
        is_served ? "socket=" + double_commas(body.text("socket")) : double_commas(body.text("path_on_host"));
    text += ",id=" + double_commas(id);
    if (is_read_only && !is_served) {
        text += ",readonly";
    }
    Drive drive{.disk = DiskConfig::parse(text), .root = ""};
    const Limits most = limits(body, "rate_limiter");
    if (is_served && most != Limits{}) {
        refuse("Hull does not limit a disk that another program serves: leave rate_limiter out.");
    }
    drive.disk.bps = most.bytes;
    drive.disk.iops = most.requests;
    for (const char* const name : {"cache_type", "io_engine"}) {
        static_cast<void>(body.text(name, ""));  // Hull flushes always, and needs no word for how it reads
    }
    if (body.flag("is_root_device", false)) {
        drive.root = (body.has("partuuid") ? "root=PARTUUID=" + body.text("partuuid") : "root=/dev/vda") +
                     (is_read_only ? " ro" : " rw");
    }
    const auto same = std::ranges::find(drives_, id, [](const Drive& each) { return each.disk.id; });
    const auto root = std::ranges::find_if(drives_, [](const Drive& each) { return !each.root.empty(); });
    if (!drive.root.empty() && root != drives_.end() && root != same) {
        refuse("A root block device already exists!");
    }
    if (same != drives_.end()) {
        *same = std::move(drive);
    } else {
        drives_.push_back(std::move(drive));
    }
    std::stable_partition(drives_.begin(), drives_.end(),
                          [](const Drive& each) { return !each.root.empty(); });
}

void ConfigApi::put_interface(const HttpRequest& request, const std::string& id) {
    const RequestBody body{
        request.body,
        {"iface_id", "host_dev_name", "guest_mac", "mtu", "rx_rate_limiter", "tx_rate_limiter"}};
    need_same_id(body, "iface_id", id);
    std::string text = "tap=" + double_commas(body.text("host_dev_name"));
    if (body.has("guest_mac")) {
        text += ",mac=" + body.text("guest_mac");
    }
    if (body.has("mtu")) {
        text += ",mtu=" + std::to_string(body.number("mtu", 0, UINT16_MAX));
    }
    const Limits most = limits(body, "rx_rate_limiter");
    if (most != limits(body, "tx_rate_limiter")) {
        refuse("Hull limits both directions alike: give rx_rate_limiter and tx_rate_limiter the same.");
    }
    NetConfig net = NetConfig::parse(text);
    net.bps = most.bytes;
    net.pps = most.requests;
    const auto same = std::ranges::find(interfaces_, id, [](const auto& each) { return each.first; });
    if (same != interfaces_.end()) {
        same->second = net;
    } else {
        interfaces_.emplace_back(id, net);
    }
}

void ConfigApi::put_vsock(const HttpRequest& request) {
    const RequestBody body{request.body, {"guest_cid", "uds_path", "vsock_id"}};
    config_.vsock = VsockConfig::parse("cid=" + std::to_string(body.number("guest_cid", 0, UINT32_MAX)) +
                                       ",socket=" + double_commas(body.text("uds_path")));
}

void ConfigApi::put_entropy(const HttpRequest& request) {
    const RequestBody body{request.body, {"rate_limiter"}};
    if (body.has("rate_limiter")) {
        refuse("Hull does not limit the entropy device: leave rate_limiter out.");
    }
    config_.rng = true;
}

void ConfigApi::collect() {
    config_.disks.clear();
    std::string root;
    for (const Drive& drive : drives_) {
        config_.disks.push_back(drive.disk);
        root += drive.root;
    }
    config_.nets.clear();
    for (const auto& [id, net] : interfaces_) {
        config_.nets.push_back(net);
    }
    config_.cmdline = root;
    config_.cmdline_raw.reset();
    if (boot_args_) {
        config_.cmdline.clear();
        config_.cmdline_raw = *boot_args_ + (root.empty() ? "" : " " + root);
    }
}

void ConfigApi::act(const HttpRequest& request, const Reply& reply) {
    const std::string action = RequestBody{request.body, {"action_type"}}.text("action_type");
    if (action == "SendCtrlAltDel" || action == "FlushMetrics") {
        refuse("The requested operation is not supported before starting the microVM.");
    }
    if (action != "InstanceStart") {
        RequestBody::refuse_variant(action, "one of `FlushMetrics`, `InstanceStart`, `SendCtrlAltDel`");
    }
    if (config_.kernel.empty()) {
        refuse("Cannot start microvm without kernel configuration.");
    }
    config_.check();
    on_start_({.snapshot = std::nullopt, .stays_paused = false, .reply = reply});
}

void ConfigApi::load_snapshot(const HttpRequest& request, const Reply& reply) {
    const RequestBody body{request.body,
                           {"snapshot_path", "mem_file_path", "mem_backend", "resume_vm",
                            "enable_diff_snapshots", "track_dirty_pages"}};
    if (!config_.kernel.empty() || !drives_.empty() || !interfaces_.empty() || config_.vsock || config_.rng) {
        refuse(
            "Loading a microVM snapshot not allowed after configuring boot-specific resources: what the "
            "machine is "
            "stands in the snapshot.");
    }
    if (body.flag("enable_diff_snapshots", false) || body.flag("track_dirty_pages", false)) {
        refuse("Hull takes no incremental snapshots yet: leave track_dirty_pages out.");
    }
    if (body.has("mem_backend") == body.has("mem_file_path")) {
        refuse("One of `mem_backend` and `mem_file_path` must be there.");
    }
    std::string memory = body.text("mem_file_path", "");
    if (body.has("mem_backend")) {
        const RequestBody backend = body.object("mem_backend", {"backend_type", "backend_path"});
        if (backend.text("backend_type") != "File") {
            refuse("Hull takes memory from a file only: give the backend_type `File`.");
        }
        memory = backend.text("backend_path");
    }
    on_start_({.snapshot = SnapshotFiles{body.text("snapshot_path"), memory},
               .stays_paused = !body.flag("resume_vm", false),
               .reply = reply});
}

}  // namespace hull
