// SPDX-License-Identifier: Apache-2.0
#include "project/published.h"

#include <cmath>

#include "base/text.h"

namespace moebench {
namespace {

using Unit = PublishedTable::Unit;
using Counts = PublishedTable::Counts;

constexpr double kMiB = 1024.0 * 1024;
constexpr double kRowsOf4096 = 4096.0 * 7168 * 2;  // bytes of 4096 tokens, bf16
constexpr double kFp8Message = 7.59e6,
                 kBf16Message = 14.68e6;  // 128 tokens to 8 experts: fp8 with scales; bf16
constexpr double kErrorTolerance = 0.5;   // points of percent
constexpr double kLineTolerance = 0.02;   // of latency and rate

constexpr std::string_view kDeepEp =
    "deepseek-ai/DeepEP dd758ca, docs/legacy.md: low-latency kernels, H800, 128 tokens, H 7168, K 8; its "
    "point of 8 GPUs "
    "is NVLink's and left out";
constexpr std::string_view kHybridEp =
    "deepseek-ai/DeepEP, branch hybrid-ep, docs/README_Hybrid-EP.md: H100, 4096 tokens, H 7168, K 8, 8 "
    "experts per GPU";
constexpr std::string_view kNcclEp =
    "NVIDIA/nccl 5067397, contrib/nccl_ep/README.md: low-latency kernels, H100, 128 tokens, H 7168, K 8";
constexpr std::string_view kAllToAll =
    "ai-dynamo/aiconfigurator 095f58a, systems/data: NCCL 2.29 all-to-all on one node of NVLink 4";

constexpr std::string_view kDirect =
    "measured by moebench f194cb9: results/exchange/, stage dispatch, forward";

PublishedTable low_latency(std::string_view name, std::string_view source, Unit unit, double bytes,
                           std::vector<std::pair<int, double>> values, int last_fitted) {
  PublishedTable table{.name = name, .source = source, .unit = unit};
  for (const auto& [gpus, value] : values)
    table.entries.push_back(
        {.gpus = gpus, .message_bytes = bytes, .value = value, .held_out = gpus > last_fitted});
  return table;
}

PublishedTable expecting(PublishedTable table, double latency_us, double gbs, std::vector<double> errors) {
  table.expected_latency_us = latency_us;
  table.expected_gbs = gbs;
  table.expected_errors_pct = std::move(errors);
  return table;
}

PublishedTable hybrid(std::string_view name, double at16, double at32, double at64) {
  PublishedTable table = low_latency(name, kHybridEp, Unit::gigabytes_per_second, kRowsOf4096,
                                     {{16, at16}, {32, at32}, {64, at64}}, 32);
  table.counts = Counts::remote_once_per_node;
  return table;
}

/// moebench's own: dispatch forward of `--exchange direct` on two H100, microseconds; bytes that leave a GPU. Fitted on the
/// smallest and the largest in bf16.
PublishedTable direct() {
  PublishedTable table{.name = "moebench direct 2 H100", .source = kDirect, .counts = Counts::all};
  table.entries = {{2, 6.70e6, 32.7},
                   {2, 133.78e6, 383.7},
                   {2, 26.12e6, 88.3, true},
                   {2, 58.55e6, 175.2, true},
                   {2, 13.20e6, 56.1, true}};
  return table;
}

PublishedTable all_to_all(std::string_view name, int gpus, double us16, double us64, double us512) {
  PublishedTable table{.name = name, .source = kAllToAll, .counts = Counts::other_ranks};
  table.entries = {{gpus, 16 * kMiB, us16}, {gpus, 64 * kMiB, us64}, {gpus, 512 * kMiB, us512, true}};
  return table;
}

void compare(RefitRow& row, std::string_view what, double found, double expected, double tolerance) {
  if (!(std::abs(found - expected) <= tolerance))
    row.failures.push_back(cat(what, " is ", format("%.2f", found), ", expected ", format("%.2f", expected)));
}

}  // namespace

std::vector<PublishedTable> published_tables() {
  return {
      expecting(low_latency("DeepEP LL dispatch fp8", kDeepEp, Unit::microseconds, kFp8Message,
                            {{16, 118}, {32, 155}, {64, 173}, {128, 192}, {256, 194}}, 64),
                36.9, 47.31, {-5.0, -3.7}),
      expecting(low_latency("DeepEP LL combine bf16", kDeepEp, Unit::microseconds, kBf16Message,
                            {{16, 195}, {32, 273}, {64, 314}, {128, 369}, {256, 360}}, 64),
                15.1, 41.36, {-9.7, -4.7}),
      expecting(hybrid("HybridEP dispatch", 71.7, 57.7, 50.0), 392.4, 47.46, {-4.0}),
      expecting(hybrid("HybridEP combine", 63.0, 57.5, 49.8), 684.3, 50.64, {-7.9}),
      expecting(hybrid("HybridEP dispatch by API", 54.5, 47.4, 41.2), 695.9, 40.73, {-5.8}),
      expecting(low_latency("NCCL EP LL dispatch", kNcclEp, Unit::gigabytes_per_second, kBf16Message,
                            {{16, 76.7}, {32, 53.6}, {64, 48.8}}, 32),
                41.3, 48.60, {4.75}),
      expecting(low_latency("NCCL EP LL combine", kNcclEp, Unit::gigabytes_per_second, kBf16Message,
                            {{16, 73.0}, {32, 50.0}, {64, 43.8}}, 32),
                20.8, 40.65, {1.4}),
      expecting(all_to_all("NCCL all-to-all 2 H100", 2, 52.7, 139.6, 958.9), 23.5, 287.7, {-0.86}),
      expecting(all_to_all("NCCL all-to-all 4 H100", 4, 69.2, 192, 1394), 26.6, 298.2, {-4.0}),
      expecting(all_to_all("NCCL all-to-all 8 H100", 8, 73.7, 220, 1492), 27.7, 315.1, {6.26}),
      expecting(all_to_all("NCCL all-to-all 2 H200", 2, 52.4, 136.7, 901.8), 25.0, 304.2, {2.4}),
      expecting(all_to_all("NCCL all-to-all 4 H200", 4, 63.4, 184, 1266), 24.5, 321.1, {3.4}),
      expecting(all_to_all("NCCL all-to-all 8 H200", 8, 73.5, 217.5, 1507), 27.1, 314.1, {3.6}),
      expecting(direct(), 15.3, 359.1, {-2.2, 0.4, -9.7}),
  };
}

double expected_groups(int groups, int experts, int top_k) {
  // C(E−E/G, K)/C(E, K), factor by factor.
  const double inside = static_cast<double>(experts) / groups;
  double missed = 1;
  for (int i = 0; i < top_k; ++i) missed *= std::max(0.0, experts - inside - i) / (experts - i);
  return groups * (1 - missed);
}

TimedBytes timed_bytes(const PublishedTable& table, const PublishedEntry& entry) {
  const double nodes = static_cast<double>(entry.gpus) / table.per_node;
  const bool once = table.counts == Counts::remote_once_per_node;
  const double copies =
      once ? expected_groups(static_cast<int>(nodes), entry.gpus * table.experts_per_gpu, table.top_k) : 1;
  const double parts = table.counts == Counts::other_ranks ? entry.gpus : nodes;
  const double moved = copies * entry.message_bytes;
  const double share = table.counts == Counts::all ? 1 : (parts - 1) / parts;
  return {.bytes = moved * share,
          .seconds = table.unit == Unit::microseconds ? entry.value * 1e-6 : moved / (entry.value * 1e9)};
}

std::vector<RefitRow> refit(const std::vector<PublishedTable>& tables) {
  std::vector<RefitRow> rows;
  for (const PublishedTable& table : tables) {
    std::vector<TimedBytes> all, fitted;
    for (const PublishedEntry& entry : table.entries) {
      all.push_back(timed_bytes(table, entry));
      if (!entry.held_out) fitted.push_back(all.back());
    }
    RefitRow row{.name = table.name, .source = table.source, .line = fit_line(all)};
    row.residual_pct = largest_error_pct(row.line, all);
    row.expected_latency_us = table.expected_latency_us;
    row.expected_gbs = table.expected_gbs;
    compare(row, "latency in us", row.line.latency_s * 1e6, table.expected_latency_us,
            kLineTolerance * table.expected_latency_us);
    compare(row, "rate in GB/s", row.line.bytes_per_s / 1e9, table.expected_gbs,
            kLineTolerance * table.expected_gbs);
    const Line smaller = fit_line(fitted);
    for (std::size_t i = 0; i < table.entries.size(); ++i) {
      const PublishedEntry& entry = table.entries[i];
      if (!entry.held_out) continue;
      const double expected = table.expected_errors_pct.at(row.held_out.size());
      row.held_out.push_back({.gpus = entry.gpus,
                              .message_bytes = entry.message_bytes,
                              .error_pct = error_pct(smaller, all[i]),
                              .expected_pct = expected});
      compare(row, cat("error at ", entry.gpus, " GPUs in %"), row.held_out.back().error_pct, expected,
              kErrorTolerance);
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace moebench
