#include "data/npz.h"

#include <gtest/gtest.h>

#include "tests/data/files.h"

namespace shardit {
namespace {

using namespace testing_files;

bool python(const std::string& program) {
  return std::system(("/usr/bin/python3 -c \"" + program + "\"").c_str()) == 0;
}

// Two images of 2 x 3 with three channels, their labels, and one array of each floating dtype.
void write_sample(const std::string& path, uint64_t zip64_from = 0xffffffff) {
  NpzWriter npz(path, zip64_from);
  const auto add = [&](const NpzArray& array, const auto& values) {
    const char* bytes = reinterpret_cast<const char*>(values.data());
    npz.begin(array);
    for (size_t at = 0; at < array.bytes(); at += 5) npz.write(bytes + at, std::min<size_t>(5, array.bytes() - at));
  };
  add({"arr_0", DType::kU8, {2, 2, 3, 3}}, counting(36));
  add({"arr_1", DType::kI64, {2}}, std::vector<int64_t>{7, -1});
  add({"mu", DType::kF64, {3}}, std::vector<double>{0.5, -2, 1e300});
  add({"scalar", DType::kF32, {}}, std::vector<float>{0.25f});
  npz.close();
}

void expect_sample(const std::string& path) {
  NpzReader npz(path);
  ASSERT_EQ(npz.arrays().size(), 4u);
  EXPECT_EQ(npz.find("arr_0")->shape, Shape({2, 2, 3, 3}));
  EXPECT_EQ(npz.find("arr_2"), nullptr);
  EXPECT_EQ(npz.read_all<int64_t>("arr_1"), (std::vector<int64_t>{7, -1}));
  EXPECT_EQ(npz.read_all<uint8_t>("arr_0"), counting(36));
  EXPECT_EQ(npz.read_all<double>("mu"), (std::vector<double>{0.5, -2, 1e300}));
  EXPECT_EQ(npz.read_all<float>("scalar"), std::vector<float>{0.25f});
}

constexpr char kNumpySample[] =
    "arr_0=(numpy.arange(36) % 251).astype('u1').reshape(2,2,3,3), arr_1=numpy.array([7,-1]), "
    "mu=numpy.array([0.5,-2,1e300]), scalar=numpy.float32(0.25)";

TEST(Npz, ReadsWhatItWrote) {
  const Folder folder;
  for (uint64_t zip64_from : {uint64_t{0xffffffff}, uint64_t{100}, uint64_t{0}}) {
    write_sample(folder / "a.npz", zip64_from);
    expect_sample(folder / "a.npz");
  }
}

TEST(Npz, NumpyReadsWhatWeWrite) {
  if (!python("import numpy")) GTEST_SKIP() << "numpy is not installed";
  const Folder folder;
  for (uint64_t zip64_from : {uint64_t{0xffffffff}, uint64_t{300}, uint64_t{0}}) {
    write_sample(folder / "a.npz", zip64_from);
    EXPECT_TRUE(python(
        "import numpy, zipfile; path = '" + (folder / "a.npz") + "'; f = numpy.load(path); w = dict(" + kNumpySample +
        "); assert f.files == list(w), f.files; " +
        "assert all((f[k] == w[k]).all() and f[k].dtype == w[k].dtype and f[k].shape == w[k].shape for k in w); " +
        "assert zipfile.ZipFile(path).testzip() is None"))
        << zip64_from;
  }
}

TEST(Npz, ReadsWhatNumpyWritesStoredAndDeflated) {
  if (!python("import numpy")) GTEST_SKIP() << "numpy is not installed";
  const Folder folder;
  for (const std::string save : {"savez", "savez_compressed"}) {
    ASSERT_TRUE(python("import numpy; numpy." + save + "('" + (folder / "a.npz") + "', " + kNumpySample + ")"));
    expect_sample(folder / "a.npz");
  }
}

TEST(Npz, RefusesWhatIsNotAPlainArrayAndSaysWhy) {
  if (!python("import numpy")) GTEST_SKIP() << "numpy is not installed";
  const Folder folder;
  const std::pair<const char*, const char*> cases[] = {
      {"numpy.zeros((2,3)).T", "Fortran order"},      {"numpy.zeros(3, '>f4')", "element type '>f4'"},
      {"numpy.zeros(3, 'c8')", "element type '<c8'"}, {"numpy.zeros(2, [('x','f4')])", "plain array"},
      {"numpy.array([None])", "element type '|O'"},   {"numpy.zeros((1,)*9)", "at most 8"}};
  for (const auto& [array, complaint] : cases) {
    ASSERT_TRUE(python("import numpy; numpy.savez('" + (folder / "a.npz") + "', x=" + array + ")"));
    EXPECT_TRUE(says(message_of<IoError>([&] { NpzReader npz(folder / "a.npz"); }), {"a.npz", complaint}));
  }
}

// All that a file says about its arrays, down to the last byte.
std::vector<std::string> contents(const std::string& path) {
  NpzReader npz(path);
  std::vector<std::string> result;
  for (const NpzArray& array : npz.arrays()) {
    npz.open(array.name);
    std::string bytes(array.bytes(), 0);
    npz.read(bytes.data(), bytes.size());
    result.push_back(array.name + " " + name_of(array.dtype) + " " + array.shape.str() + " " + bytes);
  }
  return result;
}

TEST(Npz, EveryCutIsRefused) {
  const Folder folder;
  write_sample(folder / "a.npz");
  for (size_t kept = read_bytes(folder / "a.npz").size(); kept-- > 0;) {
    std::filesystem::resize_file(folder / "a.npz", kept);
    EXPECT_THROW(contents(folder / "a.npz"), IoError) << kept;
  }
}

void expect_no_silent_change(const std::string& path) {
  const std::vector<std::string> expected = contents(path);
  const Bytes whole = read_bytes(path);
  for (size_t at = 0; at < whole.size(); ++at) {
    for (uint8_t flip : {0x01, 0x10, 0xff}) {
      write_byte(path, at, whole[at] ^ flip);
      try {
        EXPECT_EQ(contents(path), expected) << "byte " << at;  // a field that nobody reads
      } catch (const IoError&) {}
    }
    write_byte(path, at, whole[at]);
  }
}

TEST(Npz, NoChangedByteChangesAnArrayUnnoticed) {
  const Folder folder;
  for (uint64_t zip64_from : {uint64_t{0xffffffff}, uint64_t{0}}) {
    write_sample(folder / "a.npz", zip64_from);
    expect_no_silent_change(folder / "a.npz");
  }
  if (!python("import numpy")) return;
  ASSERT_TRUE(python("import numpy; numpy.savez_compressed('" + (folder / "a.npz") + "', " + kNumpySample + ")"));
  expect_no_silent_change(folder / "a.npz");
}

TEST(Npz, TheLocalHeaderMustAgreeWithTheDirectory) {
  const Folder folder;
  write_sample(folder / "a.npz");
  const Bytes whole = read_bytes(folder / "a.npz");
  for (size_t at = 14; at < 26; ++at) {  // checksum and both sizes of the first member
    write_byte(folder / "a.npz", at, whole[at] ^ 1);
    EXPECT_TRUE(says(message_of<IoError>([&] { contents(folder / "a.npz"); }), {"arr_0.npy is described differently"}))
        << at;
    write_byte(folder / "a.npz", at, whole[at]);
  }
}

TEST(Npz, AMissingArrayOrAnotherDtypeIsNamed) {
  const Folder folder;
  write_sample(folder / "a.npz");
  NpzReader npz(folder / "a.npz");
  EXPECT_TRUE(says(message_of<IoError>([&] { npz.open("sigma"); }), {"it holds arr_0 arr_1 mu scalar"}));
  EXPECT_TRUE(says(message_of<IoError>([&] { npz.read_all<float>("mu"); }), {"mu is fp64", "expected fp32"}));
  EXPECT_THROW(NpzReader(folder / "none.npz"), IoError);
}

TEST(Npz, AnUnfinishedFileLeavesNothingBehind) {
  const Folder folder;
  {
    NpzWriter npz(folder / "a.npz");
    npz.begin({"arr_0", DType::kU8, {4}});
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
  {
    const SmallFiles limit(500);  // bytes: as if the disk were full
    EXPECT_TRUE(says(message_of<IoError>([&] { write_sample(folder / "a.npz"); }), {folder / "a.npz"}));
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
  EXPECT_THROW(NpzWriter("/nonexistent/a.npz"), IoError);
}

}  // namespace
}  // namespace shardit
