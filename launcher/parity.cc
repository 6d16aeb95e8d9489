#include "launcher/parity.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "launcher/golden.h"
#include "launcher/run_program.h"
#include "launcher/state.h"

namespace shardit {
namespace {

struct Tolerance {
  const char* section;
  double fp32, bf16;  // bf16: 0 where bf16 is not judged
};
constexpr Tolerance kTolerances[] = {
    {"forward", 2e-5, 2e-2}, {"cfg", 2e-5, 2e-2},     {"loss", 2e-5, 2e-2}, {"grad", 1e-4, 2e-2},
    {"adamw", 1e-3, 0},      {"ema", 1e-3, 0},        {"ddpm", 1e-3, 0},    {"ddim", 1e-3, 0},
    {"vae.encode", 1e-4, 0}, {"vae.decode", 1e-4, 0},
};

// Largest difference over the largest magnitude of the reference. A NaN on either side is an infinite error.
double relative_error(const std::vector<float>& ours, const std::vector<float>& reference, double least_scale = 0) {
  double worst = 0, scale = least_scale;
  for (size_t i = 0; i < reference.size(); ++i) {
    const double d = std::fabs(static_cast<double>(ours[i]) - static_cast<double>(reference[i]));
    worst = std::isnan(d) ? INFINITY : std::max(worst, d);
    scale = std::max(scale, std::fabs(static_cast<double>(reference[i])));
  }
  return scale > 0 ? worst / scale : worst;
}

double largest(const std::vector<float>& x) {
  double m = 0;
  for (float v : x) m = std::max(m, std::fabs(static_cast<double>(v)));
  return m;
}

// One golden with its program: every section works on the same weights.
class Parity {
 public:
  Parity(const Golden& golden, DType compute, int threads)
      : golden_(golden),
        setup_(golden.setup({.compute = compute, .residual = compute})),
        pool_(threads),
        device_(make_cpu_device()) {}

  double forward() {
    Graph graph;
    const Parameters weights(graph, setup_.layout, setup_.weights());
    const int64_t B = golden_.shape("forward.x")[0];
    const Value x = real_input(graph, "x", B), t = integer_input(graph, "t", B), y = integer_input(graph, "y", B);
    graph.keep(cast(diffit(weights, setup_.model, x, t, y), DType::kF32), "out");
    Program& program = start({{"forward", graph}});
    set(program, "x", golden_.images("forward.x"));
    set(program, "t", golden_.integers("forward.t"));
    set(program, "y", golden_.integers("forward.y"));
    program.run("forward");
    return relative_error(get(program, "out", golden_.shape("forward.out").numel()), golden_.images("forward.out"));
  }

  // The golden holds both halves: guided channels (equal in both), then each half's own other channels. The
  // conditional half is compared whole, of the other half the guided channels.
  double guided() {
    const int64_t n = golden_.shape("cfg.x")[0] / 2, channels = guided_channels();
    Graph graph;
    const Parameters weights(graph, setup_.layout, setup_.weights());
    const Value x = real_input(graph, "x", n), t = integer_input(graph, "t", n), y = integer_input(graph, "y", n);
    const Value null_labels = integer_input(graph, "null", n);
    const Value scale = input(graph, "scale", {DType::kF32, {n}}, BufferClass::kStaging);
    const Network network = [&](Value a, Value b, Value c) { return diffit(weights, setup_.model, a, b, c); };
    graph.keep(cast(with_guidance(network, null_labels, scale, channels)(x, t, y), DType::kF32), "out");
    Program& program = start({{"cfg", graph}});
    const std::vector<int64_t> times = golden_.integers("cfg.t"), labels = golden_.integers("cfg.y");
    std::vector<float> scales;
    for (int64_t i = 0; i < n; ++i) scales.push_back(static_cast<float>(scale_at(static_cast<double>(times[i]))));
    const std::vector<float> images = golden_.images("cfg.x");
    set(program, "x", std::vector<float>(images.begin(), images.begin() + static_cast<int64_t>(images.size()) / 2));
    set(program, "t", std::vector<int64_t>(times.begin(), times.begin() + n));
    set(program, "y", std::vector<int64_t>(labels.begin(), labels.begin() + n));
    set(program, "null", std::vector<int64_t>(labels.begin() + n, labels.end()));
    set(program, "scale", scales);
    program.run("cfg");
    const std::vector<float> expected = golden_.images("cfg.out");
    std::vector<float> ours = get(program, "out", static_cast<int64_t>(expected.size()) / 2);
    ours.resize(expected.size());
    const int64_t half = static_cast<int64_t>(expected.size()) / 2, c_out = setup_.model.out_channels();
    for (int64_t i = 0; i < half; ++i) ours[half + i] = i % c_out < channels ? ours[i] : expected[half + i];
    return relative_error(ours, expected);
  }

