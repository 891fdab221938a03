// SPDX-License-Identifier: Apache-2.0
#include "moe/exchange.h"

#include "base/text.h"

namespace moebench {
namespace {

constexpr Words<Exchange, 3> kExchanges{{{
    {Exchange::fused, "fused"},
    {Exchange::per_expert, "per-expert"},
    {Exchange::direct, "direct"},
}}};

constexpr Words<Overlap, 4> kOverlaps{{{
    {Overlap::none, "none"},
    {Overlap::wgrad, "wgrad"},
    {Overlap::peer, "peer"},
    {Overlap::tile, "tile"},
}}};

}  // namespace

std::string_view name_of(Exchange exchange) { return kExchanges.name(exchange); }
std::string_view name_of(Overlap overlap) { return kOverlaps.name(overlap); }
Overlap parse_overlap(std::string_view word) { return kOverlaps.parse("overlap", word); }
Exchange parse_exchange(std::string_view word) { return kExchanges.parse("exchange", word); }

}  // namespace moebench
