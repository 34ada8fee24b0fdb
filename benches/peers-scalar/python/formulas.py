"""The formulas of the cases, once in CasADi's scalars and once in JAX's arrays, each the way its users write for speed."""

import math

XOR = [((0.0, 0.0), 0.0), ((0.0, 1.0), 1.0), ((1.0, 0.0), 1.0), ((1.0, 1.0), 0.0)]
HALF_LN_2PI = 0.5 * math.log(2.0 * math.pi)


def casadi(ca, case, x):
    """The case's function of the column `x` of scalars."""
    name = case["case"]
    if name.startswith("rosen"):
        a, b = x[1:] - x[:-1] ** 2, 1.0 - x[:-1]
        return ca.sum1(100.0 * a**2 + b**2)
    if name == "speel100":
        product = x[0]
        for i in range(1, x.numel()):
            product = product * x[i]
        return product
    if name == "lse1000":
        return log_sum_exp(ca, x, case["point"])
    if name == "bag4":
        return bag(ca, *(x[i] for i in range(4)), ca.power)
    if name == "bs5":
        return black_scholes(ca, *(x[i] for i in range(5)))
    if name.startswith("gmm"):
        return mixture_of_scalars(ca, case, x)
    if name.startswith("xor"):
        return network_of_scalars(ca, x, *{"xor_221": (2, 1), "xor_2551": (5, 2)}[name])
    if name == "nbody300":
        energy = 0.0
        for i in range(100):
            d = x[3 * i : 3 * i + 3]
            for j in range(i + 1, 100):
                e = d - x[3 * j : 3 * j + 3]
                energy = energy - (1.0 + 0.01 * i) * (1.0 + 0.01 * j) / ca.sqrt(ca.sumsqr(e) + 0.01)
        return energy
    assert name == "ode_lv", name
    u = v = 1.0 * x[0] - x[0] + 1.0
    for _ in range(1000):
        u, v = step_of_predators(*(x[i] for i in range(4)), u, v)
    return u * u + v * v


def log_sum_exp(ca, x, point):
    """Shifted by the term that is the largest at `point`: tapes freeze that branch, too."""
    largest = x[max(range(len(point)), key=lambda i: point[i])]
    return ca.log(ca.sum1(ca.exp(x - largest))) + largest


def mixture_of_scalars(ca, case, x):
    (d, k), data = case["shape"], case["observations"]
    size = d * (d + 1) // 2
    weights, means, factors = x[:k], x[k : k + k * d], x[k + k * d :]
    diagonals = [ca.exp(factors[j * size : j * size + d]) for j in range(k)]
    logs = [ca.sum1(factors[j * size : j * size + d]) for j in range(k)]
    # Which term is the largest is decided at the case's point, by numbers beside the scalars.
    shadow = Shadow(case["point"], d, k)
    likelihood = 0.0
    for start in range(0, len(data), d):
        point = data[start : start + d]
        terms = []
        for j in range(k):
            below = factors[j * size + d : (j + 1) * size]
            centred = ca.vertcat(*point) - means[j * d : (j + 1) * d]
            y = [diagonals[j][i] * centred[i] for i in range(d)]
            place = 0
            for column in range(d):
                for row in range(column + 1, d):
                    y[row] = y[row] + below[place] * centred[column]
                    place += 1
            terms.append(weights[j] + logs[j] - 0.5 * ca.sumsqr(ca.vertcat(*y)))
        likelihood = likelihood + log_sum_exp(ca, ca.vertcat(*terms), shadow.terms(point))
    prior = 0.0
    for j in range(k):
        prior = prior + 0.5 * (ca.sumsqr(diagonals[j]) + ca.sumsqr(factors[j * size + d : (j + 1) * size]))
    n = len(data) // d
    return likelihood - n * log_sum_exp(ca, weights, case["point"][:k]) + prior - n * d * HALF_LN_2PI


class Shadow:
    """The terms of a mixture on plain numbers."""

    def __init__(self, point, d, k):
        self.d, self.k, self.size = d, k, d * (d + 1) // 2
        self.weights, self.means, self.factors = point[:k], point[k : k + k * d], point[k + k * d :]

    def terms(self, point):
        d, size, terms = self.d, self.size, []
        for j in range(self.k):
            factor = self.factors[j * size : (j + 1) * size]
            centred = [point[i] - self.means[j * d + i] for i in range(d)]
            y = [math.exp(factor[i]) * centred[i] for i in range(d)]
            place = d
            for column in range(d):
                for row in range(column + 1, d):
                    y[row] += factor[place] * centred[column]
                    place += 1
            terms.append(self.weights[j] + sum(factor[:d]) - 0.5 * sum(v * v for v in y))
        return terms


def network_of_scalars(ca, w, h, layers):
    loss = 0.0
    for inputs, target in XOR:
        hidden = [ca.tanh(w[3 * i] * inputs[0] + w[3 * i + 1] * inputs[1] + w[3 * i + 2]) for i in range(h)]
        place = 3 * h
        unit = lambda place: w[place + h] + sum(w[place + j] * hidden[j] for j in range(h))
        if layers == 2:
            hidden = [ca.tanh(unit(place + i * (h + 1))) for i in range(h)]
            place += h * (h + 1)
        error = ca.tanh(unit(place)) - target
        loss = loss + error * error
    return loss


