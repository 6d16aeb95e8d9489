#include "launcher/product_table.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "tests/checkpoints/expect_error.h"
#include "tests/launcher/test_folder.h"

namespace shardit {
namespace {

LibraryAlgorithm algorithm(uint8_t first) {
  LibraryAlgorithm a;
  for (size_t i = 0; i < a.size(); ++i) a[i] = static_cast<uint8_t>(first + 3 * i);
  return a;
}

ProductTable small_table() {
  return {{{"H200", "8x8x8"}, {algorithm(1), "id 66, tile 24", 10.5, 9.25}},
          {{"H200", "16x8x8"}, {algorithm(2), "id 67", 20, 20}},
          {{"H100", "8x8x8"}, {algorithm(3), "id 66", 11, 10}}};
}

TEST(ProductTable, MakesTheRoundTripAndEqualTablesAreEqualText) {
  const std::string text = text_of(small_table());
  const ProductTable read = parse_product_table("# a comment\n" + text, "t");
  EXPECT_EQ(text_of(read), text);
  EXPECT_EQ(algorithms_for(read, "H200"),
            (std::map<std::string, LibraryAlgorithm>{{"16x8x8", algorithm(2)}, {"8x8x8", algorithm(1)}}));
  EXPECT_EQ(read.at({"H200", "8x8x8"}).best_us, 9.25);
  EXPECT_TRUE(algorithms_for(read, "H2").empty());
  EXPECT_TRUE(parse_product_table("", "t").empty());
}

// A byte more, less or another in what is computed with is told; in what is for people it does no harm.
TEST(ProductTable, NoDamageChangesAnAlgorithm) {
  const std::string text = text_of(small_table());
  const auto harmless = [&](const std::string& damaged) {
    try {
      const ProductTable read = parse_product_table(damaged, "t");
      for (const char* device : {"H100", "H200"})
        if (algorithms_for(read, device) != algorithms_for(small_table(), device)) return false;
      return true;
    } catch (const UserError& error) {
      return std::string(error.what()).starts_with("product table t");
    }
  };
  for (size_t at = 0; at < text.size(); ++at) {
    for (const char c : {'0', 'a', '"', '\n', '#', '\0'}) {
      std::string other = text;
      other[at] = c;
      EXPECT_TRUE(harmless(other)) << at << ": " << c;
      EXPECT_TRUE(harmless(text.substr(0, at) + c + text.substr(at))) << at << ": " << c;
    }
    EXPECT_TRUE(harmless(text.substr(0, at) + text.substr(at + 1))) << at;
  }
}

TEST(ProductTable, AFileThatIsNoneSaysWhereAndWhatToDo) {
  const auto message = [](const std::string& text) {
    return error_of<UserError>([&] { parse_product_table(text, "t"); });
  };
  EXPECT_HAS(message("entry {\n  devise: \"x\" }"), "product table t:2: ");
  EXPECT_HAS(message("entry { algorithm: \"00\" }"), "entry 1: algorithm is not 128 hex digits");
  EXPECT_HAS(message(text_of(small_table()) + text_of(small_table())), "entry 4: there is an earlier one");
  EXPECT_HAS(message("seed: 3"), "`shardit bench ops CONFIG --tune`");
}

TEST(ProductTable, AFileThatCannotBeATableIsNotRead) {
  const TestFolder folder;
  EXPECT_HAS(error_of<UserError>([&] { read_product_table(folder / "none"); }), "there is no file '");
  EXPECT_HAS(error_of<UserError>([&] { read_product_table(folder.path.string()); }), "there is no file '");
  folder.write("large", "");
  std::filesystem::resize_file(folder / "large", int64_t{1} << 40);
  EXPECT_HAS(error_of<UserError>([&] { read_product_table(folder / "large"); }), "is larger than 16 MiB");
}

}  // namespace
}  // namespace shardit
