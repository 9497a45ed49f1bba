// Questions for names, from guests that may be hostile, and their answers.
#include "container/network/name_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>

#include <array>
#include <filesystem>
#include <functional>
#include <string>
#include <utility>

#include "base/small_file.h"
#include "container/network/dns_message.h"
#include "container/network/name_forwarder.h"
#include "container/network/name_table.h"
#include "tests/support/files.h"
#include "tests/support/sockets.h"

namespace hull::container {
namespace {

using namespace std::chrono_literals;
using namespace std::string_literals;
using testing::ElementsAre;
using testing::EndsWith;
using testing::IsEmpty;
using testing::StartsWith;

constexpr uint16_t kA = DnsQuestion::kA;

std::string word(unsigned value) {
    return {static_cast<char>(value >> 8), static_cast<char>(value & 0xff)};
}

std::string labels(const std::string& name) {
    std::string all;
    for (size_t at = 0; at < name.size();) {
        const size_t end = std::min(name.find('.', at), name.size());
        all += static_cast<char>(end - at) + name.substr(at, end - at);
        at = end + 1;
    }
    return all + '\0';
}

/// With recursion wanted.
std::string query(const std::string& name, unsigned type = kA, unsigned id = 0x1234, unsigned kind = 1) {
    return word(id) + "\1\0\0\1\0\0\0\0\0\0"s + labels(name) + word(type) + word(kind);
}

std::string with_size(std::string message, unsigned size) {
    message[11] = 1;
    return message + '\0' + word(41) + word(size) + "\0\0\0\0\0\0"s;
}

TEST(DnsQuestion, IsReadAsItIsAsked) {
    const DnsQuestion question = DnsQuestion::parse(query("Web.My_net", 28)).value();
    EXPECT_EQ(question.id, 0x1234);
    EXPECT_EQ(question.name, "web.my_net");
    EXPECT_EQ(question.type, 28);
    EXPECT_EQ(question.kind, 1);
    EXPECT_TRUE(question.wants_recursion);
    EXPECT_EQ(question.most_reply, 512U);
    EXPECT_EQ(question.bytes, labels("Web.My_net") + word(28) + word(1)) << "as it came, for who compares";
    EXPECT_EQ(DnsQuestion::parse(with_size(query("a"), 1232))->most_reply, 1232U);
    EXPECT_EQ(DnsQuestion::parse(with_size(query("a"), 65535))->most_reply, 4096U);
    EXPECT_EQ(DnsQuestion::parse(with_size(query("a"), 1))->most_reply, 512U);
    EXPECT_EQ(DnsQuestion::parse(query(""))->name, "") << "the root";
    EXPECT_EQ(DnsQuestion::parse(query("a b"))->name, "") << "no name of a container's";
    EXPECT_EQ(DnsQuestion::parse(word(1) + "\0\0\0\1\0\0\0\0\0\0\3a.b\0\0\1\0\1"s)->name, "")
        << "a dot in a label is none between two";
}

TEST(DnsQuestion, RefusesWhatIsNone) {
    const std::string whole = query("web");
    for (size_t size = 0; size < whole.size(); ++size) {
        EXPECT_FALSE(DnsQuestion::parse(whole.substr(0, size))) << size;
    }
    const auto changed = [&](size_t at, const std::string& bytes) {
        std::string message = whole;
        message.replace(at, bytes.size(), bytes);
        return message;
    };
    const struct {
        const char* name;
        std::string message;
    } rows[] = {
        {"a reply", changed(2, "\x81")},
        {"another operation", changed(2, "\x29")},
        {"no question", changed(4, word(0))},
        {"two questions", changed(4, word(2))},
        {"65535 questions", changed(4, word(65535))},
        {"an answer", changed(6, word(1))},
        {"an authority", changed(8, word(1))},
        {"a pointer", changed(12, "\xc0\x0c")},
        {"a pointer ahead", changed(12, "\xc0\x10")},
        {"a label of another kind", changed(12, "\x43")},
        {"a label that is too long", changed(12, "\x3f")},
        {"a name of 256 bytes", query(std::string(63, 'a') + "." + std::string(63, 'b') + "." +
                                      std::string(63, 'c') + "." + std::string(62, 'd'))},
        {"too large", whole + std::string(4096, 'x')},
    };
    for (const auto& row : rows) {
        EXPECT_FALSE(DnsQuestion::parse(row.message)) << row.name;
    }
    EXPECT_TRUE(DnsQuestion::parse(query(std::string(63, 'a') + "." + std::string(63, 'b') + "." +
                                         std::string(63, 'c') + "." + std::string(61, 'd'))));
    // What stands behind the question is nobody's to believe.
    EXPECT_EQ(DnsQuestion::parse(with_size(whole, 1232).substr(0, whole.size() + 10))->most_reply, 512U);
}

TEST(DnsQuestion, MayBeForTheNameOfAnAddress) {
    const auto address = [](const char* name) {
        DnsQuestion question;
        question.name = name;
        return question.reverse_address();
    };
    EXPECT_EQ(address("2.0.17.172.in-addr.arpa"), 0xac110002U);
    for (const char* name :
         {"", "in-addr.arpa", ".in-addr.arpa", "1.2.3.in-addr.arpa", "1.2.3.4.5.in-addr.arpa",
          "256.0.17.172.in-addr.arpa", "x.0.17.172.in-addr.arpa", "1..17.172.in-addr.arpa",
          "-1.0.17.172.in-addr.arpa", "2.0.17.172.in-addr.arpa.example"}) {
        EXPECT_FALSE(address(name)) << name;
    }
}

TEST(DnsReply, IsWrittenAsProgramsReadIt) {
    const DnsQuestion question = DnsQuestion::parse(query("web")).value();
    const std::string asked = "\3web\0\0\1\0\1"s;
    EXPECT_EQ(dns_reply(question, DnsResult::failed), "\x12\x34\x81\x82\0\1\0\0\0\0\0\0"s + asked);
    EXPECT_EQ(dns_addresses(question, {0xac110002}, 512),
              "\x12\x34\x81\x80\0\1\0\1\0\0\0\0"s + asked + "\xc0\x0c\0\1\0\1\0\0\2\x58\0\4\xac\x11\0\2"s);
    EXPECT_EQ(dns_name(question, "web.net"), "\x12\x34\x81\x80\0\1\0\1\0\0\0\0"s + asked +
                                                 "\xc0\x0c\0\x0c\0\1\0\0\2\x58\0\x09\3web\3net\0"s);
    const std::string cut = dns_addresses(question, std::vector<uint32_t>(100, 1), 512);
    EXPECT_LE(cut.size(), 512U);
    EXPECT_THAT(cut, StartsWith("\x12\x34\x83\x80\0\1\0\x1e"s)) << "thirty, and it says that there are more";
    EXPECT_EQ(dns_addresses(question, std::vector<uint32_t>(100, 1), 65535).size(), 21U + 1600U);
    EXPECT_EQ(dns_name(question, std::string(64, 'x')), dns_reply(question, DnsResult::ok));
    EXPECT_EQ(dns_name(question, "a..b"), dns_reply(question, DnsResult::ok));
    const std::string reply = dns_reply(question, DnsResult::ok);
    EXPECT_TRUE(is_reply_to(reply, question, 0x1234));
    EXPECT_FALSE(is_reply_to(reply, question, 0x1235));
    EXPECT_FALSE(is_reply_to(query("web"), question, 0x1234)) << "a question";
    EXPECT_FALSE(
        is_reply_to(dns_reply(DnsQuestion::parse(query("wex")).value(), DnsResult::ok), question, 0x1234));
    EXPECT_FALSE(is_reply_to(reply.substr(0, reply.size() - 1), question, 0x1234));
}

TEST(NameTable, IsReadAgainWhenItIsAnother) {
    const test::TemporaryFolder folder;
    NameTable table{folder.path() / "names"};
    EXPECT_THAT(table.addresses_of("web"), IsEmpty()) << "there is no file";
    replace_file(
        folder.path() / "names",
        "# comment\n172.18.0.2 Web.My.net Web 0123456789ab www # other\n\nnonsense web.x web\n1.2.3.4\n"
        "172.18.0.3\tdb.my.net db www\n172.18.0.2 Web.My.net web");
    EXPECT_THAT(table.addresses_of("web"), ElementsAre(0xac120002U));
    EXPECT_THAT(table.addresses_of("web.my.net"), ElementsAre(0xac120002U));
    EXPECT_THAT(table.addresses_of("0123456789ab.my.net"), ElementsAre(0xac120002U));
    EXPECT_THAT(table.addresses_of("comment"), IsEmpty());
    EXPECT_THAT(table.addresses_of("other"), IsEmpty());
    const auto first = table.addresses_of("www");
    const auto second = table.addresses_of("www");
    ASSERT_EQ(first.size(), 2U);
    EXPECT_THAT(second, ElementsAre(first[1], first[0])) << "in turns";
    EXPECT_EQ(table.name_of(0xac120002), "Web.My.net");
    EXPECT_EQ(table.name_of(0x01020304), "");
    replace_file(folder.path() / "names", "172.18.0.9 web.my.net web\n");
    EXPECT_THAT(table.addresses_of("web"), ElementsAre(0xac120009U));
    EXPECT_THAT(table.addresses_of("db"), IsEmpty());
    std::filesystem::remove(folder.path() / "names");
    EXPECT_THAT(table.addresses_of("web"), IsEmpty());
    std::filesystem::create_directory(folder.path() / "names");
    EXPECT_THAT(table.addresses_of("web"), IsEmpty());
}

/// A server at the host's loopback, which answers when the test says so.
class DnsServer {
  public:
    DnsServer() {
        sockaddr_in address = test::at("127.0.0.1", 0);
        EXPECT_EQ(bind(datagrams_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    }
    [[nodiscard]] SocketAddress address() const { return SocketAddress::of(datagrams_.get()); }
    [[nodiscard]] int fd() const { return datagrams_.get(); }
    /// What was asked; kept for the answer.
    std::string take() {
        std::array<char, 5000> room{};
        socklen_t size = sizeof from_;
        const ssize_t got = recvfrom(datagrams_.get(), room.data(), room.size(), 0,
                                     reinterpret_cast<sockaddr*>(&from_), &size);
        return {room.data(), static_cast<size_t>(std::max<ssize_t>(got, 0))};
    }
    void answer(const std::string& message) {
        sendto(datagrams_.get(), message.data(), message.size(), 0, reinterpret_cast<sockaddr*>(&from_),
               sizeof from_);
    }

  private:
    UniqueFd datagrams_{socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
    sockaddr_in from_{};
};

std::string reply_of(std::string query, int result = 0) {
    query[2] = static_cast<char>(0x81);
    query[3] = static_cast<char>(0x80 | result);
    return query;
}

class NameForwarderTest : public testing::Test {
  protected:
    NameForwarderTest() { signal(SIGPIPE, SIG_IGN); }
    bool ask(const std::string& message, std::vector<SocketAddress> servers, bool by_stream = false) {
        return forwarder_.ask(DnsQuestion::parse(message).value(), message, by_stream, std::move(servers),
                              [this](std::string reply) {
                                  replies_.push_back(std::move(reply));
                                  loop_.stop();
                              });
    }

    EventLoop loop_;
    NameForwarder forwarder_{loop_, 300ms};
    DnsServer server_;
    std::vector<std::string> replies_;
};

TEST_F(NameForwarderTest, TakesTheTrueReply) {
    ASSERT_TRUE(ask(query("web"), {server_.address()}));
    loop_.watch(server_.fd(), [this] {
        const std::string asked = server_.take();
        std::string other = asked;
        other[0] = static_cast<char>(~other[0]);
        server_.answer(reply_of(other));
        server_.answer(reply_of(query(
            "wex", kA, static_cast<unsigned char>(asked[0]) << 8U | static_cast<unsigned char>(asked[1]))));
        server_.answer("");
        server_.answer(reply_of(asked) + "more");
    });
    loop_.run();
    EXPECT_THAT(replies_, ElementsAre(reply_of(query("web")) + "more"));
}

TEST_F(NameForwarderTest, AsksTheNextServer) {
    DnsServer silent;
    DnsServer unwilling;
    const SocketAddress nobody = DnsServer{}.address();
    int asked = 0;
    loop_.watch(unwilling.fd(), [&] { unwilling.answer(reply_of(unwilling.take(), 5)); });
    loop_.watch(server_.fd(), [&] {
        ++asked;
        server_.answer(reply_of(server_.take()));
    });
    ASSERT_TRUE(ask(query("web"), {nobody, unwilling.address(), server_.address()}));
    loop_.run();
    ASSERT_TRUE(ask(query("web"), {silent.address(), server_.address()}));
    loop_.run();
    EXPECT_THAT(replies_, ElementsAre(reply_of(query("web")), reply_of(query("web"))));
    EXPECT_EQ(asked, 2);
    replies_.clear();
    ASSERT_TRUE(ask(query("web"), {silent.address(), unwilling.address()}));
    loop_.run();
    ASSERT_TRUE(ask(query("web"), {silent.address(), silent.address(), silent.address(), server_.address()}));
    loop_.run();
    EXPECT_THAT(replies_, ElementsAre(reply_of(query("web"), 5), ""));
    EXPECT_EQ(asked, 2) << "three are asked";
}

TEST_F(NameForwarderTest, AsksByStreamToo) {
    const test::TcpListener listener = test::listen_tcp();
    UniqueFd stream;
    const std::string asked = word(static_cast<unsigned>(query("web").size())) + query("web");
    std::string got;
    const auto take = [&] {
        got += test::read_up_to(stream.get(), 1);
        if (got.size() == asked.size()) {
            loop_.forget(stream.get());
            const std::string reply = reply_of(got.substr(2)) + std::string(60'000, 'x');
            test::write_all(stream.get(), word(static_cast<unsigned>(reply.size())) + reply);
        }
    };
    loop_.watch(listener.fd.get(), [&] {
        stream = UniqueFd{accept4(listener.fd.get(), nullptr, nullptr, SOCK_CLOEXEC)};
        loop_.forget(listener.fd.get());
        loop_.watch(stream.get(), take);
    });
    ASSERT_TRUE(ask(query("web"), {SocketAddress{0x7f000001, listener.port}}, true));
    loop_.run();
    EXPECT_THAT(replies_, ElementsAre(reply_of(query("web")) + std::string(60'000, 'x')));
    EXPECT_EQ(got.substr(0, 2), asked.substr(0, 2));
    // One that ends in the middle.
    loop_.watch(listener.fd.get(), [&] {
        stream = UniqueFd{accept4(listener.fd.get(), nullptr, nullptr, SOCK_CLOEXEC)};
        test::write_all(stream.get(), word(100) + "short");
        stream.reset();
    });
    ASSERT_TRUE(ask(query("web"), {SocketAddress{0x7f000001, listener.port}}, true));
    loop_.run();
    EXPECT_EQ(replies_.at(1), "");
}

TEST_F(NameForwarderTest, AsksOnlySoMuchAtOnce) {
    for (size_t count = 0; count < NameForwarder::kMost; ++count) {
        ASSERT_TRUE(ask(query("web"), {server_.address()})) << count;
    }
    EXPECT_FALSE(ask(query("web"), {server_.address()}));
    loop_.run();
    EXPECT_EQ(replies_.at(0), "") << "nobody has answered in time";
    EXPECT_TRUE(ask(query("web"), {server_.address()}));
}

class NameServiceTest : public testing::Test {
  protected:
    NameServiceTest() {
        signal(SIGPIPE, SIG_IGN);
        replace_file(folder_.path() / "names", "172.18.0.2 web.net web\n172.18.0.3 b.net b\n");
        auto [ours, theirs] = test::make_socket_pair();
        guest_ = std::move(ours);
        service_.take_datagrams(std::move(theirs));
    }
    static std::string datagram(const std::string& message, const std::string& whose = "\x7f\0\0\1\x10\1"s) {
        return word(static_cast<unsigned>(message.size())) + whose + message;
    }
    /// What the guest is told within a moment, all that comes at once.
    std::string told(const UniqueFd& fd) {
        std::array<char, 20'000> room{};
        ssize_t got = -1;
        loop_.watch(fd.get(), [&] {
            got = recv(fd.get(), room.data(), room.size(), 0);
            loop_.stop();
        });
        loop_.set_deadline(500ms, [this] { loop_.stop(); });
        loop_.run();
        loop_.forget(fd.get());
        return got < 0 ? "nothing" : std::string{room.data(), static_cast<size_t>(got)};
    }

    const test::TemporaryFolder folder_;
    EventLoop loop_;
    NameService service_{loop_, folder_.path() / "names", {"127.255.255.254", "none"}};
    UniqueFd guest_;
};

TEST_F(NameServiceTest, AnswersWhatItKnows) {
    const std::string whole = datagram(query("WEB"));
    test::write_all(guest_.get(), whole.substr(0, 5));
    EXPECT_EQ(told(guest_), "nothing");
    test::write_all(guest_.get(), whole.substr(5));
    const DnsQuestion question = DnsQuestion::parse(query("WEB")).value();
    EXPECT_EQ(told(guest_), datagram(dns_addresses(question, {0xac120002}, 512)));
    test::write_all(guest_.get(),
                    datagram(query("web.net", 28)) + datagram(query("3.0.18.172.in-addr.arpa", 12)));
    std::string both;
    for (int tries = 0; tries < 20 && both.find("\1b\3net\0"s) == std::string::npos; ++tries) {
        const std::string part = told(guest_);
        both += part == "nothing" ? "" : part;
    }
    EXPECT_THAT(
        both,
        StartsWith(datagram(dns_reply(DnsQuestion::parse(query("web.net", 28)).value(), DnsResult::ok))));
    EXPECT_THAT(both, testing::HasSubstr("\1b\3net\0"s));
    // By a stream, which ends where it is none.
    auto [ours, theirs] = test::make_socket_pair();
    service_.take_stream(std::move(theirs));
    test::write_all(ours.get(), word(static_cast<unsigned>(query("b").size())) + query("b"));
    const std::string reply = dns_addresses(DnsQuestion::parse(query("b")).value(), {0xac120003}, 512);
    EXPECT_EQ(told(ours), word(static_cast<unsigned>(reply.size())) + reply);
    test::write_all(ours.get(), "\xff\xff");
    EXPECT_EQ(told(ours), "") << "its end";
}

TEST_F(NameServiceTest, AsksTheServersForTheRest) {
    // Nobody is there: the loopback says so at once.
    for (const std::string& asked : {query("example.org"), query("web", 15), query("web", kA, 1, 3),
                                     query("9.9.18.172.in-addr.arpa", 12)}) {
        test::write_all(guest_.get(), datagram(asked));
        EXPECT_EQ(told(guest_), datagram(dns_reply(DnsQuestion::parse(asked).value(), DnsResult::failed)));
    }
}

TEST_F(NameServiceTest, AsksNobodyWhereNothingLeadsOut) {
    const UniqueFd server{socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
    const SocketAddress address = SocketAddress::parse("127.255.255.253", NameForwarder::kPort).value();
    if (bind(server.get(), address.get(), address.size()) != 0) {
        GTEST_SKIP() << "port 53 is not this user's to have";
    }
    char byte = 0;
    for (const bool is_closed : {false, true}) {
        NameService service{loop_, folder_.path() / "names", {"127.255.255.253"}, is_closed};
        auto [guest, connection] = test::make_socket_pair();
        service.take_datagrams(std::move(connection));
        test::write_all(guest.get(), datagram(query("web")) + datagram(query("example.org")));
        EXPECT_NE(told(guest), "nothing") << "what is here is known";
        EXPECT_EQ(recv(server.get(), &byte, 1, 0), is_closed ? -1 : 1);
    }
}
TEST_F(NameServiceTest, IsHarmedByNoGuest) {
    test::write_all(guest_.get(), datagram("") + datagram("x") + datagram(std::string(4096, '\xff')) +
                                      datagram(query("web").substr(0, 20)) + datagram(query("web")));
    EXPECT_THAT(told(guest_), EndsWith("\xac\x12\0\2"s)) << "nonsense is passed over";
    test::write_all(guest_.get(), word(4097) + std::string(100, 'x'));
    EXPECT_EQ(told(guest_), "");
    // One who never takes his answers has only so many of them.
    auto [ours, theirs] = test::make_socket_pair();
    service_.take_datagrams(std::move(theirs));
    const int flags = fcntl(ours.get(), F_GETFL);
    fcntl(ours.get(), F_SETFL, flags | O_NONBLOCK);
    std::string many;
    for (int count = 0; count < 1000; ++count) {
        many += datagram(query("web"));
    }
    size_t sent = 0;
    for (int round = 0; round < 400; ++round) {
        const ssize_t took = send(ours.get(), many.data(), many.size(), MSG_NOSIGNAL);
        sent += took > 0 ? static_cast<size_t>(took) : 0;
        loop_.set_deadline(1ms, [this] { loop_.stop(); });
        loop_.run();
    }
    EXPECT_GT(sent, size_t{1} << 20) << "it is read on";
    std::vector<UniqueFd> held;
    for (size_t count = 0; count < 2 * NameService::kMostStreams; ++count) {
        auto [mine, its] = test::make_socket_pair();
        service_.take_stream(std::move(its));
        held.push_back(std::move(mine));
    }
    EXPECT_EQ(told(held.back()), "") << "so many are enough";
}

}  // namespace
}  // namespace hull::container
