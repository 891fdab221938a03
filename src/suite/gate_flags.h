// SPDX-License-Identifier: Apache-2.0
// The flags of the gate: rows of the table in flag.cpp.
#pragma once

#include <cmath>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/text.h"
#include "layer/gates/gate.h"
#include "suite/flag.h"

namespace moebench::gate_flags {

inline bool layer_only(SubjectKind subject) { return subject == SubjectKind::layer; }
inline std::int64_t number(std::string_view text) { return to_int(text).value(); }

inline double positive(std::string_view flag, std::string_view word) {
  const auto value = to_double(word);
  if (!value || !(*value > 0) || !std::isfinite(*value))
    throw UsageError(cat(flag, " '", word, "' must be a number above 0"));
  return *value;
}

/// Of gates that do not know the option only what is not its default: it is refused (bench/why_not.h).
inline std::string of_affinity(const Case& c, std::string text, std::string_view default_value) {
  return text == default_value && c.gate != "sigmoid" && c.gate != "sqrtsoftplus" ? std::string() : text;
}

inline const Capacity& capacity_of(const Case& c) { return c.gate_options.capacity; }

inline std::string gate_group_of(const Case& c) {
  const LossOptions& losses = c.gate_options.losses;
  const std::int64_t group = capacity_of(c).group_of(c.shape);
  const bool read =
      capacity_of(c).limits() || (losses.aux > 0 && losses.sequence == 0) || c.gate == "sinkhorn";
  return read && group > 0 ? cat(group) : std::string();
}

inline constexpr Flag kGateFlag{
    .name = "gate",
    .value = "NAME",
    .default_value = "topk",
    .help = "see 'moebench list gates'; topk: the paper's; preset: that of its model",
    .concerns = layer_only,
    .read = [](const Case& c) { return c.gate.text(); },
    .write = [](Case& c, std::string_view v) { c.gate = find_gate(v).name; }};

inline constexpr Flag kRouterDtypeFlag{
    .name = "router-dtype",
    .value = "case|fp32",
    .default_value = "case",
    .help = "format of the gate's weights and products; case: that of --dtype",
    .omitted_from_id_at_default = true,
    .reader = "a format other than fp32 reads",
    .concerns = layer_only,
    .read =
        [](const Case& c) {
          if (c.shape.dtype == DType::fp32) return std::string();
          return std::string(c.shape.fp32_router ? "fp32" : "case");
        },
    .write =
        [](Case& c, std::string_view v) {
          c.shape.fp32_router = Words<bool, 2>{{{{false, "case"}, {true, "fp32"}}}}.parse("router-dtype", v);
        }};

inline constexpr Flag kCapacityFlag{
    .name = "capacity",
    .value = "none|F",
    .default_value = "none",
    .help = "an expert takes F times its even share of a group's rows, the rest is dropped",
    .omitted_from_id_at_default = true,
    .concerns = layer_only,
    .default_of = [](const Case& c) { return find_gate(c.gate).capacity; },
    .read = [](const Case& c) { return capacity_text(capacity_of(c)); },
    .write = [](Case& c, std::string_view v) { c.gate_options.capacity.factor = parse_capacity(v); }};

inline constexpr Flag kCapacityMinFlag{
    .name = "capacity-min",
    .value = "N",
    .default_value = "0",
    .help = "but at least so many rows of a group",
    .number = true,
    .omitted_from_id_at_default = true,
    .reader = "a capacity reads",
    .concerns = layer_only,
    .read =
        [](const Case& c) { return capacity_of(c).limits() ? cat(capacity_of(c).min_rows) : std::string(); },
    .write = [](Case& c, std::string_view v) { c.gate_options.capacity.min_rows = number(v); }};

inline constexpr Flag kDropPolicyFlag{
    .name = "drop-policy",
    .value = "WORD",
    .default_value = "position",
    .help = "which rows stay: position, probs, choice or priority",
    .omitted_from_id_at_default = true,
    .reader = "a capacity reads",
    .concerns = layer_only,
    .default_of = [](const Case& c) { return find_gate(c.gate).drop_policy; },
    .read =
        [](const Case& c) {
          return capacity_of(c).limits() ? std::string(name_of(capacity_of(c).policy)) : std::string();
        },
    .write = [](Case& c, std::string_view v) { c.gate_options.capacity.policy = parse_drop_policy(v); }};

inline constexpr Flag kGateGroupFlag{
    .name = "gate-group",
    .value = "N",
    .default_value = "",
    .help = "consecutive tokens that capacity, loss and sinkhorn count over; default: a rank's",
    .number = true,
    .min = 1,
    .omitted_from_id_at_default = true,
    .scaled_to = 1,
    .reader = "a capacity, a loss over groups or gate sinkhorn reads",
    .concerns = layer_only,
    .read = gate_group_of,
    .write = [](Case& c, std::string_view v) {
      c.gate_options.capacity.group = c.gate_options.losses.gate_group = number(v);
    }};

inline constexpr Flag kGroupsFlag{
    .name = "groups",
    .value = "none|G:KEEP",
    .default_value = "none",
    .help = "a token chooses among the KEEP best of G groups of experts; see 'help run'",
    .omitted_from_id_at_default = true,
    .reader = "gates sigmoid and sqrtsoftplus read",
    .concerns = layer_only,
    .read = [](const Case& c) { return of_affinity(c, groups_text(c.gate_options.groups), "none"); },
    .write = [](Case& c, std::string_view v) { c.gate_options.groups = parse_groups(v); }};

inline constexpr Flag kGateScaleFlag{
    .name = "gate-scale",
    .value = "F",
    .default_value = "1",
    .help = "what the scores of a token are multiplied by",
    .omitted_from_id_at_default = true,
    .reader = "gates sigmoid and sqrtsoftplus read",
    .concerns = layer_only,
    .read = [](const Case& c) { return of_affinity(c, cat(c.gate_options.scale), "1"); },
    .write = [](Case& c, std::string_view v) { c.gate_options.scale = positive("gate-scale", v); }};

inline constexpr Flag kGateBiasFlag{
    .name = "gate-bias",
    .value = "none|A",
    .default_value = "none",
    .help = "experts are ranked by score plus a constant drawn from [-A, A) by the seed",
    .omitted_from_id_at_default = true,
    .reader = "gates sigmoid and sqrtsoftplus read",
    .concerns = layer_only,
    .read =
        [](const Case& c) {
          return of_affinity(c, c.gate_options.biased() ? cat(c.gate_options.bias) : "none", "none");
        },
    .write = [](Case& c,
                std::string_view v) { c.gate_options.bias = v == "none" ? 0 : positive("gate-bias", v); }};

inline constexpr Flag kGateBiasUpdateFlag{
    .name = "gate-bias-update",
    .value = "none|U",
    .default_value = "none",
    .help = "after each routing step the bias moves by U against the load; see 'help run'",
    .omitted_from_id_at_default = true,
    .reader = "gates sigmoid and sqrtsoftplus read",
    .concerns = layer_only,
    .read =
        [](const Case& c) {
          const double rate = c.gate_options.bias_update;
          return of_affinity(c, rate > 0 ? cat(rate) : "none", "none");
        },
    .write =
        [](Case& c, std::string_view v) {
          c.gate_options.bias_update = v == "none" ? 0 : positive("gate-bias-update", v);
        }};

inline constexpr Flag kSinkhornFlag{
    .name = "sinkhorn-iterations",
    .value = "N",
    .default_value = "8",
    .help = "how often gate sinkhorn evens out tokens and experts of a group",
    .number = true,
    .min = 1,
    .max = 1000,
    .omitted_from_id_at_default = true,
    .reader = "gate sinkhorn reads",
    .concerns = layer_only,
    .read =
        [](const Case& c) {
          const int iterations = c.gate_options.sinkhorn_iterations;
          return c.gate == "sinkhorn" || iterations != kSinkhornIterations ? cat(iterations) : std::string();
        },
    .write = [](Case& c,
                std::string_view v) { c.gate_options.sinkhorn_iterations = static_cast<int>(number(v)); }};
static_assert(kSinkhornIterations == 8, "the flag's default");

inline constexpr Flag kAuxLossFlag{
    .name = "aux-loss",
    .value = "none|A",
    .default_value = "none",
    .help = "load balancing loss times A, over a gate group; A:sequence:N: over N tokens",
    .omitted_from_id_at_default = true,
    .concerns = layer_only,
    .read = [](const Case& c) { return aux_text(c.gate_options.losses); },
    .write = [](Case& c, std::string_view v) { parse_aux(v, c.gate_options.losses); }};

inline constexpr Flag kZLossFlag{
    .name = "z-loss",
    .value = "none|Z",
    .default_value = "none",
    .help = "Z times the mean square of the logarithm of the softmax's sum",
    .omitted_from_id_at_default = true,
    .concerns = layer_only,
    .read =
        [](const Case& c) {
          return c.gate_options.losses.z > 0 ? cat(c.gate_options.losses.z) : std::string("none");
        },
    .write = [](Case& c,
                std::string_view v) { c.gate_options.losses.z = v == "none" ? 0 : positive("z-loss", v); }};

}  // namespace moebench::gate_flags
