"""DiffiT's latent model, its DDPM loss and its samplers in PyTorch: formulas of docs/model.md once more, as an oracle.

Written for being read beside the formulas, not for speed. Weights are a dictionary under the released names; everything
is computed in the dtype of the weights, so that float64 can say which of two float32 results is the better one. Only
the angles of the time embedding are always float32, as the released model has them.

B images, c in_channels, S input_size, p patch_size, w = S / p, N = w * w tokens, C hidden_size, H heads.
"""
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F

TIMESTEPS = 1000


@dataclass
class Config:
    input_size: int
    patch_size: int
    in_channels: int
    hidden_size: int
    depth: int
    num_heads: int
    num_classes: int
    mlp_ratio: float = 4.0
    learn_sigma: bool = True

    @property
    def grid(self):
        return self.input_size // self.patch_size

    @property
    def out_channels(self):
        return self.in_channels * (2 if self.learn_sigma else 1)


# Parameters and buffers


def shapes(c):
    """Released name -> shape of every trained tensor, in the order of the state dict."""
    C, p, hidden = c.hidden_size, c.patch_size, int(c.hidden_size * c.mlp_ratio)
    s = {
        "x_embedder.proj.weight": (C, c.in_channels, p, p), "x_embedder.proj.bias": (C,),
        "t_embedder.mlp.0.weight": (C, 256), "t_embedder.mlp.0.bias": (C,),
        "t_embedder.mlp.2.weight": (C, C), "t_embedder.mlp.2.bias": (C,),
        "y_embedder.embedding_table.weight": (c.num_classes + 1, C),
    }
    for i in range(c.depth):
        block = f"blocks.{i}."
        s[block + "attn.relative_position_bias_table"] = ((2 * c.grid - 1) ** 2, c.num_heads)
        for name, out, inputs in (("attn.qkv_temb", 3 * C, C), ("attn.qkv", 3 * C, C), ("attn.proj", C, C),
                                  ("mlp.fc1", hidden, C), ("mlp.fc2", C, hidden)):
            s[block + name + ".weight"] = (out, inputs)
            s[block + name + ".bias"] = (out,)
    features = p * p * c.out_channels
    s["final_layer.linear.weight"] = (features, C)
    s["final_layer.linear.bias"] = (features,)
    return s


def position_table(c):
    """(1, N, C): half of the channels encode the column, half the row, each as [sin, cos]."""
    quarter = c.hidden_size // 4
    omega = 10000.0 ** (-torch.arange(quarter, dtype=torch.float64) / quarter)
    row, column = torch.meshgrid(torch.arange(c.grid), torch.arange(c.grid), indexing="ij")
    angles = [position.reshape(-1, 1) * omega for position in (column, row)]
    return torch.cat([f(a) for a in angles for f in (torch.sin, torch.cos)], dim=1).float()[None]


def relative_position_index(c):
    """(N, N) int64: the row of the bias table for query i and key j."""
    w = c.grid
    row, column = torch.arange(w * w) // w, torch.arange(w * w) % w
    return (row[:, None] - row + w - 1) * (2 * w - 1) + (column[:, None] - column + w - 1)


# The network


def linear(w, name, x):
    return x @ w[name + ".weight"].T + w[name + ".bias"]


def layer_norm(x):
    return F.layer_norm(x, x.shape[-1:], eps=1e-6)


def time_embedding(t, dtype):
    """[cos(t f), sin(t f)], f_i = 10000^(-i / 128)."""
    f = torch.exp(-math.log(10000) * torch.arange(128, dtype=torch.float32) / 128)
    angles = (t.float()[:, None] * f).to(dtype)
    return torch.cat([torch.cos(angles), torch.sin(angles)], dim=1)


