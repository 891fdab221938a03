// SPDX-License-Identifier: Apache-2.0
// Expects a UsageError whose one line contains some words.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "base/error.h"

namespace moebench {

template <class Body>
void expect_usage_error(const Body& body, std::string_view words) {
  try {
    body();
    ADD_FAILURE() << "nothing was refused; expected: " << words;
  } catch (const UsageError& error) {
    const std::string what = error.what();
    EXPECT_NE(what.find(words), std::string::npos) << what << "\ndoes not say: " << words;
    EXPECT_EQ(what.find('\n'), std::string::npos) << "an error is one line: " << what;
  }
}

}  // namespace moebench