  // Runs all training steps once and judges four sections from them.
  void train() {
    if (trained_) return;
    trained_ = true;
    const int64_t steps = golden_.shape("train.x0")[0];
    Graph constants;
    std::vector<NamedGraph> graphs = {
        {"micro_step", shard_micro_step(lower(build_micro_step(setup_, given_inputs, nullptr), setup_, constants),
                                        setup_, Round::kFirst)},
        {"update", lower(build_update(setup_), setup_, constants)},
        {"terms", lower(loss_terms(), setup_, constants)}};
    Program& program = start(std::move(graphs), constants);
    const std::vector<float> x0 = golden_.images("train.x0"), noise = golden_.images("train.noise");
    const std::vector<int64_t> t = golden_.integers("train.t"), y = golden_.integers("train.y");
    const std::vector<float> losses = golden_.real("train.loss");
    for (int64_t step = 0; step < steps; ++step) {
      set(program, "golden.x0", part(x0, step, steps));
      set(program, "golden.noise", part(noise, step, steps));
      set(program, "golden.t", part(t, step, steps));
      set(program, "golden.y", part(y, step, steps));
      if (step == 0) judge_terms(program);
      program.run("micro_step");
      loss_error_ = std::max(loss_error_, relative_error(get(program, "step.loss", 1), {losses[step]}));
      if (step == 0 && golden_.has("grad.final_layer.linear.weight")) judge_gradients(program);
      update(program, step);
      if (step == 0 && golden_.has("train.step0.grad_norm")) {
        double norm[3];
        program.download("step.norm", norm, sizeof norm);
        gradient_error_ = std::max(
            gradient_error_, relative_error({static_cast<float>(norm[0])}, golden_.real("train.step0.grad_norm")));
      }
    }
    after_error_ = change_error(program, {"params", "master"}, "after.");
    ema_error_ = change_error(program, {"ema.ema", "ema.ema"}, "ema.");
  }
  double loss() { return train(), loss_error_; }
  double gradient() { return train(), gradient_error_; }
  double after() { return train(), after_error_; }
  double ema() { return train(), ema_error_; }

  double sampled(bool ancestral) {
    const DdpmSchedule full = ddpm_schedule(kGoldenTimesteps, 1e-4, 0.02),
                       respaced = respace(full, golden_.shape("sample.timesteps")[0]);
    if (golden_.integers("sample.timesteps") != respaced.steps) return INFINITY;
    const SamplerPlan plan = ancestral ? plan_ddpm(respaced, kGoldenTimesteps, setup_.model.learn_sigma)
                                       : plan_ddim(respaced, kGoldenTimesteps);
    const int64_t n = golden_.shape("sample.z")[0];
    const SamplingSetup sampling{
        .weights = setup_.weights(), .batch = n, .guided_channels = guided_channels(), .noise_given = true};
    Program& program = start({{"move", build_sampling(setup_, sampling, SamplerStage::kMove, ancestral)}});
    const std::vector<float> z = golden_.images("sample.z"), noise = golden_.images("sample.noise");
    const int64_t steps = static_cast<int64_t>(plan.steps.size());
    set(program, "sample.x", std::vector<double>(z.begin(), z.end()));
    set(program, "sample.labels", golden_.integers("sample.y"));
    set(program, "sample.null_labels", std::vector<int64_t>(n, setup_.model.num_classes));
    for (int64_t s = 0; s < steps; ++s) {
      const SamplerStep& step = plan.steps[s];
      set(program, "sample.time", std::vector<int64_t>(n, static_cast<int64_t>(step.time)));
      set(program, "sample.guidance", std::vector<float>(n, static_cast<float>(scale_at(step.time))));
      set(program, "sample.factors", std::vector<double>(step.factors, step.factors + kSamplerFactors));
      if (ancestral) {
        set(program, "sample.noise", part(noise, s, steps));
        set(program, "sample.bounds", std::vector<double>(step.noise_bounds, step.noise_bounds + 3));
      }
      program.run("move");
    }
    std::vector<double> x(z.size());
    program.download("sample.x", x.data(), static_cast<int64_t>(x.size() * sizeof(double)));
    return relative_error(std::vector<float>(x.begin(), x.end()),
                          golden_.images(ancestral ? "sample.ddpm" : "sample.ddim"));
  }

 private:
  static LossInputs given_inputs(Graph& graph, const RunSetup& s) {
    const int64_t B = s.micro_batch, S = s.model.input_size, C = s.model.in_channels;
    const auto images = [&](const std::string& name) {
      return input(graph, name, {DType::kF32, {B, S, S, C}}, BufferClass::kStaging, Role::kExact);
    };
    const auto integers = [&](const std::string& name) {
      return input(graph, name, {DType::kI64, {B}}, BufferClass::kStaging);
    };
    return {.x0 = images("golden.x0"),
            .y = integers("golden.y"),
            .time = integers("golden.t"),
            .noise = images("golden.noise")};
  }

