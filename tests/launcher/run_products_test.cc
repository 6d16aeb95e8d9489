// Which table a run's products use, and what a resume makes of another one. What needs a GPU is in tests/gpu.
#include "launcher/run_products.h"

#include <gtest/gtest.h>

#include "checkpoints/save.h"
#include "core/error.h"
#include "launcher/product_table.h"
#include "launcher/resume.h"
#include "tests/checkpoints/tiny_state.h"
#include "tests/launcher/test_folder.h"

namespace shardit {
namespace {

constexpr const char* kH200 = "cuda NVIDIA H200, sm_90, CUDA 13.0, cuBLASLt 13.0.2";
const Product kKnown{.m = 8, .n = 8, .k = 8}, kUnknown{.m = 8, .n = 8, .k = 9};

// What a run saves that computes on an H200 with this version of the library; on the CPU without one.
RunState state_on(const std::string& version = "13.0.2") {
  RunState run{.step = 4, .device_kind = "cpu avx2"};
  if (version.empty()) return run;
  run.device_kind = "cuda NVIDIA H200, sm_90, CUDA 13.0";
  run.library_versions["cuBLASLt"] = version;
  return run;
}

std::string table_with(uint8_t byte) {
  LibraryAlgorithm algorithm = {byte};
  return text_of(ProductTable{{{kH200, key_of(kKnown, 16)}, {algorithm}}, {{"another GPU", "8x8x8"}, {algorithm}}});
}

const LibraryAlgorithm* told(const RunProducts& products, const Product& product, int64_t alignment = 16) {
  return products.choices ? products.choices->find(product, alignment) : nullptr;
}

TEST(RunProducts, UseWhatIsForTheirDeviceAndSayWhatIsNot) {
  const RunProducts here = products_of(table_with(7), "t", state_on());
  ASSERT_NE(told(here, kKnown), nullptr);
  EXPECT_EQ((*told(here, kKnown))[0], 7);
  EXPECT_EQ(told(here, kUnknown), nullptr);
  EXPECT_EQ(told(here, kKnown, 0), nullptr) << "operands aligned otherwise";
  EXPECT_EQ(here.note, std::string("product table: 1 of 2 algorithms are for ") + kH200 + ", the others are not used");
}

TEST(RunProducts, OfAnotherLibraryVersionAreNotUsed) {
  const RunProducts newer = products_of(table_with(7), "t", state_on("13.1.0"));
  EXPECT_EQ(newer.choices, nullptr);
  EXPECT_HAS(newer.note,
             "product table: 0 of 2 algorithms are for cuda NVIDIA H200, sm_90, CUDA 13.0, cuBLASLt 13.1.0");
  const RunProducts cpu = products_of(table_with(7), "t", state_on(""));
  EXPECT_EQ(cpu.choices, nullptr);
  EXPECT_EQ(cpu.note, "product table: 0 of 2 algorithms are for the CPU, the others are not used");
  EXPECT_EQ(cpu.text, table_with(7)) << "and still go into checkpoints";
  EXPECT_EQ(products_of("", "t", state_on()).note, "");
}

TEST(RunProducts, DifferOnlyWhereBothComputeOnTheSameKindOfDevice) {
  const RunProducts none = products_of("", "t", state_on()), some = products_of(table_with(7), "t", state_on());
  const auto saved = [](RunState run, const std::string& table) {
    run.product_table = table;
    return run;
  };
  EXPECT_FALSE(some.differ_from(saved(state_on(), table_with(7))));
  EXPECT_TRUE(some.differ_from(saved(state_on(), table_with(8))));
  EXPECT_TRUE(some.differ_from(saved(state_on(), "")));
  EXPECT_TRUE(none.differ_from(saved(state_on(), table_with(7))));
  EXPECT_FALSE(none.differ_from(saved(state_on(), "")));
  EXPECT_FALSE(some.differ_from(saved(state_on("13.1.0"), table_with(8))));
  EXPECT_FALSE(some.differ_from(saved(state_on(""), "")));
  EXPECT_FALSE(products_of(table_with(7), "t", state_on("")).differ_from(saved(state_on(), table_with(8))));
}

// A run whose newest checkpoint was made with a table.
struct SavedRun : TestFolder {
  RunConfig config = parse_config("data { kind: synthetic }", "test");
  PosixFiles files;
  TinyState state;

  SavedRun() {
    RunState run = state_on();
    run.config_text = resolved_text(config);
    run.product_table = table_with(7);
    save_checkpoint(files, path.string(), run, state.tensors());
  }

  Resumed resume(const std::string& table, TrainOptions options = {}) {
    options.run_dir = path.string();
    const auto world = make_single_world();
    const auto readers = world->make_group("readers");
    const RunProducts products = products_of(table, "t", state_on());
    return *resume_run(files, {*readers}, config, options, "", products, whole_parts(state.tensors()));
  }
};

TEST(RunProducts, AResumeFindsTheTableOfItsCheckpoint) {
  SavedRun saved;
  for (const char* resume : {"auto", "4"})
    EXPECT_EQ(stored_products(saved.files, {.run_dir = saved.path.string(), .resume = resume}), table_with(7));
  EXPECT_EQ(stored_products(saved.files, {.run_dir = saved.path.string(), .resume = "none"}), "");
  EXPECT_EQ(stored_products(saved.files, {.run_dir = saved / "new"}), "");
  EXPECT_TRUE(saved.resume(table_with(7)).warnings.empty());
}

TEST(RunProducts, AResumeWithOtherAlgorithmsIsRefusedAsAnotherArithmeticIs) {
  SavedRun saved;
  for (const std::string& table : {table_with(8), std::string()}) {
    const std::string refusal = error_of<UserError>([&] { saved.resume(table); });
    EXPECT_HAS(refusal, "made with another product table, which has other algorithms for cuda NVIDIA H200");
    EXPECT_HAS(refusal, "--set product_table= goes on with those");
    EXPECT_HAS(refusal, "--override-arithmetic");
    const Resumed resumed = saved.resume(table, {.override_arithmetic = true});
    ASSERT_EQ(resumed.warnings.size(), 1u);
    EXPECT_HAS(resumed.warnings[0], "skips the check of product table");
  }
}

}  // namespace
}  // namespace shardit
