// The daemon's containers: what they are, and what can be done with them.
#pragma once

#include <boost/json/object.hpp>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "container/api/api_error.h"
#include "container/contents/guest_contents.h"
#include "container/image/store.h"
#include "container/life/container_spec.h"
#include "container/life/events.h"
#include "container/life/networks.h"
#include "container/life/volumes.h"
#include "container/network/bridges.h"
#include "container/supervisor/channel.h"
#include "container/supervisor/container_files.h"
#include "container/supervisor/contents_question.h"
#include "container/supervisor/exec_config.h"
#include "container/supervisor/guest_process.h"
#include "vmm/main/fetched_files.h"

namespace hull::container {

/// How a container is just now.
struct ContainerView {
    enum class Stage { created, running, paused, restarting, removing, exited };
    std::string id;    ///< 64 hexadecimal digits
    std::string name;  ///< without a slash
    std::chrono::system_clock::time_point created{};
    std::shared_ptr<const ContainerSpec> spec;
    Stage stage = Stage::created;
    RunState state;                    ///< of the run that is, or was last; as made where there was none
    unsigned restarts = 0;             ///< by its policy
    std::vector<PortBinding> ports;    ///< as they are at the host; none while it does not run
    std::vector<Attachment> networks;  ///< by their names
    ContainerFiles files;

    /// Docker's word: "running".
    [[nodiscard]] std::string stage_word() const;
    [[nodiscard]] bool is_running() const { return stage == Stage::running || stage == Stage::paused; }
};

struct ExecView {
    std::string id;  ///< 64 hexadecimal digits
    std::string container;
    ExecConfig config;
    bool has_started = false;
    bool is_running = false;
    std::optional<int> exit_status;  ///< once it has ended
    int number = 0;                  ///< of it in its container
};

/// A client of a command's, on a connection that was taken out of HTTP.
struct AttachedClient {
    UniqueFd socket{};
    std::string first{};  ///< what it has sent already
    bool input = false;
    bool output = true;
    bool errors = true;
    std::vector<uint8_t> detach_keys{16, 17};  ///< Ctrl-P Ctrl-Q
};

/// Each container has a supervisor while it runs (container/supervisor), which this starts, follows, and
/// finds again where another daemon had started it. `name` is a name, an id or the beginning of one.
/// Everything throws ApiError, as dockerd answers (404: none of that name, 409: not while it is as it is),
/// and Error, where the host is in the way. Any thread.
class Containers {
  public:
    /// Starts the supervisor of a container whose run.json is there, and returns when it listens.
    using StartSupervisor = std::function<void(const ContainerFiles&)>;

    /// Loads what is below `root`/containers, and starts again what is to be. All outlive it. `kernel` is
    /// what guests get; where it is empty, what find_guest_kernel() finds at each start. Without `bridges`
    /// they get the user network.
    Containers(std::filesystem::path root, Store& store, GuestKernel kernel, Events& events,
               StartSupervisor start_supervisor, std::unique_ptr<Bridges> bridges = nullptr);
    Containers(const Containers&) = delete;
    Containers& operator=(const Containers&) = delete;
    /// Those that run go on without this.
    ~Containers();

    /// Answers its id. An empty name: one by chance.
    std::string create(const std::string& name, ContainerSpec spec);
    [[nodiscard]] ContainerView find(const std::string& name) const;
    [[nodiscard]] Networks& networks() { return networks_; }
    /// Those that containers use are told of that by this.
    [[nodiscard]] Volumes& volumes() { return volumes_; }
    /// The newest first.
    [[nodiscard]] std::vector<ContainerView> list() const;

    /// Returns when the command runs, or throws what kept it from that. 304 where it runs already.
    void start(const std::string& name);
    /// Sends `signal` (none: the container's own), and after `timeout` (negative: never; none: the
    /// container's own) SIGKILL. Returns when it has ended. 304 where it does not run.
    void stop(const std::string& name, std::optional<std::chrono::seconds> timeout,
              std::optional<int> signal = std::nullopt);
    void restart(const std::string& name, std::optional<std::chrono::seconds> timeout,
                 std::optional<int> signal = std::nullopt);
    void send_signal(const std::string& name, int signal);
    void pause(const std::string& name);
    void resume(const std::string& name);
    void rename(const std::string& name, const std::string& new_name);
    /// With its anonymous volumes that no other uses, where that is wanted.
    void remove(const std::string& name, bool is_forced, bool takes_volumes = false);
    /// Sets the size of its terminal.
    void resize(const std::string& name, unsigned rows, unsigned columns);

    /// Has it use no more than that from now on, where it runs, too, and its policy be another. `change` is
    /// what follows from its spec. 409 where it runs and its machine is too small.
    void update(const std::string& name, const std::function<SpecChange(const ContainerSpec&)>& change);

    /// Puts it into a network, by what `wanted` says beside the network; takes it out again, where that is
    /// wanted by force even of one that is not there any more. At once, while it runs, too.
    void connect(const std::string& name, const std::string& network, Attachment wanted);
    void disconnect(const std::string& name, const std::string& network, bool is_forced);

