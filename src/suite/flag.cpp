// SPDX-License-Identifier: Apache-2.0
#include "suite/flag.h"

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "moe/target_imbalance.h"
#include "suite/axis.h"
#include "suite/gate_flags.h"

namespace moebench {
namespace {

constexpr std::int64_t kMaxRanks = std::int64_t{1} << 20;

std::int64_t number(std::string_view text) { return to_int(text).value(); }

std::int64_t product(std::string_view what, std::int64_t a, std::string_view times, std::int64_t b) {
  std::int64_t result = 0;
  if (__builtin_mul_overflow(a, b, &result))
    throw UsageError(cat(what, " ", a, " x ", times, " ", b, " overflows 64 bits"));
  return result;
}

bool parse_switch(std::string_view flag, std::string_view word) {
  return Words<bool, 2>{{{{false, "off"}, {true, "on"}}}}.parse(flag, word);
}

std::string tokens_per_rank(const Case& c) {
  const auto& [tokens, ranks] = std::pair(c.shape.tokens, c.shape.ranks);
  return tokens % ranks == 0 ? cat(tokens / ranks) : std::string();
}

bool layer_only(SubjectKind subject) { return subject == SubjectKind::layer; }
bool not_linear(SubjectKind subject) { return subject != SubjectKind::linear; }
bool is_direct(const Case& c) { return c.shape.ep > 1 && c.exchange == Exchange::direct; }

// Defaults: the single-GPU experiment of the FastMoE paper (arXiv 2103.13262, section 5.2).
constexpr Flag kFlags[] = {
    {.name = "subject",
     .value = "layer|linear|dense",
     .default_value = "layer",
     .help = "the MoE layer, one matrix product, or a dense FFN of the same active FLOPs",
     .read = [](const Case& c) { return std::string(name_of(c.subject)); },
     .write = [](Case& c, std::string_view v) { c.subject = parse_subject(v); }},
    {.name = "ranks",
     .value = "N",
     .default_value = "",
     .help = "processes that take part; started here if no launcher did; default: all there are",
     .number = true,
     .min = 1,
     .max = kMaxRanks,
     .read = [](const Case& c) { return cat(c.shape.ranks); },
     .write = [](Case& c, std::string_view v) { c.shape.ranks = static_cast<int>(number(v)); }},
    {.name = "as-rank",
     .value = "R",
     .default_value = "",
     .help = "run rank R of --ranks alone: its tokens, its experts, the rows it would get",
     .number = true,
     .max = kMaxRanks,
     .concerns = layer_only,
     .read = [](const Case& c) { return c.as_rank < 0 ? std::string() : cat(c.as_rank); },
     .write = [](Case& c, std::string_view v) { c.as_rank = static_cast<int>(number(v)); }},
    {.name = "ep",
     .value = "N",
     .default_value = "",
     .help = "ranks that share one set of experts; must divide the ranks; default: all of them",
     .number = true,
     .min = 1,
     .max = kMaxRanks,
     .concerns = layer_only,
     .read = [](const Case& c) { return cat(c.shape.ep); },
     .write = [](Case& c, std::string_view v) { c.shape.ep = static_cast<int>(number(v)); }},
    {.name = "tokens",
     .value = "N",
     .default_value = "4096",
     .help = "tokens per rank",
     .number = true,
     .replaces = "total-tokens",
     .scaled_to = 1,
     .read = tokens_per_rank,
     .write =
         [](Case& c, std::string_view v) {
           c.shape.tokens = product("tokens", number(v), "ranks", c.shape.ranks);
         }},
    {.name = "total-tokens",
     .value = "N",
     .default_value = "",
     .help = "instead of --tokens: tokens in all, dealt as evenly as possible",
     .number = true,
     .replaces = "tokens",
     .scaled_to = 1,
     .read = [](const Case& c) { return cat(c.shape.tokens); },
     .write = [](Case& c, std::string_view v) { c.shape.tokens = number(v); }},
    {.name = "hidden",
     .value = "N",
     .default_value = "1024",
     .help = "width of a token",
     .number = true,
     .min = 1,
     .scaled_to = 16,
     .read = [](const Case& c) { return cat(c.shape.hidden); },
     .write = [](Case& c, std::string_view v) { c.shape.hidden = number(v); }},
    {.name = "ffn",
     .value = "N",
     .default_value = "4096",
     .help = "width inside an expert",
     .number = true,
     .min = 1,
     .scaled_to = 16,
     .read = [](const Case& c) { return cat(c.shape.ffn); },
     .write = [](Case& c, std::string_view v) { c.shape.ffn = number(v); }},
    {.name = "experts",
     .value = "N",
     .default_value = "8",
     .help = "experts in all",
     .number = true,
     .min = 1,
     .replaces = "experts-per-rank",
     .concerns = layer_only,
     .read = [](const Case& c) { return cat(c.shape.experts); },
     .write = [](Case& c, std::string_view v) { c.shape.experts = number(v); }},
    {.name = "experts-per-rank",
     .value = "N",
     .default_value = "",
     .help = "instead of --experts: experts on each rank; experts = this x ep",
     .number = true,
     .min = 1,
     .replaces = "experts",
     .concerns = layer_only,
     .read =
         [](const Case& c) {
           return c.shape.experts % c.shape.ep == 0 ? cat(c.shape.experts_per_rank()) : std::string();
         },
     .write =
         [](Case& c, std::string_view v) {
           c.shape.experts = product("experts-per-rank", number(v), "ep", c.shape.ep);
         }},
    {.name = "top-k",
     .value = "N",
     .default_value = "2",
     .help = "experts that each token goes to",
     .number = true,
     .min = 1,
     .concerns = not_linear,
     .read = [](const Case& c) { return cat(c.shape.top_k); },
     .write = [](Case& c, std::string_view v) { c.shape.top_k = number(v); }},
    {.name = "shared-experts",
     .value = "N",
     .default_value = "0",
     .help = "experts of width ffn that every token passes, whatever the gate says",
     .number = true,
     .max = 1024,
     .omitted_from_id_at_default = true,
     .concerns = not_linear,
     .read = [](const Case& c) { return cat(c.shape.shared_experts); },
     .write = [](Case& c, std::string_view v) { c.shape.shared_experts = number(v); }},
    {.name = "activation",
     .value = "gelu|swiglu",
     .default_value = "gelu",
     .help = "gelu: two matrices per expert; swiglu: three",
     .concerns = not_linear,
     .read = [](const Case& c) { return std::string(name_of(c.shape.activation)); },
     .write = [](Case& c, std::string_view v) { c.shape.activation = parse_activation(v); }},
    {.name = "bias",
     .value = "on|off",
     .default_value = "off",
     .help = "biases in the experts",
     .concerns = not_linear,
     .read = [](const Case& c) { return std::string(c.shape.bias ? "on" : "off"); },
     .write = [](Case& c, std::string_view v) { c.shape.bias = parse_switch("bias", v); }},
    {.name = "dtype",
     .value = "fp32|tf32|bf16|fp16",
     .default_value = "fp32",
     .help = "number format; all accumulate in fp32; the cpu backend has fp32 only",
     .read = [](const Case& c) { return std::string(name_of(c.shape.dtype)); },
     .write = [](Case& c, std::string_view v) { c.shape.dtype = parse_dtype(v); }},
    gate_flags::kGateFlag,
    gate_flags::kRouterDtypeFlag,
    gate_flags::kCapacityFlag,
    gate_flags::kCapacityMinFlag,
    gate_flags::kDropPolicyFlag,
    gate_flags::kGateGroupFlag,
    gate_flags::kGroupsFlag,
    gate_flags::kGateScaleFlag,
    gate_flags::kGateBiasFlag,
    gate_flags::kGateBiasUpdateFlag,
    gate_flags::kSinkhornFlag,
    gate_flags::kAuxLossFlag,
    gate_flags::kZLossFlag,
    {.name = "routing",
     .value = "NAME",
     .default_value = "random",
     .help = "how tokens choose: random, balanced, zipf:S, …; see 'moebench list routings'",
     .concerns = layer_only,
     .read = [](const Case& c) { return name_of(c.routing); },
     .write =
         [](Case& c, std::string_view v) {
           const RoutingDistribution kept = c.routing;
           c.routing = parse_routing(v);
           if (c.routing.is_trace()) parse_selection(c.routing.trace);
           c.routing.placement = kept.placement;
           c.routing.window = kept.window;
         }},
    {.name = "routing-via",
     .value = "auto|planted|replayed",
     .default_value = "auto",
     .help = "computed by the gate, or put in its place; auto: the former if it can be",
     .omitted_from_id_at_default = true,
     .reader = "a routing other than random reads",
     .concerns = layer_only,
     .read =
         [](const Case& c) {
           return c.routing.is_random() ? std::string() : std::string(name_of(c.routing_via));
         },
     .write = [](Case& c, std::string_view v) { c.routing_via = parse_routing_via(v); }},
    {.name = "steps",
     .value = "N",
     .default_value = "",
     .help = "routing steps that iterations rotate through; default: the period of the routing",
     .number = true,
     .min = 1,
     .max = 4096,
     .concerns = layer_only,
     .read =
         [](const Case& c) { return c.steps > 0 && layer_only(c.subject) ? cat(c.steps) : std::string(); },
     .write = [](Case& c, std::string_view v) { c.steps = static_cast<int>(number(v)); }},
    {.name = "target-imbalance",
     .value = "X",
     .default_value = "none",
     .help = "find the routing's parameter: max/mean rows of experts, within 1 %",
     .omitted_from_id_at_default = true,
     .reader = "a routing with a parameter reads",
     .concerns = layer_only,
     .read = [](const Case& c) { return c.target_imbalance > 0 ? cat(c.target_imbalance) : std::string(); },
     .write = [](Case& c, std::string_view v) { c.target_imbalance = parse_target_imbalance(v); }},
    {.name = "placement",
     .value = "WORD",
     .default_value = "contiguous",
     .help = "contiguous, shuffled, or eplb:W, planned from the W steps before",
     .omitted_from_id_at_default = true,
     .reader = "a routing other than random reads",
     .concerns = layer_only,
     .read = [](const Case& c) { return c.routing.is_random() ? std::string() : placement_of(c.routing); },
     .write = [](Case& c, std::string_view v) { place(c.routing, v); }},
    {.name = "engine",
     .value = "NAME",
     .default_value = "auto",
     .help = "how experts are run, see 'moebench list'; auto: the fastest",
     .read = [](const Case& c) { return c.engine.text(); },
     .write = [](Case& c, std::string_view v) { c.engine = v; }},
    {.name = "streams",
     .value = "N",
     .default_value = "16",
     .help = "over how many streams engine 'streams' deals experts",
     .number = true,
     .min = 1,
     .max = 128,
     .omitted_from_id_at_default = true,
     .reader = "engine streams reads",
     .read = [](const Case& c) { return c.engine == kStreamsEngine ? cat(c.streams) : std::string(); },
     .write = [](Case& c, std::string_view v) { c.streams = static_cast<int>(number(v)); }},
    {.name = "backend",
     .value = "auto|cpu|cuda",
     .default_value = "auto",
     .help = "what computes; auto: the fastest that works here",
     .per_run = true,
     .read = [](const Case& c) { return c.backend.text(); },
     .write = [](Case& c, std::string_view v) { c.backend = v; }},
    {.name = "threads",
     .value = "N",
     .default_value = "",
     .help = "threads of each rank on backend cpu; default: one for each of its cores",
     .number = true,
     .min = 1,
     .max = 1024,
     .read = [](const Case& c) { return c.threads > 0 ? cat(c.threads) : std::string(); },
     .write = [](Case& c, std::string_view v) { c.threads = static_cast<int>(number(v)); }},
    {.name = "comm",
     .value = "NAME",
     .default_value = "auto",
     .help = "what exchanges between ranks; auto: self for one, nccl with a GPU each, else mpi",
     .per_run = true,
     .read = [](const Case& c) { return c.comm.text(); },
     .write = [](Case& c, std::string_view v) { c.comm = v; }},
    {.name = "exchange",
     .value = "fused|per-expert|direct|auto",
     .default_value = "fused",
     .help = "rows at once, by local expert (the paper), or stored at peers",
     .omitted_from_id_at_default = true,
     .reader = "a layer on several ranks (ep above 1) reads",
     .read = [](const Case& c) { return c.shape.ep > 1 ? std::string(name_of(c.exchange)) : std::string(); },
     .write =
         [](Case& c, std::string_view v) {
           c.auto_exchange = v == kAuto;
           c.exchange = c.auto_exchange ? Exchange::direct : parse_exchange(v);
         }},
    {.name = "overlap",
     .value = "none|wgrad|peer|tile|auto",
     .default_value = "none",
     .help = "what runs while rows travel: nothing, weight gradients, own rows, tiles",
     .omitted_from_id_at_default = true,
     .reader = "exchange direct reads",
     .read = [](const Case& c) { return is_direct(c) ? std::string(name_of(c.overlap)) : std::string(); },
     .write =
         [](Case& c, std::string_view v) {
           c.auto_overlap = v == kAuto;
           c.overlap = c.auto_overlap ? Overlap::tile : parse_overlap(v);
         }},
    {.name = "comm-sms",
     .value = "N",
     .default_value = "16",
     .help = "multiprocessors that the exchange takes while it overlaps",
     .number = true,
     .min = 1,
     .max = 64,
     .omitted_from_id_at_default = true,
     .reader = "exchange direct with overlap wgrad or peer reads",
     .read =
         [](const Case& c) {
           const bool reads = c.overlap == Overlap::wgrad || c.overlap == Overlap::peer;
           return is_direct(c) && reads ? cat(c.comm_sms) : std::string();
         },
     .write = [](Case& c, std::string_view v) { c.comm_sms = static_cast<int>(number(v)); }},
    {.name = "pass",
     .value = "fwd|fwd+bwd|step",
     .default_value = "fwd+bwd",
     .help = "what is timed; step adds the gradient sync; subject linear has fwd only",
     .default_of = [](const Case& c) { return name_of(default_passes(c.subject)); },
     .read = [](const Case& c) { return std::string(name_of(c.passes)); },
     .write = [](Case& c, std::string_view v) { c.passes = parse_passes(v); }},
    {.name = "graph",
     .value = "off|on",
     .default_value = "off",
     .help = "on: each pass is recorded once and replayed as a CUDA graph",
     .omitted_from_id_at_default = true,
     .read = [](const Case& c) { return std::string(c.graph ? "on" : "off"); },
     .write = [](Case& c, std::string_view v) { c.graph = parse_switch("graph", v); }},
    {.name = "cache",
     .value = "cold|hot|flushed",
     .default_value = "cold",
     .help = "inputs rotate past the cache; one input; or nothing of the layer is in the cache",
     .omitted_from_id_at_default = true,
     .read = [](const Case& c) { return std::string(name_of(c.cache)); },
     .write = [](Case& c, std::string_view v) { c.cache = parse_cache(v); }},
    {.name = "seed",
     .value = "N",
     .default_value = "1",
     .help = "seed of inputs, weights and routing",
     .number = true,
     .read = [](const Case& c) { return cat(c.seed); },
     .write =
         [](Case& c, std::string_view v) {
           c.seed = c.gate_options.seed = static_cast<std::uint64_t>(number(v));
         }},
};

}  // namespace

std::span<const Flag> flags() { return kFlags; }

std::vector<std::string> flag_names() {
  std::vector<std::string> names;
  for (const Flag& flag : kFlags) names.emplace_back(flag.name);
  return names;
}

const Flag& find_flag(std::string_view name) {
  for (const Flag& flag : kFlags)
    if (flag.name == name) return flag;
  throw_unknown("flag", name, flag_names());
}

void set(Settings& settings, std::string_view flag, std::string_view text) {
  const Flag& known = find_flag(flag);
  expand_axis(known, text);
  if (!known.replaces.empty() && settings.contains(known.replaces))
    throw UsageError(
        cat("'", flag, "' and '", known.replaces, "' say the same in two ways; give one of them"));
  settings[std::string(flag)] = text;
}

}  // namespace moebench
