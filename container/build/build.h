// Carries a Dockerfile out.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "container/build/build_arguments.h"
#include "container/build/build_context.h"
#include "container/build/copy.h"
#include "container/build/expand.h"
#include "container/build/instruction.h"
#include "container/image/layer_intake.h"
#include "container/image/store.h"

namespace hull::container {

struct BuildOptions {
    BuildArguments::Given arguments{};
    std::string target{};  ///< of a stage, or empty: the last one
    std::map<std::string, std::string> labels{};
    bool uses_cache = true;
    bool pulls = false;                ///< FROM's images, even where they are here
    bool removes = true;               ///< the containers of steps that were done
    bool always_removes = false;       ///< and of those that failed
    std::vector<std::string> notes{};  ///< what is told at first, a line each
};

/// Who looks on. One thread.
class BuildOutput {
  public:
    BuildOutput() = default;
    BuildOutput(const BuildOutput&) = delete;
    BuildOutput& operator=(const BuildOutput&) = delete;
    virtual ~BuildOutput() = default;

    virtual void print(const std::string& text) = 0;
    /// What a command says on its standard error.
    virtual void print_error(const std::string& text) = 0;
    /// A stage has become an image.
    virtual void tell_image(const Digest& image) = 0;
    /// Nobody waits for the build any more.
    [[nodiscard]] virtual bool is_given_up() = 0;
};

/// In which a command of RUN runs.
class StepContainer {
  public:
    StepContainer() = default;
    StepContainer(const StepContainer&) = delete;
    StepContainer& operator=(const StepContainer&) = delete;
    virtual ~StepContainer() = default;

    [[nodiscard]] virtual const std::string& id() const = 0;
    /// Runs the command to its end, and answers its exit status. Throws ApiError where it cannot be started,
    /// or nobody waits for the build any more.
    virtual int run(BuildOutput& output) = 0;
    /// What it has changed, once it has run; no time is later than `latest`, in seconds since 1970.
    virtual TakenLayer changes(Store& store, std::optional<int64_t> latest) = 0;
    /// It goes, whether it runs or not.
    virtual void remove() = 0;
};

/// What a build needs of the daemon.
class BuildHost {
  public:
    BuildHost() = default;
    BuildHost(const BuildHost&) = delete;
    BuildHost& operator=(const BuildHost&) = delete;
    virtual ~BuildHost() = default;

    /// Gets an image from its registry. Throws ApiError and Error.
    virtual void pull(const std::string& name) = 0;
    /// A file of the web's, which ADD copies.
    struct Fetched {
        int64_t modified = 0;  ///< seconds since 1970, where the server says so
        ByteSource content;    ///< throws Error, and ApiError where nobody waits for the build any more
    };
    /// Throws ApiError and Error where there is no such file. The answer does not outlive the host.
    virtual Fetched fetch(const std::string& url) = 0;
    /// A container that is to run this command, as the image is run else; `environment` is all of it.
    virtual std::unique_ptr<StepContainer> create(const StoredImage& image,
                                                  const std::vector<std::string>& command,
                                                  const std::vector<std::string>& environment) = 0;
};

/// A command of RUN's has failed.
class RunFailed : public std::runtime_error {
  public:
    RunFailed(const std::string& what, int status) : std::runtime_error{what}, status_{status} {}
    [[nodiscard]] int status() const { return status_; }

  private:
    int status_;
};

/// One build. The steps are dockerd's classic builder's: each makes an image of the one before it, which is
/// kept without a name, as the child of that one. Where a child was made by the same instruction and is run
/// alike, it is taken instead: that is the cache, and it is in the store alone. One thread.
class Build {
  public:
    /// All outlive it. The caller has a Hold of the store's.
    Build(Store& store, BuildHost& host, BuildOutput& output, const BuildContext& context,
          BuildOptions options)
        : store_{store},
          host_{host},
          output_{output},
          context_{context},
          options_{std::move(options)},
          arguments_{options_.arguments} {}

    /// Answers the image that the last stage, or the target, has become. Throws ApiError (400 where the file
    /// is wrong), RunFailed and Error.
    Digest run(const Dockerfile& file);

  private:
    /// What has become of a stage so far.
    struct Stage {
        std::optional<StoredImage> image;  // none: nothing was done to an empty one
        ImageConfig config;                // of the next one
        bool is_command_set = false;       // by CMD in this stage
        bool is_cache_over = false;        // nothing behind a step that was done can be there
    };

    void take_source_date();
    [[nodiscard]] std::string time_of_making() const;
    void begin(const BuildStage& stage);
    void run_triggers(const std::vector<std::string>& triggers);
    void take_image(StoredImage image);
    [[nodiscard]] StoredImage image_of(const std::string& name, bool pulls);
    void check_platform(const std::string& platform) const;
    [[nodiscard]] Lookup global_lookup() const;
    [[nodiscard]] Lookup lookup() const;
    [[nodiscard]] std::string expand(const Instruction& instruction, const std::string& word) const;
    [[nodiscard]] std::vector<std::string> shell() const;

    void carry_out(Instruction instruction);
    void expand_all(Instruction& instruction) const;
    void set_pairs(const Instruction& instruction, bool are_labels);
    void declare(const Instruction& instruction);
    void declare_global(const Instruction& instruction);
    [[nodiscard]] std::optional<StoredImage> image_to_copy_from(const std::string& from);
    void set_command(const Instruction& instruction);
    void expose(const Instruction& instruction);
    void set_health(const Instruction& instruction);
    void change_folder(const Instruction& instruction);
    void run_command(const Instruction& instruction);
    void copy(const Instruction& instruction);
    /// Here-documents and files of the web's become sources, of which `made` has the contents.
    void add_made_sources(const Instruction& instruction, const std::vector<std::string>& urls,
                          std::vector<CopySource>& sources, BuildContext& made);

    /// An image that differs in its configuration only.
    void commit(const std::string& comment);
    [[nodiscard]] std::string comment_of(const std::string& text) const;
    /// Takes the image that this step has made before, where there is one.
    bool take_cached(const std::string& made_by);
    /// Makes the next image.
    void add(const std::string& made_by, std::optional<TakenLayer> layer);
    [[nodiscard]] std::vector<std::filesystem::path> disks() const;

    Store& store_;
    BuildHost& host_;
    BuildOutput& output_;
    const BuildContext& context_;
    const BuildOptions options_;
    BuildArguments arguments_;
    char escape_ = '\\';
    const Stages* stages_ = nullptr;
    /// SOURCE_DATE_EPOCH (reproducible-builds.org's specification): no time in what is made is a later one.
    std::optional<int64_t> source_date_;
    std::vector<std::optional<StoredImage>> done_;  // by stage
    Stage stage_;
};

/// The context's file of this name, parsed; a `Dockerfile` that is written small is taken, too. It and
/// `.dockerignore` are taken away from the context where the latter leaves them out. Throws ApiError (400).
Dockerfile take_dockerfile(BuildContext& context, std::string name);

/// As Go prints a list of texts with %q: ["a" "b"].
std::string list_in_quotes(const std::vector<std::string>& texts);

}  // namespace hull::container
