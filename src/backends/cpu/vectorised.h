// SPDX-License-Identifier: Apache-2.0
// Marks a loop for which the compiler makes one version per vector width and picks at load time,
// so that a portable build still uses this processor's vectors.
#pragma once

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_THREAD__) && \
    !defined(__SANITIZE_ADDRESS__)  // the choice runs before a sanitizer is set up, and would crash it
#define MB_VECTORISED __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define MB_VECTORISED
#endif
