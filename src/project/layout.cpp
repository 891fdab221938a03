// SPDX-License-Identifier: Apache-2.0
#include "project/layout.h"

#include <numeric>

#include "base/text.h"

namespace moebench {

std::int64_t Layout::unit() const { return pp * std::lcm(tp, etp * ep); }

std::string why_not(const Layout& layout, const Model& model) {
  const auto does_not_divide = [](std::string_view flag, std::int64_t value, std::string_view what,
                                  std::int64_t whole) {
    return whole % value ? cat("--", flag, " ", value, " does not divide the ", whole, " ", what)
                         : std::string();
  };
  for (const std::string& why :
       {does_not_divide("ep", layout.ep, cat("experts of ", model.name), model.experts),
        does_not_divide("tp", layout.tp, cat("attention heads of ", model.name), model.attention.heads),
        does_not_divide("etp", layout.etp, cat("columns of an expert of ", model.name), model.ffn)})
    if (!why.empty()) return why;
  if (layout.vp > 1 && layout.pp == 1) return cat("--vp ", layout.vp, " needs --pp of at least 2");
  if (layout.pp * layout.vp > model.layers)
    return cat("--pp ", layout.pp, layout.vp > 1 ? cat(" times --vp ", layout.vp) : std::string(),
               " exceeds the ", model.layers, " layers of ", model.name);
  if (layout.gpus % (layout.tp * layout.pp))
    return cat("--gpus ", layout.gpus, " is no multiple of --tp ", layout.tp, " times --pp ", layout.pp,
               " = ", layout.tp * layout.pp);
  if (layout.gpus % (layout.etp * layout.ep * layout.pp))
    return cat("--gpus ", layout.gpus, " is no multiple of --ep ", layout.ep, " times --pp ", layout.pp,
               layout.etp > 1 ? cat(" times --etp ", layout.etp) : std::string(), " = ",
               layout.etp * layout.ep * layout.pp);
  return {};
}

std::string name_of(const Layout& layout) {
  return cat("TP ", layout.tp, ", PP ", layout.pp, layout.vp > 1 ? cat(", VP ", layout.vp) : std::string(),
             ", EP ", layout.ep, layout.etp > 1 ? cat(", ETP ", layout.etp) : std::string());
}

}  // namespace moebench
