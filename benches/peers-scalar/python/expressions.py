"""Gradients of the scalar formulas with CasADi and JAX, one thread, f64, as rows for `expressions --peers FILE`.

The cases come from a file that `expressions --export FILE` writes, with the gradient against which each is checked:

    cargo run --release -p tapegrad-benches --bin expressions -- --export cases.json
    python expressions.py --cases cases.json --json python.json

`casadi-vm` is CasADi's own interpreter; `casadi-c` the C that it generates, compiled by the system's compiler into `--build DIRECTORY`,
where it is found again by the next run. Both are called from a loop in C, so that no call from Python is counted. `jax-jit` is one
jitted call for value and gradient; `jax-vmap` the same for many points, per point.
"""

import argparse
import ctypes
import hashlib
import json
import os
import signal
import statistics
import subprocess
import time

# Before the libraries are loaded: they read these once.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
os.environ["JAX_PLATFORMS"] = "cpu"

import numpy as np

import formulas

WARM_UP, SAMPLE = 0.1, 0.004
TOLERANCE = 1e-10
# Building an expression takes CasADi 15 to 30 microseconds per operation.
MOST_OPERATIONS_OF_CASADI = 200_000
# Optimised fully, longer code takes the compiler many minutes.
MOST_OPERATIONS_AT_O3 = 10_000
MOST_OPERATIONS_OF_VMAP = 100_000

LOOP = """
void repeat_%(name)s(long n, const double** arg, double** res, casadi_int* iw, double* w) {
  for (long i = 0; i < n; i++) { %(name)s(arg, res, iw, w, 0); __asm__ volatile("" ::: "memory"); }
}
"""
CALLER = """
void repeat(long n, void (*f)(void*), void* data) { for (long i = 0; i < n; i++) f(data); }
"""


def check(name, case, value, gradient):
    """Holds a value and a gradient against those of the case, which are checked against forward duals."""
    want = np.asarray(case["gradient"])
    off = max(abs(value - case["value"]) / max(1.0, abs(case["value"])), np.max(np.abs(gradient - want) / np.maximum(1.0, np.abs(want))))
    if not off <= TOLERANCE:
        raise SystemExit(f"{name}: {case['case']} differs by {off:.1e}, more than {TOLERANCE:.0e}")


def time_steps(step, rounds, budget):
    """Median and minimum of samples of `step(n)`, n gradients each, in nanoseconds per gradient."""
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
        samples.append((time.perf_counter() - before) / chunk * 1e9)
    return statistics.median(samples), min(samples)


class Casadi:
    """The recorded function and its gradient; what both contestants share."""

    def __init__(self, case, options):
        import casadi

        start = time.perf_counter()
        x = casadi.SX.sym("x", len(case["point"]))
        y = formulas.casadi(casadi, case, x)
        outputs = [y, casadi.densify(casadi.gradient(y, x))]
        self.function = casadi.Function(case["case"], [x], outputs)
        self.recorded = (time.perf_counter() - start) * 1e9
        self.casadi, self.case, self.options = casadi, case, options
        self.point = np.array(case["point"])
        self.value, self.gradient = np.zeros(1), np.zeros(len(case["point"]))

    def results(self):
        return float(self.value[0]), self.gradient


class CasadiVm(Casadi):
    name, kind, lanes = "casadi-vm", "replay", None

    def __init__(self, case, options):
        super().__init__(case, options)
        start = time.perf_counter()
        self.buffer, self.call = self.function.buffer()
        self.buffer.set_arg(0, memoryview(self.point))
        self.buffer.set_res(0, memoryview(self.value))
        self.buffer.set_res(1, memoryview(self.gradient))
        self.call()
        self.first_ns = self.recorded + (time.perf_counter() - start) * 1e9
        self.compile_ns = None
        # The pointers behind the call, for a loop in C.
        pointer = ctypes.pythonapi.PyCapsule_GetPointer
        pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
        self.data = ctypes.c_void_p(pointer(self.buffer._self(), None))
        library = ctypes.CDLL(self.casadi._casadi.__file__)
        self.evaluate = ctypes.cast(library._ZN6casadi21_function_buffer_evalEPv, ctypes.c_void_p)
        loop, _ = compiled("loop", CALLER, "-O2", options)
        self.repeat = loop.repeat

    def steps(self, n):
        self.repeat(ctypes.c_long(n), self.evaluate, self.data)


