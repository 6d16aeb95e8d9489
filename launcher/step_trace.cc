#include "launcher/step_trace.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "launcher/output_file.h"

namespace shardit {
namespace {

using Json = nlohmann::ordered_json;

int64_t parse_step(const std::string& text, const std::string& given) {
  const bool number = !text.empty() && text.size() < 18 && text.find_first_not_of("0123456789") == std::string::npos;
  REQUIRE(number && std::stoll(text) > 0,
          "--trace-steps: got '" + given + "', expected two steps of the run like 3:5, counted from 1");
  return std::stoll(text);
}

double microseconds(int64_t ns) { return static_cast<double>(ns) * 1e-3; }

// Names a lane, or the process if `lane` is negative, and says where it stands.
void name_lane(Json& events, int rank, int lane, const std::string& name) {
  const char* kind = lane < 0 ? "process" : "thread";
  events.push_back({{"name", std::string(kind) + "_name"},
                    {"ph", "M"},
                    {"pid", rank},
                    {"tid", std::max(lane, 0)},
                    {"args", {{"name", name}}}});
  events.push_back({{"name", std::string(kind) + "_sort_index"},
                    {"ph", "M"},
                    {"pid", rank},
                    {"tid", std::max(lane, 0)},
                    {"args", {{"sort_index", std::max(lane, rank)}}}});
}

}  // namespace

StepRange parse_step_range(const std::string& text) {
  const size_t colon = text.find(':');
  const StepRange range{parse_step(text.substr(0, colon), text),
                        parse_step(colon == std::string::npos ? text : text.substr(colon + 1), text)};
  REQUIRE(range.first <= range.last, "--trace-steps: got '" + text + "', expected the earlier step first");
  return range;
}

StepTrace::StepTrace(const StepRange& steps, int64_t done, int64_t last, Ranks& ranks) : steps_(steps), ranks_(ranks) {
  REQUIRE(steps.last <= last, "--trace-steps: got " + std::to_string(steps.first) + ":" + std::to_string(steps.last) +
                                  ", but this start makes steps " + std::to_string(done + 1) + " to " +
                                  std::to_string(last) + "\nname some of these");
}

void StepTrace::before(int64_t step) {
  if (step != steps_.first) return;
  ranks_.control().barrier("trace");
  origin_ns_ = Trace::now_ns();
  trace_.start();
}

std::optional<std::string> StepTrace::after(int64_t step, Program& program, FileSystem& files,
                                            const std::string& folder) {
  if (step != steps_.last) return std::nullopt;
  trace_.stop();
  program.synchronize();
  const std::string path =
      folder + "/steps-" + std::to_string(steps_.first) + "-" + std::to_string(steps_.last) + ".json";
  const std::vector<std::string> all = ranks_.all_texts("trace", events());
  ranks_.on_first("trace", [&] {
    std::error_code failed;
    std::filesystem::create_directories(folder, failed);
    if (failed) throw IoError("cannot create " + folder + ": " + failed.message());
    std::string text;
    for (const std::string& events : all) text += (text.empty() ? "" : ",\n") + events;
    replace_file(files, path, "{\"displayTimeUnit\": \"ms\", \"traceEvents\": [\n" + text + "\n]}\n");
  });
  return path;
}

// This rank's, without the brackets around them. Lanes in the order of the alphabet: compute, graphs, loaders, wire.
std::string StepTrace::events() const {
  Json events = Json::array();
  name_lane(events, ranks_.rank(), -1, "rank " + std::to_string(ranks_.rank()));
  int lane = 0;
  for (const auto& [name, spans] : trace_.lanes()) {
    name_lane(events, ranks_.rank(), lane, name);
    for (const Trace::Span& span : spans)
      events.push_back({{"name", span.name},
                        {"cat", span.detail},
                        {"ph", "X"},
                        {"ts", microseconds(span.begin_ns - origin_ns_)},
                        {"dur", microseconds(span.end_ns - span.begin_ns)},
                        {"pid", ranks_.rank()},
                        {"tid", lane}});
    ++lane;
  }
  const std::string text = events.dump(-1, ' ', false, Json::error_handler_t::replace);
  return text.substr(1, text.size() - 2);
}

}  // namespace shardit
