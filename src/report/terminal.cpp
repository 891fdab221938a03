// SPDX-License-Identifier: Apache-2.0
#include "report/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>
#include <string_view>

namespace moebench {

int terminal_columns(int descriptor) {
  constexpr int kUsual = 80;  // of a terminal that does not say
  const char* kind = std::getenv("TERM");
  if (!isatty(descriptor) || !kind || std::string_view(kind) == "dumb") return 0;
  winsize window{};
  return ioctl(descriptor, TIOCGWINSZ, &window) == 0 && window.ws_col > 1 ? window.ws_col : kUsual;
}

}  // namespace moebench
