// SPDX-License-Identifier: Apache-2.0
// What moebench says of series of samples, for tools/coverage-check: one series a line on standard input, one answer a
// line.
//   series_statistics samples      n, lag 1, effective n, low, high, low and high of independent samples, drift (0 or 1)
//   series_statistics processes    low and high of the interval over processes, from one median each
#include <algorithm>
#include <cmath>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "bench/dependence.h"
#include "bench/repetitions.h"
#include "bench/statistics.h"

namespace moebench {
namespace {

void tell_samples(std::vector<double> samples) {
  const Summary summary = summarize(samples);
  const Dependence dependence = dependence_of(samples);
  std::sort(samples.begin(), samples.end());
  const auto rank = static_cast<std::size_t>(median_interval_rank(summary.n));
  const double low = rank > 0 ? samples[rank - 1] : -HUGE_VAL,
               high = rank > 0 ? samples[samples.size() - rank] : HUGE_VAL;
  std::cout << summary.n << ' ' << dependence.lag1 << ' ' << dependence.effective_n << ' ' << summary.ci95_low
            << ' ' << summary.ci95_high << ' ' << low << ' ' << high << ' ' << dependence.drift << '\n';
}

}  // namespace
}  // namespace moebench

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "";
  if (mode != "samples" && mode != "processes") {
    std::cerr << "usage: series_statistics samples|processes < SERIES\n";
    return 2;
  }
  std::cout.precision(17);
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::vector<double> values;
    for (double value; words >> value;) values.push_back(value);
    if (mode == "samples") {
      moebench::tell_samples(std::move(values));
    } else {
      const auto [low, high] = moebench::process_interval(values);
      std::cout << low << ' ' << high << '\n';
    }
  }
}
