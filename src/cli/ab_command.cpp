// SPDX-License-Identifier: Apache-2.0
// `ab`: two builds or two settings in turns, process by process, judged over the processes.
#include <algorithm>
#include <iostream>
#include <map>
#include <set>

#include "base/random.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/processes.h"
#include "report/comparison.h"
#include "report/quantity.h"

namespace moebench {
namespace {

constexpr int kPairs = 10;  // the fewest that leave room for a pair or two which a neighbour spoils

/// "PROGRAM FLAGS" as the words of a run. Flags alone are of this program; where `run` is not among the words (behind a
/// launcher, say) it follows the first.
std::vector<std::string> command_of(const std::string& given, const std::vector<std::string>& common) {
  auto words = words_of(given);
  if (words.empty() || words.front().starts_with("--") || words.front() == "moebench") {
    if (!words.empty() && words.front() == "moebench") words.erase(words.begin());
    words.insert(words.begin(), this_program());
  }
  if (std::find(words.begin(), words.end(), "run") == words.end()) words.insert(words.begin() + 1, "run");
  words.insert(words.end(), common.begin(), common.end());
  for (const std::string& word : words)
    for (const std::string_view taken : {"--json", "--csv", "--resume", "--force", "--quiet"})
      if (word == taken || word.starts_with(cat(taken, "=")))
        throw UsageError(cat(taken, " is ab's own business in '", given, "'; --keep DIR keeps the reports"));
  return words;
}

/// Settings whose values differ between the two: what is compared, not what tells points apart.
std::vector<std::string> compared_settings(const Document& a, const Document& b) {
  std::map<std::string, std::pair<std::set<std::string>, std::set<std::string>>> values;
  for (const Record& record : a.points)
    for (const auto& [name, value] : record.bench_case.settings()) values[name].first.insert(value);
  for (const Record& record : b.points)
    for (const auto& [name, value] : record.bench_case.settings()) values[name].second.insert(value);
  std::vector<std::string> names;
  for (const auto& [name, sides] : values)
    if (sides.first != sides.second) names.push_back(name);
  return names;
}

/// "183 µs", or the number of points.
std::string glance(const Document& document) {
  if (document.points.size() == 1 && has_times(document.points[0]))
    return time_text(document.points[0].time.at("total").device.p50);
  return cat(document.points.size(), " points");
}

/// Which of a pair runs first: A in half of the pairs, by chance, and the same every time.
bool a_first(int pair) {
  constexpr std::uint64_t kKey = 0x6D6F65'6162;
  // Of every two pairs one begins with A and one with B; chance decides which.
  const bool heads = mix(kKey, static_cast<std::uint64_t>(pair / 2)) & 1;
  return heads == (pair % 2 == 0);
}

}  // namespace

ExitCode ab_command(const Options& options) {
  const auto command_a = command_of(options.arguments[0], options.common);
  const auto command_b = command_of(options.arguments[1], options.common);
  refuse_to_replace(options);
  forget_output_variables();
  const int pairs = options.repetitions > 0 ? options.repetitions : kPairs;
  const ReportDirectory directory(options.keep);
  std::vector<Document> a, b;
  for (int pair = 0; pair < pairs; ++pair) {
    const auto run = [&](char side) {
      const auto report = directory.path() / format("%c-%03d.json", side, pair + 1);
      (side == 'a' ? a : b).push_back(run_process(side == 'a' ? command_a : command_b, report));
    };
    const bool first = a_first(pair);
    run(first ? 'a' : 'b');
    run(first ? 'b' : 'a');
    if (!options.quiet)
      std::cerr << "[" << pair + 1 << "/" << pairs << "] A " << glance(a.back()) << ", B " << glance(b.back())
                << std::endl;
  }
  const Comparison comparison = compare(a, b,
                                        {.threshold_pct = options.threshold_pct,
                                         .ignore = compared_settings(a.front(), b.front()),
                                         .paired = true,
                                         .name_a = options.arguments[0],
                                         .name_b = options.arguments[1]});
  show(comparison, options);
  return comparison.exit_code();
}

}  // namespace moebench
