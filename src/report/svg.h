// SPDX-License-Identifier: Apache-2.0
// Drawings as SVG text, to stand inside an HTML page.
#pragma once

#include <string>
#include <string_view>

namespace moebench {

/// `text` fit for HTML and XML, between tags and in attributes. Control characters become spaces.
std::string escaped_xml(std::string_view text);

/// A drawing that grows shape by shape; pixels from the upper left corner. `style` is a class of the page or "fill:#…".
class Svg {
 public:
  Svg(double width, double height) : width_(width), height_(height) {}

  /// `title` is shown where a pointer rests; empty for none.
  void rectangle(double x, double y, double width, double height, std::string_view style,
                 std::string_view title = "");
  void line(double x1, double y1, double x2, double y2, std::string_view style);
  void circle(double x, double y, double radius, std::string_view style, std::string_view title = "");
  /// `anchor`: start, middle, end.
  void text(double x, double y, std::string_view text, std::string_view anchor = "start",
            std::string_view style = "");

  /// The whole drawing; `label` is its text for screen readers.
  std::string text_of(std::string_view label) const;

 private:
  double width_, height_;
  std::string shapes_;
};

}  // namespace moebench
