// SPDX-License-Identifier: Apache-2.0
#include <numeric>

#include "backends/cuda/on_gpu.h"
#include "backends/cuda/stages/kernels.h"

namespace moebench {
namespace {

class Plan : public OnGpu {
 protected:
  void expect_counting_sort(const std::vector<std::int32_t>& choice, std::int64_t experts) {
    const std::size_t slots = choice.size();
    const Array<std::int32_t> expert_of(*gpu_, choice);
    Array<std::int32_t> counts(*gpu_, experts), offsets(*gpu_, experts + 1), row_of(*gpu_, slots),
        slot_of(*gpu_, slots);
    gpu_->plan({expert_of, RowOrder::by_expert, counts, offsets, row_of, slot_of});
    std::vector<std::int32_t> expected_offsets(experts + 1), expected_rows(slots), expected_slots(slots);
    for (const std::int32_t e : choice) ++expected_offsets[e + 1];
    std::partial_sum(expected_offsets.begin(), expected_offsets.end(), expected_offsets.begin());
    auto next = expected_offsets;
    for (std::size_t s = 0; s < slots; ++s) {
      expected_rows[s] = next[choice[s]]++;
      expected_slots[expected_rows[s]] = static_cast<std::int32_t>(s);
    }
    EXPECT_EQ(offsets.host(), expected_offsets) << slots << " slots, " << experts << " experts";
    EXPECT_TRUE(row_of.host() == expected_rows) << slots << " slots, " << experts << " experts";
    EXPECT_TRUE(slot_of.host() == expected_slots) << slots << " slots, " << experts << " experts";
    gpu_->plan({expert_of, RowOrder::by_token, counts, offsets, row_of, slot_of});
    std::iota(expected_rows.begin(), expected_rows.end(), 0);
    EXPECT_EQ(offsets.host(), expected_offsets);
    EXPECT_TRUE(row_of.host() == expected_rows && slot_of.host() == expected_rows);
  }
};

TEST_F(Plan, IsAStableCountingSortAtEverySize) {
  for (const auto& [slots, experts] :
       {std::pair{1, 1}, {31, 1},       {33, 2},       {255, 7},     {256, 8},      {257, 9},
        {8192, 8},       {8192, 64},    {16383, 240},  {16384, 241}, {16384, 64},   {16385, 64},
        {1000, 500},     {8193, 1000},  {131072, 128}, {131073, 1},  {196608, 128}, {3000001, 257},
        {50000, 1365},   {50000, 1366}, {50000, 2500}, {50000, 6144}}) {
    std::vector<std::int32_t> choice(slots);
    for (int i = 0; i < slots; ++i) choice[i] = static_cast<std::int32_t>(mix(7, i) % experts);
    expect_counting_sort(choice, experts);
  }
}

TEST_F(Plan, HoldsWhenAllSlotsChooseOneExpertOrRunsOfThem) {
  expect_counting_sort(std::vector<std::int32_t>(100000, 3), 8);
  expect_counting_sort(std::vector<std::int32_t>(9000, 3), 8);
  std::vector<std::int32_t> runs(70001);
  for (std::size_t i = 0; i < runs.size(); ++i) runs[i] = static_cast<std::int32_t>(i / 777 % 13);
  expect_counting_sort(runs, 16);
}

TEST_F(Plan, NeedsNoMoreRoomForFewerSlots) {
  for (std::int64_t slots = 1; slots < 300000; slots += 97)
    ASSERT_LE(cuda::plan_scratch(slots, 64), cuda::plan_scratch(slots + 97, 64));
}

TEST_F(Plan, RefusesMoreExpertsThanItHasRoomFor) {
  const Array<std::int32_t> expert_of(*gpu_, std::vector<std::int32_t>{0});
  Array<std::int32_t> counts(*gpu_, 6145), offsets(*gpu_, 6146), row_of(*gpu_, 1), slot_of(*gpu_, 1);
  EXPECT_THROW(gpu_->plan({expert_of, RowOrder::by_expert, counts, offsets, row_of, slot_of}), UsageError);
}

}  // namespace
}  // namespace moebench
