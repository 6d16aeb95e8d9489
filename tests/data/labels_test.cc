#include "data/labels.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "tests/data/tar_files.h"

namespace shardit {
namespace {

using namespace testing_files;

// Images of these names, which hold nothing.
struct Images {
  explicit Images(const std::vector<std::string>& names) {
    NamedFiles entries;
    for (const std::string& name : names) entries.emplace_back(name, Bytes{});
    write_bytes(folder / "x.tar", make_tar(entries));
    files.emplace(folder / "x.tar", ".");
  }
  Folder folder;
  std::optional<ImageFiles> files;
};

Labels label(const Images& images, ClassFrom from = ClassFrom::kFolder, int64_t classes = 0,
             const std::optional<ClassNames>& known = std::nullopt) {
  return label_images(*images.files, from, "", classes, known);
}

template <typename... Arguments> std::string mistake(Arguments&&... arguments) {
  return message_of<UserError>([&] { label(arguments...); });
}

using Numbers = std::vector<int32_t>;

TEST(Labels, CountTheSortedFolderNames) {
  const Labels labels = label(Images({"zebra/a.jpg", "ant/deep/b.jpg", "ant/z.jpg", "cat/c.jpg"}));
  EXPECT_EQ(labels.of_image, (Numbers{0, 0, 1, 2}));
  EXPECT_EQ(labels.names.names, (std::vector<std::string>{"ant", "cat", "zebra"}));
  EXPECT_EQ(labels.names.classes, 3);
}

TEST(Labels, AreTheNumbersWhereFoldersAreNumbers) {
  const Labels labels = label(Images({"10/a.jpg", "2/b.jpg", "0003/c.jpg"}), ClassFrom::kFolder, 11);
  EXPECT_EQ(labels.of_image, (Numbers{3, 10, 2})) << "in order of names: 0003, 10, 2";
  EXPECT_EQ(labels.names.classes, 11);
  EXPECT_TRUE(labels.names.names.empty());
  EXPECT_EQ(label(Images({"10/a.jpg", "x/b.jpg"})).of_image, (Numbers{0, 1})) << "one word, and all are words";
}

TEST(Labels, OfImageNetComeFromThePrefixAsInAdm) {
  const Labels labels = label(Images({"n02_dog_4.jpg", "n01_1.jpg", "any/n02_7.jpg"}), ClassFrom::kPrefix);
  EXPECT_EQ(labels.of_image, (Numbers{1, 0, 1}));
  EXPECT_TRUE(says(mistake(Images({"n01.jpg"}), ClassFrom::kPrefix), {"'n01.jpg'", "no '_'", "data.class_from"}));
}

TEST(Labels, BeyondTheModelAreTheUsersMistake) {
  const Images numbers({"0/a.jpg", "7/b.jpg"}), words({"ant/a.jpg", "cat/b.jpg", "dog/c.jpg"});
  EXPECT_TRUE(says(mistake(numbers, ClassFrom::kFolder, 7),
                   {"'7/b.jpg'", "has class 7:", "classes 0 to 6", "raise model.num_classes"}));
  EXPECT_TRUE(says(mistake(words, ClassFrom::kFolder, 2), {"'dog/c.jpg'", "class 2 ('dog')", "classes 0 to 1"}));
  EXPECT_EQ(label(words, ClassFrom::kFolder, 3).names.classes, 3);
}

TEST(Labels, AnImageWithoutAFolderHasNoClass) {
  EXPECT_TRUE(says(mistake(Images({"cat/a.jpg", "b.jpg"})), {"'b.jpg'", "lies in no folder", "data.class_from"}));
}

// A held-out split may lack a class, and its images keep their numbers all the same.
TEST(Labels, OfAnotherSplitAreThoseOfTheTrainingSplit) {
  const ClassNames known = label(Images({"ant/1.jpg", "bee/2.jpg", "cat/3.jpg"})).names;
  EXPECT_EQ(label(Images({"ant/7.jpg", "cat/8.jpg"}), ClassFrom::kFolder, 3, known).of_image, (Numbers{0, 2}));
  EXPECT_TRUE(says(mistake(Images({"dog/9.jpg"}), ClassFrom::kFolder, 3, known), {"'dog'", "no training image has"}));
  const ClassNames numbers = label(Images({"0/1.jpg", "4/1.jpg"})).names;
  EXPECT_EQ(label(Images({"4/1.jpg"}), ClassFrom::kFolder, 5, numbers).of_image, (Numbers{4}));
  EXPECT_TRUE(says(mistake(Images({"x/1.jpg"}), ClassFrom::kFolder, 5, numbers), {"'x'", "no training image has"}));
}

// In a folder and in its tar; what has no class, or is no image, counts nowhere.
TEST(ListClasses, FindsThoseThatTheLabelsHave) {
  const NamedFiles good = {{"t/n02_dog/n7_a.jpg", {}}, {"t/n01_ant/deep/n8_b.PNG", {}}, {"t/n02_dog/n8_c.jpg", {}}},
                   numbers = {{"t/0/7_a.jpg", {}}, {"t/12/7_b.jpg", {}}};
  const NamedFiles extra = {{"t/n03_empty/n9_x.txt", {}}, {"t/n04_hidden/.n10_y.jpg", {}}, {"u/n05/n11_z.jpg", {}}};
  for (const NamedFiles& files : {good, numbers}) {
    const Folder folder;
    NamedFiles all = files;
    all.insert(all.end(), extra.begin(), extra.end());
    put_files(folder / "images", all);
    write_bytes(folder / "images.tar", make_tar(all));
    for (const ClassFrom from : {ClassFrom::kFolder, ClassFrom::kPrefix})
      for (const std::string& path : {folder / "images", folder / "images.tar"}) {
        const ClassNames expected = label_images(ImageFiles(path, "t"), from, "", 0).names;
        const ClassNames classes = list_classes(path, "t", from, "");
        EXPECT_EQ(classes.names, expected.names) << path;
        EXPECT_EQ(classes.classes, expected.classes) << path;
      }
  }
}

TEST(ListClasses, NeedsNoImageWhereThereIsAList) {
  const Folder folder;
  const std::string list = folder / "classes.txt", text = "a b.jpg  tulip\n\nb.jpg rose\r\nc.jpg tulip";
  write_bytes(list, Bytes(text.begin(), text.end()));
  EXPECT_EQ(list_classes(folder / "gone", ".", ClassFrom::kList, list).names,
            (std::vector<std::string>{"rose", "tulip"}));
}

TEST(ListClasses, SaysWhatIsMissing) {
  const Folder folder;
  put_files(folder.path(), {{"t/top.jpg", {}}, {"t/cat/a.txt", {}}});
  const auto mistake = [&](const std::string& split, ClassFrom from) {
    return message_of<Error>([&] { list_classes(folder.path(), split, from, folder / "list"); });
  };
  EXPECT_TRUE(says(mistake("t", ClassFrom::kFolder), {"no classes in", "/t'"}));
  EXPECT_TRUE(says(mistake("u", ClassFrom::kPrefix), {"cannot list", "/u'", "No such file"}));
  EXPECT_TRUE(says(mistake("t", ClassFrom::kList), {"no class list", "/list'"}));
}

TEST(ClassList, NamesEachImageOnce) {
  const Images images({"a b.jpg", "c.jpg", "d/e.png"});
  const auto words = [&](const std::string& text) { return parse_class_list(text, "list", *images.files); };
  const auto mistake = [&](const std::string& text) { return message_of<UserError>([&] { words(text); }); };
  EXPECT_EQ(words("c.jpg 2\r\n\n  a b.jpg\t 0\nd/e.png   17"), (std::vector<std::string>{"0", "2", "17"}));
  EXPECT_TRUE(says(mistake("c.jpg 1\na b.jpg 2"), {"'d/e.png'", "has no line in 'list'"}));
  EXPECT_TRUE(says(mistake("c.jpg 1\nc.jpg 1\n"), {"'list' line 2", "'c.jpg' has a class already"}));
  EXPECT_TRUE(says(mistake("\nx.jpg 1"), {"'list' line 2", "there is no image 'x.jpg'"}));
  EXPECT_TRUE(says(mistake("c.jpg"), {"'list' line 1", "expected NAME CLASS, got 'c.jpg'"}));
  EXPECT_TRUE(says(mistake(""), {"has no line"}));
}

TEST(ClassList, IsReadFromItsFile) {
  const Images images({"a.jpg", "b.jpg"});
  const std::string list = images.folder / "classes.txt";
  EXPECT_TRUE(says(message_of<UserError>([&] { label_images(*images.files, ClassFrom::kList, list, 2); }),
                   {"no class list", "classes.txt"}));
  const std::string text = "a.jpg tulip\nb.jpg rose\n";
  write_bytes(list, Bytes(text.begin(), text.end()));
  const Labels labels = label_images(*images.files, ClassFrom::kList, list, 2);
  EXPECT_EQ(labels.of_image, (Numbers{1, 0}));
  EXPECT_EQ(labels.names.names, (std::vector<std::string>{"rose", "tulip"}));
}

}  // namespace
}  // namespace shardit