class CasadiC(Casadi):
    name, kind, lanes = "casadi-c", "compiled", None

    def __init__(self, case, options):
        super().__init__(case, options)
        name = case["case"]
        generator = self.casadi.CodeGenerator(name + ".c", {"with_header": False})
        generator.add(self.function)
        source = generator.dump() + LOOP % {"name": name}
        level = "-O3" if case["operations"] <= MOST_OPERATIONS_AT_O3 else "-O1"
        library, self.compile_ns = compiled(name, source, level, options)
        self.first_ns = None
        sizes = (ctypes.c_longlong * 4)()
        getattr(library, name + "_work")(*(ctypes.byref(sizes, 8 * i) for i in range(4)))
        pointers = lambda size, *arrays: (ctypes.c_void_p * size)(*(a.ctypes.data for a in arrays))
        self.arguments = pointers(sizes[0], self.point), pointers(sizes[1], self.value, self.gradient)
        self.room = np.zeros(max(1, sizes[2]), dtype=np.int64), np.zeros(max(1, sizes[3]))
        self.repeat = getattr(library, "repeat_" + name)

    def steps(self, n):
        iw, w = (ctypes.c_void_p(a.ctypes.data) for a in self.room)
        self.repeat(ctypes.c_long(n), *self.arguments, iw, w)


def compiled(name, source, level, options):
    """The C compiled into a library, and the nanoseconds that this took: now, or when an earlier run did it."""
    os.makedirs(options.build, exist_ok=True)
    command = ["cc", level, "-march=native", "-fPIC", "-shared"]
    key = hashlib.sha256((" ".join(command) + source).encode()).hexdigest()[:16]
    path = os.path.abspath(os.path.join(options.build, f"{name}-{key}"))
    if not os.path.exists(path + ".json"):
        with open(path + ".c", "w") as file:
            file.write(source)
        start = time.perf_counter()
        # In a group of its own: the driver's children must end with it.
        process = subprocess.Popen([*command, "-o", path + ".so", path + ".c", "-lm"], start_new_session=True)
        try:
            if process.wait(options.compile_limit) != 0:
                raise SystemExit(f"{' '.join(process.args)} failed")
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        with open(path + ".json", "w") as file:
            json.dump({"compile_ns": (time.perf_counter() - start) * 1e9}, file)
    with open(path + ".json") as file:
        return ctypes.CDLL(path + ".so"), json.load(file)["compile_ns"]


class Jax:
    name, kind, lanes = "jax-jit", "compiled", None

    def __init__(self, case, options):
        import jax

        jax.config.update("jax_enable_x64", True)
        self.jax, self.case = jax, case
        start = time.perf_counter()
        f = jax.value_and_grad(lambda x: formulas.jax(jax, case, x))
        point = jax.numpy.asarray(np.array(case["point"]))
        lowered = jax.jit(self.over(f)).lower(self.points(point))
        begun = time.perf_counter()
        self.run, self.x = lowered.compile(), self.points(point)
        self.compile_ns = (time.perf_counter() - begun) * 1e9
        self.result = jax.block_until_ready(self.run(self.x))
        self.first_ns = (time.perf_counter() - start) * 1e9

    def over(self, f):
        return f

    def points(self, point):
        return point

    def results(self):
        return float(self.result[0]), np.asarray(self.result[1])

    def steps(self, n):
        for _ in range(n):
            self.result = self.run(self.x)
        self.jax.block_until_ready(self.result)


