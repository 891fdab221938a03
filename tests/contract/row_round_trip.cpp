// SPDX-License-Identifier: Apache-2.0
#include "contract/row_round_trip.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/random.h"
#include "base/tensor.h"

namespace moebench {
namespace {

constexpr std::int64_t kGuardRows = 2;  // on both sides of what is exchanged
constexpr std::byte kPoison{0xA5};

/// One rank's side of the round trip: where its rows are at home and where its experts' rows are.
struct Places {
  std::vector<Segment> home, away;  // [peer · experts]
  std::int64_t home_rows = kGuardRows, away_rows = kGuardRows;
};

Places places_of(const Comm& comm, int experts, const RowCount& rows) {
  Places places;
  places.away.resize(comm.size() * experts);
  for (int peer = 0; peer < comm.size(); ++peer)
    for (int expert = 0; expert < experts; ++expert) {
      const std::int64_t count = rows(comm.rank(), peer, expert);
      places.home.push_back({places.home_rows, count});
      places.home_rows += count;
    }
  for (int expert = 0; expert < experts; ++expert)
    for (int peer = 0; peer < comm.size(); ++peer) {
      const std::int64_t count = rows(peer, comm.rank(), expert);
      places.away[peer * experts + expert] = {places.away_rows, count};
      places.away_rows += count;
    }
  places.home_rows += kGuardRows;
  places.away_rows += kGuardRows;
  return places;
}

/// Writes row `index` of those that `from` sends to (`to`, `expert`).
void fill_row(std::byte* row, std::size_t bytes, int from, int to, int expert, std::int64_t index) {
  const std::uint64_t key = mix(mix(mix(from, to), expert), index);
  for (std::size_t i = 0; i < bytes; ++i) row[i] = static_cast<std::byte>(mix(key, i / 8) >> (i % 8 * 8));
}

/// A matrix whose segments hold the rows that round_trip between `me` and each peer; the rest is poison.
std::vector<std::byte> matrix(const std::vector<Segment>& segments, std::int64_t rows, std::size_t row_bytes,
                              int me, int experts, bool at_home) {
  std::vector<std::byte> bytes(rows * row_bytes, kPoison);
  for (int i = 0; i < static_cast<int>(segments.size()); ++i) {
    const int peer = i / experts;
    for (std::int64_t row = 0; row < segments[i].rows; ++row)
      fill_row(&bytes[(segments[i].first + row) * row_bytes], row_bytes, at_home ? me : peer,
               at_home ? peer : me, i % experts, row);
  }
  return bytes;
}

void expect_same(Memory& memory, const TensorView& tensor, const std::vector<std::byte>& want,
                 const char* where) {
  std::vector<std::byte> got(tensor.bytes());
  memory.copy_to_host(got.data(), tensor.data, tensor.bytes());
  if (got == want) return;
  std::size_t at = 0;
  while (got[at] == want[at]) ++at;
  ADD_FAILURE() << where << ": row " << at / tensor.row_bytes() << " of " << tensor.rows
                << " is wrong from byte " << at % tensor.row_bytes();
}

void travel_as(ExchangeForm form, Comm& comm, Memory& memory, int experts, const RowCount& rows,
               const RowFormat& format) {
  const Places places = places_of(comm, experts, rows);
  const Tensor home(memory, format.dtype, places.home_rows, format.cols);
  const Tensor away(memory, format.dtype, places.away_rows, format.cols);
  const std::size_t row_bytes = home.view().row_bytes();
  const auto want_home = matrix(places.home, places.home_rows, row_bytes, comm.rank(), experts, true);
  const auto want_away = matrix(places.away, places.away_rows, row_bytes, comm.rank(), experts, false);
  const auto poison = [&](const Tensor& tensor) {
    const std::vector<std::byte> bytes(tensor.view().bytes(), kPoison);
    memory.copy_from_host(tensor.view().data, bytes.data(), bytes.size());
  };

  memory.copy_from_host(home.view().data, want_home.data(), want_home.size());
  poison(away);
  comm.exchange_rows({home, away, places.home, places.away, experts, form});
  expect_same(memory, away, want_away, "at the experts");

  poison(home);
  comm.exchange_rows({away, home, places.away, places.home, experts, form});
  expect_same(memory, home, want_home, "back home");
}

}  // namespace

void round_trip(Comm& comm, Memory& memory, int experts, const RowCount& rows, const RowFormat& format) {
  for (const ExchangeForm form : {ExchangeForm::fused, ExchangeForm::per_expert}) {
    SCOPED_TRACE(form == ExchangeForm::fused ? "fused" : "per expert");
    travel_as(form, comm, memory, experts, rows, format);
  }
}

}  // namespace moebench
