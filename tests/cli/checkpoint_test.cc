// `shardit checkpoint …`: what is inside, whether it is whole, and in and out of the released format.
#include <nlohmann/json.hpp>
#include <set>

#include "checkpoints/safetensors.h"
#include "tests/cli/program.h"

namespace shardit {
namespace {

using Json = nlohmann::json;

struct Saved : TestFolder {
  std::string run_dir = *this / "run";
  Saved() { EXPECT_TRUE(succeeds(train(run_dir, {"--steps", "4", "--set", "checkpoint.every_steps=1"}))); }
  std::string file() const { return checkpoint_path(run_dir, 4) + "/rank-00000.safetensors"; }
};

Ran checkpoint(Words words) {
  words.insert(words.begin(), "checkpoint");
  return run(words);
}

TEST(Inspect, SaysTheSameAsTextAndAsJson) {
  const Saved saved;
  const Ran text = checkpoint({"inspect", saved.run_dir, "--tensors"});
  ASSERT_TRUE(succeeds(text));
  const Json json = Json::parse(checkpoint({"inspect", saved.run_dir, "--json"}).out);
  EXPECT_EQ(json.at("step"), 4);
  EXPECT_EQ(json.at("images"), 144);
  EXPECT_EQ(json.at("ranks"), 1);
  EXPECT_EQ(json.at("parameters"), 18476);
  EXPECT_EQ(digest_of(saved.run_dir), "digest " + json.at("root_digest").get<std::string>() + "\n");
  EXPECT_TRUE(contains(text.out, json.at("root_digest").get<std::string>()));
  EXPECT_TRUE(contains(json.at("config").get<std::string>(), "global_batch_size: 36"));
  for (const Json& tensor : json.at("tensors")) {
    EXPECT_TRUE(contains(text.out, tensor.at("name").get<std::string>() + "  fp32 "));
    EXPECT_TRUE(contains(text.out, tensor.at("digest").get<std::string>()));
  }
}

TEST(Inspect, GivesTheDigestAloneAsJsonToo) {
  const Saved saved;
  const Json json = Json::parse(checkpoint({"inspect", saved.run_dir, "--digest", "--json"}).out);
  EXPECT_EQ(digest_of(saved.run_dir), "digest " + json.at("digest").get<std::string>() + "\n");
}

TEST(Inspect, ADirectoryWithoutACheckpointIsTheUsersMistake) {
  const TestFolder folder;
  EXPECT_TRUE(fails(checkpoint({"inspect", folder / "absent"}), 2, {"absent is no directory"}));
  EXPECT_TRUE(fails(checkpoint({"inspect", folder.path.string()}), 2, {"has no checkpoint"}));
  folder.write("file", "");
  EXPECT_TRUE(fails(checkpoint({"inspect", folder / "file"}), 2, {"is no directory"}));
}

TEST(Verify, AnyFlippedByteIsNamedWithTensorFileAndOffset) {
  const Saved saved;
  const Ran whole = checkpoint({"verify", saved.run_dir});
  EXPECT_TRUE(succeeds(whole));
  EXPECT_TRUE(contains(whole.out, "ok"));
  const Json json = Json::parse(checkpoint({"inspect", saved.run_dir, "--json"}).out);
  const Json& tensor = json.at("tensors").at(5);
  const size_t offset = tensor.at("ranges").at(0).at("offset_bytes").get<size_t>();
  flip_byte(saved.file(), offset + 2);
  EXPECT_TRUE(
      fails(checkpoint({"verify", saved.run_dir}), 4,
            {"'" + tensor.at("name").get<std::string>() + "'", "rank-00000.safetensors", std::to_string(offset)}));
}

TEST(Verify, DamageOfEveryKindIsCorruptData) {
  const Saved saved;
  const std::string manifest = checkpoint_path(saved.run_dir, 4) + "/manifest.pb", bytes = bytes_of_file(manifest),
                    data = bytes_of_file(saved.file()), step = checkpoint_path(saved.run_dir, 4);
  for (const std::string& lie :
       {std::string(), std::string("junk"), bytes.substr(0, 40),
        bytes.substr(0, 8) + "\xff\xff\xff\xff\xff\xff\xff\x7f" + bytes.substr(16),
        bytes.substr(0, bytes.size() / 2) + "\x80\x80" + bytes.substr(bytes.size() / 2), bytes + "x"}) {
    write_bytes(manifest, lie);
    for (const char* command : {"verify", "inspect"})
      EXPECT_TRUE(fails(checkpoint({command, step}), 4, {"manifest.pb"}));
  }
  write_bytes(manifest, bytes);
  for (const std::string& lie :
       {std::string(), data.substr(0, 100), data + "x", "\xff\xff\xff\xff\xff\xff\xff\x7f" + data.substr(8),
        data.substr(0, 20) + "}" + data.substr(21)}) {
    write_bytes(saved.file(), lie);
    EXPECT_TRUE(fails(checkpoint({"verify", step}), 4, {"rank-00000.safetensors"}));
  }
  std::filesystem::remove(saved.file());
  EXPECT_TRUE(fails(checkpoint({"verify", step}), 4, {"rank-00000.safetensors is missing"}));
}

TEST(Diff, SaysEqualOrHowFarApart) {
  const Saved saved;
  const std::string three = checkpoint_path(saved.run_dir, 3), four = checkpoint_path(saved.run_dir, 4);
  EXPECT_TRUE(succeeds(checkpoint({"diff", four, saved.run_dir})));
  const Ran apart = checkpoint({"diff", three, four});
  EXPECT_EQ(apart.code, 1);
  EXPECT_EQ(apart.err, "");
  EXPECT_TRUE(contains(apart.out, "params/blocks.0.attn.qkv.weight"));
  EXPECT_EQ(checkpoint({"diff", three, four, "--tolerance", "1e9"}).code, 0);
  EXPECT_TRUE(fails(checkpoint({"diff", three, saved / "absent"}), 2, {"absent"}));
  EXPECT_TRUE(fails(checkpoint({"diff", three, four, "--tolerance", "-1"}), 2, {"--tolerance"}));
}

std::set<std::string> names_in(const std::string& path) {
  PosixFiles files;
  const SafetensorsReader reader(files, path);
  std::set<std::string> names;
  for (const StoredTensor& tensor : reader.tensors()) names.insert(tensor.name);
  return names;
}

TEST(Export, HasTheReleasedNamesAndNothingElse) {
  const Saved saved;
  const std::string out = saved / "w.safetensors";
  ASSERT_TRUE(succeeds(checkpoint({"export", saved.run_dir, out})));
  std::set<std::string> expected = {"pos_embed",
                                    "x_embedder.proj.weight",
                                    "x_embedder.proj.bias",
                                    "t_embedder.mlp.0.weight",
                                    "t_embedder.mlp.0.bias",
                                    "t_embedder.mlp.2.weight",
                                    "t_embedder.mlp.2.bias",
                                    "y_embedder.embedding_table.weight",
                                    "final_layer.linear.weight",
                                    "final_layer.linear.bias"};
  const std::set<std::string> names = names_in(out);
  for (const std::string& name : expected) EXPECT_TRUE(names.count(name)) << name;
  for (const char* block : {"blocks.0.", "blocks.1."})
    for (const char* name : {"attn.relative_position_index", "attn.relative_position_bias_table", "attn.qkv.weight",
                             "attn.qkv_temb.weight", "attn.proj.weight", "mlp.fc1.weight", "mlp.fc2.bias"})
      EXPECT_TRUE(names.count(std::string(block) + name)) << block << name;
  EXPECT_TRUE(fails(checkpoint({"export", saved.run_dir, out, "--which", "ema:other"}), 2, {"ema:other", "ema.fast"}));
  EXPECT_TRUE(
      fails(checkpoint({"export", saved.run_dir, out, "--which", "all of it"}), 2, {"expected params, ema:NAME"}));
  EXPECT_TRUE(fails(checkpoint({"export", saved.run_dir, saved / "no/w.safetensors"}), 2, {"there is no folder"}));
}

TEST(Import, OfAnExportIsTheSameWeights) {
  const Saved saved;
  const std::string out = saved / "w.safetensors", back = saved / "back", again = saved / "again.safetensors";
  ASSERT_TRUE(succeeds(checkpoint({"export", saved.run_dir, out})));
  ASSERT_TRUE(succeeds(checkpoint({"import", out, back, "--config", tiny_config()})));
  const Ran diff = checkpoint({"diff", saved.run_dir, back});
  EXPECT_EQ(diff.code, 1) << "moments and averages are new";
  std::istringstream lines(diff.out);
  int params = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.find("params/") == std::string::npos) continue;
    EXPECT_TRUE(contains(line, "equal"));
    ++params;
  }
  EXPECT_GT(params, 30);
  ASSERT_TRUE(succeeds(checkpoint({"export", back, again})));
  EXPECT_EQ(names_in(again), names_in(out));
  EXPECT_TRUE(succeeds(train(back, {"--steps", "2"}))) << "a run goes on from it";
  EXPECT_TRUE(fails(checkpoint({"import", out, back, "--config", tiny_config()}), 2, {"has checkpoints already"}));
}

