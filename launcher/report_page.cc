// The report's sections, in the order in which a reader wants them.
#include <algorithm>

#include "core/error.h"
#include "launcher/chart.h"
#include "launcher/format.h"
#include "launcher/report.h"
#include "launcher/report_curves.h"
#include "launcher/report_style.h"

namespace shardit {
namespace {

std::string base64(const std::string& bytes) {
  static const char* const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t bits = 0;
    for (size_t k = 0; k < 3; ++k) bits = bits << 8 | (i + k < bytes.size() ? static_cast<uint8_t>(bytes[i + k]) : 0);
    for (size_t k = 0; k < 4; ++k) text += i + k <= bytes.size() ? digits[bits >> (18 - 6 * k) & 63] : '=';
  }
  return text;
}

// "1,234,567".
std::string grouped(int64_t number) {
  std::string text = std::to_string(number);
  for (int at = static_cast<int>(text.size()) - 3; at > 0; at -= 3) text.insert(static_cast<size_t>(at), ",");
  return text;
}

std::string section(const std::string& title, const std::string& body) {
  return body.empty() ? "" : "<section><h2>" + title + "</h2>\n" + body + "</section>\n";
}

std::string tile(const std::string& value, const std::string& name) {
  return "<div class=\"tile\"><b>" + escape_html(value) + "</b><span>" + escape_html(name) + "</span></div>";
}

// The mean of the last `count` losses: one step's loss says little.
double recent_loss(const std::vector<StepMetrics>& steps, size_t count) {
  const size_t n = std::min(count, steps.size());
  double sum = 0;
  for (size_t i = steps.size() - n; i < steps.size(); ++i) sum += steps[i].loss;
  return sum / static_cast<double>(n);
}

double median_speed(const std::vector<StepMetrics>& steps) {
  std::vector<double> speeds;
  for (const StepMetrics& m : steps) speeds.push_back(m.images_per_s);
  const auto middle = speeds.begin() + static_cast<long>(speeds.size() / 2);
  std::nth_element(speeds.begin(), middle, speeds.end());
  return *middle;
}

std::string step_tiles(const std::vector<StepMetrics>& steps) {
  if (steps.empty()) return "";
  const size_t window = std::max<size_t>(1, steps.size() / 40);
  double seconds = 0;
  for (const StepMetrics& m : steps) seconds += m.step_ms / 1000;
  return tile(grouped(steps.back().step), "steps done") +
         tile(format_count(static_cast<double>(steps.back().images)), "images seen") +
         tile(format_number(recent_loss(steps, window), 4), "loss, last " + std::to_string(window)) +
         tile(format_number(median_speed(steps), 4), "img/s, median") +
         tile(format_duration(seconds), "spent in steps");
}

std::string event_tiles(const MetricsFile& metrics) {
  std::string tiles;
  const Json* validation = last_event(metrics, "validation");
  if (validation && validation->contains("loss") && (*validation)["loss"].is_number())
    tiles += tile(format_number((*validation)["loss"].get<double>(), 4), "validation loss");
  const Json* start = last_event(metrics, "start");
  if (!start) return tiles;
  if (start->contains("parameters")) tiles += tile(format_count((*start)["parameters"].get<double>()), "parameters");
  if (start->contains("ranks")) tiles += tile(std::to_string(whole_number(*start, "ranks")), "ranks");
  return tiles;
}

std::string header(const RunRecord& run) {
  const Json* start = last_event(run.metrics, "start");
  const Json environment = start ? start->value("environment", Json::object()) : Json::object();
  std::string lead = start ? start->value("device", std::string()) : "";
  for (const char* key : {"cpu", "host"})
    if (environment.contains(key)) lead += (lead.empty() ? "" : " · ") + environment[key].get<std::string>();
  return "<h1>" + escape_html(run.name) + "</h1><p class=\"lead\">" +
         (lead.empty() ? "A shardit run" : escape_html(lead)) + "</p><div class=\"tiles\">" +
         step_tiles(run.metrics.steps) + event_tiles(run.metrics) + "</div>\n";
}

std::string image(const SampleImage& sample) {
  return "<img alt=\"samples of " + escape_html(sample.name) + "\" src=\"data:image/png;base64," + base64(sample.png) +
         "\">";
}

// "step 12,000" from "step-00012000.png"; else the name without its ending.
std::string sample_title(const std::string& name) {
  const std::string stem = name.substr(0, name.rfind('.'));
  const std::string digits = stem.rfind("step-", 0) == 0 ? stem.substr(5) : "";
  if (digits.empty() || digits.size() > 15 || digits.find_first_not_of("0123456789") != std::string::npos) return stem;
  return "step " + grouped(std::stoll(digits));
}

std::string sample_figure(const SampleImage& sample) {
  return "<figure><figcaption>" + escape_html(sample_title(sample.name)) + "</figcaption>" + image(sample) +
         "</figure>";
}

std::string samples(const RunRecord& run) {
  if (run.samples.empty()) return "";
  std::string earlier;
  for (size_t i = 0; i + 1 < run.samples.size(); ++i) earlier += sample_figure(run.samples[i]);
  std::string note;
  if (run.samples.size() < run.samples_on_disk)
    note = "<p class=\"lead\">" + std::to_string(run.samples.size()) + " of " + std::to_string(run.samples_on_disk) +
           " grids.</p>";
  return note + "<div class=\"samples\">" + sample_figure(run.samples.back()) + "<div class=\"earlier\">" + earlier +
         "</div></div>\n";
}

std::string cell(const std::string& text, bool is_number = true) {
  return std::string("<td") + (is_number ? " class=\"num\">" : ">") + text + "</td>";
}

std::string number_cell(const Json& event, const char* key, std::string (*format)(double)) {
  return cell(event.contains(key) && event[key].is_number() ? format(event[key].get<double>()) : "");
}

std::string checkpoints(const MetricsFile& metrics) {
  std::string rows;
  for (const Json& event : metrics.events) {
    if (event["event"] != "save") continue;
    const std::string digest = event.value("digest", std::string());
    rows += "<tr>" + cell(grouped(event["step"].get<int64_t>())) + number_cell(event, "bytes", format_bytes) +
            number_cell(event, "stall_ms", format_ms) + number_cell(event, "total_ms", format_ms) +
            cell("<code>" + escape_html(digest) + "</code>", false) + "</tr>";
  }
  if (rows.empty()) return "";
  return "<div class=\"card\"><table><thead><tr><th class=\"num\">Step</th><th class=\"num\">Size</th><th "
         "class=\"num\">Stall</th>"
         "<th class=\"num\">Time to write</th><th>Digest</th></tr></thead><tbody>" +
         rows + "</tbody></table></div>\n";
}

bool counts_bytes(const std::string& key) { return key.size() > 6 && key.substr(key.size() - 6) == "_bytes"; }

// One value of the environment as people read it.
std::string value_text(const std::string& key, const Json& value) {
  if (value.is_number() && counts_bytes(key)) return format_bytes(value.get<double>());
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_structured()) return value.dump();
  std::string text;
  for (const auto& [name, part] : value.items())
    text += (text.empty() ? "" : ", ") + (value.is_object() ? name + " " : "") + value_text(name, part);
  return text;
}