class JaxVmap(Jax):
    name, kind = "jax-vmap", "map"

    def __init__(self, case, options):
        self.lanes = options.points
        super().__init__(case, options)

    def over(self, f):
        return self.jax.vmap(f)

    def points(self, point):
        return self.jax.numpy.tile(point, (self.lanes, 1))

    def results(self):
        return float(self.result[0][-1]), np.asarray(self.result[1][-1])


CONTESTANTS = [CasadiVm, CasadiC, Jax, JaxVmap]


def takes_part(contestant, case):
    if issubclass(contestant, Casadi):
        return case["operations"] <= MOST_OPERATIONS_OF_CASADI
    return contestant is not JaxVmap or case["operations"] <= MOST_OPERATIONS_OF_VMAP


def measure(contestant, case, options):
    """A row, or nothing where the compiler gives up."""
    try:
        peer = contestant(case, options)
    except subprocess.TimeoutExpired:
        print(f"{case['case']:<11} {contestant.name:<10} not compiled in {options.compile_limit} s", flush=True)
        return None
    peer.steps(1)
    value, gradient = peer.results()
    check(contestant.name, case, value, gradient)
    if options.compile_only:
        print(f"{case['case']:<11} {contestant.name:<10} checked", flush=True)
        return None
    points = peer.lanes or 1
    median, fastest = time_steps(peer.steps, options.rounds, options.budget)
    print(f"{case['case']:<11} {contestant.name:<10} {median / points:>14.1f} ns", flush=True)
    return {
        "case": case["case"],
        "contestant": contestant.name,
        "kind": contestant.kind,
        "lanes": peer.lanes,
        "threads": 1,
        "median_ns": median / points,
        "fastest_ns": fastest / points,
        "first_ns": peer.first_ns,
        "compile_ns": peer.compile_ns,
        "value": value,
    }


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", required=True, help="the file that `expressions --export` has written")
    parser.add_argument("--json", required=True, help="the file of rows")
    parser.add_argument("--case", help="some of the cases, comma-separated")
    names = [c.name for c in CONTESTANTS]
    parser.add_argument("--contestant", default=",".join(names), help=f"some of {','.join(names)}")
    parser.add_argument("--rounds", type=int, default=101, help="samples per contestant, at most")
    parser.add_argument("--budget", type=float, default=1.0, help="seconds of samples per contestant")
    parser.add_argument("--points", type=int, default=256, help="points of jax-vmap")
    build = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "target", "casadi-c")
    parser.add_argument("--build", default=build, help="the directory of the generated C and its libraries")
    parser.add_argument("--compile-limit", type=float, default=120.0, help="seconds that the C compiler may take for a case")
    parser.add_argument("--compile-only", action="store_true", help="check and compile everything, and time nothing")
    options = parser.parse_args()
    with open(options.cases) as file:
        cases = json.load(file)
    known = {"--case": [case["case"] for case in cases], "--contestant": names}
    chosen = {"--case": options.case or ",".join(known["--case"]), "--contestant": options.contestant}
    for option, text in chosen.items():
        chosen[option] = [name.strip() for name in text.split(",")]
        if unknown := [name for name in chosen[option] if name not in known[option]]:
            parser.error(f"{option}: no {', '.join(unknown)}, expected some of {', '.join(known[option])}")
    wanted = lambda key, option: key in chosen[option]
    options.cases = [case for case in cases if wanted(case["case"], "--case")]
    options.contestants = [c for c in CONTESTANTS if wanted(c.name, "--contestant")]
    return options


def main():
    options = arguments()
    # XLA's pool of threads heeds no setting, but a process that may run on one CPU only.
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    rows = []
    for case in options.cases:
        for contestant in options.contestants:
            if takes_part(contestant, case) and (row := measure(contestant, case, options)):
                rows.append(row)
    if not options.compile_only:
        with open(options.json, "w") as file:
            json.dump(rows, file, indent=2)
            file.write("\n")


if __name__ == "__main__":
    main()
