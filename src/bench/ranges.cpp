// SPDX-License-Identifier: Apache-2.0
#include "bench/ranges.h"

#include "bench/record.h"

#if MOEBENCH_HAVE_NVTX
#include <nvtx3/nvToolsExt.h>
#include <nvtx3/nvToolsExtPayload.h>
#endif

namespace moebench {

#if MOEBENCH_HAVE_NVTX
namespace {

/// The payload of every range; kFields describes its layout to the profiler.
struct Payload {
  std::uint64_t case_id;
  std::int64_t rank, tokens, hidden, ffn, experts, top_k;
};

constexpr nvtxPayloadSchemaEntry_t kFields[] = {
    {.type = NVTX_PAYLOAD_ENTRY_TYPE_UINT64, .name = "case"},
    {.type = NVTX_PAYLOAD_ENTRY_TYPE_INT64, .name = "rank"},
    {.type = NVTX_PAYLOAD_ENTRY_TYPE_INT64, .name = "tokens"},
    {.type = NVTX_PAYLOAD_ENTRY_TYPE_INT64, .name = "hidden"},
    {.type = NVTX_PAYLOAD_ENTRY_TYPE_INT64, .name = "ffn"},
    {.type = NVTX_PAYLOAD_ENTRY_TYPE_INT64, .name = "experts"},
    {.type = NVTX_PAYLOAD_ENTRY_TYPE_INT64, .name = "top-k"},
};

/// The domain, made once for the process: null if no profiler is attached.
nvtxDomainHandle_t domain() {
  static const nvtxDomainHandle_t kDomain = nvtxDomainCreateA("moebench");
  return kDomain;
}

/// The payload's layout by the profiler's number; 0 if it knows no such payloads.
std::uint64_t schema() {
  static const std::uint64_t kSchema = [] {
    const nvtxPayloadSchemaAttr_t attributes{
        .fieldMask = NVTX_PAYLOAD_SCHEMA_ATTR_FIELD_NAME | NVTX_PAYLOAD_SCHEMA_ATTR_FIELD_TYPE |
                     NVTX_PAYLOAD_SCHEMA_ATTR_FIELD_ENTRIES | NVTX_PAYLOAD_SCHEMA_ATTR_FIELD_NUM_ENTRIES |
                     NVTX_PAYLOAD_SCHEMA_ATTR_FIELD_STATIC_SIZE,
        .name = "case",
        .type = NVTX_PAYLOAD_SCHEMA_TYPE_STATIC,
        .entries = kFields,
        .numEntries = std::size(kFields),
        .payloadStaticSize = sizeof(Payload)};
    return nvtxPayloadSchemaRegister(domain(), &attributes);
  }();
  return kSchema;
}

}  // namespace

struct Ranges::Open {
  Payload payload;
  nvtxRangeId_t range = 0;  ///< the case's: cases that take turns overlap, so they are not nested
  int depth = 0;            ///< passes and stages that have begun and not ended

  /// Does `work` with the attributes of a range of this name. Their payload lives only as long as this call.
  template <class Work>
  auto with(std::string_view word, Work work) const {
    nvtxEventAttributes_t attributes{};
    attributes.version = NVTX_VERSION;
    attributes.size = NVTX_EVENT_ATTRIB_STRUCT_SIZE;
    attributes.messageType = NVTX_MESSAGE_TYPE_ASCII;
    attributes.message.ascii = word.data();  // of a literal, which ends in a zero
    const nvtxPayloadData_t data{schema(), sizeof payload, &payload};
    if (data.schemaId != 0) {
      attributes.payloadType = NVTX_PAYLOAD_TYPE_EXT;
      attributes.reserved0 = 1;  // how many payloads there are
      attributes.payload.ullValue = reinterpret_cast<std::uintptr_t>(&data);
    } else {
      attributes.payloadType = NVTX_PAYLOAD_TYPE_UNSIGNED_INT64;
      attributes.payload.ullValue = payload.case_id;
    }
    return work(&attributes);
  }
  void push(std::string_view word) {
    with(word,
         [](const nvtxEventAttributes_t* attributes) { return nvtxDomainRangePushEx(domain(), attributes); });
    ++depth;
  }
  void pop() {
    nvtxDomainRangePop(domain());
    --depth;
  }
};

bool Ranges::built() { return true; }
bool Ranges::profiler_attached() { return domain() != nullptr; }

Ranges::Ranges(const Case& bench_case, int rank) {
  if (!profiler_attached()) return;
  const Shape& shape = bench_case.shape;
  open_ = std::make_unique<Open>();
  open_->payload = {std::stoull(id_of(bench_case), nullptr, 16),
                    rank,
                    shape.tokens,
                    shape.hidden,
                    shape.ffn,
                    shape.experts,
                    shape.top_k};
  open_->range = open_->with(name_of(bench_case.subject), [](const nvtxEventAttributes_t* attributes) {
    return nvtxDomainRangeStartEx(domain(), attributes);
  });
}

Ranges::~Ranges() {
  if (!open_) return;
  while (open_->depth > 0) open_->pop();  // a stage that failed has not ended
  nvtxDomainRangeEnd(domain(), open_->range);
}

void Ranges::begin(Pass pass) {
  if (open_) open_->push(name_of(pass));
}
void Ranges::end(Pass) {
  if (open_) open_->pop();
}
void Ranges::begin(Stage stage, Pass) {
  if (open_) open_->push(name_of(stage));
}
void Ranges::end(Stage, Pass) {
  if (open_) open_->pop();
}

#else

struct Ranges::Open {};

bool Ranges::built() { return false; }
bool Ranges::profiler_attached() { return false; }
Ranges::Ranges(const Case&, int) {}
Ranges::~Ranges() = default;
void Ranges::begin(Pass) {}
void Ranges::end(Pass) {}
void Ranges::begin(Stage, Pass) {}
void Ranges::end(Stage, Pass) {}

#endif

}  // namespace moebench
