// SPDX-License-Identifier: Apache-2.0
#include "report/svg.h"

#include "base/text.h"

namespace moebench {
namespace {

std::string number(double value) {
  std::string text = format("%.1f", value);
  if (text.ends_with(".0")) text.resize(text.size() - 2);
  return text;
}

std::string attribute(std::string_view name, double value) {
  return cat(" ", name, "=\"", number(value), "\"");
}

/// A class, or a style of its own.
std::string styled(std::string_view style) {
  if (style.empty()) return {};
  return cat(style.find(':') == std::string_view::npos ? " class=\"" : " style=\"", escaped_xml(style), "\"");
}

std::string closed(std::string_view tag, std::string_view title) {
  return title.empty() ? "/>\n" : cat("><title>", escaped_xml(title), "</title></", tag, ">\n");
}

}  // namespace

std::string escaped_xml(std::string_view text) {
  std::string result;
  for (const char character : text) switch (character) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '"':
        result += "&quot;";
        break;
      default:
        result += static_cast<unsigned char>(character) < 0x20 && character != '\n' ? ' ' : character;
    }
  return result;
}

void Svg::rectangle(double x, double y, double width, double height, std::string_view style,
                    std::string_view title) {
  shapes_ += cat("<rect", attribute("x", x), attribute("y", y), attribute("width", width),
                 attribute("height", height), styled(style), closed("rect", title));
}

void Svg::line(double x1, double y1, double x2, double y2, std::string_view style) {
  shapes_ += cat("<line", attribute("x1", x1), attribute("y1", y1), attribute("x2", x2), attribute("y2", y2),
                 styled(style), "/>\n");
}

void Svg::circle(double x, double y, double radius, std::string_view style, std::string_view title) {
  shapes_ += cat("<circle", attribute("cx", x), attribute("cy", y), attribute("r", radius), styled(style),
                 closed("circle", title));
}

void Svg::text(double x, double y, std::string_view text, std::string_view anchor, std::string_view style) {
  shapes_ += cat("<text", attribute("x", x), attribute("y", y), " text-anchor=\"", anchor, "\"",
                 styled(style), ">", escaped_xml(text), "</text>\n");
}

std::string Svg::text_of(std::string_view label) const {
  return cat("<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" viewBox=\"0 0 ", number(width_), " ",
             number(height_), "\" width=\"", number(width_), "\" height=\"", number(height_), "\"><title>",
             escaped_xml(label), "</title>\n", shapes_, "</svg>\n");
}

}  // namespace moebench
