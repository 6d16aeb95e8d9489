// Image files under the program: training on them, what it says of bad ones, `data inspect` and `data verify`.
#include <signal.h>
#include <zlib.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "data/order.h"
#include "tests/cli/program.h"
#include "tests/data/files.h"
#include "tests/data/tar_files.h"

namespace shardit {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing_files::Bytes;
using testing_files::NamedFiles;
using testing_files::raw_tar;

Bytes picture(const std::string& name) {
  return testing_files::read_bytes(std::string(SHARDIT_CHECKOUT) + "/tests/data/pictures/" + name);
}

// Twelve pictures of every kind in three classes.
NamedFiles good_files() {
  const char* names[] = {"rgb-420.jpg", "progressive.jpg", "cmyk.jpg",   "grey.jpg",  "rgb.png",        "rgba.png",
                         "grey16.png",  "palette4.png",    "turned.jpg", "large.jpg", "grey-alpha.png", "wide.jpg"};
  NamedFiles files;
  for (size_t i = 0; i < std::size(names); ++i)
    files.emplace_back(std::string(i % 3 == 0 ? "ant/" : i % 3 == 1 ? "bee/" : "cat/") + names[i], picture(names[i]));
  return files;
}

struct ImageFolder : TestFolder {
  explicit ImageFolder(const NamedFiles& files = good_files()) { testing_files::put_files(images(), files); }
  void put(const std::string& name, const Bytes& bytes) const { testing_files::put_files(images(), {{name, bytes}}); }
  void cut(const std::string& name) const {
    fs::resize_file(images() + "/" + name, fs::file_size(images() + "/" + name) / 2);
  }
  std::string images() const { return *this / "images"; }
  std::string tar(const Bytes& bytes) const { return testing_files::write_bytes(*this / "images.tar", bytes); }
};

Words as_flags(const Words& sets) {
  Words words;
  for (const std::string& set : sets) words.insert(words.end(), {"--set", set});
  return words;
}

Words operator+(Words a, const Words& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// The tiny config on image files. 36 samples a step: every one of twelve images is seen in every step.
Words sets_for(const std::string& path, const Words& more = {}) {
  return as_flags(
      Words{"data.kind=image_files", "data.images=", "data.path=" + path, "data.split=.", "validation.every_steps=0"} +
      more);
}

// Two steps of it.
Words on_images(const std::string& path, const Words& more = {}, int steps = 2) {
  return Words{"--steps", std::to_string(steps)} + sets_for(path, more);
}

json event_of(const std::string& run_dir, const std::string& name) {
  std::istringstream lines(bytes_of_file(run_dir + "/metrics.jsonl"));
  for (std::string line; std::getline(lines, line);)
    if (const json object = json::parse(line); object.value("event", "") == name) return object;
  return nullptr;
}

TEST(ImageData, AFolderAndItsTarTrainToTheSameDigest) {
  const ImageFolder folder;
  const std::string digest = digest_after(on_images(folder.images()));
  EXPECT_EQ(digest_after(on_images(folder.tar(testing_files::make_tar(good_files())))), digest);
  EXPECT_EQ(digest_after(on_images(folder / ".", {"data.split=images/"})), digest);
}

TEST(ImageData, SkippedImagesGiveTheSameDigestOnAnyRanksThreadsAndDepth) {
  const ImageFolder folder;
  folder.cut("ant/rgb-420.jpg");
  folder.cut("cat/turned.jpg");
  const auto digest = [&](int ranks, const Words& more) {
    return digest_after(on_images(folder.images(), Words{"data.on_corrupt=skip"} + more), {.ranks = ranks});
  };
  const std::string one = digest(0, {});
  EXPECT_EQ(digest(0, {"data.threads=5", "data.prefetch=1"}), one);
  EXPECT_EQ(digest(2, {"data.threads=1"}), one);
  EXPECT_EQ(digest(3, {"data.prefetch=9", "parallel.zero_stage=2"}), one);
}

TEST(ImageData, ARestartOnOtherRanksSkipsTheSameImages) {
  const ImageFolder folder;
  folder.cut("ant/rgb-420.jpg");
  folder.cut("cat/turned.jpg");
  const Words skip = {"data.on_corrupt=skip"};
  ASSERT_TRUE(succeeds(train(folder / "run", on_images(folder.images(), skip, 1))));
  ASSERT_TRUE(succeeds(train(folder / "run", on_images(folder.images(), skip, 3), {.ranks = 2})));
  ASSERT_TRUE(succeeds(train(folder / "run", on_images(folder.images(), skip, 4))));
  EXPECT_EQ(digest_of(folder / "run"), digest_after(on_images(folder.images(), skip, 4)));
}

TEST(ImageData, ARunGoesOnWhereItsImagesLieElsewhere) {
  const ImageFolder folder;
  const std::string digest = digest_after(on_images(folder.images(), {}, 3)), moved = folder / "moved";
  ASSERT_TRUE(succeeds(train(folder / "run", on_images(folder.images(), {}, 1))));
  fs::rename(folder.images(), moved);
  ASSERT_TRUE(succeeds(train(folder / "run", on_images(moved, {}, 2))));
  ASSERT_TRUE(succeeds(train(folder / "run", on_images(folder.tar(testing_files::make_tar(good_files())), {}, 3))));
  EXPECT_EQ(digest_of(folder / "run"), digest);
}

TEST(ImageData, ARunOnATarThatASignalStopsGoesOnToTheSameDigest) {
  const ImageFolder folder;
  const Words sets = sets_for(folder.tar(testing_files::make_tar(good_files())));
  {
    Started started(training(folder / "run", sets));
    ASSERT_TRUE(wait_for_steps(folder / "run", 2));
    started.send(SIGTERM);
    const Ran ran = started.wait();
    EXPECT_EQ(ran.code, 0) << ran.err;
    EXPECT_TRUE(contains(ran.out, "saved "));
  }
  ASSERT_TRUE(succeeds(train(folder / "run", sets)));
  EXPECT_EQ(digest_of(folder / "run"), digest_after(on_images(folder.images(), {}, 40)));
}

TEST(ImageData, ACorruptImageIsFatalUnlessSkippedAndThenNamedAndCounted) {
  const ImageFolder folder;
  folder.cut("bee/progressive.jpg");
  EXPECT_TRUE(fails(train(folder / "run", on_images(folder.images())), 4,
                    {"sample ", "'bee/progressive.jpg' is corrupt", "data.on_corrupt=skip"}));
  const Ran ran = train(folder / "skips", on_images(folder.images(), {"data.on_corrupt=skip"}));
  EXPECT_TRUE(succeeds(ran));
  EXPECT_TRUE(contains(ran.out, "WARNING: train: sample "));
  const json event = event_of(folder / "skips", "corrupt");
  EXPECT_EQ(event.at("count"), 3) << "three epochs a step";
  EXPECT_EQ(event.at("samples").size(), 3u);
  EXPECT_TRUE(contains(event.dump(), "bee/progressive.jpg"));
}

// Rank 0 or 1 meets it, and ends the job with the lines that one rank alone would have printed.
TEST(ImageData, ACorruptImageOfAJobIsToldInTheSameLines) {
  const ImageFolder folder;
  folder.cut("bee/progressive.jpg");
  const std::string alone = train(folder / "one", on_images(folder.images())).err;
  const Ran job = train(folder / "two", on_images(folder.images()), {.ranks = 2});
  EXPECT_EQ(job.code, 4) << job.err;
  EXPECT_TRUE(contains(job.err, " ends the job: sample "));
  ASSERT_TRUE(contains(alone, "\n  fix: replace the file"));
  EXPECT_TRUE(contains(job.err, alone.substr(alone.find(" of "))));
}

// The grid's rows have names as long as something tells which folders there were; the pixels need none of it.
TEST(ImageData, SamplesAreNamedByOneImageOfEachClassAndNumberedWithoutAny) {
  const ImageFolder folder;
  ASSERT_TRUE(succeeds(train(folder / "run", on_images(folder.images(), {}, 1))));
  const auto sample = [&](const std::string& says) {
    const Ran ran =
        run({"sample", folder / "run", "--out", folder / "grid.png", "--npz", folder / "s.npz", "--steps", "2"});
    EXPECT_TRUE(succeeds(ran));
    EXPECT_EQ(ran.out.find("classes are called") != std::string::npos, !says.empty()) << ran.out;
    EXPECT_TRUE(contains(ran.out, says));
    return std::pair(bytes_of_file(folder / "grid.png"), bytes_of_file(folder / "s.npz"));
  };
  const auto named = sample("");
  for (const char* gone : {"ant/rgb-420.jpg", "bee/progressive.jpg", "bee/wide.jpg", "cat/cmyk.jpg"})
    fs::remove(folder.images() + "/" + gone);
  folder.put("ant/not-read.webp", {});
  EXPECT_EQ(sample(""), named) << "no image but one of each class is looked for";
  fs::rename(folder.images() + "/ant", folder.images() + "/asp");
  const auto renamed = sample("classes are called by their numbers: '" + folder.images() + "' has other classes");
  fs::remove_all(folder.images());
  const auto numbered =
      sample("classes are called by their numbers: no folder or tar of images '" + folder.images() + "'\n");
  EXPECT_EQ(renamed, numbered);
  EXPECT_NE(numbered.first, named.first);
  EXPECT_EQ(numbered.second, named.second);
}

TEST(ImageData, OfManyCorruptImagesTheLogNamesFive) {
  const ImageFolder folder;
  for (const char* name : {"ant/rgb-420.jpg", "bee/progressive.jpg", "cat/turned.jpg"}) folder.cut(name);
  const Ran ran = train(folder / "run", on_images(folder.images(), {"data.on_corrupt=skip"}, 1));
  const json event = event_of(folder / "run", "corrupt");
  EXPECT_GE(event.at("count"), 9) << "three epochs a step";
  EXPECT_EQ(event.at("samples").size(), event.at("count"));
  size_t named = 0;
  for (size_t at = 0; (at = ran.out.find("WARNING: train: sample ", at)) != std::string::npos; ++at) ++named;
  EXPECT_EQ(named, 5u) << ran.out;
  EXPECT_TRUE(contains(ran.out, "corrupt images at step 1 in all: " + event.at("count").dump()));
}

// The image is of the last of four batches, which three ranks compute in the second round.
TEST(ImageData, ACorruptHeldOutImageIsFatalOrCountedOnce) {
  const ImageFolder folder;
  folder.cut("cat/wide.jpg");
  const Words more = {"validation.every_steps=2", "validation.images=12", "data.validation_split=."};
  for (const int ranks : {0, 3}) {
    const std::string run_dir = folder / std::to_string(ranks);
    const Words skip = more + Words{"data.on_corrupt=skip"};
    EXPECT_TRUE(succeeds(train(run_dir, on_images(folder.images(), skip), {.ranks = ranks})));
    EXPECT_TRUE(contains(bytes_of_file(run_dir + "/metrics.jsonl"), R"("split":"validation","count":1)"));
  }
  EXPECT_TRUE(fails(train(folder / "run", on_images(folder.images(), more)), 4, {"'cat/wide.jpg' is corrupt"}));
}

// What a run under `fail` has made is what one under `skip` would have made. One of 108 images is corrupt, which the
// third step meets: in its first micro-batch, on whose loss the second step's checkpoint is proven, or in a later one.
TEST(ImageData, ARunThatFailedGoesOnWithSkip) {
  NamedFiles files;
  for (int i = 100; i < 208; ++i) files.emplace_back("ant/" + std::to_string(i) + ".png", picture("rgb.png"));
  for (const int sample : {72, 80}) {
    const ImageFolder folder(files);
    folder.cut(files[SampleOrder(3, 108).index(sample)].first);
    const Words often = {"checkpoint.every_steps=1"}, skip = {"checkpoint.every_steps=1", "data.on_corrupt=skip"};
    const std::string named = "sample " + std::to_string(sample) + " ";
    EXPECT_TRUE(fails(train(folder / "run", on_images(folder.images(), often, 4)), 4, {named, "is corrupt"}));
    EXPECT_EQ(steps_logged(folder / "run"), 2);
    const Ran ran = train(folder / "run", on_images(folder.images(), skip, 4));
    EXPECT_TRUE(succeeds(ran));
    EXPECT_TRUE(contains(ran.out, "resume proof holds bitwise") && contains(ran.out, "WARNING: train: " + named));
    EXPECT_EQ(digest_of(folder / "run"), digest_after(on_images(folder.images(), skip, 4)));
  }
}

TEST(ImageData, APngBombIsCorruptData) {
  const ImageFolder folder;
  Bytes bomb = picture("rgb.png");
  for (size_t i : {17, 21}) bomb[i] = 0x01;  // 65,567 x 65,559 pixels
  const auto crc = static_cast<uint32_t>(crc32(0, bomb.data() + 12, 17));
  for (int i = 0; i < 4; ++i) bomb[29 + i] = static_cast<uint8_t>(crc >> (24 - 8 * i));
  folder.put("ant/bomb.png", bomb);
  EXPECT_TRUE(
      fails(train(folder / "run", on_images(folder.images())), 4, {"'ant/bomb.png' is corrupt", "65567 x 65559"}));
  EXPECT_TRUE(fails(run({"data", "verify", folder.images()}), 4, {"1 of 13 images", "ant/bomb.png"}));
}

TEST(ImageData, TarsOfOddNamesAndLinksAreCorruptData) {
  const ImageFolder folder;
  const Bytes jpeg = picture("rgb-420.jpg");
  for (const auto& [tar, words] :
       {std::pair{raw_tar({{"/abs/a.jpg", '0', jpeg}}), Words{"'/abs/a.jpg'", "relative names"}},
        {raw_tar({{"ant/../../a.jpg", '0', jpeg}}), {"'ant/../../a.jpg'", "without '..'"}},
        {raw_tar({{"ant/a.jpg", '2', {}, "/etc/passwd"}}), {"'ant/a.jpg'", "it is a link"}},
        {raw_tar({{"ant/a.jpg", '0', jpeg, "", "00077777777"}}), {"cut short"}}})
    for (const Words& command :
         {training(folder / "run", on_images(folder.tar(tar))), Words{"data", "inspect", folder / "images.tar"}})
      EXPECT_TRUE(fails(run(command), 4, words)) << command[0];
}

TEST(ImageData, WhatIsNotThereIsTheUsersMistake) {
  const ImageFolder folder(NamedFiles{{"ant/readme.txt", {}}});
  EXPECT_TRUE(fails(train(folder / "run", on_images(folder.images())), 2, {"no images in", "1 other files"}));
  EXPECT_TRUE(fails(train(folder / "run", on_images(folder / "absent")), 2, {"no folder or tar of images"}));
  EXPECT_TRUE(fails(train(folder / "run", on_images(folder.images(), {"data.split=val"})), 2, {"/val'"}));
  EXPECT_TRUE(fails(run({"data", "inspect", folder / "absent"}), 2, {"no folder or tar of images"}));
}

TEST(ImageData, LabelsOutsideTheModelAreTheUsersMistake) {
  const Bytes jpeg = picture("rgb-420.jpg");
  const ImageFolder folder({{"3/a.jpg", jpeg}, {"7/b.jpg", jpeg}});
  EXPECT_TRUE(fails(train(folder / "run", on_images(folder.images())), 2,
                    {"'7/b.jpg'", "has class 7", "classes 0 to 6", "model.num_classes"}));
  const ImageFolder one({{"3/a.jpg", jpeg}});
  EXPECT_TRUE(fails(train(one / "run", on_images(one.images(), {"model.in_channels=1", "sample.cfg_channels=0"})), 2,
                    {"6x6x3", "6x6x1"}));
}

TEST(ImageData, AHeldOutClassThatIsNotTrainedIsTheUsersMistake) {
  const Bytes jpeg = picture("rgb-420.jpg");
  const ImageFolder folder({{"train/ant/a.jpg", jpeg}, {"train/bee/b.jpg", jpeg}, {"val/cat/c.jpg", jpeg}});
  const Words more = {"data.split=train", "data.validation_split=val", "validation.every_steps=2"};
  EXPECT_TRUE(fails(train(folder / "run", on_images(folder.images(), more)), 2, {"'cat/c.jpg'", "class 'cat'"}));
}

TEST(ImageData, SettingsThatDoNotGoTogetherAreRefused) {
  const auto plan = [](const Words& sets) {
    return run(Words{"plan", tiny_config(), "--set", "data.images="} + as_flags(sets));
  };
  EXPECT_TRUE(fails(plan({"data.kind=image_files"}), 2, {"data.path is missing"}));
  EXPECT_TRUE(fails(plan({"data.on_corrupt=skip"}), 2, {"data.on_corrupt=skip has no effect"}));
  EXPECT_TRUE(
      fails(plan({"data.kind=image_files", "data.path=x", "data.class_from=list"}), 2, {"data.class_list is missing"}));
  for (const std::string key : {"data.class_list", "data.validation_class_list"})
    EXPECT_TRUE(fails(plan({"data.kind=image_files", "data.path=x", key + "=l"}), 2,
                      {key + "=\"l\" has no effect", "data.class_from is folder"}));
}

TEST(ImageData, ClassFoldersThatChangeAreNoResume) {
  const ImageFolder folder;
  ASSERT_TRUE(succeeds(train(folder / "run", on_images(folder.images()))));
  fs::rename(folder.images() + "/bee", folder.images() + "/beetle");
  EXPECT_TRUE(fails(train(folder / "run", on_images(folder.images(), {}, 3)), 2,
                    {"contents of the training data: saved 12 images", "of 3 classes", "--override-arithmetic"}));
}

// Each rank looks for `images` in a folder of its own; one misses a file, of the held-out images or of both.
TEST(ImageData, RanksThatSeeOtherImagesDoNotStart) {
  const ImageFolder folder;
  for (const std::string place : {"0/images/train", "0/images/val", "1/images/train", "1/images/val"}) {
    fs::create_directories(folder / place);
    fs::copy(folder.images(), folder / place, fs::copy_options::recursive);
  }
  const Words apart = {"sh", "-c", "cd " + folder / "$OMPI_COMM_WORLD_RANK" + " && exec \"$@\"", "sh"};
  const Words words =
      on_images("images", {"data.split=train", "data.validation_split=val", "validation.every_steps=2"});
  EXPECT_EQ(train(folder / "same", words, {.ranks = 2, .wrapper = apart}).code, 0);
  for (const auto& [split, which] : {std::pair{"val", "validation"}, {"train", "training"}}) {
    fs::remove(folder / "1/images" + "/" + split + "/cat/wide.jpg");
    const Ran ran = train(folder / "run", words, {.ranks = 2, .wrapper = apart});
    EXPECT_EQ(ran.code, 2) << ran.err;
    EXPECT_TRUE(contains(ran.err, "rank 1 of 2: reads other " + std::string(which) + " data than rank 0: 11 images"));
  }
}

TEST(ImageData, AFileThatCannotBeReadInTheMiddleOfAnEpochIsAnIoError) {
  const ImageFolder folder;
  for (const std::string how : {"fail", "skip"}) {
    const Words endless = {"data.on_corrupt=" + how, "data.prefetch=1", "steps=100000", "checkpoint.every_steps=0"};
    Started started(training(folder / how, sets_for(folder.images(), endless)));
    ASSERT_TRUE(wait_for_steps(folder / how, 1));
    fs::rename(folder.images() + "/cat/wide.jpg", folder / "wide.jpg");
    EXPECT_TRUE(fails(started.wait(), 4, {"sample ", "cannot open", "cat/wide.jpg", "No such file"})) << how;
    fs::rename(folder / "wide.jpg", folder.images() + "/cat/wide.jpg");
  }
}

TEST(DataInspect, CountsKindsClassesAndOddities) {
  const ImageFolder folder;
  folder.put("notes.txt", {});
  const Ran ran = run({"data", "inspect", folder.images(), "--json"});
  ASSERT_TRUE(succeeds(ran));
  const json found = json::parse(ran.out);
  EXPECT_EQ(found["images"], 12);
  EXPECT_EQ(found["other_files"], 1);
  EXPECT_EQ(found["class_from"], "folder");
  EXPECT_EQ(found["classes"], json({{"ant", 4}, {"bee", 4}, {"cat", 4}}));
  EXPECT_EQ(found["kinds"], json({{"jpeg cmyk", 1},
                                  {"jpeg grey", 1},
                                  {"jpeg rgb", 4},
                                  {"jpeg rgb, progressive", 1},
                                  {"png grey with alpha", 1},
                                  {"png grey, 16 bits", 1},
                                  {"png palette, 4 bits", 1},
                                  {"png rgb", 1},
                                  {"png rgba", 1}}));
  EXPECT_EQ(found["largest"], json({{"width", 83}, {"height", 101}}));
  EXPECT_EQ(found["odd"]["turned by EXIF, not turned back"]["examples"][0], "cat/turned.jpg");
  EXPECT_EQ(found["odd"]["alpha, dropped"]["count"], 2);
  const Ran text = run({"data", "inspect", folder.images()});
  EXPECT_TRUE(contains(text.out, "images: 12 images") && contains(text.out, "jpeg rgb, progressive"));
}

TEST(DataInspect, TellsFilesThatAreNotWhatTheyAreCalled) {
  const ImageFolder folder(
      {{"n01_a.jpg", picture("rgb.png")}, {"n02_b.png", picture("grey.jpg")}, {"n03_c.jpg", {'x'}}});
  const json found = json::parse(run({"data", "inspect", folder.images(), "--json"}).out);
  EXPECT_EQ(found["class_from"], "prefix");
  EXPECT_EQ(found["odd"]["a PNG called .jpg"]["examples"][0], "n01_a.jpg");
  EXPECT_EQ(found["odd"]["a JPEG called .png"]["examples"][0], "n02_b.png");
  EXPECT_EQ(found["corrupt"].begin()->at("examples")[0], "n03_c.jpg");
}

TEST(DataInspect, AFileThatCannotBeReadIsAnIoErrorAndNotACorruptImage) {
  const ImageFolder folder;
  const int nobody = 65534;
  const Surroundings as_nobody{.user = geteuid() == 0 ? nobody : 0};
  chmod(folder.path.c_str(), 0755);
  chmod((folder.images() + "/cat/wide.jpg").c_str(), 0);
  if (run({"--help"}, as_nobody).code != 0) GTEST_SKIP() << "another user cannot run the program from here";
  for (const std::string command : {"inspect", "verify"})
    EXPECT_TRUE(fails(run({"data", command, folder.images()}, as_nobody), 4,
                      {"cannot open", "cat/wide.jpg", "Permission denied"}));
}

TEST(DataVerify, NamesEveryCorruptImage) {
  const ImageFolder folder;
  EXPECT_TRUE(contains(run({"data", "verify", folder.images()}).out, "ok, 12 images decoded"));
  folder.cut("ant/grey.jpg");
  folder.cut("cat/wide.jpg");
  const Ran ran = run({"data", "verify", folder.images()});
  EXPECT_TRUE(fails(ran, 4, {"2 of 12 images", "cannot be decoded", "'ant/grey.jpg'"}));
  EXPECT_TRUE(contains(ran.out, "ant/grey.jpg: ") && contains(ran.out, "cat/wide.jpg: "));
  const Ran as_json = run({"data", "verify", folder.images(), "--json"});
  EXPECT_EQ(as_json.code, 4);
  EXPECT_EQ(json::parse(as_json.out)["bad"].size(), 2u);
}

// Three images of 4 x 5 to train on, and two to test.
struct IdxFolder : TestFolder {
  IdxFolder() {
    using namespace testing_files;
    put("train-images-idx3-ubyte", idx(0x0803, {3, 4, 5}, counting(60)));
    put("train-labels-idx1-ubyte", idx(0x0801, {3}, {2, 0, 1}));
    put("t10k-images-idx3-ubyte.gz", gzip(idx(0x0803, {2, 4, 5}, counting(40))));
    put("t10k-labels-idx1-ubyte", idx(0x0801, {2}, {2, 2}));
  }
  void put(const std::string& name, const Bytes& bytes) const { testing_files::write_bytes(*this / name, bytes); }
};

TEST(DataInspect, CountsIdxFilesOfOneSplitOrOfBoth) {
  const IdxFolder folder;
  const json all = json::parse(run({"data", "inspect", folder / "", "--json"}).out),
             test = json::parse(run({"data", "inspect", folder / "", "--split", "test", "--json"}).out);
  EXPECT_EQ(all["images"], 5);
  EXPECT_EQ(all["classes"], json({{"0", 1}, {"1", 1}, {"2", 3}}));
  EXPECT_EQ(all["class_from"], "labels");
  EXPECT_EQ(all["kinds"], json({{"idx grey", 5}}));
  EXPECT_EQ(all["largest"], json({{"width", 5}, {"height", 4}}));
  EXPECT_EQ(test["images"], 2);
  EXPECT_EQ(test["classes"], json({{"2", 2}}));
  EXPECT_TRUE(contains(run({"data", "inspect", folder / ""}).out, "classes: 3 by labels, of 1 to 3 images"));
  EXPECT_TRUE(fails(run({"data", "inspect", folder / "", "--split", "dev"}), 2, {"--split dev", "train and test"}));
  EXPECT_TRUE(fails(run({"data", "inspect", folder / "", "--class-from", "folder"}), 2, {"labels of their own"}));
}

TEST(DataVerify, ReadsIdxFilesWhole) {
  const IdxFolder folder;
  EXPECT_TRUE(contains(run({"data", "verify", folder / ""}).out, "/train and "));
  EXPECT_EQ(json::parse(run({"data", "verify", folder / "", "--json"}).out)["images"], 5);
  Bytes cut = testing_files::read_bytes(folder / "t10k-images-idx3-ubyte.gz");
  cut.resize(cut.size() - 3);
  folder.put("t10k-images-idx3-ubyte.gz", cut);
  EXPECT_TRUE(succeeds(run({"data", "verify", folder / "", "--split", "train"}))) << "the other split is whole";
  EXPECT_TRUE(fails(run({"data", "verify", folder / ""}), 4, {"t10k-images-idx3-ubyte.gz"}));
}

TEST(BenchData, TellsRatesByThreadsAndWhereTheTimeGoes) {
  const ImageFolder folder;
  const Words words = {"bench",     "data", tiny_config(), "--threads",   "1,2",
                       "--seconds", "0.05", "--json",      folder / "out"};
  ASSERT_TRUE(succeeds(run(words + sets_for(folder.images()))));
  const json out = json::parse(bytes_of_file(folder / "out"));
  ASSERT_EQ(out["rates"].size(), 2u);
  for (const json& rate : out["rates"]) EXPECT_GT(rate["images_per_s"], 0);
  EXPECT_GT(out["per_image"]["decode_us"], out["per_image"]["mirror_us"]);
  EXPECT_EQ(out["micro_batch_images"], 3);
}

// One photograph per class of ImageNet. They lie beside the checkout, or nowhere.
TEST(Photographs, OfEveryKindLoad) {
  const std::string tar = std::string(SHARDIT_CHECKOUT) + "/../shared/data/imagenet-sample-1000.tar";
  if (!exists(tar)) GTEST_SKIP() << "no photographs beside this checkout: " << tar;
  const json found = json::parse(run({"data", "inspect", tar, "--json"}).out);
  EXPECT_EQ(found["images"], 1000);
  EXPECT_EQ(found["classes"].size(), 1000u);
  EXPECT_EQ(found["kinds"], json({{"jpeg grey", 23}, {"jpeg rgb", 977}}));
  EXPECT_TRUE(contains(run({"data", "verify", tar}).out, "ok, 1000 images decoded"));
  const TestFolder folder;
  EXPECT_TRUE(succeeds(train(folder / "run", on_images(tar, {"data.class_from=prefix", "model.num_classes=1000"}))));
}

}  // namespace
}  // namespace shardit
