// A golden file, and what its sections read from it before anything is computed: the input as the whole file, and as a
// header and data whose offsets are put right. A golden that was accepted gives each section the sizes that its graph
// has, and numbers that index no table beyond its end.
#include <algorithm>
#include <cstdlib>

#include "launcher/golden.h"
#include "tests/checkpoints/faulty_files.h"
#include "tests/fuzz/forged_safetensors.h"
#include "tests/fuzz/two_files.h"

using namespace shardit;

namespace {

void expect(bool holds) {
  if (!holds) std::abort();
}

bool has_all(const Golden& golden, const std::string& section, const std::vector<std::string>& names) {
  return std::all_of(names.begin(), names.end(), [&](const std::string& n) { return golden.has(section + n); });
}

void expect_images(const Golden& golden, const std::string& name, int64_t count, int64_t channels) {
  const int64_t side = golden.model().input_size;
  expect(std::ssize(golden.images(name)) == count * side * side * channels);
}

void expect_integers(const Golden& golden, const std::string& name, int64_t count, int64_t limit) {
  const std::vector<int64_t> all = golden.integers(name);
  expect(std::ssize(all) == count);
  for (int64_t value : all) expect(value >= 0 && value < limit);
}

void read_network(const Golden& golden, const std::string& section) {
  if (!has_all(golden, section, {".x", ".t", ".y", ".out"})) return;
  const DiffitConfig model = golden.model();
  const int64_t n = golden.shape(section + ".x")[0];
  expect_images(golden, section + ".x", n, model.in_channels);
  expect_images(golden, section + ".out", n, model.out_channels());
  expect_integers(golden, section + ".t", n, kGoldenTimesteps);
  expect_integers(golden, section + ".y", n, model.num_classes + 1);
}

void read_training(const Golden& golden) {
  if (!has_all(golden, "train.", {"x0", "t", "y", "noise", "loss"})) return;
  const DiffitConfig model = golden.model();
  const int64_t steps = golden.shape("train.x0")[0], n = steps * golden.batch();
  for (const char* name : {"train.x0", "train.noise"}) expect_images(golden, name, n, model.in_channels);
  expect_integers(golden, "train.t", n, kGoldenTimesteps);
  expect_integers(golden, "train.y", n, model.num_classes + 1);
  expect(std::ssize(golden.real("train.loss")) == steps);
  for (const char* name : {"train.step0.loss", "train.step0.mse", "train.step0.vb"})
    if (golden.has(name)) expect(std::ssize(golden.real(name)) == golden.batch());
  if (golden.has("train.step0.grad_norm")) expect(golden.real("train.step0.grad_norm").size() == 1);
  for (const Unit& unit : diffit_layout(model).units)
    for (const Param& p : unit.params)
      for (const std::string kind : {"grad.", "after.", "ema."})
        if (golden.has(kind + p.name)) expect(std::ssize(golden.real(kind + p.name)) == p.numel());
}

void read_sampling(const Golden& golden) {
  if (!has_all(golden, "sample.", {"z", "y", "noise", "timesteps"})) return;
  const DiffitConfig model = golden.model();
  const int64_t n = golden.shape("sample.z")[0], steps = golden.shape("sample.timesteps")[0];
  for (const char* name : {"sample.z", "sample.ddpm", "sample.ddim"})
    if (golden.has(name)) expect_images(golden, name, n, model.in_channels);
  expect_images(golden, "sample.noise", steps * n, model.in_channels);
  expect_integers(golden, "sample.y", n, model.num_classes + 1);
  expect_integers(golden, "sample.timesteps", steps, kGoldenTimesteps);
}

void read_weights(const Golden& golden) {
  const DiffitConfig model = golden.model();
  for (const Unit& unit : diffit_layout(model).units)
    for (const Param& p : unit.params) expect(std::ssize(golden.real("param." + p.name)) == p.numel());
  for (const ReleasedConstant& c : released_constants(model)) {
    const std::string name = "param." + c.name;
    if (!golden.has(name)) continue;
    const int64_t given = c.dtype == DType::kI64 ? std::ssize(golden.integers(name)) : std::ssize(golden.real(name));
    expect(given == c.shape.numel());
  }
}

void read(const std::string& bytes) {
  FaultyFiles files;
  files.put("input", bytes);
  try {
    const Golden golden(files, "input");
    if (!golden.latent()) return;
    read_weights(golden);
    read_network(golden, "forward");
    read_network(golden, "cfg");
    read_training(golden);
    read_sampling(golden);
    golden.numbers("betas");
    for (const char* key : {"eps", "weight_decay", "lr", "ema_decay", "cfg_scale"}) golden.number(key);
  } catch (const IoError&) {}
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  read({data, data + size});
  const TwoFiles input = split(data, size);
  read(forged_safetensors({input.first.begin(), input.first.end()}, input.second));
  return 0;
}
