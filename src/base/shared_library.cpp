// SPDX-License-Identifier: Apache-2.0
#include "base/shared_library.h"

#include <dlfcn.h>

#include "base/text.h"

namespace moebench {

SharedLibrary::SharedLibrary(const std::string& name, std::initializer_list<std::string> files) {
  for (const std::string& file : files) {
    handle_ = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle_) {
      missing_.clear();
      return;
    }
    if (missing_.empty()) missing_ = cat(name, " cannot be opened: ", dlerror());
  }
}

void* SharedLibrary::address_of(const char* symbol) const { return dlsym(handle_, symbol); }

}  // namespace moebench
