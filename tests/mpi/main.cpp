// SPDX-License-Identifier: Apache-2.0
// Runs GoogleTest on every rank, of mpirun or of its own (--ranks N): rank 0 prints, the others only their
// failures, and one failure fails all.
#include <gtest/gtest.h>

#include <cstdio>
#include <memory>

#include "base/error.h"
#include "comm/local_ranks.h"
#include "mpi/world_under_test.h"

namespace moebench {
namespace {

constexpr double kTimeoutS = 40;

std::unique_ptr<World>& the_world() {
  static std::unique_ptr<World> world;
  return world;
}

/// Prints a rank's failures and nothing else.
class FailurePrinter : public testing::EmptyTestEventListener {
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (!result.failed()) return;
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    std::fprintf(stderr, "rank %d, %s.%s, %s:%d: %s\n", world_under_test().rank(),
                 test ? test->test_suite_name() : "", test ? test->name() : "", result.file_name(),
                 result.line_number(), result.message());
  }
};

}  // namespace

World& world_under_test() { return *the_world(); }

int run_tests(int argc, char** argv) {
  the_world() = make_world_under_test(kTimeoutS);
  testing::InitGoogleTest(&argc, argv);
  // After a failure the ranks may be out of step: what follows would only fail too.
  testing::GTEST_FLAG(fail_fast) = true;
  if (world_under_test().rank() > 0) {
    auto& listeners = testing::UnitTest::GetInstance()->listeners();
    delete listeners.Release(listeners.default_result_printer());
    listeners.Append(new FailurePrinter);
  }
  const bool failed = RUN_ALL_TESTS() != 0;
  std::fflush(nullptr);
  if (failed) world_under_test().abort(1);
  world_under_test().barrier();
  the_world().reset();
  return 0;
}

}  // namespace moebench

int main(int argc, char** argv) {
  try {
    if (const int ranks = moebench::ranks_to_start(argc, argv))
      return moebench::run_local_ranks(ranks, {argv, argv + argc});
    return moebench::run_tests(argc, argv);
  } catch (const moebench::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return static_cast<int>(error.code());
  }
}
