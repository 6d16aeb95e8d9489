// The goldens of tests/parity: small models of odd shapes, computed by an implementation of its own in PyTorch
// (tests/parity/make_goldens.py, which also says what each file is for). Every section passes or is skipped as listed.
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "tests/cli/program.h"

namespace shardit {
namespace {

using Statuses = std::map<std::string, std::string>;

struct Committed {
  const char* name;
  std::set<std::string> skipped;  // beside the autoencoder's sections
};
void PrintTo(const Committed& c, std::ostream* out) { *out << c.name; }

const Committed kCommitted[] = {
    {"s5-p1-d20-h5-c3-untrained", {"loss", "grad", "adamw", "ema"}},
    {"s4-p1-d12-h3-l2-nodecay", {}},
    {"s6-p2-d8-h1-c8-batch1", {"forward"}},
    {"s8-p4-d8-h2-eps", {}},
    {"s36-p9-d12-h3-constant", {"forward", "loss", "grad", "adamw", "ema"}},
    {"s4-p1-d8-h2-l4-trained", {"forward", "cfg", "ema", "ddpm", "ddim"}},
};

std::string folder() { return std::string(SHARDIT_CHECKOUT) + "/tests/parity/"; }

Statuses expected(const Committed& golden, const std::set<std::string>& unjudged) {
  Statuses result = {{"vae.encode", "skipped"}, {"vae.decode", "skipped"}};
  for (const char* section : {"forward", "cfg", "loss", "grad", "adamw", "ema", "ddpm", "ddim"})
    result[section] = golden.skipped.contains(section) ? "skipped" : unjudged.contains(section) ? "unjudged" : "ok";
  return result;
}

Statuses judged(const Committed& golden, const std::string& precision) {
  const Ran ran = run({"parity", folder() + golden.name + ".safetensors", "--json", "--precision", precision});
  EXPECT_TRUE(succeeds(ran));
  Statuses result;
  for (const auto& row : nlohmann::json::parse(ran.out)) result[row.at("section")] = row.at("status");
  return result;
}

class Goldens : public testing::TestWithParam<Committed> {};

TEST_P(Goldens, PassInSinglePrecision) { EXPECT_EQ(judged(GetParam(), "fp32"), expected(GetParam(), {})); }

TEST_P(Goldens, PassInHalfPrecision) {
  EXPECT_EQ(judged(GetParam(), "bf16"), expected(GetParam(), {"adamw", "ema", "ddpm", "ddim"}));
}

INSTANTIATE_TEST_SUITE_P(Committed, Goldens, testing::ValuesIn(kCommitted), [](const auto& test) {
  std::string name = test.param.name;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

TEST(GoldensFolder, HoldsWhatIsListedAboveAndStaysSmall) {
  int64_t files = 0, bytes = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder())) {
    if (entry.path().extension() != ".safetensors") continue;
    ++files;
    bytes += static_cast<int64_t>(entry.file_size());
    EXPECT_LT(entry.file_size(), 150'000) << entry.path();
  }
  EXPECT_EQ(files, static_cast<int64_t>(std::size(kCommitted)));
  EXPECT_LT(bytes, 600'000);
}

}  // namespace
}  // namespace shardit
