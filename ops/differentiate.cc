#include "ops/differentiate.h"

#include <algorithm>

#include <glog/logging.h>
#include "core/error.h"
#include "core/op_card.h"
#include "ops/ops.h"

namespace shardit {
namespace {

struct Contribution {
  int consumer;  // node index: gradients are summed in consumer order
  Value value;
};

// Which values depend on one of `wrt`: only their gradients are wanted.
std::vector<bool> depends_on(const Graph& graph, const std::vector<Value>& wrt) {
  std::vector<bool> result(graph.value_count(), false);
  for (const Value& v : wrt) result[v.id] = true;
  for (int n = 0; n < graph.node_count(); ++n) {
    const Node& node = graph.node(n);
    const bool any = std::any_of(node.in.begin(), node.in.end(), [&](int v) { return result[v]; });
    if (any && node.card->grad && is_floating(graph.info(node.out[0]).type.dtype))
      for (int v : node.out) result[v] = true;
  }
  return result;
}

Value total(std::vector<Contribution>& contributions) {
  if (contributions.empty()) return {};
  std::stable_sort(contributions.begin(), contributions.end(),
                   [](const Contribution& a, const Contribution& b) { return a.consumer < b.consumer; });
  Value sum = contributions[0].value;
  for (size_t i = 1; i < contributions.size(); ++i) sum = add(sum, contributions[i].value);
  return sum;
}

}  // namespace

std::vector<Value> backpropagate(Graph& graph, const std::vector<Value>& of, const std::vector<Value>& dof,
                                 const std::vector<Value>& wrt) {
  const int forward_nodes = graph.node_count();
  const std::vector<bool> wanted = depends_on(graph, wrt);
  std::vector<std::vector<Contribution>> gradients(graph.value_count());
  for (size_t i = 0; i < of.size(); ++i) gradients[of[i].id].push_back({forward_nodes, dof[i]});

  graph.set_backward(true);
  for (int n = forward_nodes - 1; n >= 0; --n) {
    const Node node = graph.node(n);  // a copy: the rule appends nodes
    const bool reached =
        std::any_of(node.out.begin(), node.out.end(), [&](int v) { return wanted[v] && !gradients[v].empty(); });
    if (!reached || node.in.empty()) continue;
    const Graph::Scope scope = graph.scope_of(node, "grad ");
    GradArgs args{.graph = graph, .attrs = node.attrs.get(), .shared_attrs = node.attrs};
    for (int v : node.in) args.in.push_back(graph.value(v));
    for (int v : node.out) {
      args.out.push_back(graph.value(v));
      args.dout.push_back(total(gradients[v]));
    }
    const std::vector<Value> din = node.card->grad(args);
    CHECK_EQ(din.size(), node.in.size()) << node.card->name
                                         << ": its gradient rule gives another number of gradients than inputs";
    for (size_t i = 0; i < din.size(); ++i)
      if (din[i] && wanted[node.in[i]]) {
        CHECK(din[i].shape() == graph.info(node.in[i]).type.shape)
            << node.label << " (" << node.card->name << "): the gradient of input " << i << " is "
            << din[i].shape().str() << ", the input " << graph.info(node.in[i]).type.shape.str();
        gradients[node.in[i]].push_back({n, din[i]});
      }
  }
  std::vector<Value> result;
  for (const Value& v : wrt) {
    const Graph::Scope scope = graph.scope_of(graph.producer(v.id), "grad ");
    result.push_back(total(gradients[v.id]));
    REQUIRE(result.back(), graph.producer(v.id).label + ": nothing that is differentiated depends on it");
  }
  graph.set_backward(false);
  return result;
}

std::vector<Value> differentiate(Graph& graph, Value loss, const std::vector<Value>& wrt) {
  CHECK_EQ(loss.shape().numel(), 1) << "the loss is not a scalar";
  const Graph::Scope scope = graph.scope("grad loss");
  const Value one = table(graph, "one", {1.0});
  return backpropagate(graph, {loss}, {reshape(one, loss.shape())}, wrt);
}

}  // namespace shardit