std::string environment(const MetricsFile& metrics) {
  const Json* start = last_event(metrics, "start");
  const Json facts = start ? start->value("environment", Json::object()) : Json::object();
  std::string rows;
  for (const auto& [key, value] : facts.items()) {
    std::string name = counts_bytes(key) ? key.substr(0, key.size() - 6) : key;
    std::replace(name.begin(), name.end(), '_', ' ');
    rows += "<tr><th>" + escape_html(name) + "</th><td>" + escape_html(value_text(key, value)) + "</td></tr>";
  }
  return rows.empty() ? "" : "<div class=\"card\"><table>" + rows + "</table></div>\n";
}

std::string charts(const std::string& figures) {
  return figures.empty() ? "" : "<div class=\"charts\">" + figures + "</div>\n";
}

}  // namespace

std::string report_page(const RunRecord& run) try {
  const MetricsFile& metrics = run.metrics;
  const bool empty = metrics.steps.empty();
  const std::string config =
      run.config_text.empty() ? "" : "<div class=\"card\"><pre>" + escape_html(run.config_text) + "</pre></div>\n";
  return "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>" + escape_html(run.name) +
         " · shardit</title><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><style>" +
         kReportStyle + "</style></head><body><main>\n" + header(run) +
         (empty ? "<section><div class=\"card empty\">No steps yet: this run has not finished its first "
                  "step.</div></section>\n"
                : "") +
         section("Learning", charts(quality_charts(metrics))) + section("Samples", samples(run)) +
         section("Speed", charts(speed_charts(metrics))) + section("Memory", charts(memory_charts(metrics))) +
         section("Checkpoints", checkpoints(metrics)) + section("Config", config) +
         section("Machine", environment(metrics)) +
         "<footer>Made by <code>shardit report</code> from metrics.jsonl; move the pointer over a chart to read "
         "values.</footer>\n" +
         "</main><script>" + kReportScript + "</script></body></html>\n";
} catch (const Json::exception& error) {
  throw IoError("an event in metrics.jsonl of '" + run.name + "' is not as a run writes it: " + error.what() +
                "\nfix: remove its line");
}

}  // namespace shardit
