// What device kernels do outside the samples of their cards.
#include <gtest/gtest.h>

#include "core/cuda.h"
#include "core/layout.h"
#include "tests/ops/device_nodes.h"
#include "tests/ops/sample_graph.h"

namespace shardit {
namespace {

template <typename T> Bytes bytes_of(const std::vector<T>& x) {
  Bytes bytes(x.size() * sizeof(T));
  std::memcpy(bytes.data(), x.data(), bytes.size());
  return bytes;
}

NodeResult run_on_shim(const NodeCase& c) { return run_on_device(c, *host_memory()); }

TEST(DeviceAdamw, WritesNothingButTheCopyWhereTheNormIsNotFinite) {
  Graph graph(DType::kF32);
  const Type flat = {DType::kF32, {kChunk}};
  std::vector<Value> v;
  for (const Type& type : {flat, flat, flat, flat, Type{DType::kF64, {3}}, Type{DType::kF64, {4}}, flat})
    v.push_back(input(graph, "in" + std::to_string(v.size()), type, BufferClass::kActivations));
  AdamWAttrs attrs;
  attrs.emas = 1;
  const std::vector<Value> out = adamw({v[0], v[1], v[2], {v[6]}}, v[3], v[4], v[5], attrs, true);
  NodeCase c{&graph, &graph.producer(out[0].id), {}, "adamw_copy"};
  for (int i = 0; i < 4; ++i) c.in.push_back(bytes_of(std::vector<float>(kChunk, static_cast<float>(i + 1))));
  c.in.push_back(bytes_of<double>({NAN, 1, 0}));
  c.in.push_back(bytes_of<double>({1e-3, 0.1, 0.1, 0.9}));
  c.in.push_back(bytes_of(std::vector<float>(kChunk, 7)));
  const NodeResult result = run_on_shim(c);
  EXPECT_EQ(difference(c, run_on_cpu(c), result), "");
  const std::vector<Bytes> unchanged = {c.in[0], c.in[0], c.in[1], c.in[2], c.in[6]};
  EXPECT_EQ(result.out, unchanged);
}

TEST(DeviceEmbedding, StopsAtAnIndexOutsideTheTable) {
  for (const int64_t index : {-1, 3}) {
    Graph graph(DType::kF32);
    const Value table = input(graph, "table", {DType::kF32, {3, 4}}, BufferClass::kActivations);
    const Value at = input(graph, "index", {DType::kI64, {1}}, BufferClass::kActivations);
    const Value rows = embedding(table, at);
    const NodeCase c{&graph, &graph.producer(rows.id), {Bytes(48), bytes_of<int64_t>({index})}, "embedding"};
    EXPECT_THROW(run_on_shim(c), simt::Error);
  }
}

}  // namespace
}  // namespace shardit
