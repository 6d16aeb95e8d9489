#include "checkpoints/release.h"

#include <gtest/gtest.h>

#include "checkpoints/safetensors.h"
#include "tests/checkpoints/tiny_state.h"

namespace shardit {
namespace {

// A model of two weights, with an EMA profile and the two constants that released files hold.
struct Model {
  std::vector<float> qkv = {1, 2, 3, 4, 5, 6}, bias = {0.5, 0.25, -1}, ema_qkv = {7, 8, 9, 10, 11, 12},
                     pos = {0.1f, 0.7f};
  std::vector<int64_t> index = {3, 2, 1, 0};

  std::vector<StateTensor> params() {
    return {{"params/blocks.0.attn.qkv.weight", DType::kF32, {3, 2}, qkv.data()},
            {"params/blocks.0.attn.qkv.bias", DType::kF32, {3}, bias.data()}};
  }
  std::vector<StateTensor> all() {
    std::vector<StateTensor> tensors = params();
    tensors.push_back({"ema.slow/blocks.0.attn.qkv.weight", DType::kF32, {3, 2}, ema_qkv.data()});
    return tensors;
  }
  std::vector<Constant> constants() const {
    return {{"pos_embed", DType::kF32, {1, 2, 1}, pos.data()},
            {"blocks.0.attn.relative_position_index", DType::kI64, {2, 2}, index.data()}};
  }
};

struct Exporter {
  FaultyFiles files;
  Model model;
  Checkpoint checkpoint;

