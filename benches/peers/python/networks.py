"""Training steps of the cases A to H with PyTorch and JAX, one thread, as rows for `networks --peers FILE`.

The cases come from files that `networks --export DIRECTORY` writes:

    cargo run --release -p tapegrad-benches --bin networks -- --export cases
    python networks.py --cases cases --json python.json

Each contestant is verified by its loss after ten steps, which is in its rows; `networks` compares it with the others'.
"""

import argparse
import json
import os
import statistics
import time

# Before the libraries are loaded: they read these once.
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
os.environ["JAX_PLATFORMS"] = "cpu"
# XLA's pool of threads heeds none of these; a process that may run on one CPU only has no use for more threads.
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

import numpy as np

WARM_UP, SAMPLE = 0.1, 0.004
SCAN_STEPS = 100


def read_cases(directory, names):
    """Yields (about, weights, x, y) of each case; weights are pairs of [inputs][outputs] and [outputs]."""
    with open(os.path.join(directory, "cases.json")) as file:
        cases = [case for case in json.load(file) if case["case"] in names]
    for case in cases:
        numbers = np.fromfile(os.path.join(directory, case["case"] + ".f32"), dtype="<f4").astype(np.float64)
        place = 0

        def take(*shape):
            nonlocal place
            count = int(np.prod(shape))
            place += count
            return numbers[place - count : place].reshape(shape)

        widths, batch = case["widths"], case["batch"]
        weights = [(take(i, o), take(o)) for i, o in zip(widths, widths[1:])]
        x, y = take(batch, widths[0]), take(batch, widths[-1])
        assert place == len(numbers), f"{case['case']}: {len(numbers)} numbers, {place} expected"
        yield case, weights, x, y


def time_step(step, rounds, budget):
    """Median and minimum of samples of `step(n)`, n steps each, in seconds per step, and their number."""
    start, steps, chunk = time.perf_counter(), 0, 1
    while time.perf_counter() - start < WARM_UP:
        step(chunk)
        steps += chunk
        chunk = min(chunk * 2, 1 << 16)
    chunk = max(1, int(SAMPLE * steps / (time.perf_counter() - start)))
    samples, start = [], time.perf_counter()
    while len(samples) < 3 or (len(samples) < rounds and time.perf_counter() - start < budget):
        before = time.perf_counter()
        step(chunk)
        samples.append((time.perf_counter() - before) / chunk)
    return statistics.median(samples), min(samples), len(samples)


class Torch:
    """Backpropagation written by hand on tensors: the leanest that PyTorch can be without its compiler."""

    name = "torch-manual"

    def __init__(self, case, weights, x, y, dtype):
        import torch

        torch.set_num_threads(1)
        self.torch, self.case = torch, case
        tensor = lambda a: torch.tensor(a, dtype=getattr(torch, {"f32": "float32", "f64": "float64"}[dtype]))
        self.weights = [(tensor(w), tensor(b)) for w, b in weights]
        self.x, self.y = tensor(x), tensor(y)
        self.value = None

    def one(self):
        torch, case, rate = self.torch, self.case, self.case["learning_rate"]
        activations = [self.x]
        for w, b in self.weights:
            z = torch.addmm(b, activations[-1], w) if case["bias"] else activations[-1] @ w
            activations.append(z.sigmoid_())
        p, y = activations[-1], self.y
        error = p - y
        if case["loss"] == "mse":
            self.value = (error * error).mean()
            delta = error.mul_(2.0 / error.numel()).mul_(p).mul_(1.0 - p)
        elif case["loss"] == "half_sse":
            self.value = (error * error).sum() * 0.5
            delta = error.mul_(p).mul_(1.0 - p)
        else:
            self.value = torch.nn.functional.binary_cross_entropy(p, y)
            delta = error.mul_(1.0 / error.numel())
        for k in range(len(self.weights) - 1, -1, -1):
            (w, b), a = self.weights[k], activations[k]
            below = (delta @ w.t()).mul_(a).mul_(1.0 - a) if k > 0 else None
            w.addmm_(a.t(), delta, alpha=-rate)
            if case["bias"]:
                b.add_(delta.sum(0), alpha=-rate)
            delta = below

    def steps(self, n):
        with self.torch.no_grad():
            for _ in range(n):
                self.one()

    def loss(self):
        return float(self.value)


class TorchCompiled(Torch):
    """The whole step in one graph: `torch.compile` of gradient and update."""

    name = "torch-compile"

    def __init__(self, case, weights, x, y, dtype):
        super().__init__(case, weights, x, y, dtype)
        torch = self.torch
        flat = [p for w, b in self.weights for p in ((w, b) if case["bias"] else (w,))]

        def loss(params, x, y):
            a, params = x, iter(params)
            for _ in self.weights:
                a = a @ next(params)
                if case["bias"]:
                    a = a + next(params)
                a = a.sigmoid()
            if case["loss"] == "mse":
                return (a - y).square().mean()
            if case["loss"] == "half_sse":
                return (a - y).square().sum() * 0.5
            return -(y * a.log() + (1.0 - y) * (1.0 - a).log()).mean()

        def step(params, x, y):
            gradients, value = torch.func.grad_and_value(loss)(params, x, y)
            for p, g in zip(params, gradients):
                p.sub_(g, alpha=case["learning_rate"])
            return value

        compiled = torch.compile(step)
        self.one = lambda: setattr(self, "value", compiled(flat, self.x, self.y))


