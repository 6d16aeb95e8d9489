#include "launcher/resume_proof.h"

#include <bit>
#include <cmath>
#include <cstdio>
#include <iostream>

#include "core/error.h"
#include "core/random.h"
#include "launcher/config.h"
#include "launcher/machine.h"
#include "launcher/progress.h"
#include "launcher/run_device.h"
#include "ops/product_tuning.h"

namespace shardit {
namespace {

// What decides the loss of a micro-batch on given weights. The optimizer, the EMAs and the order in which gradients are
// summed do not.
bool decides_the_loss(const std::string& key) {
  for (const char* part : {"model.", "diffusion.", "data.", "precision."})
    if (key.starts_with(part)) return true;
  return key == "seed" || key == "global_batch_size" || key == "micro_batch_size";
}

std::string loss_text(uint32_t bits) {
  char text[64];
  std::snprintf(text, sizeof text, "%.9g (bits %08x)", static_cast<double>(std::bit_cast<float>(bits)), bits);
  return text;
}

std::string tolerance_text(double tolerance) {
  char text[32];
  std::snprintf(text, sizeof text, "%.0e", tolerance);
  return text;
}

std::string value_text(const std::string& value) { return value.empty() ? "not set" : value; }

}  // namespace

std::string device_kind_of(const RunState& run) {
  std::string text = run.device_kind;
  for (const auto& [library, version] : run.library_versions) text += ", " + library + " " + version;
  return text;
}

void set_device_kind(RunState& run, const Device& device) {
  const Build build = build_facts();
  run.device_kind = full_name(device);
  if (device.model().empty())
    run.device_kind += " " + build.instruction_set + ", kernels for " + library_instruction_set();
  for (const auto& [library, version] : build.libraries) run.library_versions[library] = version;
  if (device.kernels() == Kernels::kCuda && cublaslt_version) run.library_versions["cuBLASLt"] = cublaslt_version();
}

ResumeProof::ResumeProof(Program& program, const RunSetup& setup, const RunConfig& config, const Dataset& data,
                         Ranks& ranks, const Device& device, const RunProducts& products)
    : program_(program),
      setup_(setup),
      config_(config),
      data_(data),
      ranks_(ranks),
      products_(products),
      reader_(data, setup.seed, config.data().flip(), OnCorrupt::kSkip) {  // the step decides whether the run goes on
  RunState here;
  set_device_kind(here, device);
  kind_ = device_kind_of(here);
}

// Into slot 0 of the batch: the step loop fills it anew before each micro-step.
void ResumeProof::read_images(int64_t step) {
  auto* pixels = static_cast<uint8_t*>(program_.host_pointer("batch.pixels", 0));
  auto* labels = static_cast<int64_t*>(program_.host_pointer("batch.labels", 0));
  const int64_t first = step * setup_.global_batch;
  std::vector<CorruptSample> corrupt;  // told when the step is made
  ranks_.together("resume proof", [&] {
    for (int64_t i = 0; i < setup_.micro_batch; ++i)
      reader_.read(first + i, pixels + i * data_.image_bytes(), labels + i, corrupt);
  });
  program_.push("batch.pixels");
  program_.push("batch.labels");
}

// REQUIRES: the images are read.
std::vector<ResumeProof::Loss> ResumeProof::every_ranks_loss(int64_t step) {
  const int64_t counters[2] = {step * setup_.global_batch, 0};  // first sample, micro-batch
  program_.upload("step.counters", counters, sizeof counters);
  program_.run("resume_proof", 0);
  float loss;
  program_.download("resume_proof.loss", &loss, sizeof loss);
  return ranks_.all("resume proof", Loss{.bits = std::bit_cast<uint32_t>(loss), .kind = hash_name(kind_)});
}

std::string ResumeProof::warn(const std::string& text) const {
  if (ranks_.first()) std::cerr << "WARNING: resume proof " << text << std::endl;
  return text;
}

// Between kinds of device: what parity allows between this program and the reference, for the same reason: other
// kernels sum in another order, in the same precision.
double ResumeProof::tolerance() const {
  const Precision& p = setup_.precision;
  return p.compute == DType::kBF16 ? 2e-2 : p.tf32 ? 2.5e-3 : 2e-5;
}

// How a loss fails to be the expected one; empty if it does not. A loss that is no number is the step's affair.
std::string ResumeProof::difference(const Loss& loss, const Loss& expected) const {
  const bool bitwise = loss.kind == expected.kind && config_.parallel().reduction() == RunConfig::Parallel::canonical;
  const auto a = static_cast<double>(std::bit_cast<float>(loss.bits)),
             b = static_cast<double>(std::bit_cast<float>(expected.bits));
  if (loss.bits == expected.bits || (std::isnan(a) && std::isnan(b))) return "";
  if (!bitwise && std::abs(a - b) <= tolerance() * std::abs(b)) return "";
  return bitwise ? "the same bits, the kind of device and the libraries being the same"
                 : "a relative difference of at most " + tolerance_text(tolerance()) +
                       ", the kind of device, its libraries or parallel.reduction being others";
}

// What is wrong with the first rank whose loss is not the expected one; empty if there is none.
std::string ResumeProof::mismatch(const std::vector<Loss>& losses, const Loss& expected) const {
  for (size_t r = 0; r < losses.size(); ++r)
    if (const std::string wanted = difference(losses[r], expected); !wanted.empty())
      return (losses.size() == 1 ? "" : "rank " + std::to_string(r) + " gets ") + loss_text(losses[r].bits) +
             ", expected " + loss_text(expected.bits) + ": " + wanted;
  return "";
}

std::optional<uint32_t> ResumeProof::loss_bits(int64_t step) {
  const double begin = steady_seconds();
  try {
    read_images(step);
  } catch (const Error& error) {
    if (ranks_.size() > 1 && !error.everywhere) throw;
    last_ms_ = 0;
    warn("left out of the checkpoint of step " + std::to_string(step) + ": " + error.what());
    return std::nullopt;
  }
  const std::vector<Loss> losses = every_ranks_loss(step);
  last_ms_ = (steady_seconds() - begin) * 1e3;
  const std::string wrong = mismatch(losses, losses[0]);
  ranks_.together("resume proof", [&] {
    if (!wrong.empty())
      throw StopError("step " + std::to_string(step) + ": ranks disagree on the loss of one micro-batch: " + wrong +
                      "\nlikely its weights or its images are not those of rank 0: a faulty memory or device, or other "
                      "data files\nthis step is not saved; the last checkpoint is unharmed");
  });
  return losses[0].bits;
}

// Keys that --override-arithmetic let through, and other images under the same path.
std::string ResumeProof::why_not_comparable(const RunState& saved) const {
  for (const KeyDifference& change : resume_conflicts(parse_config(saved.config_text, "the checkpoint"), config_))
    if (decides_the_loss(change.key))
      return change.key + " was " + value_text(change.before) + " and is now " + value_text(change.after);
  if (!saved.data_fingerprint.empty() && saved.data_fingerprint != data_.fingerprint())
    return "the training data are others";
  if (products_.differ_from(saved)) return "the product table has other algorithms";
  return "";
}

std::string ResumeProof::words_for(const Loss& loss, const Loss& expected, const RunState& saved) const {
  std::string where;
  if (loss.kind != expected.kind)
    where = "; saved on another kind of device: " + device_kind_of(saved) + "; here: " + kind_;
  if (loss.bits == expected.bits) return "holds bitwise, loss " + loss_text(loss.bits) + where;
  return "holds within " + tolerance_text(tolerance()) + ", loss " + loss_text(loss.bits) + ", saved " +
         loss_text(expected.bits) + where;
}

std::string ResumeProof::check(const RunState& saved, const std::string& mode) {
  if (mode == "off") return "not computed: --resume-proof off";
  if (!saved.resume_loss_bits)
    return "not possible: the checkpoint of step " + std::to_string(saved.step) + " has none";
  if (const std::string why = why_not_comparable(saved); !why.empty())
    return warn("skipped: the loss is another one, since " + why +
                "; nothing shows that this is the run that was saved");
  read_images(saved.step);
  const Loss expected{.bits = *saved.resume_loss_bits, .kind = hash_name(device_kind_of(saved))};
  const std::vector<Loss> losses = every_ranks_loss(saved.step);
  const std::string wrong = mismatch(losses, expected);
  if (!wrong.empty() && mode == "warn") return warn("fails: " + wrong + "; --resume-proof warn goes on");
  ranks_.together("resume proof", [&] {
    if (!wrong.empty())
      throw StopError("the resume proof of step " + std::to_string(saved.step) + " fails: " + wrong +
                      "\nlikely the images were changed in place, the checkpoint was altered, or this machine computes "
                      "wrongly\nuse an older checkpoint (--resume STEP), or --resume-proof warn to go on regardless");
  });
  return words_for(losses[0], expected, saved);
}

}  // namespace shardit
