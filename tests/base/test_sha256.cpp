// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "base/sha256.h"

namespace moebench {
namespace {

std::string hash_of(std::string_view text, std::size_t part) {
  Sha256 hash;
  for (; !text.empty(); text.remove_prefix(std::min(part, text.size()))) hash.add(text.substr(0, part));
  return hash.hex();
}

/// The examples of FIPS 180-4.
TEST(Sha256, IsThatOfTheStandard) {
  EXPECT_EQ(hash_of("", 1), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(hash_of("abc", 3), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hash_of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(hash_of(std::string(1000000, 'a'), 4096),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, DependsOnTheBytesAloneNotOnTheParts) {
  const std::string text(300, 'x');
  for (const std::size_t part : {1, 7, 55, 56, 63, 64, 65, 300})
    EXPECT_EQ(hash_of(text, part), hash_of(text, 128)) << part;
}

}  // namespace
}  // namespace moebench
