// SPDX-License-Identifier: Apache-2.0
// Any bytes as a trace of every format: they are read, step by step, or refused with a UsageError on one line that says where;
// nothing else.
#include <cstdint>
#include <functional>
#include <string_view>

#include "base/error.h"
#include "trace/torch_tensor.h"
#include "trace/trace_reader.h"

namespace {

using namespace moebench;

void try_to(const std::function<void()>& body) {
  try {
    body();
  } catch (const UsageError& error) {
    const std::string_view what(error.what());
    MB_ASSERT(what.find(" at byte ") != what.npos && what.find('\n') == what.npos);
  }
}

void read_all(TraceReader& reader) {
  TraceStep step;
  const auto most = static_cast<std::size_t>(reader.info().experts);
  while (reader.next(step, [](auto, std::int64_t layer) { return layer % 3 != 2; }))
    for (const std::int32_t expert : step.experts)
      MB_ASSERT(expert >= 0 && (most == 0 || static_cast<std::size_t>(expert) < most));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span bytes(reinterpret_cast<const std::byte*>(data), size);
  const auto source = [&](const std::string& name) { return source_of(name, bytes); };
  try_to([&] { read_all(*read_own_trace(source("own"))); });
  for (const ArrayMeaning meaning : {ArrayMeaning::experts, ArrayMeaning::counts})
    try_to([&] { read_all(*read_npy_trace(source("npy"), meaning)); });
  try_to([&] {
    std::vector<std::unique_ptr<ByteSource>> ranks;
    ranks.push_back(source("jsonl"));
    read_all(*read_megatron_trace(std::move(ranks)));
  });
  try_to([&] { parse_torch_tensor(*source("pt")); });
  try_to([&] { read_all(*read_token_imbalance_trace(source("manifest"), source)); });
  return 0;
}
