// SPDX-License-Identifier: Apache-2.0
// A layer on one rank with everything it needs, for tests.
#pragma once

#include <string>

#include "backends/cpu/cpu_backend.h"
#include "comm/world.h"
#include "layer/verify.h"

namespace moebench {

inline Shape with_slots(Shape shape, const GateEntry& gate) {
  shape.slots = slots_of(gate, shape);
  return shape;
}

struct CaseOnOneRank {
  CaseOnOneRank(const Shape& shape, const std::string& engine, RoutingDistribution routing = {},
                std::uint64_t seed = 1, int threads = 2, const GateEntry* gate = &default_gate(),
                const GateOptions& gate_options = {})
      : world(make_self_world()),
        backend(make_cpu_backend(threads)),
        pool(threads),
        groups(world->make_comm(backend->memory(), backend->stream()), 1),
        workload(with_slots(shape, *gate), routing, seed),
        layer(workload.shape(), groups, *backend,
              {.engine = engine, .gate = gate, .gate_options = gate_options}) {}

  std::vector<CheckItem> verify_all() {
    return verify(layer, workload, *world, *backend, pool, {.full = true});
  }

  std::unique_ptr<World> world;
  std::unique_ptr<Backend> backend;
  ThreadPool pool;
  Groups groups;
  Workload workload;
  Layer layer;
};

}  // namespace moebench
