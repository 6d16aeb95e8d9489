// With a listener in this program, as NVTX has it for profilers that are linked in.
#include "core/nvtx_range.h"

#if __has_include(<nvtx3/nvToolsExt.h>)
#include <gtest/gtest.h>
#include <nvtx3/nvToolsExt.h>

#include <string>
#include <vector>

#include "core/program.h"
#include "tests/core/test_ops.h"

namespace {

thread_local std::vector<std::string> heard;

int NVTX_API begin(const char* name) { return heard.push_back(name), 0; }
int NVTX_API end() { return heard.push_back("."), 0; }

int NVTX_API listen(NvtxGetExportTableFunc_t tables) {
  const auto* callbacks = static_cast<const NvtxExportTableCallbacks*>(tables(NVTX_ETID_CALLBACKS));
  NvtxFunctionTable table = nullptr;
  unsigned size = 0;
  if (!callbacks->GetModuleFunctionTable(NVTX_CB_MODULE_CORE, &table, &size)) return 0;
  *table[NVTX_CBID_CORE_RangePushA] = reinterpret_cast<NvtxFunctionPointer>(&begin);
  *table[NVTX_CBID_CORE_RangePop] = reinterpret_cast<NvtxFunctionPointer>(&end);
  return 1;
}

// NVTX asks it at its first call.
const bool listening = (InitializeInjectionNvtx2_fnptr = &listen) != nullptr;

}  // namespace

namespace shardit {
namespace {

using Words = std::vector<std::string>;

// Around a graph, and in it around each node that runs, by its label.
TEST(NvtxRange, NamesGraphsAndTheirNodes) {
  Graph g;
  Value x = test::in(g, "x");
  for (const char* name : {"blocks.0", "blocks.1"}) {
    const auto scope = g.scope(name);
    x = g.add1(test::plain, {x});
  }
  g.keep(x, "y");
  Pool pool(1);
  const auto device = make_cpu_device();
  Program program(compile({{"micro_step", std::move(g)}}, 1), *device, pool);
  ASSERT_TRUE(listening);
  heard.clear();
  program.run("micro_step");
  EXPECT_EQ(heard, (Words{"micro_step", "blocks.0", ".", "blocks.1", ".", "."}));
}

}  // namespace
}  // namespace shardit
#endif