TEST(Import, RefusesWhatIsNotTheModel) {
  const Saved saved;
  const std::string out = saved / "w.safetensors";
  ASSERT_TRUE(succeeds(checkpoint({"export", saved.run_dir, out})));
  const std::string other = saved / "other.textproto";
  std::string text = bytes_of_file(tiny_config());
  text.replace(text.find("hidden_size: 20"), 15, "hidden_size: 40");
  write_bytes(other, text);
  EXPECT_TRUE(fails(checkpoint({"import", out, saved / "new", "--config", other}), 2, {"differs in", "another model"}));
  EXPECT_TRUE(
      fails(checkpoint({"import", saved / "absent", saved / "new", "--config", tiny_config()}), 2, {"is no file"}));
  write_bytes(out, bytes_of_file(out).substr(0, 3000));
  EXPECT_TRUE(fails(checkpoint({"import", out, saved / "new", "--config", tiny_config()}), 4, {"w.safetensors"}));
  EXPECT_FALSE(exists(saved / "new")) << "nothing is started";
}

TEST(Prune, KeepsTheNewestAndTheMilestones) {
  const Saved saved;
  const Ran ran = checkpoint({"prune", saved.run_dir, "--keep-last", "1", "--keep-every", "2"});
  EXPECT_TRUE(succeeds(ran));
  EXPECT_TRUE(contains(ran.out, "kept 2, deleted 2"));
  EXPECT_TRUE(exists(checkpoint_path(saved.run_dir, 2)));
  EXPECT_FALSE(exists(checkpoint_path(saved.run_dir, 3)));
  EXPECT_TRUE(succeeds(checkpoint({"verify", saved.run_dir})));
  EXPECT_TRUE(fails(checkpoint({"prune", saved.run_dir, "--keep-last", "0"}), 2, {"--keep-last"}));
  EXPECT_TRUE(fails(checkpoint({"prune", saved / "absent", "--keep-last", "1"}), 2, {"has no checkpoints"}));
  EXPECT_FALSE(exists(saved / "lock")) << "a folder that is no run is left alone";
}

}  // namespace
}  // namespace shardit
