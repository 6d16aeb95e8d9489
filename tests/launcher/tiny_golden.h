// A golden file of a tiny model: well made, and nobody's result.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "checkpoints/safetensors.h"
#include "model/diffit_layout.h"

namespace shardit {

struct TinyGolden {
  DiffitConfig model;
  Metadata metadata;
  std::vector<StoredTensor> tensors;
  int64_t label = 3;  // of every image, in what `write` makes

  // Its parameters and the section `forward`.
  explicit TinyGolden(const DiffitConfig& of = {.input_size = 4,
                                                .in_channels = 2,
                                                .patch_size = 2,
                                                .hidden_size = 8,
                                                .depth = 1,
                                                .num_heads = 2,
                                                .num_classes = 3})
      : model(of),
        metadata({{"input_size", std::to_string(of.input_size)},
                  {"in_channels", std::to_string(of.in_channels)},
                  {"patch_size", std::to_string(of.patch_size)},
                  {"hidden_size", std::to_string(of.hidden_size)},
                  {"depth", std::to_string(of.depth)},
                  {"num_heads", std::to_string(of.num_heads)},
                  {"mlp_ratio", std::to_string(of.mlp_ratio)},
                  {"num_classes", std::to_string(of.num_classes)},
                  {"learn_sigma", of.learn_sigma ? "True" : "False"},
                  {"batch", "2"},
                  {"sample_steps", "3"},
                  {"cfg_scale", "1.5"},
                  {"lr", "1e-3"},
                  {"betas", "0.9,0.99"},
                  {"eps", "1e-8"},
                  {"weight_decay", "0"},
                  {"ema_decay", "0.9"}}) {
    add_parameters("param.");
    add_network_section("forward");
  }

  // All other sections, of one training step and three sampling steps, and the constants.
  void add_the_rest() {
    const int64_t S = model.input_size, C = model.in_channels;
    add_network_section("cfg");
    for (const char* kind : {"grad.", "after.", "ema."}) add_parameters(kind);
    for (const char* name : {"train.x0", "train.noise"}) tensors.push_back({name, DType::kF32, {1, 2, C, S, S}});
    for (const char* name : {"train.t", "train.y"}) tensors.push_back({name, DType::kI64, {1, 2}});
    tensors.push_back({"train.loss", DType::kF32, {1}});
    tensors.push_back({"train.step0.grad_norm", DType::kF64, {}});
    for (const char* name : {"loss", "mse", "vb"})
      tensors.push_back({std::string("train.step0.") + name, DType::kF32, {2}});
    for (const char* name : {"sample.z", "sample.ddpm", "sample.ddim"})
      tensors.push_back({name, DType::kF32, {2, C, S, S}});
    tensors.push_back({"sample.y", DType::kI64, {2}});
    tensors.push_back({"sample.noise", DType::kF32, {3, 2, C, S, S}});
    tensors.push_back({"sample.timesteps", DType::kI64, {3}});
    for (const ReleasedConstant& c : released_constants(model))
      tensors.push_back({"param." + c.name, c.dtype, c.shape});
  }

  StoredTensor& named(const std::string& name) {
    return *std::find_if(tensors.begin(), tensors.end(), [&](const StoredTensor& t) { return t.name == name; });
  }

  // The file's JSON, without the length in front of it.
  std::string header() const {
    std::vector<StoredTensor> placed = tensors;
    return safetensors_header(placed, metadata).substr(8);
  }

  // With an expected output of zero.
  void write(const std::string& path) const {
    PosixFiles files;
    SafetensorsWriter writer(files, path, tensors, metadata);
    for (const StoredTensor& t : tensors) {
      const std::vector<int64_t> integers(t.shape.numel(), t.name == "forward.y" ? label : 1);
      std::vector<float> real(t.shape.numel());
      for (size_t i = 0; i < real.size(); ++i)
        real[i] = t.name == "forward.out" ? 0 : 0.1f * static_cast<float>(i % 7) - 0.2f;
      if (t.dtype == DType::kI64)
        writer.write(integers.data(), t.shape.numel() * 8);
      else
        writer.write(real.data(), t.shape.numel() * 4);
    }
    writer.finish();
  }

 private:
  void add_parameters(const std::string& prefix) {
    for (const Unit& unit : diffit_layout(model).units)
      for (const Param& p : unit.params) tensors.push_back({prefix + p.name, DType::kF32, p.shape});
  }
  void add_network_section(const std::string& name) {
    const int64_t S = model.input_size;
    tensors.push_back({name + ".t", DType::kI64, {2}});
    tensors.push_back({name + ".y", DType::kI64, {2}});
    tensors.push_back({name + ".x", DType::kF32, {2, model.in_channels, S, S}});
    tensors.push_back({name + ".out", DType::kF32, {2, model.out_channels(), S, S}});
  }
};

}  // namespace shardit
