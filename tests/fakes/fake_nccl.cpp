// SPDX-License-Identifier: Apache-2.0
#include "fakes/fake_nccl.h"

#include <atomic>
#include <bit>
#include <cstring>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "fakes/fake_mesh.h"
#include "fakes/fake_stream.h"

using moebench::fakes::Mesh;
using moebench::fakes::Stream;
using moebench::fakes::Transfer;

struct ncclComm {
  ncclComm(std::string name, int rank, int size) : mesh(std::move(name), rank, size) {}
  Mesh mesh;
  int splits = 0;
  std::atomic<int> busy = 0;  ///< pieces of work that streams have of it
  std::atomic<ncclResult_t> error = ncclSuccess;
};

namespace {

struct Op {
  ncclComm* comm;
  Stream* stream;
  Transfer transfer;
};

thread_local std::vector<Op> grouped;
thread_local int depth = 0;
std::atomic<int> aborts = 0;

std::size_t width(ncclDataType_t type) {
  switch (type) {
    case ncclInt8:
      return 1;
    case ncclFloat16:
    case ncclBfloat16:
      return 2;
    case ncclFloat32:
      return 4;
    case ncclInt64:
      return 8;
    default:
      std::abort();
  }
}

/// Gives `work(mesh)` to the stream. One that fails holds the stream until the communicator is aborted.
template <class Work>
void give(ncclComm* comm, Stream* stream, Work work) {
  ++comm->busy;
  stream->give([comm, work] {
    if (!work(comm->mesh)) {
      if (!comm->mesh.aborted()) comm->error = ncclRemoteError;
      comm->mesh.wait_for_abort();
    }
    --comm->busy;
  });
}

void wait_until_idle(ncclComm* comm) {
  while (comm->busy > 0) moebench::fakes::nap();
}

void launch() {
  std::map<std::pair<ncclComm*, Stream*>, std::vector<Transfer>> launches;
  for (const Op& op : grouped) launches[{op.comm, op.stream}].push_back(op.transfer);
  grouped.clear();
  for (auto& [place, transfers] : launches)
    give(place.first, place.second,
         [transfers = std::move(transfers)](Mesh& mesh) { return mesh.exchange(transfers); });
}

ncclResult_t add_op(ncclComm* comm, cudaStream_t stream, const Transfer& transfer) {
  if (transfer.peer < 0 || transfer.peer >= comm->mesh.size()) return ncclInvalidArgument;
  grouped.push_back({comm, Stream::of(stream), transfer});
  if (depth == 0) launch();
  return ncclSuccess;
}

float widen(std::uint16_t bits, ncclDataType_t type) {
  return type == ncclBfloat16 ? std::bit_cast<float>(std::uint32_t{bits} << 16)
                              : static_cast<float>(std::bit_cast<_Float16>(bits));
}

std::uint16_t narrow(float value, ncclDataType_t type) {
  if (type != ncclBfloat16) return std::bit_cast<std::uint16_t>(static_cast<_Float16>(value));
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return static_cast<std::uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

void add(std::byte* to, const std::byte* from, std::size_t count, ncclDataType_t type) {
  for (std::size_t i = 0; i < count; ++i) {
    if (type == ncclFloat32) {
      reinterpret_cast<float*>(to)[i] += reinterpret_cast<const float*>(from)[i];
    } else {
      auto* sum = reinterpret_cast<std::uint16_t*>(to) + i;
      *sum = narrow(widen(*sum, type) + widen(reinterpret_cast<const std::uint16_t*>(from)[i], type), type);
    }
  }
}

/// Rank 0 adds in the order of ranks and tells the others.
bool sum(Mesh& mesh, std::byte* data, std::size_t count, ncclDataType_t type) {
  const std::size_t bytes = count * width(type);
  std::vector<std::byte> theirs(bytes);
  for (int peer = 1; peer < mesh.size(); ++peer) {
    if (mesh.rank() == 0) {
      if (!mesh.exchange({{peer, theirs.data(), bytes, false}})) return false;
      add(data, theirs.data(), count, type);
    } else if (mesh.rank() == peer) {
      if (!mesh.exchange({{0, data, bytes, true}})) return false;
    }
  }
  for (int peer = 1; peer < mesh.size(); ++peer) {
    if (mesh.rank() == 0 && !mesh.exchange({{peer, data, bytes, true}})) return false;
    if (mesh.rank() == peer && !mesh.exchange({{0, data, bytes, false}})) return false;
  }
  return true;
}

}  // namespace

extern "C" {

ncclResult_t ncclGetVersion(int* version) {
  *version = NCCL_VERSION_CODE;
  return ncclSuccess;
}
const char* ncclGetErrorString(ncclResult_t result) {
  return result == ncclRemoteError ? "fake remote error" : "fake error";
}
const char* ncclGetLastError(ncclComm_t) { return ""; }

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  std::random_device random;
  const std::string name = std::to_string(random()) + "-" + std::to_string(random());
  std::memset(id, 0, sizeof *id);
  std::memcpy(id->internal, name.data(), name.size());
  return ncclSuccess;
}

ncclResult_t ncclCommInitRank(ncclComm_t* comm, int size, ncclUniqueId id, int rank) {
  *comm = new ncclComm(id.internal, rank, size);
  return ncclSuccess;
}

ncclResult_t ncclCommSplit(ncclComm_t comm, int color, int key, ncclComm_t* made, ncclConfig_t*) {
  wait_until_idle(comm);
  Mesh& mesh = comm->mesh;
  std::vector<int> mine{color, key}, all(2 * static_cast<std::size_t>(mesh.size()));
  std::vector<Transfer> transfers;
  for (int peer = 0; peer < mesh.size(); ++peer) {
    transfers.push_back({peer, reinterpret_cast<std::byte*>(mine.data()), 8, true});
    transfers.push_back(
        {peer, reinterpret_cast<std::byte*>(&all[2 * static_cast<std::size_t>(peer)]), 8, false});
  }
  if (!mesh.exchange(transfers)) return ncclRemoteError;
  int rank = 0, size = 0;
  for (int peer = 0; peer < mesh.size(); ++peer) {
    if (all[2 * peer] != color) continue;
    ++size;
    rank += all[2 * peer + 1] < key || (all[2 * peer + 1] == key && peer < mesh.rank());
  }
  const std::string name = mesh.name() + "/" + std::to_string(comm->splits++) + "." + std::to_string(color);
  *made = color == NCCL_SPLIT_NOCOLOR ? nullptr : new ncclComm(name, rank, size);
  return ncclSuccess;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* error) {
  *error = comm->error;
  return ncclSuccess;
}

ncclResult_t ncclCommAbort(ncclComm_t comm) {
  ++aborts;
  comm->mesh.abort();
  return ncclCommDestroy(comm);
}

ncclResult_t ncclCommDestroy(ncclComm_t comm) {
  wait_until_idle(comm);
  delete comm;
  return ncclSuccess;
}

ncclResult_t ncclGroupStart() {
  ++depth;
  return ncclSuccess;
}

ncclResult_t ncclGroupEnd() {
  if (--depth == 0) launch();
  return ncclSuccess;
}

ncclResult_t ncclSend(const void* data, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream) {
  return add_op(comm, stream,
                {peer, static_cast<std::byte*>(const_cast<void*>(data)), count * width(type), true});
}

ncclResult_t ncclRecv(void* data, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream) {
  return add_op(comm, stream, {peer, static_cast<std::byte*>(data), count * width(type), false});
}

ncclResult_t ncclAllReduce(const void* from, void* to, size_t count, ncclDataType_t type, ncclRedOp_t op,
                           ncclComm_t comm, cudaStream_t stream) {
  if (from != to || op != ncclSum || depth != 0) return ncclInvalidUsage;
  give(comm, Stream::of(stream),
       [=](Mesh& mesh) { return sum(mesh, static_cast<std::byte*>(to), count, type); });
  return ncclSuccess;
}

int fake_nccl_aborts() { return aborts; }

}  // extern "C"
