#include "launcher/golden.h"

#include <algorithm>
#include <cmath>
#include <sstream>
#include <utility>

#include "core/error.h"
#include "data/listing.h"

namespace shardit {
namespace {

// (outer, C, S, S) to (outer, S, S, C).
std::vector<float> channels_last(const std::vector<float>& x, int64_t channels, int64_t positions) {
  std::vector<float> y(x.size());
  const int64_t outer = static_cast<int64_t>(x.size()) / (channels * positions);
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t c = 0; c < channels; ++c)
      for (int64_t p = 0; p < positions; ++p)
        y[(o * positions + p) * channels + c] = x[(o * channels + c) * positions + p];
  return y;
}

}  // namespace

Golden::Golden(FileSystem& files, const std::string& path) : reader_(files, path) {
  const auto& metadata = reader_.metadata();
  latent_ = metadata.contains("hidden_size");
  if (latent_) {
    check_parameters();
    check_constants();
    check_sections();
  } else if (!metadata.contains("ch") && !metadata.contains("weights")) {
    refuse("its metadata holds no model configuration");
  }
}

void Golden::refuse(const std::string& why) const { throw IoError(reader_.path() + " is not a golden file: " + why); }

const StoredTensor& Golden::tensor(const std::string& name) const {
  const StoredTensor* found = reader_.find(name);
  if (!found) refuse("it has no tensor " + name);
  return *found;
}

const StoredTensor& Golden::real_tensor(const std::string& name) const {
  const StoredTensor& t = tensor(name);
  if (t.dtype != DType::kF32 && t.dtype != DType::kF64)
    refuse("tensor " + name + " is " + name_of(t.dtype) + ", expected fp32");
  return t;
}

const StoredTensor& Golden::integer_tensor(const std::string& name) const {
  const StoredTensor& t = tensor(name);
  if (t.dtype != DType::kI64) refuse("tensor " + name + " is " + name_of(t.dtype) + ", expected int64");
  return t;
}

double Golden::number(const std::string& key) const {
  const std::vector<double> all = numbers(key);
  if (all.size() != 1) refuse("metadata '" + key + "' is not one number");
  return all[0];
}

std::vector<double> Golden::numbers(const std::string& key) const {
  const auto it = reader_.metadata().find(key);
  if (it == reader_.metadata().end()) refuse("its metadata lacks '" + key + "'");
  std::vector<double> result;
  std::stringstream text(it->second);
  for (std::string part; std::getline(text, part, ',');) {
    size_t used = 0;
    try {
      result.push_back(std::stod(part, &used));
    } catch (const std::exception&) {
      used = std::string::npos;
    }
    if (used != part.size())
      refuse("metadata '" + key + "' is '" + printable(it->second.substr(0, 40)) + "', expected numbers");
  }
  return result;
}

std::vector<float> Golden::real(const std::string& name) const {
  const StoredTensor& t = real_tensor(name);
  std::vector<float> x(static_cast<size_t>(t.shape.numel()));
  if (t.dtype == DType::kF64) {
    std::vector<double> wide(x.size());
    reader_.read(name, wide.data());
    std::copy(wide.begin(), wide.end(), x.begin());
  } else {
    reader_.read(name, x.data());
  }
  return x;
}

std::vector<int64_t> Golden::integers(const std::string& name) const {
  std::vector<int64_t> x(static_cast<size_t>(integer_tensor(name).shape.numel()));
  reader_.read(name, x.data());
  return x;
}

std::vector<float> Golden::images(const std::string& name) const {
  const Shape& s = tensor(name).shape;
  if (s.rank() < 3) refuse("tensor " + name + " has shape " + s.str() + ", expected images");
  return channels_last(real(name), s[-3], s[-1] * s[-2]);
}

int64_t Golden::integer(const std::string& key) const {
  const double x = number(key);
  if (!(x >= 1 && x <= 1 << 20) || x != std::floor(x))
    refuse("metadata '" + key + "' is no size: " + std::to_string(x));
  return static_cast<int64_t>(x);
}

DiffitConfig Golden::model() const {
  const auto& metadata = reader_.metadata();
  const auto flag = metadata.find("learn_sigma");
  const double mlp_ratio = metadata.contains("mlp_ratio") ? number("mlp_ratio") : 4;
  if (!(mlp_ratio > 0 && mlp_ratio <= 4096)) refuse("metadata 'mlp_ratio' is no ratio: " + std::to_string(mlp_ratio));
  return {
      .input_size = integer("input_size"),
      .in_channels = integer("in_channels"),
      .patch_size = integer("patch_size"),
      .hidden_size = integer("hidden_size"),
      .depth = integer("depth"),
      .num_heads = integer("num_heads"),
      .mlp_ratio = mlp_ratio,
      .num_classes = integer("num_classes"),
      .learn_sigma = flag == metadata.end() || flag->second == "True" || flag->second == "true" || flag->second == "1"};
}

