// SPDX-License-Identifier: Apache-2.0
// Writes trace v1 of the token-imbalance benchmark: a folder with manifest.json and four tensors.
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/sha256.h"
#include "base/text.h"
#include "trace/output_file.h"
#include "trace/torch_file.h"
#include "trace/trace_reader.h"

namespace moebench {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

class ImbalanceWriter final : public TraceWriter {
 public:
  ImbalanceWriter(const std::string& path, const TraceInfo& info) : folder_(path), info_(info) {
    if (info.experts == 0)
      throw UsageError(cat(path, ": trace v1 says how many experts there are; give --experts"));
    if (info.top_k == 0)
      throw UsageError(cat(path, ": trace v1 holds experts, and the trace has counts alone"));
    std::error_code error;
    if (fs::exists(folder_, error)) throw UsageError(cat(path, " already exists"));
  }
  ~ImbalanceWriter() override {
    std::error_code error;
    if (!finished_ && created_) fs::remove_all(folder_, error);
  }

  void add(const TraceStep& step) override {
    if (created_) refuse("holds one step of one layer; select them: @layer=L@step=A");
    if (step.weights.empty()) refuse("holds weights, and the trace has none");
    require_weights(step);
    std::error_code error;
    fs::create_directories(folder_ / "tensors", error);
    if (error) throw EnvironmentError(cat(folder_.string(), ": ", error.message()));
    created_ = true;
    const std::vector<std::int64_t> rows{step.tokens, info_.top_k},
        ids(step.experts.begin(), step.experts.end());
    const std::vector<std::int32_t> ranks(static_cast<std::size_t>(step.tokens));
    Json tensors;
    tensors["token_ids"] = write("token_ids", TorchType::int64, rows, std::span(ids));
    tensors["gates"] = write("gates", TorchType::float32, rows, std::span(step.weights));
    tensors["source_rank"] = write("source_rank", TorchType::int32, {step.tokens}, std::span(ranks));
    tensors["expert_ids"] = write("expert_ids", TorchType::int64, rows, std::span(ids));
    write_manifest(step, tensors);
  }

  void finish() override {
    if (!created_) refuse("holds one step, and none was selected");
    finished_ = true;
  }

 private:
  [[noreturn]] void refuse(std::string_view why) const {
    throw UsageError(cat(folder_.string(), ": trace v1 ", why));
  }

  /// As its own reader asks of them.
  void require_weights(const TraceStep& step) const {
    for (std::int64_t t = 0; t < step.tokens; ++t) {
      double sum = 0;
      for (std::int64_t j = 0; j < info_.top_k; ++j)
        sum += step.weights[static_cast<std::size_t>(t * info_.top_k + j)];
      if (!(std::abs(sum - 1) <= 1e-4))
        refuse(cat("holds weights that sum to 1, and those of token ", t, " sum to ", sum));
    }
  }

  template <class T>
  Json write(const std::string& name, TorchType type, const std::vector<std::int64_t>& shape,
             std::span<const T> values) {
    const std::string file = cat("tensors/", name, ".pt"),
                      bytes = torch_file(name, type, shape, std::as_bytes(values));
    OutputFile out((folder_ / file).string());
    out.write(bytes);
    out.finish();
    Sha256 hash;
    hash.add(bytes);
    return Json{
        {"file", file}, {"sha256", hash.hex()}, {"shape", shape}, {"dtype", std::string(name_of(type))}};
  }

  /// What a trace of ours does not know is 0 or "unknown".
  void write_manifest(const TraceStep& step, const Json& tensors) const {
    const Json manifest{{"schema_version", 1},
                        {"producer_commit", "unknown"},
                        {"seed", 0},
                        {"logical_layer_id", step.layer},
                        {"step_id", step.step},
                        {"microbatch_id", 0},
                        {"logical_num_tokens", step.tokens},
                        {"num_experts", info_.experts},
                        {"topk", info_.top_k},
                        {"hidden_size", 0},
                        {"world_size", 1},
                        {"original_partition", "one rank"},
                        {"workload_id", "unknown"},
                        {"workload_checksum", tensors["token_ids"]["sha256"]},
                        {"tensors", tensors},
                        {"extra", {{"producer", "moebench trace"}}}};
    OutputFile out((folder_ / "manifest.json").string());
    out.write(manifest.dump(2) + "\n");
    out.finish();
  }

  fs::path folder_;
  TraceInfo info_;
  bool created_ = false, finished_ = false;
};

}  // namespace

std::unique_ptr<TraceWriter> write_token_imbalance_trace(const std::string& path, const TraceInfo& info) {
  return std::make_unique<ImbalanceWriter>(path, info);
}

}  // namespace moebench
