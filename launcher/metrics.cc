#include "launcher/metrics.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>

#include "core/error.h"

namespace shardit {
namespace {

[[noreturn]] void fail(const std::string& call, const std::string& path) {
  throw IoError(call + " of " + path + " failed: " + strerror(errno));
}

// JSON has no NaN and no infinity: they are written as null, and read as NaN.
double number(const Json& object, const char* key) {
  const Json& value = object.at(key);
  return value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.get<double>();
}

StepMetrics step_from_json(const Json& object) {
  StepMetrics m;
  m.step = whole_number(object, "step");
  m.images = whole_number(object, "images");
  m.loss = number(object, "loss");
  m.grad_norm = number(object, "grad_norm");
  m.lr = number(object, "lr");
  m.step_ms = number(object, "step_ms");
  m.images_per_s = number(object, "images_per_s");
  if (object.contains("mfu")) m.mfu = number(object, "mfu");
  m.mem_bytes = whole_number(object, "mem_bytes");
  m.comm_exposed_ms = number(object, "comm_exposed_ms");
  m.data_wait_ms = number(object, "data_wait_ms");
  m.slowest_rank = static_cast<int>(whole_number(object, "slowest_rank"));
  m.slowest_rank_ms = number(object, "slowest_rank_ms");
  return m;
}

// No writer nests a line that deep; who copies or writes it needs a stack as deep.
constexpr int kDeepest = 32;

// Calls take(object, end) for every whole line, where `end` is the offset after it, until take returns false.
// Returns the offset after the last line taken.
template <typename Take> int64_t for_each_line(const std::string& path, Take&& take) {
  std::ifstream file(path, std::ios::binary);
  if (!file) fail("open", path);
  int64_t line_number = 0, taken_end = 0;
  for (std::string line; std::getline(file, line) && !file.eof();) {  // at eof the line has no newline: torn
    ++line_number;
    const int64_t end = taken_end + static_cast<int64_t>(line.size()) + 1;
    const auto corrupt = [&](const std::string& why) {
      return IoError(path + ":" + std::to_string(line_number) + ": corrupt line: " + why +
                     "\nremove the line, or everything from it on");
    };
    try {
      const Json object = Json::parse(line, [&](int depth, Json::parse_event_t, Json&) {
        if (depth > kDeepest) throw corrupt("it is nested more than " + std::to_string(kDeepest) + " deep");
        return true;
      });
      if (!take(object)) return taken_end;
    } catch (const Json::exception& error) {
      throw corrupt(error.what());
    }
    taken_end = end;
  }
  return taken_end;
}

}  // namespace

// get<int64_t> would take 1e300 as well.
int64_t whole_number(const Json& object, const char* key) {
  return object.at(key).get_ref<const Json::number_integer_t&>();
}

Json to_json(const StepMetrics& m) {
  Json object = {{"step", m.step},
                 {"images", m.images},
                 {"loss", m.loss},
                 {"grad_norm", m.grad_norm},
                 {"lr", m.lr},
                 {"step_ms", m.step_ms},
                 {"images_per_s", m.images_per_s}};
  if (m.mfu) object["mfu"] = *m.mfu;
  object["mem_bytes"] = m.mem_bytes;
  object["comm_exposed_ms"] = m.comm_exposed_ms;
  object["data_wait_ms"] = m.data_wait_ms;
  object["slowest_rank"] = m.slowest_rank;
  object["slowest_rank_ms"] = m.slowest_rank_ms;
  if (!m.gpu) return object;
  if (m.gpu->watts >= 0) object["gpu_watts"] = m.gpu->watts;
  if (m.gpu->celsius >= 0) object["gpu_celsius"] = m.gpu->celsius;
  if (m.gpu->sm_mhz >= 0) object["gpu_sm_mhz"] = m.gpu->sm_mhz;
  object["gpu_throttle"] = throttle_reasons(m.gpu->throttle);
  return object;
}

MetricsWriter::MetricsWriter(const std::string& path, int64_t step) : path_(path) {
  file_ = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (file_ < 0) fail("open", path);
  try {
    const int64_t keep = for_each_line(path, [&](const Json& line) { return whole_number(line, "step") <= step; });
    if (ftruncate(file_, keep) != 0) fail("truncate", path);
  } catch (...) {
    close(file_);
    throw;
  }
}

MetricsWriter::~MetricsWriter() { close(file_); }

void MetricsWriter::step(const StepMetrics& metrics) { write_line(to_json(metrics)); }

void MetricsWriter::event(const std::string& name, int64_t step, const Json& fields) {
  Json object = {{"event", name}, {"step", step}};
  object.update(fields);
  write_line(object);
}

void MetricsWriter::write_line(const Json& object) {
  const std::string line = object.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  for (size_t done = 0; done < line.size();) {
    const ssize_t written = write(file_, line.data() + done, line.size() - done);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail("write", path_);
    done += static_cast<size_t>(written);
  }
}

MetricsFile read_metrics(const std::string& path) {
  MetricsFile result;
  for_each_line(path, [&](const Json& line) {
    if (line.contains("event")) {
      whole_number(line, "step");  // every event has one
      result.events.push_back(line);
    } else {
      result.steps.push_back(step_from_json(line));
    }
    return true;
  });
  return result;
}

}  // namespace shardit
