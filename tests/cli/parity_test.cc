// `shardit parity`: the shape of its answers, and files that are no goldens. The reference's own goldens lie beside the
// checkout; where they are absent the test that reads them is skipped.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "checkpoints/safetensors.h"
#include "tests/cli/program.h"
#include "tests/launcher/tiny_golden.h"

namespace shardit {
namespace {

using Json = nlohmann::json;

TEST(Parity, AFailedSectionIsExitCodeOne) {
  const TestFolder folder;
  TinyGolden().write(folder / "g.safetensors");
  const Ran ran = run({"parity", folder / "g.safetensors"});
  EXPECT_EQ(ran.code, 1) << ran.err;
  EXPECT_TRUE(contains(ran.out, (folder / "g.safetensors") + " forward "));
  EXPECT_TRUE(contains(ran.out, " 2e-05 FAIL\n"));
  EXPECT_TRUE(contains(ran.out, " cfg - - skipped\n"));
}

TEST(Parity, JsonIsAListWithAllSections) {
  const TestFolder folder;
  TinyGolden().write(folder / "g.safetensors");
  const Json rows = Json::parse(run({"parity", folder / "g.safetensors", "--json"}).out);
  Words sections;
  for (const Json& row : rows) {
    sections.push_back(row.at("section"));
    EXPECT_EQ(row.at("file"), folder / "g.safetensors");
    const bool forward = row.at("section") == "forward";
    EXPECT_EQ(row.at("status"), forward ? "FAIL" : "skipped");
    EXPECT_EQ(row.at("error").is_number(), forward);
    EXPECT_TRUE(row.contains("tolerance"));
  }
  EXPECT_EQ(sections,
            (Words{"forward", "cfg", "loss", "grad", "adamw", "ema", "ddpm", "ddim", "vae.encode", "vae.decode"}));
}

TEST(Parity, FilesThatAreNoGoldensAreExitCodeFour) {
  const TestFolder folder;
  const std::string path = folder / "g.safetensors";
  TinyGolden().write(path);
  const std::string bytes = bytes_of_file(path);
  for (const std::string& wrong :
       {std::string(), std::string("junk"), bytes.substr(0, 7), bytes.substr(0, 500), bytes.substr(0, bytes.size() - 1),
        bytes + "x", "\xff\xff\xff\xff\xff\xff\xff\x7f" + bytes.substr(8), "\x02" + std::string(7, '\0') + "{}",
        "\x02" + std::string(7, '\0') + "[]", bytes.substr(0, 8) + "!" + bytes.substr(9)}) {
    write_bytes(path, wrong);
    EXPECT_TRUE(fails(run({"parity", path}), 4, {"g.safetensors"})) << wrong.size();
  }
  EXPECT_TRUE(fails(run({"parity", folder / "absent.safetensors"}), 2, {"absent.safetensors is no file"}));
  EXPECT_TRUE(fails(run({"parity", tiny_config()}), 4, {"equality-tiny.textproto"}));
}

std::string committed(const std::string& name) { return std::string(SHARDIT_CHECKOUT) + "/tests/parity/" + name; }

TEST(Parity, OneFileThatCannotBeJudgedDoesNotKeepTheOthersFromIt) {
  const TestFolder folder;
  const std::string good = committed("s8-p4-d8-h2-eps.safetensors"), bad = folder / "wrong.safetensors",
                    junk = folder / "junk.safetensors", absent = folder / "absent.safetensors";
  TinyGolden().write(bad);
  write_bytes(junk, "junk");
  struct {
    Words files;
    int code, errors;
  } const cases[] = {{{good, absent, good}, 2, 1}, {{bad, absent, good}, 2, 1},  {{bad, good}, 1, 0},
                     {{junk, good}, 4, 1},         {{absent, junk, good}, 4, 2}, {{junk, bad, absent, good}, 4, 2}};
  for (const auto& c : cases) {
    Words words = {"parity"};
    words.insert(words.end(), c.files.begin(), c.files.end());
    const Ran ran = run(words);
    EXPECT_EQ(ran.code, c.code) << ran.err;
    int errors = 0;
    for (size_t at = 0; (at = ran.err.find("shardit: ", at)) != std::string::npos; ++at) ++errors;
    EXPECT_EQ(errors, c.errors) << ran.err;
    EXPECT_TRUE(contains(ran.out, good + " ddim "));  // the last of the list
  }
}

// What tells an autoencoder's golden is its metadata: `ch` of one made for the purpose, or the `weights` it ran.
TEST(Parity, AnAutoencodersGoldenIsNamedAndNeverPasses) {
  const TestFolder folder;
  const std::string path = folder / "vae.safetensors", good = committed("s8-p4-d8-h2-eps.safetensors");
  for (const char* key : {"ch", "weights"}) {
    std::filesystem::remove(path);
    PosixFiles files;
    SafetensorsWriter writer(files, path, {{"x", DType::kF32, {1}}}, {{key, "32"}});
    const float x = 0;
    writer.write(&x, sizeof x);
    writer.finish();
    const Ran ran = run({"parity", path, good, "--json"});
    EXPECT_TRUE(fails(ran, 2, {"vae.safetensors is an autoencoder's golden"}));
    for (const Json& row : Json::parse(ran.out)) EXPECT_EQ(row.at("file"), good);
  }
}

TEST(Parity, AMissingMetadataKeyIsExitCodeFour) {
  const TestFolder folder;
  const std::string path = folder / "g.safetensors";
  for (const char* key : {"input_size", "patch_size", "in_channels", "depth", "num_heads", "num_classes", "batch",
                          "betas", "eps", "weight_decay"}) {
    TinyGolden golden;
    golden.metadata.erase(key);
    std::filesystem::remove(path);
    golden.write(path);
    EXPECT_TRUE(fails(run({"parity", path}), 4, {"is not a golden file", key}));
  }
}

TEST(Parity, MetadataThatLiesIsExitCodeFour) {
  const TestFolder folder;
  const std::string path = folder / "g.safetensors";
  for (const auto& [key, value] : std::vector<std::pair<std::string, std::string>>{{"hidden_size", "16"},
                                                                                   {"hidden_size", "1e300"},
                                                                                   {"hidden_size", "-8"},
                                                                                   {"hidden_size", "nan"},
                                                                                   {"hidden_size", "many"},
                                                                                   {"hidden_size", ""},
                                                                                   {"depth", "2"},
                                                                                   {"depth", "1048576"},
                                                                                   {"num_heads", "3"},
                                                                                   {"input_size", "5"},
                                                                                   {"num_classes", "7"},
                                                                                   {"mlp_ratio", "1e9"},
                                                                                   {"mlp_ratio", "1e300"},
                                                                                   {"mlp_ratio", "-1"},
                                                                                   {"mlp_ratio", "nan"},
                                                                                   {"batch", "0"},
                                                                                   {"betas", "0.9"},
                                                                                   {"eps", "x"}}) {
    TinyGolden golden;
    golden.metadata[key] = value;
    std::filesystem::remove(path);
    golden.write(path);
    EXPECT_TRUE(fails(run({"parity", path}), 4, {"is not a golden file"})) << key << "=" << value;
  }
}

TEST(Parity, TensorsThatContradictTheModelAreExitCodeFour) {
  const TestFolder folder;
  const auto refused = [&](const TinyGolden& golden, const std::string& words) {
    std::filesystem::remove(folder / "g.safetensors");
    golden.write(folder / "g.safetensors");
    EXPECT_TRUE(fails(run({"parity", folder / "g.safetensors"}), 4, {"is not a golden file", words}));
  };
  TinyGolden wrong_label;
  wrong_label.label = 4;
  refused(wrong_label, "forward.y holds 4, expected 0 to 3");
  for (const auto& [name, shape] :
       std::vector<std::pair<std::string, Shape>>{{"forward.x", {2, 2, 4, 5}},
                                                  {"forward.x", {}},
                                                  {"forward.x", {0, 2, 4, 4}},
                                                  {"forward.t", {3}},
                                                  {"forward.out", {2, 2, 4, 4}},
                                                  {"param.blocks.0.attn.qkv.weight", {8, 24}}}) {
    TinyGolden golden;
    golden.named(name).shape = shape;
    refused(golden, name + " has shape " + shape.str());
  }
  TinyGolden real_labels;
  real_labels.named("forward.y").dtype = DType::kF32;
  refused(real_labels, "forward.y");
}

TEST(Parity, TheSmallestGoldenPassesInBothPrecisions) {
  const std::string file = std::string(SHARDIT_CHECKOUT) + "/../shared/goldens/latent-s8-d64-l2.safetensors";
  if (!exists(file)) GTEST_SKIP() << "the goldens do not lie beside this checkout";
  const Ran fp32 = run({"parity", file});
  EXPECT_TRUE(succeeds(fp32));
  EXPECT_FALSE(contains(fp32.out, "FAIL"));
  EXPECT_TRUE(contains(fp32.out, " ddim "));
  const Ran bf16 = run({"parity", file, "--precision", "bf16", "--json"});
  EXPECT_TRUE(succeeds(bf16));
  const std::map<std::string, std::string> expected = {
      {"forward", "ok"}, {"grad", "ok"}, {"adamw", "unjudged"}, {"ddim", "unjudged"}, {"vae.encode", "skipped"}};
  for (const Json& row : Json::parse(bf16.out)) {
    const auto found = expected.find(row.at("section"));
    if (found == expected.end()) continue;
    EXPECT_EQ(row.at("status"), found->second) << found->first;
  }
}

TEST(Parity, AGoldenCutShortIsExitCodeFour) {
  const TestFolder folder;
  const std::string bytes = bytes_of_file(committed("s8-p4-d8-h2-eps.safetensors"));
  write_bytes(folder / "cut.safetensors", bytes.substr(0, bytes.size() / 2));
  EXPECT_TRUE(fails(run({"parity", folder / "cut.safetensors"}), 4, {"cut.safetensors", "truncated"}));
}

// The program computes these itself, so a wrong one would not show in any section.
TEST(Parity, AnotherPositionTableOrIndexIsExitCodeFour) {
  const TestFolder folder;
  const std::string path = folder / "bent.safetensors";
  for (const std::string name : {"pos_embed", "blocks.0.attn.relative_position_index"}) {
    const std::string source = committed("s8-p4-d8-h2-eps.safetensors");
    PosixFiles files;
    const int64_t offset = SafetensorsReader(files, source).find("param." + name)->offset;
    std::string bytes = bytes_of_file(source);
    bytes[static_cast<size_t>(offset) + 3] ^= '\x40';
    write_bytes(path, bytes);
    EXPECT_TRUE(fails(run({"parity", path}), 4, {name + " is not what its configuration gives"}));
  }
}

TEST(Parity, AWrongNumberInAGoldenIsExitCodeOne) {
  const TestFolder folder;
  const std::string path = folder / "bent.safetensors";
  std::filesystem::copy_file(committed("s8-p4-d8-h2-eps.safetensors"), path);
  PosixFiles files;
  const int64_t offset = SafetensorsReader(files, path).find("forward.out")->offset;
  std::string bytes = bytes_of_file(path);
  bytes[static_cast<size_t>(offset) + 3] = '\x47';  // the first number grows to thousands
  write_bytes(path, bytes);
  const Ran ran = run({"parity", path});
  EXPECT_EQ(ran.code, 1);
  EXPECT_TRUE(contains(ran.out, "forward"));
  EXPECT_TRUE(contains(ran.out, "FAIL"));
}

}  // namespace
}  // namespace shardit
