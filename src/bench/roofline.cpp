// SPDX-License-Identifier: Apache-2.0
#include "bench/roofline.h"

#include <algorithm>

namespace moebench {
namespace {

/// Microseconds of `amount` at `rate` per second; 0 without a rate.
double us_at(double amount, double rate) { return rate > 0 ? amount / rate * 1e6 : 0; }

}  // namespace

Floor floor_of(const StageCost& cost, const Peaks& peaks) {
  struct Term {
    double us;
    Bound bound;
  };
  const Term local[] = {{us_at(cost.flops, peaks.gemm_tflops * 1e12), Bound::compute},
                        {us_at(cost.bytes, peaks.copy_gbs * 1e9), Bound::memory}};
  const Term link{us_at(cost.link_bytes, peaks.link_gbs * 1e9), Bound::link};
  const Term latency{cost.messages * peaks.link_latency_us, Bound::latency};
  const auto longer = [](const Term& a, const Term& b) { return a.us < b.us; };
  const Term work = std::max(local[0], local[1], longer);
  const double crossing = link.us + latency.us;
  Floor floor{.us = cost.overlaps ? std::max(work.us, crossing) : work.us + crossing,
              .bound = std::max({work, link, latency}, longer).bound};
  if (floor.us > 0 && floor.us < peaks.launch_us) floor = {peaks.launch_us, Bound::latency};
  return floor;
}

double limit_pct(double floor_us, double time_us) { return time_us > 0 ? 100 * floor_us / time_us : 0; }

}  // namespace moebench
