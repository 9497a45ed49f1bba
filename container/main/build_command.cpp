#include "container/main/build_command.h"

#include <poll.h>
#include <unistd.h>

#include <boost/json/array.hpp>
#include <boost/program_options.hpp>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <utility>

#include "base/printable.h"
#include "base/small_file.h"
#include "container/api/build_host.h"
#include "container/build/context_folder.h"
#include "container/life/file_tree.h"
#include "container/life/supervisor_process.h"
#include "container/main/human.h"
#include "container/main/pull_progress.h"
#include "container/main/store_options.h"
#include "container/main/usage.h"
#include "vmm/machine/option_text.h"

namespace hull::container {

namespace fs = std::filesystem;
namespace json = boost::json;
namespace options = boost::program_options;

namespace {

constexpr const char* kStandardInput = "-";
constexpr const char* kUsualName = "Dockerfile";
/// Of one that is not in the folder, in the context until it is read.
constexpr const char* kElsewhere = ".hull-dockerfile";

struct BuildWords {
    std::string place;   ///< a folder, or kStandardInput
    std::string file{};  ///< of --file; or empty
    std::vector<Reference> names{};
    BuildOptions build{};
    json::object host_config{};
    GuestKernel kernel{};
    bool is_quiet = false;
};

std::string name_before_sign(const std::string& text, const std::string& option) {
    const std::string name = text.substr(0, text.find('='));
    if (name.empty()) {
        refuse_option(option, text, "it has no name", "give NAME=VALUE");
    }
    return name;
}

/// Docker's way: NAME alone is this process's variable, or none.
void read_build_argument(const std::string& text, BuildArguments::Given& given) {
    const std::string name = name_before_sign(text, "--build-arg");
    if (name.size() < text.size()) {
        given[name] = text.substr(name.size() + 1);
    } else if (const char* const value = std::getenv(name.c_str()); value != nullptr) {
        given[name] = value;
    }
}

BuildWords read_words(const options::variables_map& values, std::string place) {
    BuildWords words{.place = std::move(place)};
    const auto all = [&](const char* name) {
        return values.count(name) > 0 ? values[name].as<OptionValues>() : OptionValues{};
    };
    const auto one = [&](const char* name) {
        const OptionValues given = all(name);
        return given.empty() ? std::string{} : single_value(given, name);
    };
    words.file = one("file");
    for (const std::string& name : all("tag")) {
        words.names.push_back(Reference::parse(name));
        if (words.names.back().digest) {
            refuse_option("--tag", name, "a digest is what comes of it", "give NAME[:TAG]");
        }
    }
    for (const std::string& text : all("build-arg")) {
        read_build_argument(text, words.build.arguments);
    }
    for (const std::string& text : all("label")) {
        const std::string name = name_before_sign(text, "--label");
        words.build.labels[name] = text.substr(std::min(text.size(), name.size() + 1));
    }
    words.build.target = one("target");
    words.build.uses_cache = values.count("no-cache") == 0;
    words.build.pulls = values.count("pull") > 0;
    words.build.always_removes = true;  // who would look at what is left?
    if (const std::string network = one("network"); network == "none") {
        words.host_config["NetworkMode"] = network;
    } else if (!network.empty() && network != "user") {
        refuse_option("--network", network, "it is neither user nor none", "give one of these");
    }
    if (const OptionValues hosts = all("add-host"); !hosts.empty()) {
        words.host_config["ExtraHosts"] = json::array(hosts.begin(), hosts.end());
    }
    if (const std::string memory = one("memory"); !memory.empty()) {
        words.host_config["Memory"] = parse_size(memory, "--memory");
    }
    words.host_config["LogConfig"] = {{"Type", "none"}, {"Config", json::object{}}};
    words.kernel = {one("kernel"), one("initramfs")};
    words.is_quiet = values.count("quiet") > 0;
    return words;
}

/// The user who has typed it: commands' standard error is this process's. What a quiet one would have said
/// is said where it fails.
class Terminal : public BuildClient {
  public:
    explicit Terminal(bool is_quiet) : is_quiet_{is_quiet} {}

