// Device kernels held against the CPU's, node by node: the shim's tests and the program for machines with a GPU.
//
// Every sample of a card becomes a graph with its gradient, in fp32 and in bf16. Its nodes run one after another on the
// CPU; where a card has a device kernel, that runs on the same inputs in memory of its own.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/op_card.h"

namespace shardit {

using Bytes = std::vector<std::byte>;

// Where a kernel's operands lie.
class KernelMemory {
 public:
  virtual ~KernelMemory() = default;
  virtual std::byte* allocate(size_t bytes) = 0;  // on a multiple of 256
  virtual void release(std::byte* memory) = 0;
  virtual void copy_in(std::byte* to, const std::byte* from, size_t bytes) = 0;
  virtual void wait() {}  // until kernels are done; throws what they failed with
  virtual void copy_out(std::byte* to, const std::byte* from, size_t bytes) = 0;
};
std::unique_ptr<KernelMemory> host_memory();

// A node with the bytes of its inputs.
struct NodeCase {
  const Graph* graph;
  const Node* node;
  std::vector<Bytes> in;
  std::string name;  // "gelu in bf16, sample 2"
};

struct NodeResult {
  std::vector<Bytes> out;
  std::string violation;  // a write outside the outputs, or into an input; empty where there is none
};

// Shifted: by one element, so that packs do not fit. In place: outputs lie where the card lets them reuse an input.
enum class Addresses { kAligned, kShifted, kInPlace };

// Run the node's kernels. Outputs and scratch are full of NaNs before, and there are edges around all operands.
NodeResult run_on_device(const NodeCase& c, KernelMemory& memory, Addresses addresses = Addresses::kAligned);
NodeResult run_on_cpu(const NodeCase& c);

// Calls f(case, what the CPU gives) for each node of the card's samples whose card has a device kernel. `seed` keys the
// inputs.
void for_device_nodes(const OpCard& card, uint64_t seed,
                      const std::function<void(const NodeCase&, const NodeResult& cpu)>& f);

// Where outputs of a fused card's samples are not those of its expansion on the same device, in fp32 and in bf16: to
// the bit, save in bf16 where a library's epilogue makes them. Empty for a card without expansion.
std::vector<std::string> expansion_differences(const OpCard& card, uint64_t seed, KernelMemory& memory);

// How far results lie apart, as text; empty where they agree. Results agree to the bit, except those of cards whose
// device kernels sum in another order or use the GPU's own exp2, sine and the like: they agree within the tolerance
// that kTolerances states.
std::string difference(const NodeCase& c, const NodeResult& expected, const NodeResult& got);

}  // namespace shardit
