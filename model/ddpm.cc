#include <cmath>

#include "model/ddpm_schedule.h"
#include "model/process.h"
#include "ops/ops.h"

namespace shardit {
namespace {

class Ddpm : public Process {
 public:
  explicit Ddpm(const DdpmConfig& config)
      : config_(config),
        schedule_(ddpm_schedule(config.timesteps, config.beta_start, config.beta_end)) {}

  Value draw_time(Value ids, uint64_t seed) const override {
    return draw_integer(ids, config_.timesteps, seed, Purpose::kTime);
  }
  double time_at(double q) const override { return std::floor(q * static_cast<double>(config_.timesteps)); }
  DType time_dtype() const override { return DType::kI64; }

  // mean (eps - eps^)^2 + the variational term, which trains the variance alone: eps^ is stopped in it.
  Loss loss(const Network& network, Value x0, Value t, Value noise, Value y) const override {
    const auto scope = x0.graph->scope("ddpm");
    const Value xt = q_sample(x0, t, noise);
    const Prediction p = predict(network, xt, t, y);
    const Value mse = mean_squared_error(p.estimate, noise);
    if (!p.variance_logits) return {.per_image = mse, .mse = mse};
    const Value vb =
        variational_bound(stop_gradient(p.estimate), p.variance_logits, x0, xt, t, posterior_table(*x0.graph));
    return {.per_image = add(mse, vb), .mse = mse, .variational = vb};
  }

  Prediction predict(const Network& network, Value x, Value t, Value y) const override {
    const Value out = network(x, t, y);
    if (!config_.learn_sigma) return {.estimate = out};
    const std::vector<Value> parts = split_last(out, {config_.channels, config_.channels});
    return {.estimate = parts[0], .variance_logits = parts[1]};
  }

 private:
  // x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps
  Value q_sample(Value x0, Value t, Value noise) const {
    std::vector<double> signal, sigma;
    for (double alpha_bar : schedule_.alpha_bar) {
      signal.push_back(std::sqrt(alpha_bar));
      sigma.push_back(std::sqrt(1 - alpha_bar));
    }
    Graph& g = *x0.graph;
    return mix(lookup(table(g, name("sqrt_alpha_bar"), signal), t), x0,
               lookup(table(g, name("sqrt_one_minus_alpha_bar"), sigma), t), noise);
  }

  Value posterior_table(Graph& graph) const {
    std::vector<double> rows(static_cast<size_t>(schedule_.size() * kScheduleColumns));
    for (int64_t t = 0; t < schedule_.size(); ++t) {
      double* row = rows.data() + t * kScheduleColumns;
      row[kSqrtRecipAbar] = std::sqrt(1 / schedule_.alpha_bar[t]);
      row[kSqrtRecipm1Abar] = std::sqrt(1 / schedule_.alpha_bar[t] - 1);
      row[kPosteriorMeanX0] = schedule_.posterior_mean_x0[t];
      row[kPosteriorMeanXt] = schedule_.posterior_mean_xt[t];
      row[kPosteriorLogVariance] = schedule_.posterior_log_variance[t];
      row[kLogBeta] = std::log(schedule_.beta[t]);
    }
    return reshape(table(graph, name("posterior"), rows), {schedule_.size(), kScheduleColumns});
  }

  // Tables of one name must be equal: the name holds all they depend on.
  std::string name(const std::string& what) const {
    return what + "(" + std::to_string(config_.timesteps) + "," + std::to_string(config_.beta_start) + "," +
           std::to_string(config_.beta_end) + ")";
  }

  DdpmConfig config_;
  DdpmSchedule schedule_;
};

}  // namespace

std::unique_ptr<Process> make_ddpm(const DdpmConfig& config) { return std::make_unique<Ddpm>(config); }

}  // namespace shardit
