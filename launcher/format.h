// Quantities as people read them; used by the log line, the report and the tools.
#pragma once

#include <cstdint>
#include <string>

namespace shardit {

std::string format_bytes(double bytes);           // "512 B", "1.50 KiB", "41.2 GiB": three digits, powers of 1024
std::string format_duration(double seconds);      // "8d19h", "3h05m", "4m07s", "12s", "0.8s"
std::string format_ms(double ms);                 // "0.83 ms", "254 ms", "12.3 s"
std::string format_count(double count);           // "950", "12.8k", "562M": three digits, powers of 1000
std::string format_percent(double percent);       // "97.3 %", "below 0.1 %"
std::string format_threads(int threads);          // "1 thread", "2 threads"
std::string format_number(double x, int digits);  // `digits` significant digits: "0.1482", "1.2e-05"

}  // namespace shardit
