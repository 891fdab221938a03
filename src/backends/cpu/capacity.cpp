// SPDX-License-Identifier: Apache-2.0
// Which rows of a group an expert keeps: a stable counting sort of the group's slots by expert, then, of an expert with too
// many and a policy other than position, a selection by key.
#include <algorithm>
#include <bit>

#include "backends/cpu/stages.h"

namespace moebench::cpu {
namespace {

/// Orders floats, -0 as 0: the keys are those of backends/cuda/gates/capacity.cu.
std::uint64_t ordered(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value == 0 ? 0.0f : value);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

/// The slots with the largest keys stay.
std::uint64_t key_of(const LimitRows& args, std::int32_t slot) {
  const auto choice = static_cast<std::uint64_t>(slot % args.top_k);
  switch (args.policy) {
    case DropPolicy::position:
      return 0;
    case DropPolicy::probs:
      return ordered(args.score[slot]);
    case DropPolicy::choice:
      return ~choice;
    case DropPolicy::priority:
      return ~choice << 32 | ordered(args.score[slot - slot % args.top_k]);
  }
  return 0;
}

/// slots: of one expert and one group, lowest token first.
void limit_expert(const LimitRows& args, std::span<std::int32_t> slots) {
  if (std::ssize(slots) <= args.rows) return;
  if (args.policy != DropPolicy::position)
    std::nth_element(slots.begin(), slots.begin() + args.rows, slots.end(),
                     [&](std::int32_t a, std::int32_t b) {
                       const auto of_a = key_of(args, a), of_b = key_of(args, b);
                       return of_a != of_b ? of_a > of_b : a < b;
                     });
  for (const std::int32_t slot : slots.subspan(static_cast<std::size_t>(args.rows))) args.to[slot] = -1;
}

/// order: [group·K], ends: [E], both scratch.
void limit_group(const LimitRows& args, std::int64_t group, std::span<std::int32_t> order,
                 std::span<std::int32_t> ends) {
  const std::int64_t slots = args.group * args.top_k, first = group * slots;
  std::fill(ends.begin(), ends.end(), 0);
  for (std::int64_t slot = first; slot < first + slots; ++slot)
    if (args.from[slot] >= 0) ++ends[args.from[slot]];
  std::int32_t begin = 0;
  for (std::int32_t& end : ends) {
    const std::int32_t count = end;
    end = begin;
    begin += count;
  }
  for (std::int64_t slot = first; slot < first + slots; ++slot)
    if (args.from[slot] >= 0) order[ends[args.from[slot]]++] = static_cast<std::int32_t>(slot);
  if (args.to.data() != args.from.data()) std::copy_n(&args.from[first], slots, &args.to[first]);
  begin = 0;
  for (const std::int32_t end : ends) {
    limit_expert(args, order.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin)));
    begin = end;
  }
}

void limit_groups(ThreadPool& pool, const LimitRows& args) {
  const std::int64_t slots = std::ssize(args.from), of_group = args.group * args.top_k;
  pool.parallel_for(slots / of_group, 1, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t group = first; group < last; ++group)
      limit_group(args, group, args.scratch.subspan(group * of_group, of_group),
                  args.scratch.subspan(slots + group * args.experts, args.experts));
  });
}

/// First takes out the second choices that chance does, then limits what is left in place.
void limit_by_chance(ThreadPool& pool, const LimitRows& args) {
  for (std::int64_t slot = 0; slot < std::ssize(args.from); ++slot) {
    const float chance = chance_of(args.chance_key, args.first_token + slot / args.top_k);
    args.to[slot] = slot % args.top_k == 1 && 2 * args.score[slot] <= chance ? -1 : args.from[slot];
  }
  LimitRows rest = args;
  rest.from = args.to;
  limit_groups(pool, rest);
}

}  // namespace

void limit(ThreadPool& pool, const LimitRows& args) {
  if (args.from.empty()) return;
  if (args.second_by_chance) return limit_by_chance(pool, args);
  limit_groups(pool, args);
}

}  // namespace moebench::cpu
