// SPDX-License-Identifier: Apache-2.0
// The contract of comm/comm.h as tests: sizes, rows, sums, groups. Every value is computed on the receiving
// rank from (sender, receiver, segment, index), so nothing here relies on another exchange to be right.
#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/random.h"
#include "contract/comm_contract.h"
#include "contract/row_round_trip.h"

namespace moebench {
namespace {

template <class T>
std::vector<T> download(Memory& memory, const TensorView& tensor) {
  std::vector<T> values(tensor.bytes() / sizeof(T));
  memory.copy_to_host(values.data(), tensor.data, tensor.bytes());
  return values;
}

template <class T>
Tensor upload(Memory& memory, DType dtype, const std::vector<T>& values) {
  Tensor tensor(memory, dtype, static_cast<std::int64_t>(values.size()), 1);
  memory.copy_from_host(tensor.view().data, values.data(), values.size() * sizeof(T));
  return tensor;
}

TEST_P(CommContract, KnowsItsPlaceInTheGroup) {
  EXPECT_GE(comm().size(), 1);
  EXPECT_GE(comm().rank(), 0);
  EXPECT_LT(comm().rank(), comm().size());
  EXPECT_FALSE(comm().name().empty());
}

TEST_P(CommContract, BringsEachPeerItsSizes) {
  const int ranks = comm().size(), me = comm().rank();
  for (const int n : {0, 1, 5}) {
    std::vector<std::int64_t> send, want, got(ranks * n, -1);
    const auto size = [](int from, int to, int i) {
      return (std::int64_t{1} << 40) + from * 10000 + to * 100 + i;
    };
    for (int peer = 0; peer < ranks; ++peer)
      for (int i = 0; i < n; ++i) {
        send.push_back(size(me, peer, i));
        want.push_back(size(peer, me, i));
      }
    comm().exchange_sizes(send, got);
    EXPECT_EQ(got, want) << n << " per peer";
  }
}

TEST_P(CommContract, BringsRowsIntoExpertOrderAndHomeAgain) {
  for (const int experts : {1, 4})
    round_trip(comm(), memory(), experts,
               [](int from, int to, int expert) { return 1 + (from * 7 + to * 3 + expert) % 5; });
}

TEST_P(CommContract, TakesNoRowsAtAll) {
  round_trip(comm(), memory(), 3, [](int, int, int) { return 0; });
}

TEST_P(CommContract, KeepsRowsThatStayOnTheirRank) {
  round_trip(comm(), memory(), 2, [](int from, int to, int expert) { return from == to ? 3 + expert : 0; });
}

TEST_P(CommContract, TakesEmptySegmentsBetweenFullOnes) {
  round_trip(comm(), memory(), 5, [](int from, int to, int expert) { return (from + to + expert) % 2 * 4; });
}

TEST_P(CommContract, TakesAllRowsToOneExpertOfTheLastRank) {
  const int last = comm().size() - 1;
  round_trip(comm(), memory(), 3,
             [last](int, int to, int expert) { return to == last && expert == 1 ? 1000 : 0; });
}

TEST_P(CommContract, TakesARankWithoutRows) {
  round_trip(comm(), memory(), 2,
             [](int from, int to, int expert) { return from == 0 ? 0 : 2 + to + expert; });
}

TEST_P(CommContract, CarriesRowsOfAnOddNumberOfBytes) {
  for (const DType dtype : {DType::bf16, DType::fp16})
    round_trip(comm(), memory(), 2, [](int from, int to, int) { return 1 + from + 2 * to; }, {dtype, 3});
}

TEST_P(CommContract, CarriesTensOfMegabytes) {
  // 24 MiB from each rank to the next, in two segments, and a single row to the others.
  const int ranks = comm().size();
  round_trip(comm(), memory(), 2,
             [ranks](int from, int to, int) { return to == (from + 1) % ranks ? 3 << 10 : 1; },
             {DType::fp32, 1 << 10});
}

TEST_P(CommContract, ExchangesManyTimesWithoutMixingThemUp) {
  for (int round = 0; round < 50; ++round)
    round_trip(comm(), memory(), 2,
               [round](int from, int to, int expert) { return (from + 2 * to + 3 * expert + round) % 4; });
}

TEST_P(CommContract, SumsWholeNumbersExactly) {
  const int ranks = comm().size();
  for (const std::size_t size : {0ul, 1ul, 1000ul, 300001ul}) {
    std::vector<float> mine, want;
    for (std::size_t i = 0; i < size; ++i) {
      mine.push_back(static_cast<float>(i % 1000 + comm().rank()));
      want.push_back(static_cast<float>(ranks * (i % 1000)) + ranks * (ranks - 1) / 2.0f);
    }
    for (const DType dtype : {DType::fp32, DType::tf32}) {
      const Tensor tensor = upload(memory(), dtype, mine);
      comm().all_reduce(tensor);
      EXPECT_EQ(download<float>(memory(), tensor), want) << size;
    }
  }
}

TEST_P(CommContract, SumsSixteenBitFormats) {
  // Each rank holds 1.5: 0x3FC0 in bf16, 0x3E00 in fp16. Sums up to 8 ranks are exact in both.
  const float want = 1.5f * comm().size();
  if (comm().size() > 8) GTEST_SKIP() << "the sum is not exact in 8 bits";
  const Tensor bf16 = upload(memory(), DType::bf16, std::vector<std::uint16_t>(77, 0x3FC0));
  comm().all_reduce(bf16);
  for (const std::uint16_t bits : download<std::uint16_t>(memory(), bf16))
    EXPECT_EQ(std::bit_cast<float>(std::uint32_t{bits} << 16), want);
  const Tensor fp16 = upload(memory(), DType::fp16, std::vector<std::uint16_t>(77, 0x3E00));
  comm().all_reduce(fp16);
  for (const std::uint16_t bits : download<std::uint16_t>(memory(), fp16))
    EXPECT_EQ(static_cast<float>(std::bit_cast<_Float16>(bits)), want);
}

TEST_P(CommContract, SumsToTheSameBitsOnEveryRank) {
  const int ranks = comm().size();
  for (const std::size_t size : {1ul, 7ul, 4099ul, 200003ul}) {
    std::vector<float> mine(size);
    std::vector<double> want(size, 0.0);
    for (int rank = 0; rank < ranks; ++rank)
      for (std::size_t i = 0; i < size; ++i) {
        const float value = UniformField{static_cast<std::uint64_t>(rank), 1.0f}.at(i);
        want[i] += value;
        if (rank == comm().rank()) mine[i] = value;
      }
    const Tensor tensor = upload(memory(), DType::fp32, mine);
    comm().all_reduce(tensor);
    const std::vector<float> got = download<float>(memory(), tensor);
    std::uint64_t hash = 0;
    for (std::size_t i = 0; i < size; ++i) {
      EXPECT_NEAR(got[i], want[i], 1e-6 * ranks) << i;
      hash = mix(hash, std::bit_cast<std::uint32_t>(got[i]));
    }
    const std::vector<std::int64_t> sent(ranks, static_cast<std::int64_t>(hash));
    std::vector<std::int64_t> hashes(ranks);
    comm().exchange_sizes(sent, hashes);
    EXPECT_EQ(hashes, sent) << size << " numbers differ between ranks";
  }
}

TEST_P(CommContract, SumsNotANumberToNotANumber) {
  const Tensor tensor =
      upload(memory(), DType::fp32, std::vector<float>{1, comm().rank() == 0 ? std::nanf("") : 1});
  comm().all_reduce(tensor);
  const auto got = download<float>(memory(), tensor);
  EXPECT_EQ(got[0], comm().size());
  EXPECT_TRUE(std::isnan(got[1]));
}

TEST_P(CommContract, SplitsIntoGroupsThatKeepTheOrderOfRanks) {
  const int ranks = comm().size(), me = comm().rank();
  const auto group = comm().split(me % 2);
  EXPECT_EQ(group->rank(), me / 2);
  EXPECT_EQ(group->size(), (ranks + 1 - me % 2) / 2);
  const Tensor tensor = upload(memory(), DType::fp32, std::vector<float>{static_cast<float>(me)});
  group->all_reduce(tensor);
  float want = 0;
  for (int rank = me % 2; rank < ranks; rank += 2) want += rank;
  EXPECT_EQ(download<float>(memory(), tensor)[0], want);
  round_trip(*group, memory(), 3, [](int from, int to, int expert) { return 1 + from + to + expert; });
}

TEST_P(CommContract, SplitsIntoSingleRanksAndOneWhole) {
  const auto alone = comm().split(comm().rank());
  EXPECT_EQ(alone->size(), 1);
  EXPECT_EQ(alone->rank(), 0);
  round_trip(*alone, memory(), 2, [](int, int, int expert) { return 2 + expert; });
  const auto whole = comm().split(7);
  EXPECT_EQ(whole->size(), comm().size());
  EXPECT_EQ(whole->rank(), comm().rank());
}

TEST_P(CommContract, SplitsASplitAndOutlivesItsParent) {
  std::unique_ptr<Comm> inner;
  {
    const auto half = comm().split(comm().rank() % 2);
    inner = half->split(0);
  }
  round_trip(*inner, memory(), 1, [](int from, int to, int) { return 1 + from + to; });
}

}  // namespace
}  // namespace moebench
