// A table of products' algorithms, on a machine without a GPU: it is read, checked, kept, and not used.
#include "launcher/product_table.h"
#include "checkpoints/directory.h"
#include "tests/cli/program.h"

namespace shardit {
namespace {

std::string small_table() {
  return text_of(ProductTable{{{"cuda NVIDIA H200, sm_90, CUDA 13.0, cuBLASLt 13.0.2", "8x8x8"}, {}}});
}

std::string table_in_checkpoint(const std::string& run_dir) {
  PosixFiles files;
  return find_newest(files, run_dir).checkpoint->manifest.run.product_table;
}

TEST(ProductTable, OfGpusIsNotUsedOnTheCpuAndKeptForALaterResume) {
  const TestFolder folder;
  folder.write("table", small_table());
  const std::string run_dir = folder / "run";
  const Words named = {"--device", "cpu", "--steps", "1", "--set", "product_table=" + (folder / "table")};
  const Ran first = train(run_dir, named, {.ranks = 2});
  ASSERT_EQ(first.code, 0) << first.err;
  EXPECT_TRUE(contains(first.out, "product table: 0 of 1 algorithms are for the CPU, the others are not used"));
  EXPECT_EQ(table_in_checkpoint(run_dir), small_table());
  std::filesystem::remove(folder / "table");
  ASSERT_EQ(train(run_dir, {"--device", "cpu", "--steps", "2"}).code, 0);
  EXPECT_EQ(table_in_checkpoint(run_dir), small_table());
  EXPECT_EQ(digest_of(run_dir), digest_after({"--device", "cpu", "--steps", "2"}));
}

TEST(ProductTable, ThatCannotBeReadEndsTheStart) {
  const TestFolder folder;
  folder.write("table", "entry { algorithm: \"00\" }");
  const auto with = [&](const std::string& file) { return "product_table=" + (folder / file); };
  for (int ranks : {0, 2}) {
    const Ran damaged = train(folder / "run", {"--set", with("table")}, {.ranks = ranks});
    EXPECT_EQ(damaged.code, 2);
    EXPECT_TRUE(contains(damaged.err, "entry 1: algorithm is not 128 hex digits"));
  }
  EXPECT_TRUE(fails(train(folder / "run", {"--set", with("none")}), 2, {"there is no file", "--tune"}));
  EXPECT_TRUE(fails(run({"bench", "step", tiny_config(), "--set", with("none")}), 2, {"there is no file"}));
}

TEST(ProductTable, IsMadeOnAGpuOnlyAndWhereAFileIsNamed) {
  const TestFolder folder;
  const std::string file = folder / "table";
  const auto tune = [&](const std::string& path) {
    return run({"bench", "ops", tiny_config(), "--tune", "--set", "device=cpu", "--set", "product_table=" + path});
  };
  EXPECT_TRUE(fails(tune(""), 2, {"no file is named", "--set product_table=FILE"}));
  EXPECT_TRUE(fails(tune(file), 2, {"algorithms are those of a GPU's library", "device=cuda"}));
  EXPECT_FALSE(exists(file));
  folder.write("table", "seed: 3");
  EXPECT_TRUE(fails(tune(file), 2, {"product table " + file + ":1: "}));
  EXPECT_TRUE(fails(tune("/nowhere/table"), 2, {"there is no folder '/nowhere'"}));
}

}  // namespace
}  // namespace shardit
