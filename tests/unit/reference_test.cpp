// Names of images, as docker takes and writes them.
#include "container/image/reference.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/support/errors.h"

namespace hull::container {
namespace {

const std::string kDigits(64, 'a');

TEST(Reference, ShortFormsAreCompletedAndWrittenAsPeopleKnowThem) {
    struct Row {
        std::string given;
        std::string whole;
        std::string familiar;
    };
    const std::string digest = "@sha256:" + kDigits;
    for (const Row& row : {
             Row{"nginx", "docker.io/library/nginx:latest", "nginx:latest"},
             Row{"nginx:1.25", "docker.io/library/nginx:1.25", "nginx:1.25"},
             Row{"library/nginx", "docker.io/library/nginx:latest", "nginx:latest"},
             Row{"docker.io/nginx", "docker.io/library/nginx:latest", "nginx:latest"},
             Row{"index.docker.io/nginx", "docker.io/library/nginx:latest", "nginx:latest"},
             Row{"user/app", "docker.io/user/app:latest", "user/app:latest"},
             Row{"library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"},
             Row{"localhost/app", "localhost/app:latest", "localhost/app:latest"},
             Row{"localhost:5000/app:x", "localhost:5000/app:x", "localhost:5000/app:x"},
             Row{"ghcr.io/a/b/c", "ghcr.io/a/b/c:latest", "ghcr.io/a/b/c:latest"},
             Row{"Host/app", "Host/app:latest", "Host/app:latest"},
             Row{"docker.io/us.er/app", "docker.io/us.er/app:latest", "docker.io/us.er/app:latest"},
             Row{"docker.io/" + kDigits, "docker.io/library/" + kDigits + ":latest",
                 "docker.io/library/" + kDigits + ":latest"},
             Row{"nginx" + digest, "docker.io/library/nginx" + digest, "nginx" + digest},
             Row{"nginx:1" + digest, "docker.io/library/nginx" + digest, "nginx" + digest},
             Row{"a.b:1/c" + digest, "a.b:1/c" + digest, "a.b:1/c" + digest},
             Row{"a__b---c.d_e", "docker.io/library/a__b---c.d_e:latest", "a__b---c.d_e:latest"},
             Row{"x:" + std::string(128, 'T'), "docker.io/library/x:" + std::string(128, 'T'),
                 "x:" + std::string(128, 'T')},
         }) {
        const Reference reference = Reference::parse(row.given);
        EXPECT_EQ(reference.text(), row.whole) << row.given;
        EXPECT_EQ(reference.familiar_text(), row.familiar) << row.given;
        EXPECT_EQ(Reference::parse(row.whole).text(), row.whole) << "once more";
        EXPECT_EQ(Reference::parse(row.familiar).text(), row.whole) << "once more";
    }
}

const std::string kTwice = "@sha256:" + kDigits + "@sha256:" + std::string(64, 'b');

TEST(Reference, WhatIsNoneIsRefusedInDockersWords) {
    struct Row {
        std::string given;
        std::string_view word;
    };
    for (const Row& row : {
             Row{"", "invalid reference format"},
             Row{":tag", "invalid reference format"},
             Row{"@sha256:" + kDigits, "invalid reference format"},
             Row{"Nginx", "repository name must be lowercase"},
             Row{"user/App", "repository name must be lowercase"},
             Row{kDigits, "cannot specify 64-byte hexadecimal strings"},
             Row{"a//b", "invalid reference format"},
             Row{"a/", "invalid reference format"},
             Row{"/a", "invalid reference format"},
             Row{"-a", "invalid reference format"},
             Row{"a-", "invalid reference format"},
             Row{"a___b", "invalid reference format"},
             Row{"a..b", "invalid reference format"},
             Row{"a__b-_c", "invalid reference format"},
             Row{"../../etc/passwd", "invalid reference format"},
             Row{"a.b/../c", "invalid reference format"},
             Row{"a b", "invalid reference format"},
             Row{"a\nb", "invalid reference format"},
             Row{std::string{"a\0b", 3}, "invalid reference format"},
             Row{"a:b:c", "invalid reference format"},
             Row{"a:-x", "invalid reference format"},
             Row{"a:", "invalid reference format"},
             Row{"a:b/c", "invalid reference format"},
             Row{"a:" + std::string(129, 't'), "invalid reference format"},
             Row{"host:port/a", "invalid reference format"},
             Row{"host:/a", "invalid reference format"},
             Row{"-host.com/a", "invalid reference format"},
             Row{"host..com/a", "invalid reference format"},
             Row{"user@host.com/a", "invalid reference format"},
             Row{"http://host/a", "invalid reference format"},
             Row{"a@sha256:" + std::string(63, 'a'), "invalid reference format"},
             Row{"a@sha512:" + kDigits, "invalid reference format"},
             Row{"a@sha256:" + std::string(64, 'A'), "invalid reference format"},
             Row{"a" + kTwice, "invalid reference format"},
             Row{"a/" + std::string(300, 'b'), "must not be more than 255 characters"},
         }) {
        test::expect_error([&] { Reference::parse(row.given); }, ExitStatus::usage, {row.word});
    }
}

}  // namespace
}  // namespace hull::container
