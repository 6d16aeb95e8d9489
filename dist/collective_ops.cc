#include "dist/collective_ops.h"

#include <glog/logging.h>
#include "core/error.h"

namespace shardit {
namespace {

struct GroupAttrs : Attrs {
  Group group;
  std::string label;
  std::string text() const override { return group.name + " of " + std::to_string(group.size); }
};

Communicator& communicator(const GroupAttrs& a) {
  CHECK(a.group.communicator) << a.label << ": a graph that was made to be planned cannot run";
  return *a.group.communicator;
}

DeviceCommunicator& on_devices(const GroupAttrs& a) {
  CHECK(a.group.on_devices) << a.label << ": the ranks' devices were not connected";
  return *a.group.on_devices;
}

int64_t part_bytes(const TensorRef& whole, const GroupAttrs& a) { return whole.type.bytes() / a.group.size; }

// Of `bytes` on the group's every rank, what a rank sends to the others.
double sent(const NodeTypes& n, double bytes) {
  const double size = n.attr<GroupAttrs>().group.size;
  return bytes * (size - 1) / size;
}

std::vector<Type> gathered_shape(const NodeTypes& n) {
  return {{n.in[0].dtype, {n.in[0].shape.numel() * n.attr<GroupAttrs>().group.size}}};
}

void require_parts(const NodeTypes& n) {
  const int size = n.attr<GroupAttrs>().group.size;
  REQUIRE(n.in[0].shape.rank() == 1 && n.in[0].shape[0] % size == 0,
          n.in[0].str() + " is given, expected a flat tensor of " + std::to_string(size) + " equal parts");
}

Value add_collective(const OpCard& card, Value x, const Group& group, const std::string& label) {
  if (group.size == 1) return x;
  auto attrs = std::make_shared<GroupAttrs>();
  attrs->group = group;
  attrs->label = label;
  return x.graph->add1(card, {x}, attrs);
}

const OpCard all_gather_card = {
    .name = "all_gather",
    .shape = gathered_shape,
    .cost =
        [](const NodeTypes& n) {
          return Cost{.bytes = streamed(n), .wire_bytes = sent(n, static_cast<double>(n.out[0].bytes()))};
        },
    .in_roles = {Role::kAny},
    .out_roles = {Role::kAny},
    .cpu =
        [](const KernelArgs& k) {
          const auto& a = k.attr<GroupAttrs>();
          communicator(a).all_gather(a.label.c_str(), k.in[0].data, k.out[0].data, k.in[0].type.bytes());
        },
    .cuda =
        [](const KernelArgs& k, void* stream) {
          const auto& a = k.attr<GroupAttrs>();
          on_devices(a).all_gather(a.label.c_str(), k.in[0].data, k.out[0].data, k.in[0].type.bytes(), stream);
        },
    .stream = Stream::kWire,
};

const OpCard all_to_all_card = {
    .name = "all_to_all",
    .shape =
        [](const NodeTypes& n) {
          require_parts(n);
          return std::vector{n.in[0]};
        },
    .cost =
        [](const NodeTypes& n) {
          return Cost{.bytes = streamed(n), .wire_bytes = sent(n, static_cast<double>(n.in[0].bytes()))};
        },
    .in_roles = {Role::kAny},
    .out_roles = {Role::kAny},
    .cpu =
        [](const KernelArgs& k) {
          const auto& a = k.attr<GroupAttrs>();
          communicator(a).all_to_all(a.label.c_str(), k.in[0].data, k.out[0].data, part_bytes(k.in[0], a));
        },
    .cuda =
        [](const KernelArgs& k, void* stream) {
          const auto& a = k.attr<GroupAttrs>();
          on_devices(a).all_to_all(a.label.c_str(), k.in[0].data, k.out[0].data, part_bytes(k.in[0], a), stream);
        },
    .stream = Stream::kWire,
};

const OpCard reduce_scatter_card = {
    .name = "reduce_scatter",
    .shape =
        [](const NodeTypes& n) {
          require_parts(n);
          return std::vector<Type>{{DType::kF32, {n.in[0].shape.numel() / n.attr<GroupAttrs>().group.size}}};
        },
    .cost =
        [](const NodeTypes& n) {
          return Cost{.flops = static_cast<double>(n.in[0].shape.numel()),
                      .bytes = streamed(n),
                      .wire_bytes = sent(n, static_cast<double>(n.in[0].bytes()))};
        },
    .in_roles = {Role::kExact},
    .out_roles = {Role::kExact},
    .cpu =
        [](const KernelArgs& k) {
          const auto& a = k.attr<GroupAttrs>();
          communicator(a).reduce_scatter(a.label.c_str(), k.in[0].as<float>(), k.out[0].as<float>(), k.out[0].numel());
        },
    .cuda =
        [](const KernelArgs& k, void* stream) {
          const auto& a = k.attr<GroupAttrs>();
          on_devices(a).reduce_scatter(a.label.c_str(), k.in[0].as<float>(), k.out[0].as<float>(), k.out[0].numel(),
                                       stream);
        },
    .stream = Stream::kWire,
};

}  // namespace

Value all_gather(Value part, const Group& group, const std::string& label) {
  return add_collective(all_gather_card, part, group, label);
}
Value all_to_all(Value whole, const Group& group, const std::string& label) {
  return add_collective(all_to_all_card, whole, group, label);
}
Value reduce_scatter(Value whole, const Group& group, const std::string& label) {
  return add_collective(reduce_scatter_card, whole, group, label);
}

std::optional<Collective> collective_of(const Node& node) {
  const auto* attrs = dynamic_cast<const GroupAttrs*>(node.attrs.get());
  if (!attrs) return std::nullopt;
  return Collective{attrs->group.name, attrs->group.size, node.card == &all_to_all_card};
}

}  // namespace shardit
