// What the kernels of adamw know of its operands.
#pragma once

namespace shardit::adamw_operands {

enum Input : int { kMaster, kM, kV, kGradient, kNorm, kNumbers, kFirstEma };
enum Number : int { kLr, kBias1, kBias2, kFirstDecay };

}  // namespace shardit::adamw_operands
