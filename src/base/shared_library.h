// SPDX-License-Identifier: Apache-2.0
// A library opened at run time, so that the program also starts where it is not installed.
#pragma once

#include <initializer_list>
#include <string>

namespace moebench {

/// Stays open until the process ends.
class SharedLibrary {
 public:
  /// Opens the first of `files` that opens. `name` is what error texts call the library: "cuBLAS".
  SharedLibrary(const std::string& name, std::initializer_list<std::string> files);

  /// Why none opened, in the words of the first that did not; empty if one did.
  const std::string& missing() const { return missing_; }
  /// Points `function` to the symbol, or to null and returns false if there is none. Only if one opened.
  template <class Function>
  bool find(Function& function, const char* symbol) const {
    function = reinterpret_cast<Function>(address_of(symbol));
    return function != nullptr;
  }

 private:
  void* address_of(const char* symbol) const;

  void* handle_ = nullptr;
  std::string missing_;
};

}  // namespace moebench
