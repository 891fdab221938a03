// SPDX-License-Identifier: Apache-2.0
// A profiler that writes down the NVTX ranges it hears, one a line, to $NVTX_LOG: loaded by NVTX itself, from
// $NVTX_INJECTION64_PATH. "push forward case=… rank=0 tokens=8 …", "pop", "start layer …", "end".
#include <nvtx3/nvToolsExt.h>
#include <nvtx3/nvToolsExtPayload.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

namespace {

std::vector<std::string> field_names;
std::string domain_name;

std::FILE* log_file() {
  static std::FILE* const file = std::fopen(std::getenv("NVTX_LOG"), "w");
  return file;
}

void write(const char* what, const nvtxEventAttributes_t* attributes) {
  std::fprintf(log_file(), "%s %s@%s", what, domain_name.c_str(), attributes->message.ascii);
  if (attributes->payloadType == NVTX_PAYLOAD_TYPE_EXT) {
    const auto* data = reinterpret_cast<const nvtxPayloadData_t*>(attributes->payload.ullValue);
    const auto* values = static_cast<const std::uint64_t*>(data->payload);
    for (std::size_t i = 0; i < field_names.size() && i < data->size / sizeof *values; ++i)
      std::fprintf(log_file(), i == 0 ? " %s=%016llx" : " %s=%lld", field_names[i].c_str(),
                   static_cast<unsigned long long>(values[i]));
  } else {
    std::fprintf(log_file(), " %016llx", static_cast<unsigned long long>(attributes->payload.ullValue));
  }
  std::fprintf(log_file(), "\n");
  std::fflush(log_file());
}

nvtxDomainHandle_t create(const char* name) {
  domain_name = name;
  return reinterpret_cast<nvtxDomainHandle_t>(1);
}
int push(nvtxDomainHandle_t, const nvtxEventAttributes_t* attributes) {
  write("push", attributes);
  return 0;
}
int pop(nvtxDomainHandle_t) {
  std::fprintf(log_file(), "pop\n");
  return 0;
}
nvtxRangeId_t start(nvtxDomainHandle_t, const nvtxEventAttributes_t* attributes) {
  write("start", attributes);
  return 7;
}
void end(nvtxDomainHandle_t, nvtxRangeId_t range) {
  std::fprintf(log_file(), "end %d\n", static_cast<int>(range));
}

std::uint64_t register_schema(nvtxDomainHandle_t, const nvtxPayloadSchemaAttr_t* attributes) {
  for (std::size_t i = 0; i < attributes->numEntries; ++i)
    field_names.emplace_back(attributes->entries[i].name);
  return NVTX_PAYLOAD_SCHEMA_ID_DYNAMIC_START;
}

template <class Function>
void set(NvtxFunctionTable table, int which, Function* function) {
  *table[which] = reinterpret_cast<NvtxFunctionPointer>(function);
}

}  // namespace

extern "C" NVTX_DYNAMIC_EXPORT int InitializeInjectionNvtx2(NvtxGetExportTableFunc_t get_table) {
  const auto* callbacks = static_cast<const NvtxExportTableCallbacks*>(get_table(NVTX_ETID_CALLBACKS));
  NvtxFunctionTable table = nullptr;
  unsigned size = 0;
  if (!callbacks || !callbacks->GetModuleFunctionTable(NVTX_CB_MODULE_CORE2, &table, &size)) return 0;
  set(table, NVTX_CBID_CORE2_DomainCreateA, create);
  set(table, NVTX_CBID_CORE2_DomainRangePushEx, push);
  set(table, NVTX_CBID_CORE2_DomainRangePop, pop);
  set(table, NVTX_CBID_CORE2_DomainRangeStartEx, start);
  set(table, NVTX_CBID_CORE2_DomainRangeEnd, end);
  return 1;
}

/// Without $NVTX_LOG_PAYLOADS it is a profiler of before there were such payloads.
extern "C" NVTX_DYNAMIC_EXPORT int InitializeInjectionNvtxExtension(nvtxExtModuleInfo_t* module) {
  if (module->moduleId != NVTX_EXT_PAYLOAD_MODULEID || !std::getenv("NVTX_LOG_PAYLOADS")) return 0;
  module->segments[0].functionSlots[NVTX3EXT_CBID_nvtxPayloadSchemaRegister] =
      reinterpret_cast<intptr_t>(&register_schema);
  return 1;
}
