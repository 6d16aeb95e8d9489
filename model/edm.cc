#include <cmath>

#include "core/random.h"
#include "model/process.h"
#include "ops/ops.h"

namespace shardit {
namespace {

class Edm : public Process {
 public:
  explicit Edm(const EdmConfig& config) : config_(config) {}

  // ln(sigma) ~ N(p_mean, p_std^2)
  Value draw_time(Value ids, uint64_t seed) const override {
    return log_normal(draw_normal(ids, {}, seed, Purpose::kTime), config_.p_mean, config_.p_std);
  }
  double time_at(double q) const override {
    return std::exp(config_.p_mean + config_.p_std * static_cast<double>(normal_quantile(q)));
  }
  DType time_dtype() const override { return DType::kF32; }

  // weight(sigma) * (D(x0 + sigma n; sigma) - x0)^2
  Loss loss(const Network& network, Value x0, Value sigma, Value noise, Value y) const override {
    const auto scope = x0.graph->scope("edm");
    const Value x = add(x0, scale(sigma, noise));
    const Value weight = edm_coefficients(sigma, config_.sigma_data)[4];
    const Value squares = mean_squared_error(predict(network, x, sigma, y).estimate, x0);
    return {.per_image = scale(weight, squares)};
  }

  // D(x; sigma) = c_skip x + c_out F(c_in x; c_noise)
  Prediction predict(const Network& network, Value x, Value sigma, Value y) const override {
    const std::vector<Value> c = edm_coefficients(sigma, config_.sigma_data);
    const Value c_skip = c[0], c_out = c[1], c_in = c[2], c_noise = c[3];
    return {.estimate = mix(c_skip, x, c_out, network(scale(c_in, x), c_noise, y))};
  }

 private:
  EdmConfig config_;
};

}  // namespace

std::unique_ptr<Process> make_edm(const EdmConfig& config) { return std::make_unique<Edm>(config); }

}  // namespace shardit