    void print(const std::string& text) override { write(stdout, text); }
    void print_error(const std::string& text) override { write(stderr, text); }
    void tell_image(const Digest& /*image*/) override {}
    bool is_given_up() override { return false; }  // Ctrl-C ends the process, and what it has started
    void wait_for(int fd) override {
        pollfd entry{fd, POLLIN, 0};
        while (poll(&entry, 1, -1) < 0 && errno == EINTR) {
        }
    }
    void tell(const std::string& status, const std::string& id) override {
        print((id.empty() ? "" : id + ": ") + status + "\n");
    }
    void tell_layer(const LayerProgress& layer) override {
        if (!is_quiet_) {
            progress_.show(layer);
        }
    }
    void tell_download(uint64_t done, uint64_t total) override {
        if (!is_quiet_ && is_terminal_) {
            std::printf("\rDownloading %s%s ", human_size(done).c_str(),
                        total > 0 ? ("/" + human_size(total)).c_str() : "");
            std::fflush(stdout);
        }
    }
    /// What was kept back, since all has failed.
    void tell_all() { std::fputs(kept_.text().c_str(), stderr); }

  private:
    void write(std::FILE* out, const std::string& text) {
        if (is_quiet_) {
            kept_.add(text);
            return;
        }
        std::fwrite(text.data(), 1, text.size(), out);
        std::fflush(out);
    }

    bool is_quiet_;
    bool is_terminal_ = isatty(STDOUT_FILENO) == 1;
    PullProgress progress_{stdout, is_terminal_};
    KeptText kept_;
};

/// Containers of this process's, which go with it; what is left by one that was killed, the store sweeps.
class OwnContainers {
  public:
    OwnContainers(Store& store, GuestKernel kernel, Events& events)
        : folder_{make_folder(store)}, containers_{std::in_place,     folder_, store,
                                                   std::move(kernel), events,  start_own_supervisor} {}
    OwnContainers(const OwnContainers&) = delete;
    OwnContainers& operator=(const OwnContainers&) = delete;
    ~OwnContainers() {
        containers_.reset();
        try {
            remove_tree(folder_);
        } catch (const Error& error) {
            std::fprintf(stderr, "hull: %s\n", error.what());
        }
    }
    Containers& get() { return *containers_; }

  private:
    static fs::path make_folder(const Store& store) {
        std::string name = store.root() / "tmp/XXXXXX";
        if (mkdtemp(name.data()) == nullptr) {
            throw Error{ExitStatus::no_resources, "cannot make a folder like '" + name + "'",
                        errno_text(errno), "check who may write there, and whether there is room"};
        }
        return name;
    }

