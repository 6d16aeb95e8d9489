#include "launcher/hang.h"

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <string>
#include <thread>

namespace shardit {
namespace {

// The first rank that still runs tells what the watchdog found; its launcher then ends the others.
void exit_on_hang(int rank, const std::string& diagnosis) {
  constexpr int kHang = 6;
  std::this_thread::sleep_for(rank * std::chrono::milliseconds(300));
  std::cerr << "shardit: " << diagnosis << std::endl;
  std::_Exit(kHang);
}

}  // namespace

std::unique_ptr<Watchdog> end_hangs(World& world, double limit_s) {
  if (world.size() == 1 || limit_s <= 0) return nullptr;
  return std::make_unique<Watchdog>(
      world, WatchdogOptions{.limit_s = limit_s},
      [rank = world.rank()](const std::string& diagnosis) { exit_on_hang(rank, diagnosis); });
}

}  // namespace shardit