  Exporter() {
    make_run(files);
    save_checkpoint(files, "run", run_at(5), model.all());
    checkpoint = open_checkpoint(files, "run");
  }
  void write(const std::string& which) { export_weights(files, checkpoint, which, model.constants(), "out"); }
  std::string refusal(std::vector<StateTensor> tensors) {
    return error_of<UserError>([&] { import_weights(files, "out", tensors, model.constants()); });
  }
};

// A file "out" of the model's weights in another dtype.
template <typename T> void write_as(FileSystem& files, Model& model) {
  const DType dtype = DTypeOf<T>::value;
  std::vector<StoredTensor> tensors = {{"blocks.0.attn.qkv.weight", dtype, {3, 2}},
                                       {"blocks.0.attn.qkv.bias", dtype, {3}},
                                       {"pos_embed", dtype, {1, 2, 1}}};
  SafetensorsWriter writer(files, "out", tensors, {});
  for (const auto* values : {&model.qkv, &model.bias, &model.pos})
    for (float value : *values) {
      const T narrow(value);
      writer.write(&narrow, sizeof narrow);
    }
  writer.finish();
}

TEST(Export, GivesTheReleasedNamesAndConstants) {
  Exporter exporter;
  exporter.write("params");
  SafetensorsReader reader(exporter.files, "out");
  ASSERT_EQ(reader.tensors().size(), 4u);
  EXPECT_EQ(reader.tensors()[0].name, "blocks.0.attn.relative_position_index");  // widest first
  EXPECT_EQ(reader.find("blocks.0.attn.qkv.weight")->shape, (Shape{3, 2}));
  EXPECT_EQ(reader.find("pos_embed")->dtype, DType::kF32);
  EXPECT_EQ(reader.metadata().at("format"), "pt");
  EXPECT_EQ(reader.metadata().at("shardit.step"), "5");
  EXPECT_EQ(exporter.files.kind("out.partial"), PathKind::kMissing);
}

TEST(Export, OfAnEmaProfileTakesItsWeights) {
  Exporter exporter;
  exporter.write("ema:slow");
  std::vector<float> weights(6);
  SafetensorsReader(exporter.files, "out").read("blocks.0.attn.qkv.weight", weights.data());
  EXPECT_EQ(weights, exporter.model.ema_qkv);
}

TEST(Export, OfAllKeepsTheCheckpointsNames) {
  Exporter exporter;
  exporter.write("all");
  SafetensorsReader reader(exporter.files, "out");
  EXPECT_EQ(reader.tensors().size(), 3u);
  EXPECT_NE(reader.find("ema.slow/blocks.0.attn.qkv.weight"), nullptr);
  Model loaded{{0, 0, 0, 0, 0, 0}, {0, 0, 0}, {0, 0, 0, 0, 0, 0}, {}, {}};
  import_weights(exporter.files, "out", loaded.all(), {});
  EXPECT_EQ(loaded.ema_qkv, exporter.model.ema_qkv);
  EXPECT_EQ(loaded.qkv, exporter.model.qkv);
}

TEST(Export, OfSomethingElseSaysWhatThereIs) {
  Exporter exporter;
  EXPECT_HAS(error_of<UserError>([&] { exporter.write("weights"); }), "expected params, ema:NAME or all");
  EXPECT_HAS(error_of<UserError>([&] { exporter.write("ema:fast"); }), "holds no ema:fast; it holds ema.slow, params");
}

TEST(Export, OfADamagedTensorLeavesTheOldFile) {
  Exporter exporter;
  exporter.files.put("out", "old");
  exporter.files.bytes(exporter.checkpoint.path + "/rank-00000.safetensors").back() ^= 1;
  EXPECT_HAS(error_of<IoError>([&] { exporter.write("all"); }), "is damaged");
  EXPECT_EQ(exporter.files.bytes("out"), "old");
  EXPECT_EQ(exporter.files.kind("out.partial"), PathKind::kMissing);
}

TEST(Export, KilledAtAnyCallLeavesTheOldFileOrTheNew) {
  for (int call = 1; call < 40; ++call) {
    Exporter exporter;
    exporter.files.put("out", "old");
    exporter.files.sync_dir("");
    exporter.files.kill_at(call);
    try {
      exporter.write("params");
    } catch (const Killed&) {}
    exporter.files.crash(Survives::kNamesOnly);
    if (exporter.files.bytes("out") != "old") SafetensorsReader whole(exporter.files, "out");
  }
}

TEST(Import, GivesBackWhatWasExported) {
  Exporter exporter;
  exporter.write("params");
  Model loaded{{0, 0, 0, 0, 0, 0}, {0, 0, 0}, {}, {}, {}};
  import_weights(exporter.files, "out", loaded.params(), exporter.model.constants());
  EXPECT_EQ(loaded.qkv, exporter.model.qkv);
  EXPECT_EQ(loaded.bias, exporter.model.bias);
}

TEST(Import, TakesHalfPrecisionAndFilesWithoutConstants) {
  FaultyFiles f16, bf16;
  Model model, loaded = model;
  write_as<F16>(f16, model);
  write_as<BF16>(bf16, model);
  for (FaultyFiles* files : {&f16, &bf16}) {
    loaded.qkv.assign(6, 0);
    import_weights(*files, "out", loaded.params(), model.constants());
    EXPECT_EQ(loaded.qkv, model.qkv);
  }
}

TEST(Import, NamesWhatIsMissingExtraOrDifferent) {
  Exporter exporter;
  exporter.write("params");
  std::vector<StateTensor> more = exporter.model.params(), fewer = more, other = more;
  more.push_back({"params/final.bias", DType::kF32, {3}, exporter.model.bias.data()});
  fewer.pop_back();
  other[1].shape = {1, 3};
  EXPECT_HAS(exporter.refusal(more), "out lacks params/final.bias");
  EXPECT_HAS(exporter.refusal(fewer), "out also holds blocks.0.attn.qkv.bias");
  EXPECT_HAS(exporter.refusal(other), "blocks.0.attn.qkv.bias (F32 [3], expected F32, F16 or BF16 [1, 3])");
}

TEST(Import, HoldsTheConstantsAgainstTheModels) {
  Exporter exporter;
  exporter.write("params");
  const std::vector<StateTensor> params = exporter.model.params();
  exporter.model.pos[1] += 5e-7f;
  import_weights(exporter.files, "out", params, exporter.model.constants());
  exporter.model.pos[1] += 5e-6f;
  EXPECT_HAS(exporter.refusal(params), "out: pos_embed has 0.7");
  exporter.model.pos[1] = 0.7f;
  exporter.model.index[2] = 7;
  EXPECT_HAS(exporter.refusal(params), "relative_position_index has 1.000000 at element 2");
}

TEST(Import, OfAMissingFileIsTheUsersMistake) {
  Exporter exporter;
  EXPECT_HAS(exporter.refusal(exporter.model.params()), "out is no file: expected a safetensors file");
}

TEST(Import, OfADamagedFileIsAnIoError) {
  FaultyFiles files;
  files.put("out", "junk");
  Model model;
  EXPECT_HAS(error_of<IoError>([&] { import_weights(files, "out", model.params(), {}); }), "no intact safetensors");
}

}  // namespace
}  // namespace shardit
