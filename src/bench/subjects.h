// SPDX-License-Identifier: Apache-2.0
// The table of subjects: one entry per file <name>_subject.cpp.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backends/capabilities.h"
#include "bench/subject.h"

namespace moebench {

/// What the memory of a case depends on besides the case.
struct EstimateArgs {
  const Capabilities& backend;
  std::size_t cache_bytes = 0;  ///< last level
  CheckMode check = CheckMode::quick;
  int input_sets = 1;
};

struct SubjectEntry {
  SubjectKind kind;          ///< its name and default passes are in suite/case.cpp
  bool has_experts = false;  ///< the case's gate, exchange and engine apply
  std::unique_ptr<Subject> (*make)(const Case&, Bench);
  /// Bytes that one rank needs.
  MemoryEstimate (*estimate)(const Case&, const EstimateArgs&);
  /// Why the subject cannot run this case; empty if it can.
  std::string (*why_not)(const Case&, const Capabilities&);
};

extern const SubjectEntry kLayerSubject, kLinearSubject, kDenseSubject;

/// The entry of a kind. A kind without an entry does not compile.
const SubjectEntry& find_subject(SubjectKind kind);

template <class T>
std::unique_ptr<Subject> make_subject_of(const Case& bench_case, Bench bench) {
  return std::make_unique<T>(bench_case, bench);
}

/// The tensor's values on the host.
std::vector<float> download(Backend& backend, const TensorView& tensor);

}  // namespace moebench
