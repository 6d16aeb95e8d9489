#include "launcher/config.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "core/error.h"
#include "launcher/config_keys.h"

namespace shardit {
namespace {

using std::string;

const char* const kSmall = "data { kind: synthetic }\n";  // the least that is a legal config

RunConfig parse(const string& text, const std::vector<string>& sets = {}) {
  return parse_config(text, "run.textproto", sets);
}

// The message of the UserError that `text` and `sets` cause; empty if they cause none.
string error_of(const string& text, const std::vector<string>& sets = {}) {
  try {
    parse(text, sets);
  } catch (const UserError& error) {
    return error.what();
  }
  return "";
}
string set_error(const string& set) { return error_of(kSmall, {set}); }

TEST(Config, HasTheReleasedRecipeAsDefaults) {
  const RunConfig config = parse(kSmall);
  EXPECT_EQ(config.model().hidden_size(), 1152);
  EXPECT_EQ(config.model().label_dropout(), 0.1);
  EXPECT_EQ(config.parallel().fold_group(), 8);
  EXPECT_EQ(config.data().threads(), 2);
  EXPECT_EQ(config.diffusion().beta_end(), 0.02);
  EXPECT_EQ(config.device(), RunConfig::auto_);
  EXPECT_TRUE(config.optimizer().has_lr()) << "defaults are written into the resolved config";
  EXPECT_EQ(config.sample().ema(), "none");
}

TEST(Config, ReadsWordsBareAndDashedWordsInQuotes) {
  const RunConfig config = parse(
      "data { kind: synthetic } precision { compute: bf16 residual: fp32 } device: cpu\n"
      "sample { cfg_schedule: \"power-cosine\" sampler: ddim } # a comment");
  EXPECT_EQ(config.precision().compute(), RunConfig::Precision::bf16);
  EXPECT_EQ(config.sample().sampler(), RunConfig::Sample::ddim);
  EXPECT_EQ(config.sample().cfg_schedule(), "power-cosine");
}

TEST(Config, AMissingFileIsTheUsersMistake) {
  try {
    load_config("/no/such/run.textproto");
    FAIL();
  } catch (const UserError& error) {
    EXPECT_STREQ(error.what(), "config '/no/such/run.textproto' does not exist: give the path of a .textproto file");
  }
}

TEST(Config, AnUnknownKeyNamesFileLineKeyAndTheNearestRealKey) {
  EXPECT_EQ(error_of("seed: 1\noptimizer {\n  lrr: 1e-4\n}"),
            "run.textproto:3: unknown key 'optimizer.lrr': did you mean 'optimizer.lr'?");
  EXPECT_EQ(error_of("model { hiden_size: 64 }"),
            "run.textproto:1: unknown key 'model.hiden_size': did you mean 'model.hidden_size'?");
  EXPECT_EQ(error_of("data { kind: synthetic }\nema { name: \"a\" dekay: 0.9 }"),
            "run.textproto:2: unknown key 'ema.dekay': did you mean 'ema.decay'?");
}

TEST(Config, AnUnknownKeyIsAlsoLookedForInOtherGroups) {
  EXPECT_EQ(error_of("seed: 1\nlr: 1e-4"), "run.textproto:2: unknown key 'lr': did you mean 'optimizer.lr'?");
  EXPECT_EQ(error_of("optimizer { zero_stage: 2 }"),
            "run.textproto:1: unknown key 'optimizer.zero_stage': did you mean 'parallel.zero_stage'?");
}

TEST(Config, AnUnknownKeyNothingResemblesListsTheKeys) {
  EXPECT_EQ(error_of("precision { banana: 1 }"),
            "run.textproto:1: unknown key 'precision.banana': precision has the keys compute, reduce and residual");
  EXPECT_EQ(error_of("precision { banana { x: 1 } }"),
            "run.textproto:1: unknown key 'precision.banana': precision has the keys compute, reduce and residual");
}

TEST(Config, AWrongTypeNamesTheKeyWhatWasExpectedAndWhatWasGiven) {
  EXPECT_EQ(error_of("optimizer { lr: \"fast\" }"), "run.textproto:1: optimizer.lr: expected a number, got \"fast\"");
  EXPECT_EQ(error_of("optimizer { lr: fast }"), "run.textproto:1: optimizer.lr: expected a number, got fast");
  EXPECT_EQ(error_of("model {}\nsteps: 1.5"), "run.textproto:2: steps: expected a whole number, got 1.5");
  EXPECT_EQ(error_of("seed: -1"), "run.textproto:1: seed: expected a whole number, not negative, got -1");
  EXPECT_EQ(error_of("data { flip: maybe }"), "run.textproto:1: data.flip: expected true or false, got maybe");
  EXPECT_EQ(error_of("data { path: 3 }"), "run.textproto:1: data.path: expected text in quotes, got 3");
  EXPECT_EQ(error_of("optimizer: 3"), "run.textproto:1: optimizer: expected keys in braces, optimizer { … }, got 3");
  EXPECT_EQ(error_of("optimizer { lr { } }"), "run.textproto:1: optimizer.lr: expected a number, got {");
}

TEST(Config, AWrongWordListsTheLegalOnes) {
  EXPECT_EQ(error_of("precision {\n compute: fp23\n reduce: fp32 }"),
            "run.textproto:2: precision.compute: expected fp32, tf32 or bf16, got fp23");
  EXPECT_EQ(error_of("precision { compute: \"bf16\" }"),
            "run.textproto:1: precision.compute: expected fp32, tf32 or bf16, got \"bf16\"");
  EXPECT_EQ(error_of("data { kind: folder }"),
            "run.textproto:1: data.kind: expected idx, synthetic or image_files, got folder");
  EXPECT_EQ(error_of("data { kind: synthetic } sample { cfg_schedule: \"linear\" }"),
            "sample.cfg_schedule: expected \"constant\" or \"power-cosine\", got \"linear\"");
  EXPECT_EQ(error_of("sample { cfg_schedule: power-cosine }"),
            "run.textproto:1: sample.cfg_schedule: expected text in quotes, got power");
}

TEST(Config, AKeyGivenTwiceIsAnError) {
  EXPECT_EQ(error_of("seed: 1\nseed: 2"), "run.textproto:2: seed is given twice: keep one");
}

TEST(Config, BrokenSyntaxKeepsTheParsersWordsAndTheLine) {
  EXPECT_NE(error_of("model {\n depth: 4\n").find("run.textproto:"), string::npos);
  EXPECT_NE(error_of("seed 1").find("run.textproto:1: "), string::npos);
  EXPECT_NE(error_of("\n\n}").find("run.textproto:3: "), string::npos);
}

TEST(Set, OverridesTheFile) {
  const RunConfig config = parse("data { kind: synthetic } optimizer { lr: 1 } ema { name: \"a\" decay: 0.5 }",
                                 {"optimizer.lr=2e-4", "ema[0].decay=0.99", "precision.compute=bf16", "seed=7",
                                  "sample.cfg_schedule=power-cosine", "data.flip=true"});
  EXPECT_EQ(config.optimizer().lr(), 2e-4);
  EXPECT_EQ(config.ema(0).decay(), 0.99);
  EXPECT_EQ(config.precision().compute(), RunConfig::Precision::bf16);
  EXPECT_EQ(config.seed(), 7u);
  EXPECT_EQ(config.sample().cfg_schedule(), "power-cosine");
  EXPECT_TRUE(config.data().flip());
}

TEST(Set, AppendsToAListAndTakesAKeyBackToItsDefault) {
  const RunConfig config = parse(
      "data { kind: synthetic } optimizer { lr: 1 } ema { name: \"a\" decay: 0.5 }",
      {"ema[1].name=slow", "ema[1].decay=0.9999", "optimizer.lr=", "ema[0].decay=", "ema[0].half_life_images=500000"});
  EXPECT_EQ(config.ema(1).name(), "slow");
  EXPECT_EQ(config.optimizer().lr(), 1e-4);
  EXPECT_EQ(config.ema(0).half_life_images(), 500000);
}

TEST(Set, HasTheSameErrorsAsTheFile) {
  EXPECT_EQ(set_error("optimizer.lrr=1"),
            "--set optimizer.lrr=1: unknown key 'optimizer.lrr': did you mean 'optimizer.lr'?");
  EXPECT_EQ(set_error("lr=1"), "--set lr=1: unknown key 'lr': did you mean 'optimizer.lr'?");
  EXPECT_EQ(set_error("optimizer.lr=fast"), "--set optimizer.lr=fast: expected a number, got 'fast'");
  EXPECT_EQ(set_error("steps=1 2"), "--set steps=1 2: expected a whole number, got '1 2'");
  EXPECT_EQ(set_error("precision.compute=fp23"),
            "--set precision.compute=fp23: expected fp32, tf32 or bf16, got 'fp23'");
  EXPECT_EQ(set_error("steps"), "--set steps: expected key=value, as in optimizer.lr=1e-4");
  EXPECT_EQ(set_error("=5"), "--set =5: expected key=value, as in optimizer.lr=1e-4");
}

TEST(Set, ExplainsPathsThatLeadNowhere) {
  EXPECT_EQ(set_error("optimizer=3"),
            "--set optimizer=3: optimizer holds several keys: set one of them, as in optimizer.lr=…");
  EXPECT_EQ(set_error("seed.x=3"), "--set seed.x=3: seed is a single value, nothing is inside it");
  EXPECT_EQ(set_error("ema.decay=0.9"), "--set ema.decay=0.9: ema is a list: write ema[0]");
  EXPECT_EQ(set_error("model[0].depth=1"), "--set model[0].depth=1: model is not a list: leave out the index");
  EXPECT_EQ(set_error("ema[2].decay=0.9"),
            "--set ema[2].decay=0.9: there is no ema[2]: the config has 0, the next is ema[0]");
  EXPECT_NE(set_error("ema[x].decay=0.9").find("expected one like ema[0]"), string::npos);
  EXPECT_NE(set_error("ema[].decay=0.9").find("expected one like ema[0]"), string::npos);
}

TEST(Config, MicroBatchesDivideTheGlobalBatch) {
  EXPECT_EQ(set_error("micro_batch_size=30"),
            "micro_batch_size=30 does not divide global_batch_size=256: the nearest divisors of 256 are 16 and 32");
  EXPECT_EQ(set_error("micro_batch_size=300"),
            "micro_batch_size=300 does not divide global_batch_size=256: the nearest divisors of 256 are 256");
}

TEST(Config, ModelSizesFitTogether) {
  EXPECT_EQ(set_error("model.num_heads=7"),
            "model.hidden_size=1152 is not a multiple of model.num_heads=7: try 1148 or 1155");
  EXPECT_EQ(set_error("model.input_size=33"),
            "model.input_size=33 is not a multiple of model.patch_size=2: try 32 or 34");
  EXPECT_EQ(error_of(kSmall, {"model.hidden_size=66", "model.num_heads=2"}),
            "model.hidden_size=66 is not a multiple of 4, which the position table needs: try 64 or 68");
  EXPECT_NE(error_of(kSmall, {"model.mlp_ratio=1.0001"}).find("is not a whole number of features"), string::npos);
}

TEST(Config, NumbersStayInTheirRange) {
  EXPECT_EQ(set_error("steps=0"), "steps=0 must be positive");
  EXPECT_EQ(set_error("optimizer.lr=-1e-4"), "optimizer.lr=-0.0001 must be positive");
  EXPECT_EQ(set_error("optimizer.lr=nan"), "optimizer.lr=nan must be positive");
  EXPECT_EQ(set_error("optimizer.eps=inf"), "optimizer.eps=inf must be positive");
  EXPECT_EQ(set_error("optimizer.beta2=1"), "optimizer.beta2=1 must be at least 0 and below 1");
  EXPECT_EQ(set_error("model.label_dropout=-0.1"), "model.label_dropout=-0.1 must be at least 0 and below 1");
  EXPECT_EQ(set_error("parallel.zero_stage=4"), "parallel.zero_stage=4 must be 0, 1, 2 or 3");
  EXPECT_EQ(set_error("parallel.zero_stage=3"), "") << "every stage is legal on one rank";
}

// Every numeric key must be refused when it is not finite, so that none is forgotten in the table of bounds.
TEST(Config, NoRealNumberMayBeInfinite) {
  const RunConfig ddpm = parse(kSmall);
  const RunConfig edm = parse("data { kind: synthetic } diffusion { process: edm }");
  int checked = 0;
  for (const auto& [base, config] :
       {std::pair{string(kSmall), ddpm}, std::pair{string("data { kind: synthetic } diffusion { process: edm }"), edm}})
    for (const auto& [key, value] : list_keys(config)) {
      if (value.find_first_not_of("0123456789.-+e") != string::npos) continue;
      if (error_of(base, {key + "=0.5x"}).find("expected a number") == string::npos) continue;  // a whole number
      EXPECT_NE(error_of(base, {key + "=inf"}), "") << key;
      ++checked;
    }
  EXPECT_GE(checked, 20);
}

TEST(Config, EmaProfilesHaveUniqueNamesAndOneLength) {
  const auto ema_error = [](const string& ema) { return error_of(string(kSmall) + ema); };
  EXPECT_EQ(ema_error("ema { decay: 0.9 }"), "ema[0].name is missing");
  EXPECT_NE(ema_error("ema { name: \"none\" decay: 0.9 }").find("has a meaning of its own"), string::npos);
  EXPECT_NE(ema_error("ema { name: \"params\" decay: 0.9 }").find("has a meaning of its own"), string::npos);
  EXPECT_NE(ema_error("ema { name: \"a/b\" decay: 0.9 }").find("may hold letters"), string::npos);
  EXPECT_EQ(ema_error("ema { name: \"a\" decay: 0.9 } ema { name: \"a\" decay: 0.8 }"),
            "ema[1].name=\"a\" is taken by an earlier ema");
  EXPECT_EQ(ema_error("ema { name: \"a\" }"),
            "ema[0] (a) needs exactly one of half_life_images and decay, and has neither");
  EXPECT_EQ(ema_error("ema { name: \"a\" decay: 0.9 half_life_images: 5 }"),
            "ema[0] (a) needs exactly one of half_life_images and decay, and has both");
  EXPECT_EQ(ema_error("ema { name: \"a\" decay: 1 }"), "ema[0].decay=1 must be above 0 and below 1");
  EXPECT_EQ(ema_error("ema { name: \"a\" half_life_images: 0 }"), "ema[0].half_life_images=0 must be positive");
  EXPECT_EQ(ema_error("ema { name: \"a\" decay: 0.9 } sample { ema: \"b\" }"),
            "sample.ema=\"b\" is no ema of this config: it has a, and \"none\"");
}

TEST(Config, SamplesComeFromTheFirstEmaByDefault) {
  EXPECT_EQ(parse(string(kSmall) + "ema { name: \"slow\" decay: 0.9 } ema { name: \"b\" decay: 0.8 }").sample().ema(),
            "slow");
}

TEST(Config, SamplersFitTheProcess) {
  EXPECT_EQ(set_error("sample.sampler=heun"),
            "sample.sampler=heun does not fit the ddpm process: it takes ddpm, ddim or dpmpp");
  EXPECT_EQ(error_of(kSmall, {"diffusion.process=edm", "sample.sampler=ddim"}),
            "sample.sampler=ddim does not fit the edm process: it takes heun or dpmpp");
  EXPECT_EQ(set_error("sample.sampler=dpmpp"), "");
  EXPECT_EQ(error_of(kSmall, {"diffusion.process=edm", "sample.sampler=dpmpp"}), "");
  EXPECT_EQ(set_error("sample.steps=1001"), "sample.steps=1001 is above diffusion.timesteps=1000");
}

TEST(Config, TheEdmProcessChangesDependentDefaults) {
  const RunConfig config = parse(kSmall, {"diffusion.process=edm"});
  EXPECT_FALSE(config.model().learn_sigma());
  EXPECT_EQ(config.sample().sampler(), RunConfig::Sample::heun);
  EXPECT_FALSE(config.diffusion().has_timesteps());
  EXPECT_TRUE(config.diffusion().has_p_mean());
  EXPECT_NE(error_of(kSmall, {"diffusion.process=edm", "model.learn_sigma=true"}).find("needs the ddpm process"),
            string::npos);
}

TEST(Config, KeysWithoutEffectAreRefused) {
  EXPECT_EQ(
      set_error("diffusion.p_mean=0"),
      "diffusion.p_mean=0 has no effect: it belongs to the edm process, and diffusion.process is ddpm; remove it");
  EXPECT_EQ(set_error("data.path=x"),
            "data.path=\"x\" has no effect: synthetic data is not read from files; remove it");
  EXPECT_EQ(error_of("data { path: \"x\" images: 5 }"),
            "data.images=5 has no effect: it belongs to synthetic data, and data.kind is not synthetic; remove it");
}

TEST(Config, IdxDataNeedsAPath) {
  EXPECT_EQ(error_of(""), "data.path is missing: data.kind idx needs the folder that holds the files");
}

TEST(Config, GuidanceNeedsLabelDropout) {
  EXPECT_EQ(parse(kSmall, {"model.label_dropout=0"}).sample().cfg(), 1);
  EXPECT_NE(error_of(kSmall, {"model.label_dropout=0", "sample.cfg=2"}).find("needs a model trained without labels"),
            string::npos);
  EXPECT_EQ(set_error("sample.cfg_channels=5"), "sample.cfg_channels=5 is above model.in_channels=4");
}

TEST(Config, Tf32IsAWayToMultiplyAndNoTypeToStore) {
  EXPECT_EQ(parse(kSmall, {"precision.compute=tf32"}).precision().compute(), RunConfig::Precision::tf32);
  EXPECT_NE(set_error("precision.reduce=tf32").find("expected fp32 or bf16"), string::npos);
  EXPECT_NE(set_error("precision.residual=tf32").find("expected fp32 or bf16"), string::npos);
}

// A checkpoint holds its config, and is looked at on machines of all kinds.
TEST(Config, ThatNamesAGpuIsReadWhereThereIsNone) {
  EXPECT_EQ(parse(kSmall, {"device=cuda"}).device(), RunConfig::cuda);
}

TEST(ResolvedText, ReadsBackToTheSameConfig) {
  for (const char* text : {"data { kind: synthetic } ema { name: \"a\" half_life_images: 5e5 } optimizer { lr: 0.1 }",
                           "data { path: \"/tmp/ü\" } diffusion { process: edm sigma_max: 80.1 }"}) {
    const RunConfig config = parse(text);
    const string resolved = resolved_text(config);
    EXPECT_EQ(resolved_text(parse(resolved)), resolved);
    EXPECT_TRUE(differences(config, parse(resolved)).empty());
  }
}

TEST(Resume, SpeedAndScheduleMayChange) {
  const RunConfig before = parse(kSmall);
  const RunConfig after =
      parse(kSmall, {"optimizer.lr=1e-3", "steps=5", "parallel.zero_stage=2", "sample.num=4",
                     "checkpoint.every_steps=7", "device=cpu", "data.threads=9", "validation.bins=2"});
  EXPECT_EQ(differences(before, after).size(), 8u);
  EXPECT_TRUE(resume_conflicts(before, after).empty());
}

TEST(Resume, WhatIsComputedMayNot) {
  const RunConfig before = parse(kSmall);
  for (const char* set : {"seed=1", "global_batch_size=512", "micro_batch_size=16", "model.depth=2", "data.flip=true",
                          "diffusion.timesteps=500", "precision.compute=bf16", "optimizer.beta1=0.5"}) {
    const auto conflicts = resume_conflicts(before, parse(kSmall, {set}));
    ASSERT_EQ(conflicts.size(), 1u) << set;
    EXPECT_EQ(conflicts[0].key + "=" + conflicts[0].after, set);
  }
}

TEST(Resume, AnEmaMayNotAppear) {
  const RunConfig before = parse(kSmall), after = parse(string(kSmall) + "ema { name: \"a\" decay: 0.5 }");
  const auto conflicts = resume_conflicts(before, after);
  ASSERT_EQ(conflicts.size(), 2u);
  EXPECT_EQ(conflicts[0].key, "ema[0].name");
  EXPECT_EQ(conflicts[0].before, "");
}

}  // namespace
}  // namespace shardit
