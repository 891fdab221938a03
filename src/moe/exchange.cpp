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

}  // namespace

std::string_view name_of(Exchange exchange) { return kExchanges.name(exchange); }
Exchange parse_exchange(std::string_view word) { return kExchanges.parse("exchange", word); }

}  // namespace moebench
