#include "container/main/run_command.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <optional>

#include "container/image/pull.h"
#include "container/life/container_name.h"
#include "container/machine/container_machine.h"
#include "container/machine/writable_disk.h"
#include "container/main/pull_progress.h"
#include "container/main/run_options.h"
#include "container/main/store_options.h"
#include "vmm/main/fetched_files.h"
#include "vmm/main/user_streams.h"

namespace hull::container {

namespace {

constexpr auto kContainerFailed = static_cast<ExitStatus>(125);

/// The image, which is pulled where it is not here.
StoredImage find_image(Store& store, const RunOptions& run) {
    if (std::optional<StoredImage> image = store.find(run.image)) {
        return *image;
    }
    const Reference reference = Reference::parse(run.image);
    std::fprintf(stderr, "Unable to find image '%s' locally\n", reference.familiar_text().c_str());
    PullProgress progress{stderr, isatty(STDERR_FILENO) == 1};
    pull(store, reference, registry_options(run.store),
         [&](const LayerProgress& layer) { progress.show(layer); });
    std::optional<StoredImage> image = store.find(run.image);
    if (!image) {
        throw Error{ExitStatus::bad_file, "cannot run '" + run.image + "'",
                    "it was removed as soon as it was pulled"};
    }
    return *image;
}

int run(RunOptions& options) {
    if (options.config.tty && options.config.has_input && isatty(STDIN_FILENO) == 0) {
        throw Error{ExitStatus::usage, "cannot give the command a terminal (-t) with this input (-i)",
                    "standard input is none", "leave -t out"};
    }
    const GuestKernel kernel = find_guest_kernel({options.kernel, options.initramfs}, "a container");
    Store store = open_store(options.store, Store::Use::shared);
    std::optional<Store::Hold> hold = store.hold();
    const StoredImage image = find_image(store, options);
    const std::string id = short_id(make_id());
    if (options.config.host_name.empty()) {
        options.config.host_name = id;
    }
    apply_image(options.config, image.config, options.overrides);
    // What the container writes takes its room where images do, unless the user says otherwise.
    const std::string root = data_root(options.store);
    setenv("TMPDIR", root.c_str(), 0);
    const ContainerMachine machine{.kernel = kernel.kernel,
                                   .initramfs = kernel.initramfs,
                                   .layers = image.layers,
                                   .writable = empty_disk(root),
                                   .cpus = ContainerMachine::cpus_for(options.config.group.cpus),
                                   .ports = options.ports,
                                   .words = options.jail_words};
    return run_container(options.config, machine, options.name.empty() ? id : options.name,
                         [&] { hold.reset(); });
}

}  // namespace

ExitStatus run_run(const std::vector<std::string>& arguments) {
    try {
        open_missing_streams();
        RunOptions options = parse_run_options(arguments);
        if (options.help) {
            std::fputs(run_help().c_str(), stdout);
            return ExitStatus::success;
        }
        return static_cast<ExitStatus>(run(options));
    } catch (const Error& error) {
        throw Error{kContainerFailed, std::string{error.what()}};
    }
}

}  // namespace hull::container
