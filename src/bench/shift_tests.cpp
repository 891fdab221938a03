// SPDX-License-Identifier: Apache-2.0
#include "bench/shift_tests.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "bench/statistics.h"

namespace moebench {
namespace {

/// P[statistic <= k] for each k, of a statistic whose distribution is symmetric and begins at 0.
using Tail = std::vector<double>;

Tail tail_of(const std::vector<double>& probabilities) {
  Tail tail;
  double sum = 0;
  for (const double probability : probabilities) tail.push_back(sum += probability);
  for (double& probability : tail) probability /= sum;
  return tail;
}

/// Of the sum of the ranks with a plus sign, over all signs of n ranks.
Tail signed_rank_tail(std::size_t n) {
  std::vector<double> chance(n * (n + 1) / 2 + 1);
  chance[0] = 1;
  for (std::size_t rank = 1; rank <= n; ++rank)
    for (std::size_t sum = chance.size(); sum-- > 0;)
      chance[sum] = (chance[sum] + (sum >= rank ? chance[sum - rank] : 0)) / 2;
  return tail_of(chance);
}

/// Of the number of pairs in which b is above a, over all divisions of n + m values: U's generating function is the
/// product over i of (1 - x^(m+i)) / (1 - x^i).
Tail rank_sum_tail(std::size_t n, std::size_t m) {
  std::vector<double> ways(n * m + 1);
  ways[0] = 1;
  for (std::size_t i = 1; i <= n; ++i) {
    for (std::size_t u = ways.size(); u-- > m + i;) ways[u] -= ways[u - m - i];
    for (std::size_t u = i; u < ways.size(); ++u) ways[u] += ways[u - i];
  }
  return tail_of(ways);
}

/// How many shifts may be left out at each end of an interval of this confidence; -1 for none can be given.
int left_out(const Tail& tail, double confidence) {
  int count = -1;
  while (count + 1 < static_cast<int>(tail.size()) &&
         tail[static_cast<std::size_t>(count + 1)] <= (1 - confidence) / 2)
    ++count;
  return count;
}

/// From the shift of every pair, of which those above zero make the statistic; a zero counts half.
Shift shift_of(std::vector<double> shifts, const Tail& tail) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  Shift shift{.low = -kInfinity, .high = kInfinity, .low90 = -kInfinity, .high90 = kInfinity};
  if (shifts.empty()) return shift;
  std::sort(shifts.begin(), shifts.end());
  shift.estimate = percentile(shifts, 50);
  if (const int out = left_out(tail, 0.95); out >= 0)
    shift.low = shifts[static_cast<std::size_t>(out)], shift.high = *(shifts.rbegin() + out);
  if (const int out = left_out(tail, 0.90); out >= 0)
    shift.low90 = shifts[static_cast<std::size_t>(out)], shift.high90 = *(shifts.rbegin() + out);
  double above = 0;
  for (const double x : shifts) above += x > 0 ? 1 : x == 0 ? 0.5 : 0;
  const double statistic = std::min(above, static_cast<double>(shifts.size()) - above);
  shift.p = std::min(1.0, 2 * tail[static_cast<std::size_t>(std::ceil(statistic))]);
  shift.min_p = std::min(1.0, 2 * tail[0]);
  return shift;
}

}  // namespace

Shift paired_shift(std::span<const double> differences) {
  std::vector<double> means;  // Walsh's: as many are above zero as the ranks with a plus sign sum to
  for (std::size_t i = 0; i < differences.size(); ++i)
    for (std::size_t j = i; j < differences.size(); ++j)
      means.push_back((differences[i] + differences[j]) / 2);
  return shift_of(std::move(means), signed_rank_tail(differences.size()));
}

Shift unpaired_shift(std::span<const double> a, std::span<const double> b) {
  std::vector<double> shifts;
  for (const double x : a)
    for (const double y : b) shifts.push_back(y - x);
  return shift_of(std::move(shifts), rank_sum_tail(a.size(), b.size()));
}

}  // namespace moebench