class Jax:
    """One jitted call per step."""

    name, donate = "jax-jit", False

    def __init__(self, case, weights, x, y, dtype):
        import jax

        jax.config.update("jax_enable_x64", dtype == "f64")
        self.jax = jax
        number = {"f32": np.float32, "f64": np.float64}[dtype]
        array = lambda a: jax.numpy.asarray(a.astype(number))
        self.params = [(array(w), array(b)) if case["bias"] else (array(w),) for w, b in weights]
        self.x, self.y = array(x), array(y)
        self.value = None
        sigmoid, log = jax.nn.sigmoid, jax.numpy.log

        def loss(params, x, y):
            a = x
            for layer in params:
                z = a @ layer[0]
                a = sigmoid(z + layer[1] if case["bias"] else z)
            if case["loss"] == "mse":
                return ((a - y) ** 2).mean()
            if case["loss"] == "half_sse":
                return ((a - y) ** 2).sum() * 0.5
            return -(y * log(a) + (1.0 - y) * log(1.0 - a)).mean()

        def step(params, x, y):
            value, gradients = jax.value_and_grad(loss)(params, x, y)
            return jax.tree.map(lambda p, g: p - case["learning_rate"] * g, params, gradients), value

        self.build(step)

    def build(self, step):
        self.step = self.jax.jit(step, donate_argnums=(0,) if self.donate else ())

    def steps(self, n):
        for _ in range(n):
            self.params, self.value = self.step(self.params, self.x, self.y)
        self.jax.block_until_ready(self.params)

    def loss(self):
        return float(np.ravel(self.value)[-1])


class JaxDonated(Jax):
    """The same, the parameters' buffers given to the result."""

    name, donate = "jax-jit-donate", True


class JaxScan(Jax):
    """A hundred steps inside one jitted call."""

    name = "jax-scan"

    def build(self, step):
        jax = self.jax

        def several(params, x, y, count):
            return jax.lax.scan(lambda p, _: step(p, x, y), params, None, length=count)

        self.several = jax.jit(several, static_argnums=3, donate_argnums=0)

    def steps(self, n):
        # Whole scans, but for the few steps of the verification.
        for count in [n] if n < SCAN_STEPS else [SCAN_STEPS] * (n // SCAN_STEPS):
            self.params, values = self.several(self.params, self.x, self.y, count)
            self.value = values
        self.jax.block_until_ready(self.params)


def time_scan(peer, rounds, budget):
    median, fastest, samples = time_step(lambda n: peer.steps(n * SCAN_STEPS), rounds, budget)
    return median / SCAN_STEPS, fastest / SCAN_STEPS, samples


CONTESTANTS = [Torch, TorchCompiled, Jax, JaxDonated, JaxScan]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", required=True, help="the directory that `networks --export` has written")
    parser.add_argument("--json", required=True, help="the file of rows")
    parser.add_argument("--case", default="ABCDEFGH", help="cases, as one word")
    parser.add_argument("--dtype", choices=["f32", "f64"], help="both when not given")
    names = [c.name for c in CONTESTANTS]
    default = ",".join(name for name in names if name != "torch-compile")
    parser.add_argument("--contestant", default=default, help=f"some of {','.join(names)}; all but torch-compile")
    parser.add_argument("--rounds", type=int, default=101, help="samples per contestant, at most")
    parser.add_argument("--budget", type=float, default=1.0, help="seconds of samples per contestant")
    options = parser.parse_args()
    chosen = options.contestant.split(",")
    if unknown := set(chosen) - set(names):
        parser.error(f"no contestant {', '.join(sorted(unknown))}: expected some of {', '.join(names)}")
    rows = []
    for dtype in [options.dtype] if options.dtype else ["f32", "f64"]:
        for case, weights, x, y in read_cases(options.cases, options.case):
            for contestant in CONTESTANTS:
                if contestant.name not in chosen:
                    continue
                peer = contestant(case, weights, x, y, dtype)
                peer.steps(11)
                loss = peer.loss()
                timing = time_scan if contestant is JaxScan else lambda p, *rest: time_step(p.steps, *rest)
                median, fastest, samples = timing(peer, options.rounds, options.budget)
                row = {
                    "case": case["case"],
                    "dtype": dtype,
                    "contestant": contestant.name,
                    "threads": 1,
                    "median_ns": median * 1e9,
                    "fastest_ns": fastest * 1e9,
                    "samples": samples,
                    "loss": loss,
                }
                rows.append(row)
                print(f"{row['case']} {dtype} {row['contestant']:<15}{median * 1e6:12.3f} µs  loss {loss:.9f}", flush=True)
    with open(options.json, "w") as file:
        json.dump(rows, file, indent=2)
        file.write("\n")


if __name__ == "__main__":
    main()
