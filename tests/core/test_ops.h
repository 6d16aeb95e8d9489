// Tiny cards for tests of graphs, schedules and plans: they compute x + 1, on any stream, with any alias.
#pragma once

#include "core/op_card.h"

namespace shardit::test {

inline std::vector<Type> same(const NodeTypes& n) { return {n.in[0]}; }
inline Cost free_of_cost(const NodeTypes&) { return {}; }
inline void add_one(const KernelArgs& k) {
  for (int64_t i = 0; i < k.out[0].numel(); ++i) {
    float sum = 1;
    for (const TensorRef& in : k.in) sum += in.as<float>()[i];
    k.out[0].as<float>()[i] = sum;
  }
}

inline OpCard card(const char* name, Stream stream = Stream::kCompute) {
  return {.name = name,
          .shape = same,
          .cost = free_of_cost,
          .in_roles = {Role::kExact},
          .out_roles = {Role::kExact},
          .cpu = add_one,
          .stream = stream};
}

inline const OpCard plain = card("plain");
inline const OpCard wire = card("wire", Stream::kWire);
inline const OpCard in_place = [] {
  OpCard c = card("in_place");
  c.alias = [](const NodeTypes&) { return std::vector{Alias{Alias::kReuse, 0, 0}}; };
  return c;
}();
inline const OpCard update = [] {
  OpCard c = card("update");
  c.alias = [](const NodeTypes&) { return std::vector{Alias{Alias::kUpdate, 0, 0}}; };
  return c;
}();
inline const OpCard view = [] {  // the same bytes
  OpCard c = card("view");
  c.cpu = [](const KernelArgs&) {};
  c.alias = [](const NodeTypes&) { return std::vector{Alias{Alias::kView, 0, 0}}; };
  return c;
}();

// One half of the bytes.
template <int kHalf>
inline const OpCard half = [] {
  OpCard c = view;
  c.shape = [](const NodeTypes& n) { return std::vector{Type{n.in[0].dtype, {n.in[0].shape[0] / 2}}}; };
  c.alias = [](const NodeTypes& n) { return std::vector{Alias{Alias::kView, 0, 0, kHalf * n.in[0].shape[0] / 2}}; };
  return c;
}();

inline Value in(Graph& g, const std::string& name, int64_t n = 64) {
  return input(g, name, {DType::kF32, {n}}, BufferClass::kActivations);
}

}  // namespace shardit::test
