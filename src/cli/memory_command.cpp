// SPDX-License-Identifier: Apache-2.0
#include <iostream>

#include "base/text.h"
#include "cli/commands.h"
#include "project/parameters.h"
#include "report/durable_file.h"
#include "report/grid.h"
#include "suite/models.h"

namespace moebench {
namespace {

constexpr double kGiB = 1024.0 * 1024 * 1024;
constexpr std::size_t kMaxLayouts = 8;  // rows of the screen's list

std::string gib(double bytes) { return format("%.1f", bytes / kGiB); }
std::string gpus_of(std::int64_t gpus) { return cat(gpus, gpus == 1 ? " GPU" : " GPUs"); }

std::string caption(const MemoryPlan& plan) {
  const Model& m = plan.model;
  const MemoryChoices& c = plan.request.choices;
  std::string text =
      cat(format("%s: %.1f B parameters, %.1f B active per token (published: %g, %g)\n",
                 std::string(m.name).c_str(), parameters_of(m).total() / 1e9, active_parameters(m) / 1e9,
                 m.published_total_b, m.published_active_b),
          plan.gpu.name, ": ", gib(plan.gpu.bytes), " GiB (", plan.gpu.provenance, "); ", c.tokens,
          " tokens per micro-batch; ", name_of(c.optimizer), c.offload_optimizer ? " on the host" : "",
          c.distributed_optimizer ? ", split over replicas" : ", not split", "; recompute ",
          name_of(c.recompute), c.fp8_weights ? "; fp8 weights" : "");
  if (c.buffers != ExchangeBuffers::exact) text += cat("; exchange buffers ", name_of(c.buffers));
  return text + "\n";
}

/// The memory of one layout at every overload.
std::string memory_table(const PlannedLayout& plan) {
  Grid grid({"overload", "weights", "gradients", "optimizer", "activations", "buffers", "total GiB", "free",
             "most tokens"});
  for (const Fit& fit : plan.fits) {
    const MemoryUse& use = fit.use;
    grid.add_row({format("%g", fit.overload), gib(use.weights), gib(use.gradients), gib(use.optimizer),
                  gib(use.activations), gib(use.buffers()), gib(use.total()), gib(fit.free),
                  cat(fit.max_tokens)});
  }
  return grid.text();
}

/// "This split fits at overload 1, 1.5 from 512 GPUs; at 2 from 1024 GPUs; at 4 never (3.2 GiB missing)."
std::string smallest_line(const PlannedLayout& plan) {
  std::vector<std::string> parts;
  std::string before;
  for (const Fit& fit : plan.fits) {
    const std::string from = fit.smallest_gpus ? cat("from ", gpus_of(*fit.smallest_gpus))
                                               : cat("never (", gib(fit.min_shortfall), " GiB missing)");
    if (from != before)
      parts.push_back(cat(parts.empty() ? "overload " : "at ", fit.overload, " ", from));
    else
      parts.back().insert(parts.back().size() - from.size() - 1, cat(", ", fit.overload));
    before = from;
  }
  return cat("This split fits at ", join(parts, "; "), ".\n");
}

std::string layouts_table(const MemoryPlan& plan) {
  Grid grid({"GPUs", "TP", "PP", "EP", "DP", "expert DP", "total GiB", "free"});
  for (std::size_t i = 0; i < std::min(kMaxLayouts, plan.layouts.size()); ++i) {
    const Layout& l = plan.layouts[i].layout;
    const Fit& fit = plan.layouts[i].fits.front();
    grid.add_row({cat(l.gpus), cat(l.tp), cat(l.pp), cat(l.ep), cat(l.dp()), cat(l.expert_dp()),
                  gib(fit.use.total()), gib(fit.free)});
  }
  std::string text = cat(plan.layouts.size(), " layouts at overload ", plan.request.overloads.front(),
                         ", the best first:\n\n", grid.text());
  if (plan.layouts.size() > kMaxLayouts)
    text += cat("… and ", plan.layouts.size() - kMaxLayouts, " more (--json has all)\n");
  return text + "\n";
}

std::string text_of(const MemoryPlan& plan) {
  const PlannedLayout& best = plan.layouts.front();
  const Layout& l = best.layout;
  std::string text = caption(plan);
  if (plan.left_out) text += cat(plan.left_out, " layouts left out, such as: ", plan.why_left_out, "\n");
  text += "\n";
  if (plan.layouts.size() > 1) text += layouts_table(plan);
  const HeldParameters held = held_parameters(plan.model, l);
  text += cat(name_of(l), " on ", gpus_of(l.gpus), ": ", l.dp(), l.dp() == 1 ? " replica" : " replicas",
              ", of experts ", l.expert_dp(),
              format("; the fullest GPU holds %.2f B parameters of experts and %.2f B others\n\n",
                     held.experts / 1e9, held.rest / 1e9));
  return text + memory_table(best) + "\n" + smallest_line(best);
}

}  // namespace

ExitCode memory_command(const Options& options) {
  if (options.sweep.preset.empty())
    throw UsageError(cat("memory needs --preset NAME; valid: ", join(model_names(), ", ")));
  const bool to_stdout = options.json == "-";
  if (!to_stdout) refuse_to_replace(options);
  const MemoryPlan plan = plan_memory(find_model(options.sweep.preset), options.memory);
  (to_stdout ? std::cerr : std::cout) << text_of(plan);
  if (to_stdout)
    std::cout << json_of(plan);
  else if (!options.json.empty())
    replace_file(options.json, json_of(plan));
  const PlannedLayout& best = plan.layouts.front();
  if (best.fits_at_all()) return ExitCode::ok;
  std::cerr << "moebench: nothing fits: with " << name_of(best.layout) << " on " << gpus_of(best.layout.gpus)
            << " the smallest shortfall is " << gib(-best.fits.front().free) << " GiB at overload "
            << best.fits.front().overload << '\n';
  return ExitCode::partial;
}

}  // namespace moebench
