// The variables of ARG.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace hull::container {

/// By Docker's rules: what the user gives wins over what the file says; what stands before the first FROM is
/// a stage's only where an ARG there names it; HTTP_PROXY and the like need not be named. One thread.
class BuildArguments {
  public:
    /// What the user gives; none: a name without a value, which says nothing.
    using Given = std::map<std::string, std::optional<std::string>>;

    explicit BuildArguments(Given given) : given_{std::move(given)} {}

    /// ARG before the first FROM.
    void add_global(const std::string& name, const std::optional<std::string>& value);
    /// ARG in a stage.
    void add(const std::string& name, const std::optional<std::string>& value);
    /// What the user gives for a name, which need not be any ARG's.
    [[nodiscard]] std::optional<std::string> given(const std::string& name);
    /// Another stage begins.
    void begin_stage() { ours_.clear(); }

    /// In FROM.
    [[nodiscard]] std::optional<std::string> find_global(const std::string& name) const;
    /// In a stage.
    [[nodiscard]] std::optional<std::string> find(const std::string& name) const;
    /// NAME=VALUE of all that a stage's commands get beside their environment, sorted.
    [[nodiscard]] std::vector<std::string> all_but(const std::vector<std::string>& environment) const;
    /// Whether a command is another one with it: the predefined ones do not count where no ARG names them.
    [[nodiscard]] bool counts(const std::string& name) const;
    /// Of those that were given the names that nothing has asked for, sorted.
    [[nodiscard]] std::vector<std::string> unused() const;

  private:
    using Values = std::map<std::string, std::optional<std::string>>;
    [[nodiscard]] std::optional<std::string> value_of(const std::string& name, const Values& known) const;

    Given given_;
    Values globals_;
    Values ours_;
    std::set<std::string> used_;
};

}  // namespace hull::container