    fs::path folder_;
    std::optional<Containers> containers_;
};

bool is_archive(std::string_view beginning) {
    constexpr size_t kMagicPlace = 257;  // POSIX.1-2017, pax, "ustar Interchange Format"
    using namespace std::string_view_literals;
    return beginning.starts_with("\x1f\x8b"sv) || beginning.starts_with("\x28\xb5\x2f\xfd"sv) ||
           (beginning.size() > kMagicPlace && beginning.substr(kMagicPlace).starts_with("ustar"sv));
}

size_t read_input(std::span<std::byte> room) {
    ssize_t got = 0;
    do {
        got = read(STDIN_FILENO, room.data(), room.size());
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        throw Error{ExitStatus::bad_file, "cannot read the build context from standard input",
                    errno_text(errno)};
    }
    return static_cast<size_t>(got);
}

/// What comes by standard input: an archive, or a Dockerfile that needs no other file.
void take_input(std::optional<BuildContext>& context, const fs::path& folder) {
    std::string beginning(size_t{512}, '\0');
    size_t have = 0;
    while (const size_t got = have == beginning.size()
                                  ? 0
                                  : read_input(std::as_writable_bytes(std::span{beginning}.subspan(have)))) {
        have += got;
    }
    beginning.resize(have);
    if (is_archive(beginning)) {
        context.emplace(
            [&, told = size_t{0}](std::span<std::byte> room) mutable {
                if (told == beginning.size()) {
                    return read_input(room);
                }
                const size_t size = std::min(room.size(), beginning.size() - told);
                std::ranges::copy(std::as_bytes(std::span{beginning}.subspan(told, size)), room.begin());
                told += size;
                return size;
            },
            folder);
    } else {
        context.emplace(folder);
        context->put_text(kUsualName, beginning + read_all(STDIN_FILENO));
    }
}

/// Takes the context in. Answers the Dockerfile's name in it.
std::string take_context(std::optional<BuildContext>& context, const BuildWords& words,
                         const fs::path& folder) {
    const std::string given = words.file.empty() ? kUsualName : words.file;
    if (words.place == kStandardInput) {
        if (given == kStandardInput) {
            throw Error{ExitStatus::usage, "cannot read both context and Dockerfile from standard input",
                        "it can be read once", "give a folder, or no --file"};
        }
        take_input(context, folder);
        return given;
    }
    const fs::path place{words.place};
    if (!fs::is_directory(place)) {
        throw Error{ExitStatus::bad_file, "cannot build '" + printable(words.place) + "'",
                    "it is not a folder", "give one with a Dockerfile in it, or - for standard input"};
    }
    context.emplace(folder);
    std::error_code ignored;
    const fs::path file = words.file.empty() ? place / given : fs::path{given};
    const std::string inside = fs::relative(file, place, ignored).string();
    if (given == kStandardInput || inside.empty() || inside.starts_with("..")) {
        take_folder(*context, place, kElsewhere);
        context->put_text(kElsewhere, given == kStandardInput ? read_all(STDIN_FILENO) : file_text(file));
        return kElsewhere;
    }
    take_folder(*context, place, inside);
    return inside;
}

ExitStatus build(const BuildWords& words, const options::variables_map& values) {
    Store store = open_store(values, Store::Use::shared);
    const Store::Hold hold = store.hold();
    Terminal terminal{words.is_quiet};
    const std::string tried = "cannot build '" + printable(words.place) + "'";
    try {
        std::optional<BuildContext> context;
        const std::string name = take_context(context, words, store.root() / "tmp");
        const Dockerfile file = take_dockerfile(*context, name);
        if (name == kElsewhere) {
            context->remove(name);
        }
        Events events;
        OwnContainers containers{store, words.kernel, events};
        ContainersBuildHost host{store,
                                 [&](const std::string&) { return registry_options(values); },
                                 containers.get(),
                                 events,
                                 terminal,
                                 words.host_config};
        const Digest image = Build{store, host, terminal, *context, words.build}.run(file);
        finish_build(store, events, terminal, image, words.names);
        if (words.is_quiet) {
            std::puts(image.text().c_str());
        }
        return ExitStatus::success;
    } catch (const RunFailed& error) {
        terminal.tell_all();
        throw Error{static_cast<ExitStatus>(error.status()), tried, error.what()};
    } catch (const ApiError& error) {
        terminal.tell_all();
        throw Error{ExitStatus::bad_file, tried, error.what()};
    }
}

}  // namespace

ExitStatus run_build(const std::vector<std::string>& arguments) {
    Usage usage{
        .name = "build",
        .missing = "no folder is named",
        .text =
            "Usage: hull build [OPTION…] FOLDER|-\n"
            "Makes an image of what the folder's Dockerfile says, as 'docker build' does without BuildKit, "
            "but needs\n"
            "no daemon: each RUN is in a virtual machine of its own. - is an archive of such a folder, or a\n"
            "Dockerfile alone, from standard input. What is the same as in an earlier build is not done "
            "again.\n"};
    const auto text = [](const char* name) { return options::value<OptionValues>()->value_name(name); };
    const auto flag = [] { return options::value<OptionValues>()->zero_tokens(); };
    usage.known.add_options()                                                                             //
        ("tag,t", text("NAME[:TAG]"), "a name for the image; may be given several times")                 //
        ("file,f", text("FILE"), "the Dockerfile (default: FOLDER/Dockerfile), or - for standard input")  //
        ("build-arg", text("NAME[=VALUE]"),
         "what ARG declares; without a value, this process's variable; may be given several times")    //
        ("target", text("STAGE"), "the stage that is to become the image (default: the last one)")     //
        ("label", text("NAME=VALUE"), "a label of the image's; may be given several times")            //
        ("no-cache", flag(), "do everything again")                                                    //
        ("pull", flag(), "look for newer images of FROM, though they are here")                        //
        ("network", text("KIND"), "of RUN: user (default): a way out by the host's sockets; or none")  //
        ("add-host", text("NAME:IP"), "a line of /etc/hosts for RUN; may be given several times")      //
        ("memory,m", text("SIZE"), "memory that a RUN may use, for example 512m")                      //
        ("quiet,q", flag(), "print the image's id only, and all the rest where it fails")              //
        ("kernel", text("FILE"), "kernel; left out: what scripts/guest-kernel fetched")                //
        ("initramfs", text("FILE"),
         "initramfs with the kernel's modules, as scripts/guest-initramfs makes it");
    add_store_option(usage.known);
    add_registry_options(usage.known);
    OptionValues places;
    const auto values = usage.read(arguments, &places, 1, 1);
    if (!values) {
        return ExitStatus::success;
    }
    return build(read_words(*values, places.front()), *values);
}

}  // namespace hull::container
