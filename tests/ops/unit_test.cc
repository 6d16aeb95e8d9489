#include "core/error.h"
#include "tests/ops/case.h"

namespace shardit {
namespace {

Unit small_unit() {
  Unit unit{.name = "u"};
  unit.add("a", {3, 5}, {});
  unit.add("b", {1100}, {});
  unit.add("c", {8}, {});
  return unit;
}

int64_t byte_offset(Case& c, const std::string& name) {
  return c.program().memory().graphs[0].values[c.graph.outputs().at(name)].offset;
}

TEST(Unit, UnpackedTensorsAreWindowsOfTheBuffer) {
  const Unit unit = small_unit();
  Case c;
  const Value flat = c.in("flat", {DType::kF32, {unit.elements()}});
  const auto tensors = unpack(flat, unit);
  c.out("flat", flat);
  for (size_t i = 0; i < tensors.size(); ++i) c.out(unit.params[i].name, tensors[i]);
  c.compile();
  for (const Param& p : unit.params) EXPECT_EQ(byte_offset(c, p.name), byte_offset(c, "flat") + 4 * p.offset());
}

TEST(Unit, PackedTensorsAreMadeInPlaceAndPaddingIsZero) {
  const Unit unit = small_unit();
  Case c;
  std::vector<Value> made;
  for (const Param& p : unit.params) {
    const Value x = c.in("in." + p.name, {DType::kF32, p.shape});
    made.push_back(add(x, x));
    c.out(p.name, made.back());
  }
  c.out("flat", pack(c.graph, made, unit));
  const int nodes = c.graph.node_count();
  c.compile();
  EXPECT_EQ(nodes, 7) << "three inputs, three sums, one pack, no copy";
  std::fill_n(static_cast<float*>(c.program().output("case", "flat").data), unit.elements(), NAN);
  for (const Param& p : unit.params) c.set("in." + p.name, std::vector<float>(p.numel(), 1.5f));
  c.run();
  std::vector<float> expected(unit.elements(), 0.0f);
  for (const Param& p : unit.params) {
    EXPECT_EQ(byte_offset(c, p.name), byte_offset(c, "flat") + 4 * p.offset());
    std::fill_n(expected.begin() + p.offset(), p.numel(), 3.0f);
  }
  EXPECT_EQ(c.get<float>("flat"), expected);
}

TEST(Unit, AMissingTensorIsZero) {
  const Unit unit = small_unit();
  Case c;
  const Value x = c.in("x", {DType::kF32, {8}});
  c.out("flat", pack(c.graph, {{}, {}, add(x, x)}, unit));
  c.compile();
  std::fill_n(static_cast<float*>(c.program().output("case", "flat").data), unit.elements(), NAN);
  c.set("x", std::vector<float>(8, 1.0f));
  c.run();
  const auto flat = c.get<float>("flat");
  for (int64_t i = 0; i < unit.elements(); ++i)
    EXPECT_EQ(flat[i], i >= unit.params[2].offset() && i < unit.params[2].offset() + 8 ? 2.0f : 0.0f) << i;
}

TEST(Unit, WhatCannotBePlacedIsCopied) {
  Unit unit{.name = "u"};
  for (const char* name : {"a", "b", "c", "d"}) unit.add(name, {8}, {});
  Case c;
  const Value x = c.in("x", {DType::kF32, {8}}), y = add(x, x);
  const Value view = reshape(c.in("z", {DType::kF32, {2, 4}}), {8});
  const Value flat = pack(c.graph, {x, y, y, view}, unit), again = pack(c.graph, {y, y, y, y}, unit);
  c.out("flat", flat);
  c.out("again", again);
  c.compile();
  c.set("x", std::vector<float>(8, 1.0f));
  c.set("z", std::vector<float>(8, 5.0f));
  c.run();
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(c.get<float>("flat")[i * kChunk + 7], (std::vector<float>{1, 2, 2, 5})[i]);
    EXPECT_EQ(c.get<float>("again")[i * kChunk + 7], 2.0f);
  }
}

TEST(Unit, AWrongShapeNamesTheTensor) {
  Case c;
  const Value x = c.in("x", {DType::kF32, {9}});
  EXPECT_THROW(pack(c.graph, {{}, {}, x}, small_unit()), UserError);
  EXPECT_THROW(unpack(x, small_unit()), UserError);
}

}  // namespace
}  // namespace shardit
