#include "launcher/hang.h"

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <string>
#include <thread>

#include "core/error_text.h"

namespace shardit {
namespace {

// One rank tells what the watchdog found, and its launcher ends the others; they end by themselves where it does not.
void exit_on_hang(const std::string& diagnosis, bool tells) {
  constexpr int kHang = 6;
  if (tells)
    std::cerr << error_text("shardit", diagnosis) << std::flush;
  else
    std::this_thread::sleep_for(std::chrono::seconds(3));
  std::_Exit(kHang);
}

}  // namespace

std::unique_ptr<Watchdog> end_hangs(World& world, double limit_s) {
  if (world.size() == 1 || limit_s <= 0) return nullptr;
  return std::make_unique<Watchdog>(world, WatchdogOptions{.limit_s = limit_s}, exit_on_hang);
}

}  // namespace shardit