void Golden::check_shape(const StoredTensor& t, const Shape& expected) const {
  if (!(t.shape == expected))
    refuse("tensor " + t.name + " has shape " + t.shape.str() + ", its configuration gives " + expected.str());
}

void Golden::expect(const std::string& name, const Shape& shape) const {
  if (has(name)) check_shape(real_tensor(name), shape);
}

void Golden::expect_integers(const std::string& name, const Shape& shape, int64_t limit) const {
  if (!has(name)) return;
  check_shape(integer_tensor(name), shape);
  for (int64_t value : integers(name))
    if (value < 0 || value >= limit)
      refuse("tensor " + name + " holds " + std::to_string(value) + ", expected 0 to " + std::to_string(limit - 1));
}

void Golden::check_parameters() const {
  DiffitConfig one = model();
  const int64_t depth = std::exchange(one.depth, 1), tensors = std::ssize(reader_.tensors());
  try {
    check(one);
  } catch (const UserError& e) {
    refuse(e.what());
  }
  // A file that has this tensor is as large as the largest product of sizes: none leaves 63 bits in the layout.
  check_shape(real_tensor("param.x_embedder.proj.weight"),
              {one.hidden_size, one.in_channels, one.patch_size, one.patch_size});
  if (depth > tensors / std::ssize(diffit_layout(one).units[1].params))
    refuse("metadata 'depth' is " + std::to_string(depth) + ", more than its " + std::to_string(tensors) +
           " tensors make");
  for (const Unit& unit : diffit_layout(model()).units)
    for (const Param& p : unit.params) check_shape(real_tensor("param." + p.name), p.shape);
}

// Their values are compared with what the program computes, before it runs.
void Golden::check_constants() const {
  for (const ReleasedConstant& c : released_constants(model())) {
    const std::string name = "param." + c.name;
    if (has(name)) check_shape(c.dtype == DType::kI64 ? integer_tensor(name) : real_tensor(name), c.shape);
  }
}

int64_t Golden::extent(const std::string& name, int axis) const {
  const Shape& s = tensor(name).shape;
  if (s.rank() <= axis || s[axis] < 1) refuse("tensor " + name + " has shape " + s.str() + ", too few to work with");
  return s[axis];
}

// Shapes and values of every section's tensors, so that what follows may rely on them.
void Golden::check_sections() const {
  const DiffitConfig m = model();
  const int64_t S = m.input_size, C = m.in_channels, labels = m.num_classes + 1, B = batch();
  for (const std::string section : {"forward", "cfg"}) {
    if (!has(section + ".x")) continue;
    const int64_t n = extent(section + ".x", 0);
    if (section == "cfg" && n % 2 != 0)
      refuse("tensor cfg.x holds " + std::to_string(n) + " images, expected two halves");
    expect(section + ".x", {n, C, S, S});
    expect_integers(section + ".t", {n}, kGoldenTimesteps);
    expect_integers(section + ".y", {n}, labels);
    expect(section + ".out", {n, m.out_channels(), S, S});
  }
  if (has("train.x0")) {
    const int64_t steps = extent("train.x0", 0);
    for (const char* name : {"train.x0", "train.noise"}) expect(name, {steps, B, C, S, S});
    expect_integers("train.t", {steps, B}, kGoldenTimesteps);
    expect_integers("train.y", {steps, B}, labels);
    expect("train.loss", {steps});
    for (const char* name : {"loss", "mse", "vb"}) expect(std::string("train.step0.") + name, {B});
    if (has("train.step0.grad_norm") && real_tensor("train.step0.grad_norm").shape.numel() != 1)
      refuse("tensor train.step0.grad_norm is not one number");
    for (const Unit& unit : diffit_layout(m).units)
      for (const Param& p : unit.params)
        for (const char* kind : {"grad.", "after.", "ema."}) expect(kind + p.name, p.shape);
  }
  if (!has("sample.z")) return;
  const int64_t n = extent("sample.z", 0), steps = integer("sample_steps");
  if (steps > kGoldenTimesteps) refuse("metadata 'sample_steps' is above " + std::to_string(kGoldenTimesteps));
  for (const char* name : {"sample.z", "sample.ddpm", "sample.ddim"}) expect(name, {n, C, S, S});
  expect_integers("sample.y", {n}, labels);
  expect("sample.noise", {steps, n, C, S, S});
  expect_integers("sample.timesteps", {steps}, kGoldenTimesteps);
}

}  // namespace shardit
