// SPDX-License-Identifier: Apache-2.0
// The flags of `moebench links` and `moebench calibrate`.
#include "base/error.h"
#include "base/text.h"
#include "cli/options_flags.h"
#include "suite/axis.h"

namespace moebench {
namespace {

constexpr std::string_view kWhat = "What to measure", kOutput = "Output", kFabric = "The fabric";
constexpr std::int64_t kMinBytes = 2048, kMaxBytes = std::int64_t{1} << 32;
const std::vector<Command> kBoth{Command::links, Command::calibrate}, kCalibrate{Command::calibrate};

std::vector<std::int64_t> sizes(std::string_view text) {
  std::vector<std::int64_t> values;
  for (const std::string& value :
       expand_axis({.name = "bytes", .number = true, .min = kMinBytes, .max = kMaxBytes}, text))
    values.push_back(*to_int(value));
  std::sort(values.begin(), values.end());
  return values;
}

}  // namespace

std::vector<OptionFlag> links_flags() {
  return {
      {kWhat, "bytes", "N", "4096:67108864:*4", "to each peer", kBoth,
       [](Options& o, std::string_view v) { o.links.bytes = sizes(v); }, true},
      {kFabric, "way", "messages|copy|store", "", "whose times the lines go through; default: the fastest",
       kCalibrate, [](Options& o, std::string_view v) { o.links.way = parse_link_way(v); }},
      {kFabric, "name", "TEXT", "calibrated", "of the fabric", kCalibrate,
       [](Options& o, std::string_view v) { o.links.name = v; }},
      {kOutput, "json", "FILE", "", "write all of it here as JSON; -: stdout, and the table goes to stderr",
       kBoth, [](Options& o, std::string_view v) { o.json = v; }},
      {kOutput, "output", "FILE", "", "-o: the fabric file, for 'moebench project --fabric'", kCalibrate,
       [](Options& o, std::string_view v) { o.output = v; }},
      {kOutput, "force", "", "", "replace files that exist", kBoth,
       [](Options& o, std::string_view v) { o.force = parse_on(v); }},
  };
}

}  // namespace moebench
