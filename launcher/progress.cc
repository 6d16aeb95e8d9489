#include "launcher/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <iostream>

#include "dist/launch_environment.h"
#include "launcher/format.h"

namespace shardit {
namespace {

constexpr double kLineInterval_s = 5;  // between lines that stay
constexpr double kRedrawInterval_s = 0.1;
constexpr int64_t kFirstSteps = 5;   // steps of a start that are always logged
constexpr size_t kRecentSteps = 50;  // over which speed is smoothed

std::string fixed(double x, int decimals) {
  char text[32];
  snprintf(text, sizeof text, "%.*f", decimals, x);
  return text;
}

// "1.00e-4": the exponent without leading zeros.
std::string scientific(double x) {
  char text[32];
  snprintf(text, sizeof text, "%.2e", x);
  std::string result = text;
  const size_t digits = result.find('e') + 2;
  while (digits < result.size() - 1 && result[digits] == '0') result.erase(digits, 1);
  if (result[digits - 1] == '+') result.erase(digits - 1, 1);
  return result;
}

std::string percent(double part, double whole) { return whole > 0 ? fixed(100 * part / whole, 1) + "%" : "?"; }

// "41.2/46.0 GiB": both in the unit of the larger.
std::string memory(double used, double planned) {
  if (planned <= 0) return format_bytes(used);
  const std::string all = format_bytes(planned), unit = all.substr(all.find(' '));
  double divisor = 1;
  for (const char* smaller : {" B", " KiB", " MiB", " GiB", " TiB", " PiB"}) {
    if (unit == smaller) break;
    divisor *= 1024;
  }
  const size_t point = all.find('.');
  const int decimals = point == std::string::npos ? 0 : static_cast<int>(all.find(' ') - point - 1);
  return fixed(used / divisor, decimals) + "/" + all;
}

}  // namespace

double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

Screen Screen::standard_output() {
  const char* kind = getenv("TERM");
  // mpirun gives its processes terminals of its own, and writes what they show into a log.
  const bool terminal = isatty(STDOUT_FILENO) && !started_by_launcher() && kind && strcmp(kind, "dumb") != 0;
  Screen screen{&std::cout, terminal};
  winsize size = {};
  if (screen.terminal && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20) screen.columns = size.ws_col;
  return screen;
}

ProgressBar::ProgressBar(Screen screen, std::string label, int64_t total, std::string unit, double now)
    : screen_(screen),
      label_(std::move(label)),
      unit_(std::move(unit)),
      total_(total),
      start_(now),
      last_draw_(-1e300) {}

ProgressBar::~ProgressBar() {
  if (screen_.terminal && drawn_) *screen_.out << "\n" << std::flush;
}

void ProgressBar::update(int64_t done, double now) {
  done_ = done;
  const bool last = done >= total_;
  if (now - last_draw_ < (screen_.terminal ? kRedrawInterval_s : kLineInterval_s) && !last) return;
  last_draw_ = now;
  if (screen_.terminal) return draw(now);
  *screen_.out << label_ << (label_.empty() ? "" : " ") << text(now) << std::endl;
}

void ProgressBar::draw(double now) {
  std::string line = label_ + (label_.empty() ? "" : " ");
  const std::string right = text(now);
  const int width = std::min(30, screen_.columns - static_cast<int>(line.size() + right.size()) - 4);
  if (width >= 5) {
    const int filled = total_ > 0 ? static_cast<int>(width * std::min(done_, total_) / total_) : width;
    line += "[" + std::string(filled, '=');
    if (filled < width) line += ">" + std::string(width - filled - 1, ' ');
    line += "] ";
  }
  line += right;
  *screen_.out << "\r" << line.substr(0, screen_.columns - 1) << "\x1b[K" << std::flush;
  drawn_ = true;
}

// "50% 32/64 images, 3.1/s, eta 10s"
std::string ProgressBar::text(double now) const {
  const double speed = now > start_ ? static_cast<double>(done_ - first_) / (now - start_) : 0;
  const double left_s = speed > 0 ? static_cast<double>(total_ - done_) / speed : -1;
  const int64_t whole_percent = total_ > 0 ? 100 * std::min(done_, total_) / total_ : 100;
  std::string result = std::to_string(whole_percent) + "% ";
  if (!details_.empty()) return result + details_;
  result += std::to_string(done_) + "/" + std::to_string(total_) + " " + unit_;
  if (speed > 0) result += ", " + format_number(speed, 3) + "/s";
  if (done_ >= total_) return result + ", took " + format_duration(now - start_);
  return left_s >= 0 ? result + ", eta " + format_duration(left_s) : result;
}

void ProgressBar::print_line(const std::string& line) {
  *screen_.out << (screen_.terminal && drawn_ ? "\r\x1b[K" : "") << line << std::endl;
  drawn_ = false;
  last_draw_ = screen_.terminal ? -1e300 : last_draw_;  // the next update redraws the bar below the line
}

namespace {

std::string speed(double images_per_s) {
  return images_per_s >= 100 ? fixed(images_per_s, 0) : format_number(images_per_s, 3);
}

// "gpu 512 W 61 °C 1755 MHz sw_power_cap"
std::string gpu_words(const GpuReading& gpu) {
  std::string text = "gpu";
  if (gpu.watts >= 0) text += " " + fixed(gpu.watts, 0) + " W";
  if (gpu.celsius >= 0) text += " " + fixed(gpu.celsius, 0) + " °C";
  if (gpu.sm_mhz >= 0) text += " " + fixed(gpu.sm_mhz, 0) + " MHz";
  for (const std::string& reason : throttle_reasons(gpu.throttle)) text += " " + reason;
  return text;
}

}  // namespace

std::string format_step(const StepMetrics& m, const RunFacts& facts, double images_per_s, double eta_s) {
  std::string line = "step " + std::to_string(m.step) + "/" + std::to_string(facts.steps);
  const auto add = [&line](const std::string& part) { line += " | " + part; };
  add("loss " + fixed(m.loss, 4));
  add("gnorm " + format_number(m.grad_norm, 3));
  add("lr " + scientific(m.lr));
  add(format_ms(m.step_ms));
  add(speed(images_per_s) + " img/s" + (facts.ranks > 1 ? " (" + speed(images_per_s / facts.ranks) + "/rank)" : ""));
  if (m.mfu && facts.peak_tflops > 0)
    add("mfu " + percent(*m.mfu, 1) + " (" + format_number(facts.peak_tflops, 3) + " TF dense)");
  add("mem " + memory(static_cast<double>(m.mem_bytes), static_cast<double>(facts.planned_bytes)));
  if (m.gpu) add(gpu_words(*m.gpu));
  if (facts.ranks > 1) add("comm exposed " + percent(m.comm_exposed_ms, m.step_ms));
  add("data " + percent(m.data_wait_ms, m.step_ms));
  if (facts.ranks > 1) add("slowest rank " + std::to_string(m.slowest_rank) + " " + format_ms(m.slowest_rank_ms));
  if (eta_s >= 0) add("eta " + format_duration(eta_s));
  return line;
}

StepLog::StepLog(Screen screen, RunFacts facts, double now)
    : facts_(facts),
      bar_(screen, "", facts.steps, "steps", now),
      last_line_(-1e300) {
  bar_.start_at(facts.first_step);
}

void StepLog::step(const StepMetrics& metrics, double now) {
  for (auto [recent, value] : {std::pair{&speeds_, metrics.images_per_s}, std::pair{&step_ms_, metrics.step_ms}}) {
    recent->push_back(value);
    if (recent->size() > kRecentSteps) recent->pop_front();
  }
  const double eta_s = static_cast<double>(facts_.steps - metrics.step) * typical(step_ms_) / 1000;
  const std::string line = format_step(metrics, facts_, typical(speeds_), eta_s);
  const bool first = metrics.step - facts_.first_step <= kFirstSteps, last = metrics.step >= facts_.steps;
  if (first || last || now - last_line_ >= kLineInterval_s) {
    bar_.print_line(line);
    last_line_ = now;
  }
  if (!bar_.on_terminal()) return;
  bar_.set_details("step " + std::to_string(metrics.step) + "/" + std::to_string(facts_.steps) + ", " +
                   format_number(typical(speeds_), 3) + " img/s, eta " + format_duration(eta_s));
  bar_.update(metrics.step, now);
}

double StepLog::typical(const std::deque<double>& recent) const {
  std::deque<double> sorted = recent;
  const auto middle = sorted.begin() + static_cast<long>(sorted.size() / 2);
  std::nth_element(sorted.begin(), middle, sorted.end());
  return *middle;
}

}  // namespace shardit