def attention(w, block, c, x, condition):
    """softmax(q k^T / sqrt(D) + bias) v with q, k, v = x W + condition W_t, all three laid out [3][H][D]."""
    B, N, C = x.shape
    D = C // c.num_heads
    qkv = linear(w, block + ".qkv", x) + linear(w, block + ".qkv_temb", condition)[:, None]
    q, k, v = qkv.reshape(B, N, 3, c.num_heads, D).permute(2, 0, 3, 1, 4)
    bias = w[block + ".relative_position_bias_table"][relative_position_index(c)].permute(2, 0, 1)
    weights = torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(D) + bias, dim=-1)
    return linear(w, block + ".proj", (weights @ v).transpose(1, 2).reshape(B, N, C))


def forward(w, c, x, t, y):
    """x (B, c, S, S), t (B), y (B) -> (B, out_channels, S, S)."""
    B, p, g = x.shape[0], c.patch_size, c.grid
    patches = x.reshape(B, c.in_channels, g, p, g, p).permute(0, 2, 4, 1, 3, 5).reshape(B, g * g, -1)
    tokens = patches @ w["x_embedder.proj.weight"].flatten(1).T + w["x_embedder.proj.bias"]
    tokens = tokens + position_table(c).to(x.dtype)
    time = linear(w, "t_embedder.mlp.2", F.silu(linear(w, "t_embedder.mlp.0", time_embedding(t, x.dtype))))
    condition = time + w["y_embedder.embedding_table.weight"][y]
    for i in range(c.depth):
        block = f"blocks.{i}"
        tokens = tokens + attention(w, block + ".attn", c, layer_norm(tokens), condition)
        hidden = linear(w, block + ".mlp.fc1", layer_norm(tokens))
        hidden = 0.5 * hidden * (1 + torch.tanh(math.sqrt(2 / math.pi) * (hidden + 0.044715 * hidden ** 3)))
        tokens = tokens + linear(w, block + ".mlp.fc2", hidden)
    out = linear(w, "final_layer.linear", F.silu(layer_norm(tokens)))
    out = out.reshape(B, g, g, p, p, c.out_channels).permute(0, 5, 1, 3, 2, 4)
    return out.reshape(B, c.out_channels, c.input_size, c.input_size)


def guided_forward(w, c, x, t, y, scale):
    """Both halves: guided eps in up to three channels, each half's own other channels. The first half of x counts."""
    half = x.shape[0] // 2
    out = forward(w, c, torch.cat([x[:half], x[:half]]), t, y)
    if c.input_size <= 32:
        progress = t[:half].double() / TIMESTEPS
        s = 1 + (scale - 1) * 0.5 * (1 - torch.cos(math.pi * (1 - progress) ** 4))
    else:
        s = torch.full((half,), scale, dtype=torch.float64)
    n = min(3, c.in_channels)
    conditional, unconditional = out[:half, :n], out[half:, :n]
    eps = unconditional + s.to(x.dtype)[:, None, None, None] * (conditional - unconditional)
    return torch.cat([torch.cat([eps, eps]), out[:, n:]], dim=1)


# The diffusion process


class Schedule:
    """Numbers of a DDPM in float64; `steps` are the time steps that the network is told."""

    def __init__(self, beta, steps):
        self.steps, self.beta = steps, beta
        self.abar = torch.cumprod(1 - beta, 0)
        self.abar_previous = torch.cat([torch.ones(1, dtype=torch.float64), self.abar[:-1]])
        variance = beta * (1 - self.abar_previous) / (1 - self.abar)
        self.log_variance = torch.log(torch.cat([variance[1:2], variance[1:]]))
        self.log_beta = torch.log(beta)
        self.mean_x0 = beta * torch.sqrt(self.abar_previous) / (1 - self.abar)
        self.mean_xt = (1 - self.abar_previous) * torch.sqrt(1 - beta) / (1 - self.abar)

    def at(self, name, i, x):
        """Row i (B) of a table as factors of the images x."""
        return getattr(self, name)[i].to(x.dtype)[:, None, None, None]

    def x0_from_eps(self, xt, i, eps):
        abar = self.abar[i]
        recip, recipm1 = torch.sqrt(1 / abar), torch.sqrt(1 / abar - 1)
        return recip.to(xt.dtype)[:, None, None, None] * xt - recipm1.to(xt.dtype)[:, None, None, None] * eps

    def posterior_mean(self, x0, xt, i):
        return self.at("mean_x0", i, xt) * x0 + self.at("mean_xt", i, xt) * xt

    def model_log_variance(self, v, i):
        lower, upper = self.at("log_variance", i, v), self.at("log_beta", i, v)
        f = (v + 1) / 2
        return f * upper + (1 - f) * lower