    /// Gives it a client, before it is started, too: then the client waits for it.
    void attach(const std::string& name, AttachedClient client);
    /// The files of its control group, by name. Empty where it does not run.
    [[nodiscard]] std::map<std::string, std::string> group(const std::string& name) const;

    /// Its processes, each with its number in the guest. 409 where it does not run.
    [[nodiscard]] ProcessList processes(const std::string& name);

    /// What is in its folders, or is to be put there; of a container that does not run, through a machine
    /// that is started for that, and ends by itself a few seconds after the last of these. 409 where it is
    /// about to be started again or removed.
    [[nodiscard]] std::unique_ptr<GuestContents> open_contents(const std::string& name,
                                                               const ContentsQuestion& question);
    /// Tells who wants to know that this was done with it ("export").
    void tell_of(const std::string& name, std::string action,
                 std::map<std::string, std::string> attributes = {});

    /// Answers its id.
    std::string make_exec(const std::string& container, ExecConfig config);
    [[nodiscard]] ExecView find_exec(const std::string& id) const;
    /// Without a client: it runs on its own.
    void start_exec(const std::string& id, std::optional<AttachedClient> client);
    void resize_exec(const std::string& id, unsigned rows, unsigned columns);

  private:
    struct Container;
    struct Exec;

    void load(const std::filesystem::path& folder);
    void find_again(const std::shared_ptr<Container>& container, std::unique_lock<std::mutex>& lock);
    void take_network_of_run(Container& container);
    void settle_networks(std::vector<Attachment>& all, const ContainerSpec& spec) const;
    void check_attachment(const Container& container, const Network& network, const Attachment& wanted) const;
    bool is_running(const std::shared_ptr<Container>& container);
    void plug(Container& container, const Network& network, const Attachment& wanted);
    void unplug(Container& container, const Endpoint& endpoint);
    void enter_networks(Container& container, ContainerConfig& config);
    std::vector<Attachment> leave_networks(Container& container);
    void tell_of_networks(const Container& container, const std::vector<Attachment>& networks,
                          const std::string& action);
    void write_names();
    static void note_death(Container& container);
    [[nodiscard]] std::shared_ptr<Container> look_up(const std::string& name) const;
    [[nodiscard]] std::shared_ptr<Exec> look_up_exec(const std::string& id) const;
    [[nodiscard]] static ContainerView view_of(const Container& container);
    void tell(const Container& container, std::string action,
              std::map<std::string, std::string> attributes = {});
    void write_record(const Container& container) const;
    void discard(const std::shared_ptr<Container>& container, std::unique_lock<std::mutex>& lock,
                 bool takes_volumes);
    void make_volumes(ContainerSpec& spec, const std::string& id);
    void find_volumes(const Container& container);
    void release_volumes(const ContainerSpec& spec, const std::string& id, bool takes_anonymous);
    void share_with(const Container& container, bool is_first_start, ContainerConfig& config);
    void tell_of_volumes(const Container& container, const std::string& action);
    static void remove_files(const Container& container);
    void require_running(const Container& container) const;
    void start_now(const std::shared_ptr<Container>& container);
    Channel launch(const std::shared_ptr<Container>& container);
    [[nodiscard]] RunFile run_of(const Container& container, const StoredImage& image) const;
    [[nodiscard]] StoredImage image_of(const Container& container) const;
    std::unique_ptr<GuestContents> open_at_rest(const std::shared_ptr<Container>& container,
                                                const ContentsQuestion& question);
    static void end_helper(Container& container, const char* how);
    static void end_quiet_supervisor(const ContainerFiles& files, const char* how);
    void claim_disk(const Container& container, const Volume& volume);
    bool stop_now(const std::shared_ptr<Container>& container, std::optional<std::chrono::seconds> timeout,
                  std::optional<int> signal);
    void freeze(const std::string& name, bool is_on);
    void follow(const std::shared_ptr<Container>& container, std::optional<Channel> watch);
    void follow_to_the_end(const std::shared_ptr<Container>& container, std::optional<Channel> watch);
    bool follow_run(const std::shared_ptr<Container>& container, Channel& watch);
    void take_report(const std::shared_ptr<Container>& container, const boost::json::object& message);
    void take_probe(const std::shared_ptr<Container>& container, const boost::json::object& message);
    void take_end(Container& container);
    static void tell_client(int socket, bool tty, const std::string& text);

    const std::filesystem::path root_;
    Store& store_;
    const GuestKernel kernel_;
    Events& events_;
    const StartSupervisor start_supervisor_;
    Volumes volumes_;
    Networks networks_;

    std::mutex names_mutex_;  // the files of names, one writer at a time; taken before mutex_
    mutable std::mutex mutex_;
    mutable std::condition_variable changed_;                       // a container, or its follower
    std::map<std::string, std::shared_ptr<Container>> containers_;  // by id
    std::map<std::string, std::shared_ptr<Exec>> execs_;            // by id
    size_t followers_ = 0;                                          // threads
    bool is_stopping_ = false;
    UniqueFd stop_ = make_eventfd();
};

}  // namespace hull::container
