// Gets images from registries, and puts them there.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "container/image/authorization.h"
#include "container/image/digest.h"
#include "container/image/exchange.h"
#include "container/image/manifest.h"
#include "container/image/reference.h"
#include "container/layer/tar_reader.h"

namespace hull::container {

struct RegistryOptions {
    std::vector<std::string> insecure;  ///< HOST[:PORT] whose certificate is not checked, or who have no TLS
    std::vector<std::string> mirrors;   ///< URLs of registries that are asked before docker.io
    std::filesystem::path credentials;  ///< docker's config.json; may be missing
    std::string login{};                ///< instead: "NAME:PASSWORD" in base64, for who is no mirror
    std::chrono::seconds patience{30};  ///< how long nothing, or next to nothing, may come
};

/// A registry that knows who asks, or does not, and refuses (registry_failure).
class AccessDenied : public Error {
  public:
    using Error::Error;
};

/// A repository in a registry, by the OCI distribution specification 1.1, "Pulling" and "Push": with basic
/// authentication or tokens (distribution's docs/spec/auth/token.md), by TLS, or without on the loopback and
/// where that was allowed. Authorization goes to the registry and its token server and is not carried on to
/// where they redirect to. Functions may be called by several threads. Each throws Error: registry_failure
/// where the registry cannot be reached, refuses (AccessDenied), is too slow or ends early; bad_file where
/// what comes is not what it should be.
class Registry {
  public:
    /// For a login the reference is of a registry alone: it has no path and no tag.
    enum class Purpose { pull, push, login };

    /// Throws Error (usage) where an option is of no use.
    Registry(Reference reference, RegistryOptions options, Purpose purpose = Purpose::pull);

    struct Document {
        std::string text;
        std::string media_type;  ///< as the registry says
        Digest digest;           ///< of the text
    };
    /// What the reference's tag or digest means there. Before anything else: it chooses between the mirrors,
    /// those that fail being passed over.
    Document manifest();
    /// What such a descriptor points to, of the right size and digest.
    Document manifest(const Descriptor& descriptor);
    std::string blob(const Descriptor& descriptor);

    /// The same piece by piece: never more than the descriptor's size, and an Error where less comes. The
    /// digest is the reader's to check. The registry outlives it; one thread reads, and gets an Error soon
    /// after `is_given_up` has become true.
    ByteSource open_blob(const Descriptor& descriptor, const std::atomic<bool>& is_given_up);

    /// For a push: before anything else, finds out how the registry is reached, and who may. No mirrors are
    /// asked. For a login that is all, and AccessDenied where it does not take the credentials.
    void connect();
    /// Whether the repository has it.
    bool has_blob(const Digest& digest);
    /// Puts a blob there, which `content` is all of; ends with an Error soon after `is_given_up` has become
    /// true.
    void put_blob(const Descriptor& descriptor, const Exchange::Content& content,
                  const std::atomic<bool>& is_given_up);
    /// Gives the reference's tag this meaning. All that the manifest refers to is there.
    void put_manifest(const std::string& text, const std::string& media_type);

  private:
    struct Endpoint {
        std::string url;   ///< without a slash at its end
        std::string host;  ///< with its port
        bool is_checked;   ///< its certificate
        bool is_mirror;
    };

    [[nodiscard]] bool is_insecure(const std::string& host) const;
    Document get_manifest(const std::string& name);
    /// To the endpoint that is used, or on its behalf.
    [[nodiscard]] Exchange::Request make_request(const std::string& url) const;
    /// Of what is below the repository's `path`.
    [[nodiscard]] std::string url_of(const std::string& path) const;
    /// Asks, and once more where the registry wants to know who does. Elsewhere than at the registry
    /// itself nobody is told that.
    std::unique_ptr<Exchange> ask(Exchange::Request request);
    /// The exchange whose content is what is below the repository's `path`.
    std::unique_ptr<Exchange> get(const std::string& path, const std::string& accepted,
                                  const std::atomic<bool>* is_given_up);
    void refuse_unless_success(Exchange& exchange) const;
    [[noreturn]] void refuse(Exchange& exchange) const;
    /// Where an upload goes on, as the registry has answered.
    [[nodiscard]] std::string next_place(const Exchange& exchange, const std::string& url) const;
    /// The header that answers one of these challenges.
    std::string authorize(const std::vector<std::string>& headers);
    void check_authorization();
    std::string fetch_token(const Challenge& challenge, const std::string& credentials);
    [[nodiscard]] std::string tried() const;

    Reference reference_;
    RegistryOptions options_;
    Purpose purpose_;
    std::vector<Endpoint> endpoints_;
    size_t endpoint_ = 0;  // the one that is used
    std::atomic<bool> has_answered_ = false;
    Connections connections_;
    std::mutex mutex_;
    std::string authorization_;  // the header, under the mutex
};

}  // namespace hull::container