def bag(m, a, b, c, d, power):
    """With the functions of `m`, CasADi's or JAX's."""
    s1 = m.sin(a * b) + m.cos(c / d)
    s2 = m.exp(-(a * a)) * m.log(b + c * c)
    s3 = m.sqrt(a * a + b * b + 1.0) / (1.0 + m.exp(-d))
    s4 = m.tanh(s1 * s2 - s3)
    s5 = power(b, 1.7) + power(c, d)
    s6 = s5 / (s1 * s1 + 2.0)
    s7 = m.sin(s4) * m.cos(s6) + m.log(s3 * s3 + 1.0)
    s8 = m.exp(s7 / (1.0 + s6 * s6))
    s9 = m.sqrt(s8 + s4 * s4)
    return s9 * m.tanh(s7) - s6 / (s8 + 1.0) + s1 * s3 * s4


def black_scholes(m, spot, strike, time, rate, volatility):
    """With the functions of `m`, CasADi's or JAX's."""

    def cdf(x):
        t = 1.0 / (1.0 + 0.2316419 * x)
        p = t * (0.319381530 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))))
        return 1.0 - 0.3989422804014327 * m.exp(-0.5 * (x * x)) * p

    deviation = volatility * m.sqrt(time)
    d1 = (m.log(spot / strike) + (rate + 0.5 * volatility * volatility) * time) / deviation
    d2 = d1 - deviation
    return spot * cdf(d1) - strike * m.exp(-(rate * time)) * cdf(d2)


def step_of_predators(a, b, c, d, u, v, h=0.01):
    slope = lambda u, v: (a * u - b * u * v, d * u * v - c * v)
    k1 = slope(u, v)
    k2 = slope(u + 0.5 * h * k1[0], v + 0.5 * h * k1[1])
    k3 = slope(u + 0.5 * h * k2[0], v + 0.5 * h * k2[1])
    k4 = slope(u + h * k3[0], v + h * k3[1])
    return tuple(w + (h / 6.0) * (k1[i] + 2.0 * k2[i] + 2.0 * k3[i] + k4[i]) for i, w in enumerate((u, v)))


def jax(jax, case, x):
    """The case's function of the array `x`."""
    import numpy as np

    jnp, name = jax.numpy, case["case"]
    if name.startswith("rosen"):
        a, b = x[1:] - x[:-1] ** 2, 1.0 - x[:-1]
        return jnp.sum(100.0 * a**2 + b**2)
    if name == "speel100":
        return jnp.prod(x)
    if name == "lse1000":
        return jax.nn.logsumexp(x)
    if name == "bag4":
        return bag(jnp, *x, jnp.power)
    if name == "bs5":
        return black_scholes(jnp, *x)
    if name.startswith("gmm"):
        (d, k), data = case["shape"], np.array(case["observations"]).reshape(-1, case["shape"][0])
        size, n = d * (d + 1) // 2, len(data)
        weights, means, factors = x[:k], x[k : k + k * d].reshape(k, d), x[k + k * d :].reshape(k, size)
        diagonals = jnp.exp(factors[:, :d])
        # What is below the diagonal, by columns.
        columns, rows = zip(*((i, j) for i in range(d) for j in range(i + 1, d)))
        lower = jnp.zeros((k, d, d)).at[:, np.array(rows), np.array(columns)].set(factors[:, d:])
        lower = lower + jnp.einsum("kd,de->kde", diagonals, np.eye(d))
        y = jnp.einsum("kij,nkj->nki", lower, data[:, None, :] - means[None])
        terms = weights + jnp.sum(factors[:, :d], 1) - 0.5 * jnp.sum(y**2, 2)
        prior = 0.5 * (jnp.sum(diagonals**2) + jnp.sum(factors[:, d:] ** 2))
        likelihood = jnp.sum(jax.nn.logsumexp(terms, axis=1)) - n * jax.nn.logsumexp(weights)
        return likelihood + prior - n * d * HALF_LN_2PI
    if name.startswith("xor"):
        h, layers = {"xor_221": (2, 1), "xor_2551": (5, 2)}[name]
        inputs, targets = np.array([i for i, _ in XOR]), np.array([t for _, t in XOR])
        first = x[: 3 * h].reshape(h, 3)
        hidden, rest = jnp.tanh(inputs @ first[:, :2].T + first[:, 2]), x[3 * h :]
        if layers == 2:
            second, rest = rest[: h * (h + 1)].reshape(h, h + 1), rest[h * (h + 1) :]
            hidden = jnp.tanh(hidden @ second[:, :h].T + second[:, h])
        return jnp.sum((jnp.tanh(hidden @ rest[:h] + rest[h]) - targets) ** 2)
    if name == "nbody300":
        places, masses = x.reshape(100, 3), 1.0 + 0.01 * np.arange(100)
        i, j = np.triu_indices(100, 1)
        return -jnp.sum(masses[i] * masses[j] / jnp.sqrt(jnp.sum((places[i] - places[j]) ** 2, 1) + 0.01))
    assert name == "ode_lv", name
    step = lambda state, _: (step_of_predators(*x, *state), None)
    (u, v), _ = jax.lax.scan(step, (jnp.ones(()), jnp.ones(())), None, length=1000)
    return u * u + v * v