def full_schedule():
    return Schedule(torch.linspace(1e-4, 0.02, TIMESTEPS, dtype=torch.float64), list(range(TIMESTEPS)))


def respaced(count):
    """`count` of the steps, evenly spread from first to last, with the betas that keep abar."""
    stride, position, steps = (TIMESTEPS - 1) / (count - 1), 0.0, []
    for _ in range(count):
        steps.append(round(position))
        position += stride
    abar = full_schedule().abar[steps]
    previous = torch.cat([torch.ones(1, dtype=torch.float64), abar[:-1]])
    return Schedule(1 - abar / previous, steps)


def normal_cdf(z):
    return 0.5 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z ** 3)))


def bin_likelihood(x, mean, log_std):
    """-log of the probability of the bin x +- 1/255, open to the outside at |x| > 0.999."""
    above = normal_cdf(torch.exp(-log_std) * (x - mean + 1 / 255))
    below = normal_cdf(torch.exp(-log_std) * (x - mean - 1 / 255))
    p = torch.where(x < -0.999, above, torch.where(x > 0.999, 1 - below, above - below))
    return -torch.log(p.clamp(min=1e-12))


def loss_terms(w, c, x0, t, y, noise):
    """Per image: loss, squared error of the noise, variational term (None without learned variances)."""
    s = full_schedule()
    signal, sigma = (f.to(x0.dtype)[:, None, None, None] for f in (torch.sqrt(s.abar[t]), torch.sqrt(1 - s.abar[t])))
    xt = signal * x0 + sigma * noise
    out = forward(w, c, xt, t, y)
    eps = out[:, :c.in_channels]
    mse = ((noise - eps) ** 2).mean((1, 2, 3))
    if not c.learn_sigma:
        return mse, mse, None
    log_variance = s.model_log_variance(out[:, c.in_channels:], t)
    mean = s.posterior_mean(s.x0_from_eps(xt, t, eps.detach()), xt, t)
    true_mean, true_log_variance = s.posterior_mean(x0, xt, t), s.at("log_variance", t, x0)
    kl = 0.5 * (-1 + log_variance - true_log_variance + torch.exp(true_log_variance - log_variance)
                + (true_mean - mean) ** 2 * torch.exp(-log_variance))
    first = (t == 0)[:, None, None, None]
    bits = torch.where(first, bin_likelihood(x0, mean, 0.5 * log_variance), kl) / math.log(2)
    vb = bits.mean((1, 2, 3))
    return mse + vb, mse, vb


@torch.no_grad()
def sample(w, c, schedule, z, y, noise, scale, ancestral):
    """DDPM (ancestral) or DDIM (eta 0) with guidance, without clipping; noise[k] belongs to the k-th step taken."""
    n, x = z.shape[0], z
    labels = torch.cat([y, torch.full_like(y, c.num_classes)])
    for k, i in enumerate(reversed(range(len(schedule.steps)))):
        index, t = torch.full((n,), i), torch.full((2 * n,), schedule.steps[i])
        out = guided_forward(w, c, torch.cat([x, x]), t, labels, scale)[:n]
        eps = out[:, :c.in_channels]
        x0 = schedule.x0_from_eps(x, index, eps)
        if ancestral:
            log_variance = (schedule.model_log_variance(out[:, c.in_channels:], index) if c.learn_sigma
                            else schedule.at("log_beta", index, x))
            x = schedule.posterior_mean(x0, x, index)
            if i > 0:
                x = x + torch.exp(0.5 * log_variance) * noise[k]
        else:
            previous = schedule.at("abar_previous", index, x)
            x = torch.sqrt(previous) * x0 + torch.sqrt(1 - previous) * eps
    return x
