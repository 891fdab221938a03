// SPDX-License-Identifier: Apache-2.0
#include "layer/routing.h"

namespace moebench {
namespace {

/// Hands out consecutive aligned arrays of one buffer; the first round only counts.
class Carver {
 public:
  explicit Carver(std::byte* base) : base_(base) {}
  template <class T>
  void carve(std::span<T>& array, std::int64_t count) {
    if (base_) array = {reinterpret_cast<T*>(base_ + used_), static_cast<std::size_t>(count)};
    constexpr std::size_t kAlignment = 256;
    used_ += (static_cast<std::size_t>(count) * sizeof(T) + kAlignment - 1) / kAlignment * kAlignment;
  }
  std::size_t used() const { return used_; }

 private:
  std::byte* base_;
  std::size_t used_ = 0;
};

}  // namespace

Routing::Routing(const Shape& shape, std::int64_t tokens, Memory& memory)
    : storage_(memory, 0), expert_of_row_(memory, 0) {
  const std::int64_t slots = tokens * shape.top_k, local = shape.experts_per_rank();
  const auto carve_all = [&](Carver carver) {
    carver.carve(logits, tokens * shape.experts);
    carver.carve(dlogits, tokens * shape.experts);
    carver.carve(score, slots);
    carver.carve(dscore, slots);
    carver.carve(expert_of, slots);
    carver.carve(counts, shape.experts);
    carver.carve(offsets, shape.experts + 1);
    carver.carve(row_of, slots);
    carver.carve(slot_of, slots);
    carver.carve(local_offsets, local + 1);
    return carver.used();
  };
  storage_.reserve(carve_all(Carver(nullptr)));
  carve_all(Carver(storage_.as<std::byte>()));
  const auto pairs = static_cast<std::size_t>(shape.experts);  // P·e
  sent.resize(pairs);
  received.resize(pairs);
  home.resize(pairs);
  away.resize(pairs);
  host_offsets.resize(static_cast<std::size_t>(local + 1));
}

void Routing::read_counts(Memory& memory) {
  staging_.resize(counts.size());
  memory.copy_to_host(staging_.data(), counts.data(), counts.size_bytes());
  sent.assign(staging_.begin(), staging_.end());
}

void Routing::lay_out_rows() {
  const std::int64_t pairs = std::ssize(sent), experts = std::ssize(host_offsets) - 1;
  std::int64_t at_home = 0, at_experts = 0;
  for (std::int64_t i = 0; i < pairs; ++i) {
    home[i] = {at_home, sent[i]};
    at_home += sent[i];
  }
  for (std::int64_t e = 0; e < experts; ++e) {
    host_offsets[e] = at_experts;
    for (std::int64_t i = e; i < pairs; i += experts) {
      away[i] = {at_experts, received[i]};
      at_experts += received[i];
    }
  }
  host_offsets[experts] = at_experts;
}

void Routing::write_received(Memory& memory, bool by_token) {
  staging_.assign(host_offsets.begin(), host_offsets.end());
  memory.copy_from_host(local_offsets.data(), staging_.data(), local_offsets.size_bytes());
  if (!by_token) return;
  staging_.clear();
  for (std::size_t e = 0; e + 1 < host_offsets.size(); ++e)
    staging_.insert(staging_.end(), host_offsets[e + 1] - host_offsets[e], static_cast<std::int32_t>(e));
  expert_of_row_.reserve(staging_.size() * sizeof(std::int32_t));
  expert_of_row = {expert_of_row_.as<std::int32_t>(), staging_.size()};
  memory.copy_from_host(expert_of_row.data(), staging_.data(), expert_of_row.size_bytes());
}

}  // namespace moebench
