#include "launcher/parity.h"

#include <algorithm>
#include <optional>

#include "core/error.h"
#include "launcher/golden_run.h"
#include "launcher/parity_sections.h"

namespace shardit {
namespace {

// What the sections of one golden are judged from. The training steps run once for the four sections they serve.
struct Sections {
  GoldenRun run;
  std::optional<TrainingErrors> trained = {};

  const TrainingErrors& training() {
    if (!trained) trained = training_errors(run);
    return *trained;
  }
};

struct Section {
  const char* name;
  double fp32, bf16;               // tolerances; bf16: 0 where only fp32 is judged
  double (*error)(Sections&);      // null where this build computes nothing
  std::vector<std::string> needs;  // tensors without which it is skipped

  // TF32 has three bits of mantissa more than bf16.
  double tolerance(const Precision& p) const { return p.compute == DType::kBF16 ? bf16 : p.tf32 ? bf16 / 8 : fp32; }
};

std::vector<std::string> training_and(const std::string& result) {
  return {"train.x0", "train.t", "train.y", "train.noise", "train.loss", result};
}

std::vector<std::string> sampling_and(const std::string& result) {
  return {"sample.z", "sample.y", "sample.noise", "sample.timesteps", result};
}

std::vector<Section> all_sections() {
  return {
      {"forward",
       2e-5,
       2e-2,
       [](Sections& s) { return forward_error(s.run); },
       {"forward.x", "forward.t", "forward.y", "forward.out"}},
      {"cfg", 2e-5, 2e-2, [](Sections& s) { return guided_error(s.run); }, {"cfg.x", "cfg.t", "cfg.y", "cfg.out"}},
      {"loss", 2e-5, 2e-2, [](Sections& s) { return s.training().loss; }, training_and("train.loss")},
      {"grad", 1e-4, 2e-2, [](Sections& s) { return s.training().gradient; },
       training_and("grad.final_layer.linear.weight")},
      {"adamw", 1e-3, 0, [](Sections& s) { return s.training().after; },
       training_and("after.final_layer.linear.weight")},
      {"ema", 1e-3, 0, [](Sections& s) { return s.training().ema; }, training_and("ema.final_layer.linear.weight")},
      {"ddpm", 1e-3, 0, [](Sections& s) { return sampling_error(s.run, true); }, sampling_and("sample.ddpm")},
      {"ddim", 1e-3, 0, [](Sections& s) { return sampling_error(s.run, false); }, sampling_and("sample.ddim")},
      {"vae.encode", 1e-4, 0, nullptr, {}},
      {"vae.decode", 1e-4, 0, nullptr, {}},
  };
}

ParityResult::Status judge(double error, double tolerance) {
  if (tolerance == 0) return ParityResult::kUnjudged;
  return error <= tolerance ? ParityResult::kOk : ParityResult::kFail;
}

}  // namespace

const char* status_text(ParityResult::Status status) {
  switch (status) {
    case ParityResult::kOk:
      return "ok";
    case ParityResult::kFail:
      return "FAIL";
    case ParityResult::kSkipped:
      return "skipped";
    case ParityResult::kUnjudged:
      return "unjudged";
  }
  return "";
}

std::vector<ParityResult> run_parity(const std::string& path, const Precision& precision, Device& device, int threads) {
  REQUIRE(!precision.tf32 || device.kernels() == Kernels::kCuda,
          "--precision tf32: products by way of TF32 are a GPU's, and this is the CPU; add --device cuda");
  PosixFiles files;
  REQUIRE(files.kind(path) == PathKind::kFile, path + " is no file: expected a golden file (safetensors)");
  const Golden golden(files, path);
  REQUIRE(golden.latent(),
          path + " is an autoencoder's golden: this build judges latent goldens (latent-*.safetensors)");
  Sections sections{.run = GoldenRun(golden, precision, device, threads)};
  std::vector<ParityResult> results;
  for (const Section& section : all_sections()) {
    ParityResult result{.file = path, .section = section.name, .tolerance = section.tolerance(precision)};
    if (section.error && std::all_of(section.needs.begin(), section.needs.end(),
                                     [&](const std::string& name) { return golden.has(name); })) {
      result.error = section.error(sections);
      result.status = judge(result.error, result.tolerance);
    }
    results.push_back(result);
  }
  return results;
}

}  // namespace shardit
