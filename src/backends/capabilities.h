// SPDX-License-Identifier: Apache-2.0
// What a backend can compute, known without a device: what is asked before anything runs.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "backends/engine.h"
#include "moe/shape.h"

namespace moebench {

/// A Backend is one, and each backend has one that needs no device (cpu_capabilities(), cuda_capabilities()).
class Capabilities {
 public:
  virtual ~Capabilities() = default;

  virtual std::string_view name() const = 0;
  /// Whether it multiplies in this format.
  virtual bool supports(DType dtype) const = 0;
  /// Names that Backend::make_engine takes, in the order of `moebench list`.
  virtual std::vector<std::string> engines() const = 0;
  /// The engine that 'auto' stands for: the fastest one for this shape, as far as is known.
  virtual std::string best_engine(const Shape&) const { return "loop"; }
  /// best_engine() in words, for `moebench list`.
  virtual std::string best_engine_rule() const { return "loop"; }
  /// Whether Backend::use_threads() changes anything.
  virtual bool has_threads() const { return false; }
  /// Whether Backend::capture() works.
  virtual bool has_graphs() const { return false; }

  /// What `engine` needs of its rows, as far as is known without a device; the default for unknown names.
  virtual EngineTraits traits(std::string_view /*engine*/, const EngineShape&) const { return {}; }

  /// Why `engine`, one of engines(), cannot run the experts of one rank; empty if it can.
  virtual std::string why_not(std::string_view /*engine*/, const EngineShape&) const { return {}; }
  /// Why no engine can run a layer of this shape; empty if that is for the engine to say.
  virtual std::string why_not(const Shape& shape) const {
    if (supports(shape.dtype)) return {};
    return "backend " + std::string(name()) + " does not compute in " + std::string(name_of(shape.dtype));
  }
};

}  // namespace moebench
