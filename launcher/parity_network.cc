#include "launcher/parity_error.h"
#include "launcher/parity_sections.h"
#include "model/guidance.h"

namespace shardit {

double forward_error(GoldenRun& run) {
  const Golden& golden = run.golden();
  const int64_t B = golden.shape("forward.x")[0];
  Graph graph;
  const Value x = image_input(graph, run.setup().model, "x", B), t = integer_input(graph, "t", B),
              y = integer_input(graph, "y", B);
  graph.keep(cast(network_of(graph, run.setup())(x, t, y), DType::kF32), "out");
  Program& program = run.start({{"forward", graph}});
  set(program, "x", golden.images("forward.x"));
  set(program, "t", golden.integers("forward.t"));
  set(program, "y", golden.integers("forward.y"));
  program.run("forward");
  return relative_error(get(program, "out", golden.shape("forward.out").numel()), golden.images("forward.out"));
}

// The golden holds both halves: guided channels (equal in both), then each half's own other channels. The conditional
// half is compared whole, of the other half the guided channels.
double guided_error(GoldenRun& run) {
  const Golden& golden = run.golden();
  const int64_t n = golden.shape("cfg.x")[0] / 2, channels = run.guided_channels();
  Graph graph;
  const Value x = image_input(graph, run.setup().model, "x", n), t = integer_input(graph, "t", n),
              y = integer_input(graph, "y", n), null_labels = integer_input(graph, "null", n);
  const Value scale = input(graph, "scale", {DType::kF32, {n}}, BufferClass::kStaging);
  const Network guided = with_guidance(network_of(graph, run.setup()), null_labels, scale, channels);
  graph.keep(cast(guided(x, t, y), DType::kF32), "out");
  Program& program = run.start({{"cfg", graph}});
  const std::vector<int64_t> times = part(golden.integers("cfg.t"), 0, 2), labels = golden.integers("cfg.y");
  std::vector<float> scales;
  for (int64_t time : times) scales.push_back(static_cast<float>(run.guidance_at(static_cast<double>(time))));
  set(program, "x", part(golden.images("cfg.x"), 0, 2));
  set(program, "t", times);
  set(program, "y", part(labels, 0, 2));
  set(program, "null", part(labels, 1, 2));
  set(program, "scale", scales);
  program.run("cfg");
  const std::vector<float> expected = golden.images("cfg.out");
  const int64_t half = static_cast<int64_t>(expected.size()) / 2, c_out = run.setup().model.out_channels();
  std::vector<float> ours = get(program, "out", half);
  ours.resize(expected.size());
  for (int64_t i = 0; i < half; ++i) ours[half + i] = i % c_out < channels ? ours[i] : expected[half + i];
  return relative_error(ours, expected);
}

}  // namespace shardit
