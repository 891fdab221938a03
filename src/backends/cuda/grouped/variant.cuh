// SPDX-License-Identifier: Apache-2.0
// From a product's run-time description to the kernel that is made for it.
#pragma once

#include "backends/cuda/grouped/product.h"
#include "backends/cuda/stages/storage.cuh"

namespace moebench::cuda::grouped {

/// launch.operator()<T, form, after, activation>() of the product's own, which is in a 16-bit format; where
/// no activation follows, GELU.
template <class Launch>
void with_variant(const Product& p, Launch launch) {
  MB_ASSERT(size_of(p.left.dtype) == 2);
  with_storage(p.left.dtype, [&]<class T>() {
    if constexpr (sizeof(T) == 2) {
      const bool gelu = p.activation == Activation::gelu;
      switch (p.form) {
        case Form::gradient:
          return launch.template operator()<T, Form::gradient, After::store, Activation::gelu>();
        case Form::transposed:
          if (p.after == After::store)
            return launch.template operator()<T, Form::transposed, After::store, Activation::gelu>();
          MB_ASSERT(p.after == After::differentiate);
          return gelu
                     ? launch
                           .template operator()<T, Form::transposed, After::differentiate, Activation::gelu>()
                     : launch.template
                       operator()<T, Form::transposed, After::differentiate, Activation::swiglu>();
        case Form::forward:
          if (p.after == After::store)
            return launch.template operator()<T, Form::forward, After::store, Activation::gelu>();
          MB_ASSERT(p.after == After::activate);
          return gelu ? launch.template operator()<T, Form::forward, After::activate, Activation::gelu>()
                      : launch.template operator()<T, Form::forward, After::activate, Activation::swiglu>();
      }
    }
  });
}

}  // namespace moebench::cuda::grouped
