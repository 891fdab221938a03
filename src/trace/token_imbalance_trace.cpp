// SPDX-License-Identifier: Apache-2.0
// "Trace v1" of the token-imbalance benchmark (NVIDIA/Megatron-LM pull request 7488, benchmarks/moe/token_imbalance/trace.py):
// a folder with manifest.json and four tensors, each with its SHA-256 in the manifest. One step of one layer.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "trace/torch_tensor.h"
#include "trace/trace_reader.h"

namespace moebench {
namespace {

using Json = nlohmann::json;
constexpr std::uint64_t kMostManifest = std::uint64_t{1} << 20;

class ImbalanceReader final : public TraceReader {
 public:
  ImbalanceReader(std::unique_ptr<ByteSource> manifest, OpenFile open)
      : manifest_(std::move(manifest)), open_(std::move(open)) {
    if (manifest_->size() > kMostManifest) refuse(cat("more than ", kMostManifest, " bytes"));
    const auto text = manifest_->read_many<char>(0, manifest_->size());
    json_ = Json::parse(text.begin(), text.end(), nullptr, false);
    if (!json_.is_object()) refuse("not a JSON object");
    if (number("schema_version") != 1) refuse("schema_version is not 1");
    tokens_ = number("logical_num_tokens");
    info_ = {"token-imbalance", number("num_experts"), number("topk")};
    world_ = number("world_size");
    if (info_.experts < 1 || info_.experts > kMostTraceExperts || info_.top_k < 1 ||
        info_.top_k > kMostTraceTopK || info_.top_k > info_.experts || tokens_ < 1 ||
        tokens_ > kMostTraceSlots / info_.top_k)
      refuse(cat(tokens_, " tokens, ", info_.experts, " experts, topk ", info_.top_k, " cannot be"));
  }
  const TraceInfo& info() const override { return info_; }
  std::string sha256() const override { return manifest_->sha256(); }

  bool next(TraceStep& step, const WantStep& want) override {
    const auto optional = [&](const char* key) { return json_.contains(key) ? number(key) : 0; };
    step = {.step = optional("step_id"), .layer = optional("logical_layer_id"), .tokens = tokens_};
    if (std::exchange(read_, true) || !want(step.step, step.layer)) return false;
    const auto slots = static_cast<std::uint64_t>(tokens_ * info_.top_k);
    const auto experts = values<std::int64_t>("expert_ids", TorchType::int64, {tokens_, info_.top_k});
    if (values<std::int64_t>("token_ids", TorchType::int64, {tokens_, info_.top_k}) != experts)
      refuse("token_ids and expert_ids disagree");
    step.experts.reserve(slots);
    for (const std::int64_t expert : experts)
      step.experts.push_back(expert >= 0 && expert < info_.experts ? static_cast<std::int32_t>(expert) : -1);
    require_lawful(*manifest_, 0, step, info_);
    step.weights = values<float>("gates", TorchType::float32, {tokens_, info_.top_k});
    require_weights(step.weights);
    for (const std::int32_t rank : values<std::int32_t>("source_rank", TorchType::int32, {tokens_}))
      if (rank < 0 || rank >= world_) refuse(cat("source rank ", rank, " of ", world_));
    return true;
  }

 private:
  [[noreturn]] void refuse(std::string_view why) const { manifest_->refuse(0, why); }

  std::int64_t number(const char* key) const {
    const auto found = json_.find(key);
    if (found == json_.end() || !found->is_number_integer()) refuse(cat("needs a whole number '", key, "'"));
    if (found->is_number_unsigned() && found->get<std::uint64_t>() > std::uint64_t{1} << 62)
      refuse(cat("'", key, "' is too large"));
    return found->get<std::int64_t>();
  }

  /// The elements of a tensor, after its file's hash, type and shape have been found to be those of the manifest.
  template <class T>
  std::vector<T> values(const char* name, TorchType type, const std::vector<std::int64_t>& shape) const {
    const Json tensors = json_.value("tensors", Json::object());
    if (!tensors.is_object() || !tensors.contains(name) || !tensors[name].is_object())
      refuse(cat("lists no tensor ", name));
    const Json& entry = tensors[name];
    const auto text = [&](const char* key) {
      if (!entry.contains(key) || !entry[key].is_string())
        refuse(cat("tensor ", name, " has no '", key, "'"));
      return entry[key].template get<std::string>();
    };
    const std::string file = text("file");
    if (file.empty() || file.front() == '/' || file.find("..") != std::string::npos)
      refuse(cat("tensor ", name, " is in '", file, "', outside the folder"));
    const auto source = open_(file);
    if (source->sha256() != text("sha256")) source->refuse(0, "its SHA-256 is not the manifest's");
    const TorchTensor tensor = parse_torch_tensor(*source);
    if (tensor.type != type || tensor.shape != shape || text("dtype") != name_of(type) ||
        entry.value("shape", Json()) != Json(shape))
      source->refuse(0, cat("is not ", name_of(type), " of the shape that the manifest says"));
    return source->template read_many<T>(tensor.begin, tensor.elements());
  }

  void require_weights(const std::vector<float>& weights) const {
    for (std::int64_t t = 0; t < tokens_; ++t) {
      double sum = 0;
      for (std::int64_t j = 0; j < info_.top_k; ++j) {
        const double weight = weights[static_cast<std::size_t>(t * info_.top_k + j)];
        if (!(weight >= 0) || std::isinf(weight)) refuse(cat("a weight of token ", t, " is ", weight));
        sum += weight;
      }
      if (std::abs(sum - 1) > 2e-4) refuse(cat("the weights of token ", t, " sum to ", sum, ", not 1"));
    }
  }

  std::unique_ptr<ByteSource> manifest_;
  OpenFile open_;
  Json json_;
  TraceInfo info_;
  std::int64_t tokens_ = 0, world_ = 0;
  bool read_ = false;
};

}  // namespace

std::unique_ptr<TraceReader> read_token_imbalance_trace(std::unique_ptr<ByteSource> manifest,
                                                        const OpenFile& open) {
  return std::make_unique<ImbalanceReader>(std::move(manifest), open);
}

}  // namespace moebench
