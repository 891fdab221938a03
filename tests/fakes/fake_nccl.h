// SPDX-License-Identifier: Apache-2.0
// What the fake libnccl.so.2 has beyond NCCL: streams without a device.
//
// A stream is a thread that does what it is given in order: copies, sends and receives between processes over
// Unix sockets, sums on rank 0. Like on a GPU, calls return at once, a receive that nobody sends to holds the
// stream for good, and ncclCommAbort lets it go on.
#pragma once

#include <nccl.h>

#include <cstddef>
#include <cstdint>

extern "C" {
cudaStream_t fake_stream_make();
/// Waits for its work.
void fake_stream_end(cudaStream_t stream);
void fake_stream_copy(cudaStream_t stream, void* to, const void* from, std::size_t bytes);
/// How many pieces of work it has been given, and how many it has done.
std::uint64_t fake_stream_given(cudaStream_t stream);
std::uint64_t fake_stream_done(cudaStream_t stream);
/// Communicators aborted in this process.
int fake_nccl_aborts();
}
