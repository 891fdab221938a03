// SPDX-License-Identifier: Apache-2.0
#include "bench/subjects.h"

#include <algorithm>

#include "base/error.h"
#include "bench/flush.h"
#include "bench/inputs.h"

namespace moebench {

const SubjectEntry& find_subject(SubjectKind kind) {
  switch (kind) {
    case SubjectKind::layer:
      return kLayerSubject;
    case SubjectKind::linear:
      return kLinearSubject;
    case SubjectKind::dense:
      return kDenseSubject;
  }
  MB_ASSERT(false);
}

std::unique_ptr<Subject> make_subject(const Case& bench_case, Bench bench) {
  bench.backend.use_threads(bench_case.threads);
  return find_subject(bench_case.subject).make(bench_case, bench);
}

MemoryEstimate estimate_memory(const Case& bench_case, const Capabilities& backend, std::size_t cache_bytes,
                               CheckMode check) {
  MemoryEstimate estimate = find_subject(bench_case.subject)
                                .estimate(bench_case, {.backend = backend,
                                                       .cache_bytes = cache_bytes,
                                                       .check = check,
                                                       .input_sets = input_sets_of(bench_case, cache_bytes)});
  constexpr double kLibraries = 8e6;  // what libraries and threads take for themselves at first use
  estimate.host += kLibraries;
  if (bench_case.cache == CacheState::flushed) estimate.workspace += Flush::bytes(cache_bytes);
  return estimate;
}

std::string why_no_graph_of_sync(const Case& bench_case) {
  if (!syncs_ranks(bench_case)) return {};
  if (sync_waits(bench_case)) return "the gradient sync between ranks waits for the device";
  return "a replayed gradient sync over NCCL would wait for other ranks without a limit";
}

CheckRecord record_of(CheckMode mode, std::vector<CheckItem> items) {
  const bool passed =
      std::all_of(items.begin(), items.end(), [](const CheckItem& item) { return item.passed(); });
  return {.mode = std::string(name_of(mode)), .passed = passed, .items = std::move(items)};
}

std::vector<float> download(Backend& backend, const TensorView& tensor) {
  std::vector<float> host(static_cast<std::size_t>(tensor.size()));
  backend.download(host, tensor);
  return host;
}

}  // namespace moebench