  Graph loss_terms() const {
    Graph graph;
    const LossInputs in = given_inputs(graph, setup_);
    const Parameters weights(graph, setup_.layout, setup_.weights());
    const Network network = [&](Value a, Value b, Value c) { return diffit(weights, setup_.model, a, b, c); };
    const Loss loss = setup_.process->loss(network, in.x0, in.time, in.noise, in.y);
    graph.keep(loss.per_image, "terms.loss");
    graph.keep(loss.mse, "terms.mse");
    if (loss.variational) graph.keep(loss.variational, "terms.vb");
    return graph;
  }

  void judge_terms(Program& program) {
    program.run("terms");
    for (const std::string name : {"loss", "mse", "vb"})
      if (golden_.has("train.step0." + name) && program.has_buffer("terms." + name))
        loss_error_ = std::max(loss_error_, relative_error(get(program, "terms." + name, setup_.micro_batch),
                                                           golden_.real("train.step0." + name)));
  }

  // Each tensor against its own largest gradient; tensors that are next to nothing beside the rest, against 1e-3 of
  // the largest of all.
  void judge_gradients(Program& program) {
    double most = 0;
    for (const Unit& unit : setup_.layout.units)
      for (const Param& p : unit.params) most = std::max(most, largest(golden_.real("grad." + p.name)));
    for (const StateTensor& t : tensors_of(program, setup_, {"", "grad"})) {
      const auto* data = static_cast<const float*>(t.data);
      const std::vector<float> ours(data, data + t.shape.numel());
      gradient_error_ =
          std::max(gradient_error_, relative_error(ours, golden_.real("grad." + t.name.substr(1)), 1e-3 * most));
    }
  }

  void update(Program& program, int64_t step) {
    const double t = static_cast<double>(step + 1);
    set(program, "step.numbers",
        std::vector<double>{golden_.number("lr"), 1 - std::pow(setup_.adamw.beta1, t),
                            1 - std::pow(setup_.adamw.beta2, t), golden_.number("ema_decay")});
    program.run("update");
  }

  // Root mean square of our error over that of the reference's change since the start, without the rows whose gradient
  // is rounding noise: the key part of the biases and of the time projection (they cannot change the softmax).
  double change_error(Program& program, const StateKind& kind, const std::string& prefix) {
    if (!golden_.has(prefix + "final_layer.linear.weight")) return 0;
    double error = 0, change = 0;
    for (const StateTensor& t : tensors_of(program, setup_, kind)) {
      const std::string name = t.name.substr(kind.name.size() + 1);
      const std::vector<float> reference = golden_.real(prefix + name), before = golden_.real("param." + name);
      const auto* ours = static_cast<const float*>(t.data);
      const bool noise =
          name.ends_with("qkv_temb.weight") || name.ends_with("qkv_temb.bias") || name.ends_with("qkv.bias");
      const int64_t third = t.shape.numel() / 3;
      for (int64_t i = 0; i < t.shape.numel(); ++i) {
        if (noise && i / third == 1) continue;
        error += std::pow(static_cast<double>(ours[i]) - static_cast<double>(reference[i]), 2);
        change += std::pow(static_cast<double>(reference[i]) - static_cast<double>(before[i]), 2);
      }
    }
    return std::isnan(error) ? INFINITY : std::sqrt(error / change);
  }

  // A program over the given forward graphs with the golden's weights in it.
  Program& start(std::vector<NamedGraph> graphs) {
    Graph constants;
    for (NamedGraph& g : graphs) g.graph = lower(g.graph, setup_, constants);
    return start(std::move(graphs), constants);
  }

  Program& start(std::vector<NamedGraph> graphs, const Graph& constants) {
    graphs.push_back({"constants", constants});
    if (!setup_.travels_in_fp32()) graphs.push_back({"refresh", build_refresh(setup_)});
    program_.emplace(compile(std::move(graphs), pool_.threads()), *device_, pool_);
    program_->run("constants");
    for (const std::string source : {"master", "ema.ema"}) {
      if (!program_->has_buffer(unit_buffer(source, setup_.layout.units[0]))) continue;
      for (const StateTensor& t : tensors_of(*program_, setup_, {"param", source})) {
        const std::vector<float> values = golden_.real("param." + t.name.substr(6));
        std::copy(values.begin(), values.end(), static_cast<float*>(t.data));
      }
    }
    if (!setup_.travels_in_fp32()) program_->run("refresh");
    return *program_;
  }

