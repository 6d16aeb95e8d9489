// A golden and the program it runs through: the graphs of training, with the golden's weights in them.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "launcher/golden.h"
#include "launcher/graphs.h"

namespace shardit {

class GoldenRun {
 public:
  // The golden and the device must outlive this. Throws IoError for a golden whose constants are not those that the
  // program computes.
  GoldenRun(const Golden& golden, const Precision& precision, Device& device, int threads);

  const Golden& golden() const { return golden_; }
  const RunSetup& setup() const { return setup_; }

  // Replaces the program by one of these graphs, still to be lowered, with the golden's weights in it.
  Program& start(std::vector<NamedGraph> graphs);
  // Of graphs already lowered, whose constants were moved to `constants`.
  Program& start(std::vector<NamedGraph> graphs, const Graph& constants);

  // Guidance as the released model samples: its channels, and its scale at step t.
  int64_t guided_channels() const;
  double guidance_at(double t) const;

 private:
  const Golden& golden_;
  RunSetup setup_;
  Pool pool_;
  Device& device_;
  std::optional<Program> program_;
};

// Inputs of a graph: images (batch, S, S, c) in fp32 whatever the precision, and one integer per image.
Value image_input(Graph& graph, const DiffitConfig& model, const std::string& name, int64_t batch);
Value integer_input(Graph& graph, const std::string& name, int64_t batch);

// The network with a setup's weights, for use inside `graph`.
Network network_of(Graph& graph, const RunSetup& setup);

template <typename T> void set(Program& program, const std::string& name, const std::vector<T>& x) {
  program.upload(name, x.data(), static_cast<int64_t>(x.size() * sizeof(T)));
}

template <typename T = float> std::vector<T> get(Program& program, const std::string& name, int64_t count) {
  std::vector<T> x(static_cast<size_t>(count));
  program.download(name, x.data(), count * static_cast<int64_t>(sizeof(T)));
  return x;
}

// Part i of `count` equal parts.
template <typename T> std::vector<T> part(const std::vector<T>& all, int64_t i, int64_t count) {
  const int64_t n = static_cast<int64_t>(all.size()) / count;
  return std::vector<T>(all.begin() + i * n, all.begin() + (i + 1) * n);
}

}  // namespace shardit
