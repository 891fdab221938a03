// SPDX-License-Identifier: Apache-2.0
// Expects a UsageError whose one line contains some words, each of them.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "base/error.h"

namespace moebench {

template <class Body, class... More>
void expect_usage_error(const Body& body, std::string_view words, More... more) {
  try {
    body();
    ADD_FAILURE() << "nothing was refused; expected: " << words;
  } catch (const UsageError& error) {
    const std::string what = error.what();
    for (const std::string_view part : {words, std::string_view(more)...})
      EXPECT_NE(what.find(part), std::string::npos) << what << "\ndoes not say: " << part;
    EXPECT_EQ(what.find('\n'), std::string::npos) << "an error is one line: " << what;
  }
}

}  // namespace moebench
