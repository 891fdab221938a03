// SPDX-License-Identifier: Apache-2.0
#include "comm/nccl/comm.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "comm/rows.h"

namespace moebench {
namespace {

ncclDataType_t type_of(DType dtype) {
  switch (dtype) {
    case DType::fp32:
    case DType::tf32:
      return ncclFloat32;
    case DType::bf16:
      return ncclBfloat16;
    case DType::fp16:
      return ncclFloat16;
  }
  MB_ASSERT(false);
}

/// Queues the message of `segment` to or from `peer`, if it has rows: both sides know that it has.
void send(const TensorView& tensor, const Segment& segment, int peer, ncclComm_t comm, cudaStream_t stream) {
  const TensorView rows = tensor.slice(segment.first, segment.rows);
  if (rows.bytes() > 0) MB_NCCL(ncclSend(rows.data, rows.bytes(), ncclInt8, peer, comm, stream));
}

void receive(const TensorView& tensor, const Segment& segment, int peer, ncclComm_t comm,
             cudaStream_t stream) {
  const TensorView rows = tensor.slice(segment.first, segment.rows);
  if (rows.bytes() > 0) MB_NCCL(ncclRecv(rows.data, rows.bytes(), ncclInt8, peer, comm, stream));
}

}  // namespace

NcclComm::NcclComm(std::shared_ptr<NcclWatchdog> watchdog, Memory& memory, StreamView stream,
                   MakeQueue make_queue)
    : watchdog_(std::move(watchdog)), memory_(memory), stream_(stream), make_queue_(std::move(make_queue)) {}

template <class Work>
void NcclComm::group(Work work) {
  communicator().call([&](ncclComm_t handle) {
    MB_NCCL(ncclGroupStart());
    work(handle, watchdog_->stream());
    MB_NCCL(ncclGroupEnd());
  });
}

/// Work on host memory has no queue that later work could stand in: it must be done.
void NcclComm::end_of_queue(const char* what) {
  watchdog_->queued(what);
  if (memory_.host_accessible()) watchdog_->wait();
}

void NcclComm::exchange_sizes(std::span<const std::int64_t> send, std::span<std::int64_t> recv) {
  MB_ASSERT(send.size() == recv.size() && send.size() % static_cast<std::size_t>(size()) == 0);
  std::copy(send.begin(), send.end(), recv.begin());  // also what stays on this rank
  const std::size_t n = send.size() / static_cast<std::size_t>(size());
  if (size() == 1 || n == 0) return;
  watchdog_->check();
  sizes_.reserve(2 * send.size_bytes());
  auto* const out = sizes_.as<std::int64_t>();
  auto* const in = out + send.size();
  auto* const host = reinterpret_cast<std::int64_t*>(host_sizes_.reserve(send.size_bytes()));
  std::copy(send.begin(), send.end(), host);
  memory_.queue_copy(out, host, send.size_bytes());
  group([&](ncclComm_t handle, cudaStream_t stream) {
    for (int peer = 0; peer < size(); ++peer) {
      if (peer == rank()) continue;
      MB_NCCL(ncclSend(out + peer * n, n, ncclInt64, peer, handle, stream));
      MB_NCCL(ncclRecv(in + peer * n, n, ncclInt64, peer, handle, stream));
    }
  });
  if (memory_.host_accessible()) {
    watchdog_->queued("for sizes from");
    watchdog_->wait();
  }
  memory_.queue_copy(host, in, send.size_bytes());
  watchdog_->queued("for sizes from");
  watchdog_->wait();
  for (int peer = 0; peer < size(); ++peer)
    if (peer != rank()) std::copy_n(host + peer * n, n, recv.begin() + static_cast<std::ptrdiff_t>(peer * n));
}

void NcclComm::exchange_rows(const RowExchange& exchange) {
  check_exchange(exchange, *this);
  if (exchange.send.row_bytes() == 0) return;
  if (!watchdog_) return copy_own_rows(memory_, exchange, 0);
  watchdog_->check();
  if (exchange.form == ExchangeForm::fused)
    exchange_fused(exchange);
  else
    exchange_per_expert(exchange);
  end_of_queue("for rows from");
}

void NcclComm::exchange_fused(const RowExchange& exchange) {
  const int n = exchange.segments_per_peer;
  copy_own_rows(memory_, exchange, rank());
  group([&](ncclComm_t handle, cudaStream_t stream) {
    for (int i = 1; i < size(); ++i) {
      const int to = (rank() + i) % size(), from = (rank() + size() - i) % size();
      for (int segment = 0; segment < n; ++segment) {
        send(exchange.send, exchange.sends[to * n + segment], to, handle, stream);
        receive(exchange.recv, exchange.recvs[from * n + segment], from, handle, stream);
      }
    }
  });
}

void NcclComm::exchange_per_expert(const RowExchange& exchange) {
  const int n = exchange.segments_per_peer;
  for (int segment = 0; segment < n; ++segment)
    group([&](ncclComm_t handle, cudaStream_t stream) {
      for (int peer = 0; peer < size(); ++peer) {
        send(exchange.send, exchange.sends[peer * n + segment], peer, handle, stream);
        receive(exchange.recv, exchange.recvs[peer * n + segment], peer, handle, stream);
      }
    });
}

void NcclComm::all_reduce(TensorView tensor) {
  if (!watchdog_ || tensor.size() == 0) return;
  watchdog_->check();
  communicator().call([&](ncclComm_t handle) {
    MB_NCCL(ncclAllReduce(tensor.data, tensor.data, static_cast<std::size_t>(tensor.size()),
                          type_of(tensor.dtype), ncclSum, handle, watchdog_->stream()));
  });
  end_of_queue("for the sum with");
}

std::unique_ptr<Comm> NcclComm::split(int color) {
  MB_ASSERT(color >= 0);
  const auto ranks = static_cast<std::size_t>(size());
  std::vector<std::int64_t> colors(ranks);
  exchange_sizes(std::vector<std::int64_t>(ranks, color), colors);  // which also names missing ranks
  std::vector<int> members, world_rank;
  for (std::size_t peer = 0; peer < ranks; ++peer) {
    if (colors[peer] != color) continue;
    members.push_back(static_cast<int>(peer));
    if (watchdog_) world_rank.push_back(communicator().world_rank()[peer]);
  }
  std::shared_ptr<NcclWatchdog> group;
  if (members.size() == ranks) {
    group = watchdog_;
  } else if (std::set<std::int64_t>(colors.begin(), colors.end()).size() <
             ranks) {  // else every group has one rank
    const auto place = std::find(members.begin(), members.end(), rank()) - members.begin();
    auto made =
        std::make_shared<NcclCommunicator>(communicator(), color, static_cast<int>(place), world_rank);
    if (members.size() > 1) group = std::make_shared<NcclWatchdog>(std::move(made), make_queue_(stream_));
  }
  return std::make_unique<NcclComm>(std::move(group), memory_, stream_, make_queue_);
}

}  // namespace moebench