  Value real_input(Graph& graph, const std::string& name, int64_t batch) const {
    const int64_t S = setup_.model.input_size;
    return input(graph, name, {DType::kF32, {batch, S, S, setup_.model.in_channels}}, BufferClass::kStaging,
                 Role::kExact);
  }
  static Value integer_input(Graph& graph, const std::string& name, int64_t batch) {
    return input(graph, name, {DType::kI64, {batch}}, BufferClass::kStaging);
  }
  int64_t guided_channels() const { return std::min<int64_t>(3, setup_.model.in_channels); }
  double scale_at(double t) const {
    const auto schedule = setup_.model.input_size <= 32 ? GuidanceSchedule::kPowerCosine : GuidanceSchedule::kConstant;
    return guidance_scale(schedule, golden_.number("cfg_scale"), 4, t / static_cast<double>(kGoldenTimesteps));
  }

  template <typename T> static void set(Program& program, const std::string& name, const std::vector<T>& x) {
    program.upload(name, x.data(), static_cast<int64_t>(x.size() * sizeof(T)));
  }
  static std::vector<float> get(Program& program, const std::string& name, int64_t count) {
    std::vector<float> x(static_cast<size_t>(count));
    program.download(name, x.data(), count * static_cast<int64_t>(sizeof(float)));
    return x;
  }
  template <typename T> static std::vector<T> part(const std::vector<T>& all, int64_t i, int64_t count) {
    const int64_t n = static_cast<int64_t>(all.size()) / count;
    return std::vector<T>(all.begin() + i * n, all.begin() + (i + 1) * n);
  }

  const Golden& golden_;
  RunSetup setup_;
  Pool pool_;
  std::unique_ptr<Device> device_;
  std::optional<Program> program_;
  bool trained_ = false;
  double loss_error_ = 0, gradient_error_ = 0, after_error_ = 0, ema_error_ = 0;
};

struct Section {
  const char* name;
  std::vector<std::string> needs;  // tensors without which it is skipped
  double (*error)(Parity&);
};

const std::vector<Section>& latent_sections() {
  static const std::vector<std::string> training = {"train.x0", "train.t", "train.y", "train.noise", "train.loss"};
  const auto with = [](std::vector<std::string> names, const std::string& name) {
    names.push_back(name);
    return names;
  };
  static const std::vector<std::string> sampling = {"sample.z", "sample.y", "sample.noise", "sample.timesteps"};
  static const std::vector<Section> sections = {
      {"forward", {"forward.x", "forward.t", "forward.y", "forward.out"}, [](Parity& p) { return p.forward(); }},
      {"cfg", {"cfg.x", "cfg.t", "cfg.y", "cfg.out"}, [](Parity& p) { return p.guided(); }},
      {"loss", training, [](Parity& p) { return p.loss(); }},
      {"grad", with(training, "grad.final_layer.linear.weight"), [](Parity& p) { return p.gradient(); }},
      {"adamw", with(training, "after.final_layer.linear.weight"), [](Parity& p) { return p.after(); }},
      {"ema", with(training, "ema.final_layer.linear.weight"), [](Parity& p) { return p.ema(); }},
      {"ddpm", with(sampling, "sample.ddpm"), [](Parity& p) { return p.sampled(true); }},
      {"ddim", with(sampling, "sample.ddim"), [](Parity& p) { return p.sampled(false); }},
  };
  return sections;
}

ParityResult::Status judge(const Tolerance& tolerance, DType compute, double error) {
  const double limit = compute == DType::kBF16 ? tolerance.bf16 : tolerance.fp32;
  if (limit == 0) return ParityResult::kUnjudged;
  return error <= limit ? ParityResult::kOk : ParityResult::kFail;
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

std::vector<ParityResult> run_parity(const std::string& path, DType compute, int threads) {
  PosixFiles files;
  REQUIRE(files.kind(path) == PathKind::kFile, path + " is no file: expected a golden file (safetensors)");
  const Golden golden(files, path);
  REQUIRE(golden.latent(), path + " is an autoencoder's golden: this build runs latent goldens (latent-*.safetensors)");
  Parity parity(golden, compute, threads);
  std::vector<ParityResult> results;
  for (const Tolerance& tolerance : kTolerances) {
    ParityResult result{.file = path,
                        .section = tolerance.section,
                        .tolerance = compute == DType::kBF16 ? tolerance.bf16 : tolerance.fp32};
    for (const Section& section : latent_sections()) {
      if (section.name != result.section) continue;
      if (!std::all_of(section.needs.begin(), section.needs.end(),
                       [&](const std::string& name) { return golden.has(name); }))
        continue;
      result.error = section.error(parity);
      result.status = judge(tolerance, compute, result.error);
    }
    results.push_back(result);
  }
  return results;
}

}  // namespace shardit
