// SPDX-License-Identifier: Apache-2.0
// What every Comm must do, whatever carries the rows. A new Comm adds one INSTANTIATE_TEST_SUITE_P.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <ostream>
#include <string>

#include "base/memory.h"
#include "comm/comm.h"

namespace moebench {

/// A Comm and the memory its rows live in. Every rank of the program makes it at the same time.
struct CommUnderTest {
  std::string name;  ///< in the names of the tests
  std::function<std::unique_ptr<Memory>()> make_memory;
  std::function<std::unique_ptr<Comm>(Memory&)> make_comm;
};

inline void PrintTo(const CommUnderTest& comm, std::ostream* out) { *out << comm.name; }

class CommContract : public testing::TestWithParam<CommUnderTest> {
 protected:
  void SetUp() override {
    memory_ = GetParam().make_memory();
    comm_ = GetParam().make_comm(*memory_);
  }
  Memory& memory() { return *memory_; }
  Comm& comm() { return *comm_; }

 private:
  std::unique_ptr<Memory> memory_;
  std::unique_ptr<Comm> comm_;
};

inline std::string comm_name(const testing::TestParamInfo<CommUnderTest>& info) { return info.param.name; }

}  // namespace moebench
