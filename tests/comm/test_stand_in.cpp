// SPDX-License-Identifier: Apache-2.0
// One rank of a group, without the others.
#include <gtest/gtest.h>

#include <numeric>

#include "comm/memories.h"
#include "comm/stand_in.h"

namespace moebench {
namespace {

Tensor counted(Memory& memory, std::int64_t rows, float from) {
  Tensor tensor(memory, DType::fp32, rows, 2);
  auto* values = static_cast<float*>(tensor.view().data);
  std::iota(values, values + 2 * rows, from);
  return tensor;
}

std::vector<float> values_of(const Tensor& tensor) {
  const TensorView view = tensor.view();
  const auto* values = static_cast<const float*>(view.data);
  return {values, values + view.rows * view.cols};
}

TEST(StandInComm, ReceivesTheSizesItIsGivenAndItsOwn) {
  const std::vector<std::int64_t> received{1, 2, 0, 0, 5, 6};  // from ranks 0, 1, 2 to two experts
  HostMemory memory;
  const auto comm = make_stand_in_comm(1, 3, memory, received);
  EXPECT_EQ(comm->rank(), 1);
  EXPECT_EQ(comm->size(), 3);
  const std::vector<std::int64_t> sent{9, 9, 3, 4, 9, 9};
  std::vector<std::int64_t> got(6);
  comm->exchange_sizes(sent, got);
  EXPECT_EQ(got, (std::vector<std::int64_t>{1, 2, 3, 4, 5, 6}));
}

TEST(StandInComm, KeepsOwnRowsAndFillsTheOthersWithRowsItSends) {
  const std::vector<std::int64_t> received{2, 0};
  HostMemory memory;
  const auto comm = make_stand_in_comm(1, 2, memory, received);
  const Tensor sent = counted(memory, 3, 1);  // rows (1, 2), (3, 4), (5, 6): one to rank 0, two stay
  Tensor got = counted(memory, 4, -8);        // two from rank 0, two own
  const Segment sends[] = {{0, 1}, {1, 2}}, recvs[] = {{0, 2}, {2, 2}};
  const RowExchange exchange{.send = sent, .recv = got, .sends = sends, .recvs = recvs};
  comm->exchange_rows(exchange);
  EXPECT_EQ(values_of(got), (std::vector<float>{1, 2, 3, 4, 3, 4, 5, 6}));
}

TEST(StandInComm, FillsABufferOnceUntilItGrows) {
  const std::vector<std::int64_t> received{1, 0};
  HostMemory memory;
  const auto comm = make_stand_in_comm(1, 2, memory, received);
  const Tensor sent = counted(memory, 1, 1);
  Tensor got = counted(memory, 2, -8);
  const Segment none[] = {{0, 1}, {1, 0}}, recvs[] = {{0, 1}, {1, 0}};
  comm->exchange_rows({.send = sent, .recv = got, .sends = none, .recvs = recvs});
  auto* values = static_cast<float*>(got.view().data);
  values[0] = 77;
  comm->exchange_rows({.send = sent, .recv = got, .sends = none, .recvs = recvs});
  EXPECT_EQ(values_of(got).front(), 77);
}

TEST(StandInComm, SumsNothing) {
  const std::vector<std::int64_t> received(2);
  HostMemory memory;
  const auto comm = make_stand_in_comm(0, 2, memory, received);
  Tensor gradient = counted(memory, 1, 5);
  comm->all_reduce(gradient);
  EXPECT_EQ(values_of(gradient), (std::vector<float>{5, 6}));
}

}  // namespace
}  // namespace moebench
