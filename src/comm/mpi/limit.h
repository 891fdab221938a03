// SPDX-License-Identifier: Apache-2.0
// A limit for calls into MPI that wait for other ranks and cannot be polled.
#pragma once

#include <string>

#include "comm/limit.h"

namespace moebench {

/// A Limit that ends the ranks through MPI_Abort.
class MpiLimit : public Limit {
 public:
  MpiLimit(double limit_s, std::string call);
};

}  // namespace moebench
