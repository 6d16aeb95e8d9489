// A running step takes nothing from the heap: every operator new of this program is counted. What libraries take inside
// a LibraryScope (ops/onednn.h) is counted apart.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "ops/onednn.h"
#include "tests/step/tiny_run.h"

namespace {

std::atomic<bool> counting{false};
std::atomic<int64_t> ours{0}, libraries{0};

void* counted(std::size_t bytes, std::size_t alignment) {
  if (counting) ++(shardit::LibraryScope::active() ? libraries : ours);
  void* memory =
      std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment + (bytes ? 0 : alignment));
  if (!memory) throw std::bad_alloc();
  return memory;
}

void released(void* memory) {
  if (counting && memory) ++(shardit::LibraryScope::active() ? libraries : ours);
  std::free(memory);
}

constexpr std::size_t kAlign = alignof(std::max_align_t);

}  // namespace

void* operator new(std::size_t n) { return counted(n, kAlign); }
void* operator new[](std::size_t n) { return counted(n, kAlign); }
void* operator new(std::size_t n, std::align_val_t a) { return counted(n, static_cast<std::size_t>(a)); }
void* operator new[](std::size_t n, std::align_val_t a) { return counted(n, static_cast<std::size_t>(a)); }
void* operator new(std::size_t n, const std::nothrow_t&) noexcept {  // std::stable_sort's buffer
  try {
    return counted(n, kAlign);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}
void operator delete(void* p) noexcept { released(p); }
void operator delete[](void* p) noexcept { released(p); }
void operator delete(void* p, std::size_t) noexcept { released(p); }
void operator delete[](void* p, std::size_t) noexcept { released(p); }
void operator delete(void* p, std::align_val_t) noexcept { released(p); }
void operator delete[](void* p, std::align_val_t) noexcept { released(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { released(p); }
void operator delete[](void* p, std::size_t, std::align_val_t) noexcept { released(p); }

namespace shardit {
namespace {

class Heap : public testing::TestWithParam<std::pair<const char*, std::vector<std::string>>> {};

TEST_P(Heap, IsLeftAloneByEveryStepAfterTheFirst) {
  test::TinyRun run(test::tiny_config(GetParam().second), test::Lowering{}, 2);
  run.step();
  ours = libraries = 0;
  counting = true;
  for (int s = 0; s < 4; ++s) run.step();
  counting = false;
  std::printf("4 steps of 4 micro-batches: %ld calls of the heap by us, %ld inside libraries\n", ours.load(),
              libraries.load());
  EXPECT_EQ(ours, 0);
}

// Names the nodes, where the test above only counts.
TEST_P(Heap, IsLeftAloneByEveryNode) {
  test::TinyRun run(test::tiny_config(GetParam().second), test::Lowering{}, 2);
  run.step();
  const char* guilty[64];
  size_t found = 0;
  int64_t before = ours = 0;
  run.program().observe([&](const Node& node, std::span<const TensorRef>) {
    if (ours > before && found < std::size(guilty)) guilty[found++] = node.card->name;
    before = ours;
  });
  counting = true;
  run.step();
  counting = false;
  for (size_t i = 0; i < found; ++i) ADD_FAILURE() << guilty[i] << " uses the heap";
}

TEST_P(Heap, IsLeftAloneByTheResumeProof) {
  const RunConfig config = test::tiny_config(GetParam().second);
  const RunSetup setup = make_setup(config);
  test::TinyRun run(config, compile_run(setup, run_program_options(config, setup), 2), 2);
  run.step();
  ours = 0;
  counting = true;
  run.program().run("resume_proof");
  counting = false;
  EXPECT_EQ(ours, 0);
}

TEST(HeapCounter, CountsWhatItShould) {
  ours = libraries = 0;
  counting = true;
  delete new int;
  {
    const LibraryScope library;
    delete new int;
  }
  counting = false;
  EXPECT_EQ(ours, 2);
  EXPECT_EQ(libraries, 2);
}

using Config = std::pair<const char*, std::vector<std::string>>;
INSTANTIATE_TEST_SUITE_P(Configs, Heap,
                         testing::Values(Config{"DdpmInFp32", {}}, Config{"DdpmInBf16", test::kDdpmInBf16},
                                         Config{"EdmInBf16", test::kEdmInBf16}),
                         [](const auto& info) { return info.param.first; });

}  // namespace
}  // namespace shardit
