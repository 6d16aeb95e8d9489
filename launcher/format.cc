#include "launcher/format.h"

#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <cstdio>

namespace shardit {
namespace {

__attribute__((format(printf, 1, 2))) std::string print(const char* format, ...) {
  char text[64];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  return text;
}

// Three significant digits of a number in [0, 1024).
std::string three_digits(double x) { return print("%.*f", x < 9.995 ? 2 : x < 99.95 ? 1 : 0, x); }

std::string scaled(double x, double base, const char* const* units, int last) {
  int unit = 0;
  while (unit < last && x >= base * 0.9995) {
    x /= base;
    ++unit;
  }
  return (unit == 0 ? print("%.0f", x) : three_digits(x)) + units[unit];
}

}  // namespace

std::string format_bytes(double bytes) {
  static const char* const units[] = {" B", " KiB", " MiB", " GiB", " TiB", " PiB"};
  return scaled(bytes, 1024, units, 5);
}

std::string format_count(double count) {
  static const char* const units[] = {"", "k", "M", "G", "T"};
  return scaled(count, 1000, units, 4);
}

std::string format_duration(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) return "?";
  if (seconds < 9.95) return print("%.1fs", seconds);
  const int64_t s = std::llround(std::min(seconds, 1e15)), m = s / 60, h = m / 60, d = h / 24;
  if (d > 0) return print("%ldd%02ldh", static_cast<long>(d), static_cast<long>(h % 24));
  if (h > 0) return print("%ldh%02ldm", static_cast<long>(h), static_cast<long>(m % 60));
  if (m > 0) return print("%ldm%02lds", static_cast<long>(m), static_cast<long>(s % 60));
  return print("%lds", static_cast<long>(s));
}

std::string format_ms(double ms) {
  if (ms >= 9995) return print("%.1f s", ms / 1000);
  return three_digits(std::min(ms, 9999.0)) + " ms";
}

std::string format_percent(double percent) {
  return percent > 0 && percent < 0.1 ? "below 0.1 %" : print("%.1f %%", percent);
}

std::string format_threads(int threads) { return std::to_string(threads) + (threads == 1 ? " thread" : " threads"); }

std::string format_number(double x, int digits) { return print("%.*g", digits, x); }

}  // namespace shardit
