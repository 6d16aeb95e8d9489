#include "launcher/tensorboard.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include <glog/logging.h>

#include "launcher/run_folder.h"

namespace shardit {
namespace {

using tensorboard::Summary;

void scalar(Summary& summary, const std::string& tag, double value) {
  Summary::Value& entry = *summary.add_value();
  entry.set_tag(tag);
  entry.set_simple_value(static_cast<float>(value));
}

Summary step_summary(const StepMetrics& m) {
  Summary summary;
  scalar(summary, "loss_metrics/global_avg_loss", m.loss);
  scalar(summary, "grad_norm", m.grad_norm);
  scalar(summary, "lr", m.lr);
  scalar(summary, "images", static_cast<double>(m.images));
  scalar(summary, "throughput(img/s)", m.images_per_s);
  if (m.mfu) scalar(summary, "mfu(%)", 100 * *m.mfu);
  scalar(summary, "time_metrics/end_to_end(s)", m.step_ms / 1e3);
  scalar(summary, "time_metrics/data_loading(s)", m.data_wait_ms / 1e3);
  scalar(summary, "time_metrics/communication_exposed(s)", m.comm_exposed_ms / 1e3);
  scalar(summary, "time_metrics/slowest_rank(s)", m.slowest_rank_ms / 1e3);
  scalar(summary, "memory/max_active(GiB)", static_cast<double>(m.mem_bytes) / (1 << 30));
  if (m.gpu && m.gpu->watts >= 0) scalar(summary, "gpu/power(W)", m.gpu->watts);
  if (m.gpu && m.gpu->celsius >= 0) scalar(summary, "gpu/temperature(C)", m.gpu->celsius);
  if (m.gpu && m.gpu->sm_mhz >= 0) scalar(summary, "gpu/sm_clock(MHz)", m.gpu->sm_mhz);
  return summary;
}

// "validation_metrics/loss_t_25-50%": of the times from a quarter to half of the training distribution, low noise
// first.
Summary validation_summary(const Json& fields) {
  Summary summary;
  const std::string tag = "validation_metrics/loss";
  scalar(summary, tag, fields.at("loss").get<double>());
  const Json& bins = fields.at("bins");
  for (size_t b = 0; b < bins.size(); ++b) {
    const auto percent = [&](size_t i) { return std::to_string(100 * i / bins.size()); };
    scalar(summary, tag + "_t_" + percent(b) + "-" + percent(b + 1) + "%", bins[b].get<double>());
  }
  return summary;
}

int32_t big_endian(const std::string& bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<uint8_t>(bytes[at + i]);
  return static_cast<int32_t>(value);
}

// A PNG file's bytes begin with a signature and the header: width, height, bits, colour type (0: grey).
Summary picture_summary(std::string png) {
  constexpr size_t kWidth = 16, kHeight = 20, kColour = 25;
  CHECK_GT(png.size(), kColour) << "a picture of our own";
  Summary summary;
  Summary::Value& entry = *summary.add_value();
  entry.set_tag("samples");
  Summary::Image& image = *entry.mutable_image();
  image.set_width(big_endian(png, kWidth));
  image.set_height(big_endian(png, kHeight));
  image.set_colorspace(png[kColour] == 0 ? 1 : 3);
  image.set_encoded_image_string(std::move(png));
  return summary;
}

// Markdown, in which an indented text is shown as it is.
Summary text_summary(const std::string& tag, const std::string& text) {
  constexpr int kString = 7;
  std::string indented = "    ";
  for (char c : text) indented += c == '\n' ? std::string("\n    ") : std::string(1, c);
  Summary summary;
  Summary::Value& entry = *summary.add_value();
  entry.set_tag(tag);
  entry.mutable_metadata()->mutable_plugin_data()->set_plugin_name("text");
  entry.mutable_tensor()->set_dtype(kString);
  entry.mutable_tensor()->add_string_val(std::move(indented));
  return summary;
}

// The first step is, so that a short run shows something.
bool due(int64_t every, int64_t step) { return every > 0 && (step % every == 0 || step == 1); }

}  // namespace

tensorboard::Histogram histogram(const std::vector<double>& values) {
  std::vector<double> finite;
  std::copy_if(values.begin(), values.end(), std::back_inserter(finite), [](double v) { return std::isfinite(v); });
  std::sort(finite.begin(), finite.end());
  tensorboard::Histogram h;
  if (finite.empty()) return h;
  h.set_min(finite.front());
  h.set_max(finite.back());
  h.set_num(static_cast<double>(finite.size()));
  double limit = 1e-12;
  for (size_t i = 0; i < finite.size();) {
    while (limit < finite[i]) limit *= 1.1;
    const size_t begin = i;
    for (; i < finite.size() && finite[i] <= limit; ++i) {
      h.set_sum(h.sum() + finite[i]);
      h.set_sum_squares(h.sum_squares() + finite[i] * finite[i]);
    }
    if (h.bucket_size() == 0 || h.bucket_limit(h.bucket_size() - 1) < limit / 1.1) {  // an empty one up to this one
      h.add_bucket_limit(limit / 1.1);
      h.add_bucket(0);
    }
    h.add_bucket_limit(limit);
    h.add_bucket(static_cast<double>(i - begin));
  }
  return h;
}

TensorBoard::TensorBoard(FileSystem& files, const std::string& run_dir, const RunConfig::TensorBoard& config,
                         int64_t step)
    : files_(files),
      run_dir_(run_dir),
      every_steps_(config.every_steps()),
      histogram_every_steps_(config.histogram_every_steps()),
      file_(files, RunFolder{run_dir}.tensorboard()) {
  tensorboard::Event restart;
  restart.set_step(step + 1);
  restart.mutable_session_log()->set_status(tensorboard::SessionLog::START);
  file_.append(std::move(restart));
}

void TensorBoard::step(const StepMetrics& metrics) {
  Summary summary;
  if (due(every_steps_, metrics.step)) summary = step_summary(metrics);
  if (due(histogram_every_steps_, metrics.step)) {
    Summary::Value& entry = *summary.add_value();
    entry.set_tag("grad_norm/units");
    *entry.mutable_histo() = histogram(metrics.unit_norms);
  }
  if (summary.value_size() > 0) write(metrics.step, std::move(summary));
}

void TensorBoard::event(const std::string& name, int64_t step, const Json& fields) {
  if (name == "start") write(step, text_summary("config", fields.at("config").get<std::string>()));
  if (name == "validation") write(step, validation_summary(fields));
  if (name == "sample")
    write(step, picture_summary(read_file(files_, run_dir_ + "/" + fields.at("path").get<std::string>())));
}

void TensorBoard::write(int64_t step, Summary summary) {
  tensorboard::Event event;
  event.set_step(step);
  *event.mutable_summary() = std::move(summary);
  file_.append(std::move(event));
}

}  // namespace shardit
