// SPDX-License-Identifier: Apache-2.0
// What is MPI's own: the launcher, and messages that do not fit.
#include <gtest/gtest.h>

#include "base/error.h"
#include "comm/memories.h"
#include "mpi/world_under_test.h"

namespace moebench {
namespace {

World& world() { return world_under_test(); }

TEST(MpiWorld, IsJoinedByMpirun) {
  EXPECT_EQ(world().name(), "mpi");
  EXPECT_EQ(detect_launch().launcher, "mpirun");
}

/// Rank 0 sends `sent` rows to rank 1, which expects `expected`; returns what rank 1's error says.
std::string error_of_mismatch(std::int64_t sent, std::int64_t expected) {
  HostMemory memory;
  const auto comm = world().make_comm(memory, {});
  const Tensor from(memory, DType::fp32, 100'000, 2), to(memory, DType::fp32, 100'000, 2);
  std::vector<Segment> sends(comm->size()), recvs(comm->size());
  if (comm->rank() == 0) sends[1].rows = sent;
  if (comm->rank() == 1) recvs[0].rows = expected;
  std::string error;
  try {
    comm->exchange_rows({from, to, sends, recvs});
  } catch (const CommError& thrown) {
    error = thrown.what();
  }
  world().barrier();
  return error;
}

TEST(MpiComm, NamesThePeerWhoseMessageDoesNotFit) {
  if (world().size() < 2) GTEST_SKIP() << "needs two ranks";
  const std::string shorter = error_of_mismatch(2, 3), longer = error_of_mismatch(3, 2);
  if (world().rank() == 1) {
    EXPECT_EQ(shorter, "rank 1 expected 24 bytes of rows from rank 0 and got 16");
    EXPECT_NE(longer.find("rows from rank 0 failed"), std::string::npos) << longer;
  } else {
    EXPECT_EQ(shorter + longer, "");
  }
}

TEST(MpiComm, RefusesAMessageBeyondMpisCounts) {
  if (world().size() < 2) GTEST_SKIP() << "needs two ranks";
  HostMemory memory;
  const auto comm = world().make_comm(memory, {});
  const std::int64_t rows = std::int64_t{1} << 31;
  const TensorView claimed{&memory, DType::bf16, rows, 1};  // refused before a byte of it is touched
  std::vector<Segment> sends(comm->size()), recvs(comm->size());
  sends[(comm->rank() + 1) % comm->size()].rows = rows;
  recvs[(comm->rank() + comm->size() - 1) % comm->size()].rows = rows;
  EXPECT_THROW(comm->exchange_rows({claimed, claimed, sends, recvs}), CommError);
}

}  // namespace
}  // namespace moebench
