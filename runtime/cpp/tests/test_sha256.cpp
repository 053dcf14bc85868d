// SHA-256 against the digests of FIPS 180-4's examples.
#include "sha256.hpp"

#include "status.hpp"

#include <doctest/doctest.h>

#include <string>

namespace {

std::string digest(const std::string &text, std::size_t piece) {
    hrt::Sha256 sha;
    for (std::size_t i = 0; i < text.size(); i += piece) {
        const std::string part = text.substr(i, piece);
        sha.update(part.data(), part.size());
    }
    return sha.hex();
}

} // namespace

TEST_CASE("digests are those of the standard, whatever the pieces") {
    const std::string million(1000000, 'a');
    for (const std::size_t piece : {1UL, 7UL, 63UL, 64UL, 65UL, 4096UL, 2000000UL}) {
        CHECK(digest("", piece) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        CHECK(digest("abc", piece) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        CHECK(digest("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", piece) ==
              "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
        CHECK(digest(million, piece) == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    }
}

TEST_CASE("a file that cannot be read is an error with its name") {
    CHECK_THROWS_WITH_AS(hrt::sha256_of_file("/no/such/file"),
                         "/no/such/file cannot be read; make it readable or build the bundle again", hrt::Error);
}
