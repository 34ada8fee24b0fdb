#!/usr/bin/env python3
"""References for tests/engine/accuracy.rs: the values of scalar functions and their first three derivatives, by mpmath.

Run `python3 scalars.py > scalars.txt` in this directory (mpmath 1.3; five minutes). The first line of the output names the hash of
this script; the test refuses a file that another script made.

Each line: the function (with its order, if it has one), its arguments as bits, then the value, then for each argument the derivatives
of order 1 to 3: each as the bits of the nearest double and what is missing to the exact number, in 1/1000 of that double's unit in
the last place. Derivatives are differences with hundreds of digits, of the definition alone: no formula for them is written here (but in `mills_derivative`, which is a
derivative by definition).
Most arguments are numbers of single precision, so that they serve both precisions. In the list ZEROS are functions, or derivatives of
functions, that cross 0 where no formula could keep its digits: a number that changes its sign within a quarter of its argument to
either side is left out (`-`).
"""
import random
import struct

from mpmath import *

DIGITS = 60
# Derivatives of order 3 of a function that saturates at 1, where they are as small as 1e-300.
WORKING = 640


def near(lo, hi, n):
    """Uniform between two numbers."""
    return [("u", lo, hi)] * n


def sizes(lo, hi, n, signs="+-"):
    """Of all sizes between two numbers."""
    return [("l", lo, hi, signs)] * n


LINE = near(-3, 3, 14) + sizes(1e-7, 1, 6) + sizes(3, 30, 6)
POSITIVE = near(0.1, 3, 10) + sizes(1e-30, 1, 8, "+") + sizes(1, 1e30, 8, "+")
UNIT = near(0.01, 0.99, 12) + sizes(1e-30, 0.1, 8, "+") + [("c", 1e-7, 0.1)] * 8
SIGNED_UNIT = near(-0.99, 0.99, 12) + sizes(1e-20, 0.1, 6) + [("c", 1e-7, 0.1, "+-")] * 8
TAIL = LINE + sizes(10, 700, 8)
PAIR = [LINE, LINE]


def ndtr(x):
    return erfc(-x / sqrt(mpf(2))) / 2


def pdf(x):
    return exp(-x * x / 2) / sqrt(2 * pi)


def sigma(x):
    return 1 / (1 + exp(-x))


def softplus(x):
    return log1p(exp(x))


def inverse(f, start):
    return lambda p: findroot(lambda y: f(y) - p, start(p), tol=mpf(10) ** (-2 * mp.dps + 10), maxsteps=60)


def i_order(n):
    return lambda x: besseli(n, x)


def sinc_derivative(n):
    # The n-th derivative as an integral of its own power series.
    def f(x):
        z = pi * x
        total, k = mpf(0), (n + 1) // 2
        while True:
            term = (-1) ** k * z ** (2 * k - n) / (factorial(2 * k - n) * (2 * k + 1))
            total += term
            k += 1
            if 2 * k > abs(z) and abs(term) < mpf(2) ** (-mp.prec - 20):
                return pi**n * total
    return f


def remainder(a, b):
    return a - b * floor(a / b)


def truncated(a, b):
    q = a / b
    return a - b * (floor(q) if q > 0 else ceil(q))


def elu(x, alpha):
    return x if x > 0 else alpha * expm1(x)


def mills(x):
    return pdf(x) / ndtr(x)


def mills_derivative(n):
    # m' = -x*m - m^2 and e' = 1 + m'; every further derivative is a polynomial in x and m, kept as {(power of x, power of m): factor}.
    terms = {(1, 1): -1, (0, 2): -1, (0, 0): 1}
    for _ in range(n - 1):
        derived = {}
        for (i, j), c in terms.items():
            for power, factor in (((i - 1, j), c * i), ((i + 1, j), -c * j), ((i, j + 1), -c * j)):
                derived[power] = derived.get(power, 0) + factor
        terms = {power: c for power, c in derived.items() if c}

    def f(x):
        m = mills(x)
        return sum(c * x**i * m**j for (i, j), c in terms.items())

    return f


def gelu_argument(x):
    return 2 * sqrt(2 / pi) * (x + mpf("0.044715") * x**3)


GELU = near(-3, 3, 14) + sizes(1e-7, 1, 6) + near(-10, 10, 8) + near(-20, -10, 6)
MILLS = near(-3, 3, 14) + near(-30, 10, 8) + near(-300, 0, 4)


FUNCTIONS = {
    "add": (lambda a, b: a + b, PAIR),
    "sub": (lambda a, b: a - b, PAIR),
    "mul": (lambda a, b: a * b, PAIR),
    "div": (lambda a, b: a / b, PAIR),
    "neg": (lambda x: -x, [LINE]),
    "recip": (lambda x: 1 / x, [LINE]),
    "square": (lambda x: x * x, [LINE]),
    "sqrt": (sqrt, [POSITIVE]),
    "powf": (lambda x, p: x**p, [near(0.1, 5, 20) + sizes(1e-3, 1e3, 8, "+"), near(-3, 3, 20) + near(1, 6, 8)]),
    "powi:3": (lambda x: x**3, [LINE]),
    "powi:-2": (lambda x: x**-2, [LINE]),
    "powi:5": (lambda x: x**5, [LINE]),
    "exp": (exp, [near(-3, 3, 12) + sizes(1e-7, 1, 6) + near(-80, 80, 8) + near(-700, 700, 6)]),
    "exp_m1": (expm1, [near(-3, 3, 12) + sizes(1e-10, 1, 8) + near(-80, 80, 8)]),
    "ln": (log, [POSITIVE]),
    "ln_1p": (log1p, [POSITIVE + sizes(1e-10, 0.5, 8, "-")]),
    "sin": (sin, [LINE]),
    "cos": (cos, [LINE]),
    "tan": (tan, [LINE]),
    "tanh": (tanh, [LINE + sizes(10, 40, 8)]),
    "dtanh": (lambda x: 1 / cosh(x) ** 2, [LINE + sizes(10, 350, 8)]),
    "sigmoid": (sigma, [TAIL]),
    "dsigmoid": (lambda x: exp(-abs(x)) / (1 + exp(-abs(x))) ** 2, [TAIL]),
    "softplus": (softplus, [TAIL]),
    "relu": (lambda x: x if x > 0 else 0 * x, [LINE]),
    "abs": (abs, [LINE]),
    "min": (lambda a, b: min(a, b), PAIR),
    "max": (lambda a, b: max(a, b), PAIR),
    "minimum": (lambda a, b: min(a, b), PAIR),
    "maximum": (lambda a, b: max(a, b), PAIR),
    "rsqrt": (lambda x: 1 / sqrt(x), [POSITIVE]),
    "cbrt": (lambda x: sign(x) * cbrt(abs(x)), [POSITIVE + sizes(1e-3, 1e3, 6, "-")]),
    "hypot": (lambda a, b: sqrt(a * a + b * b), PAIR),
    "direction": (lambda a, b: a / sqrt(a * a + b * b), PAIR),
    "exp2": (lambda x: mpf(2) ** x, [near(-3, 3, 14) + sizes(1e-7, 1, 6) + near(-100, 100, 8) + near(-1000, 1000, 6)]),
    "log2": (lambda x: log(x) / log(mpf(2)), [POSITIVE]),
    "log10": (lambda x: log(x) / log(mpf(10)), [POSITIVE]),
    "logaddexp": (lambda a, b: log(exp(a) + exp(b)), PAIR),
    "logaddexp2": (lambda a, b: log(mpf(2) ** a + mpf(2) ** b) / log(mpf(2)), PAIR),
    "xlogy": (lambda x, y: x * log(y), [LINE, POSITIVE]),
    "xlog1py": (lambda x, y: x * log1p(y), [LINE, POSITIVE]),
    "one_minus_square": (lambda x: 1 - x * x, [LINE + [("c", 1e-7, 0.1, "+-")] * 6]),
    "asin": (asin, [SIGNED_UNIT]),
    "acos": (acos, [SIGNED_UNIT]),
    "atan": (atan, [LINE + sizes(30, 1e20, 8)]),
    "atan2": (lambda a, b: arg(mpc(b, a)), PAIR),
    "sinh": (sinh, [LINE + near(-80, 80, 6) + near(-700, 700, 4)]),
    "cosh": (cosh, [LINE + near(-80, 80, 6) + near(-700, 700, 4)]),
    "asinh": (asinh, [LINE + sizes(30, 1e30, 8)]),
    "acosh": (acosh, [near(1.01, 5, 14) + [("1", 1e-6, 0.1)] * 8 + sizes(5, 1e30, 8, "+")]),
    "atanh": (atanh, [SIGNED_UNIT]),
    "sinc": (sinc_derivative(0), [LINE]),
    "clamp": (lambda x, lo, hi: min(max(x, lo), hi), [near(-4, 4, 28), near(-2.5, -0.5, 28), near(0.5, 2.5, 28)]),
    "lerp": (lambda a, b, w: a + w * (b - a), [near(-3, 3, 28), near(-3, 3, 28), near(-0.5, 1.5, 28)]),
    "logsigmoid": (lambda x: -softplus(-x), [TAIL]),
    "silu": (lambda x: x * sigma(x), [TAIL]),
    "gelu": (lambda x: x * ndtr(x), [LINE]),
    "gelu_tanh": (
        lambda x: x / 2 * (1 + tanh(sqrt(2 / pi) * (x + mpf("0.044715") * x**3))),
        [GELU],
    ),
    "gelu_gate": (lambda x: sigma(gelu_argument(x)), [GELU]),
    "gelu_gate_slope": (lambda x: exp(-abs(gelu_argument(x))) / (1 + exp(-abs(gelu_argument(x)))) ** 2, [GELU]),
    "mish": (lambda x: x * tanh(softplus(x)), [LINE]),
    "leaky_relu": (lambda x, s: x if x > 0 else s * x, [LINE, near(0.01, 0.5, 26)]),
    "elu": (elu, [LINE, near(0.1, 2, 26)]),
    "selu": (
        lambda x: mpf("1.0507009873554804934193349852946") * elu(x, mpf("1.6732632423543772848170429916717")),
        [LINE],
    ),
    "celu": (lambda x, a: x if x > 0 else a * expm1(x / a), [near(-3, 3, 18) + sizes(3, 30, 8), near(0.5, 2, 26)]),
    "relu6": (lambda x: min(max(x, mpf(0)), mpf(6)), [LINE]),
    "hardtanh": (lambda x, lo, hi: min(max(x, lo), hi), [near(-4, 4, 28), near(-2.5, -0.5, 28), near(0.5, 2.5, 28)]),
    "hardsigmoid": (lambda x: min(max((x + 3) / 6, mpf(0)), mpf(1)), [near(-2.9, 2.9, 20) + sizes(3.1, 30, 6)]),
    "hardswish": (lambda x: x * min(max((x + 3) / 6, mpf(0)), mpf(1)), [near(-2.9, 2.9, 20) + sizes(3.1, 30, 6)]),
    "softsign": (lambda x: x / (1 + abs(x)), [LINE + sizes(30, 1e20, 6)]),
    "tanhshrink": (lambda x: x - tanh(x), [LINE]),
    "hardshrink": (lambda x, b: x if abs(x) > b else 0 * x, [near(-3, 3, 26), near(0.25, 1, 26)]),
    "softshrink": (lambda x, b: x - b * sign(x) if abs(x) > b else 0 * x, [near(-3, 3, 26), near(0.25, 1, 26)]),
    "threshold": (lambda x, b, v: x if x > b else v, [near(-3, 3, 26), near(-1, 1, 26), near(-3, 3, 26)]),
    "copysign": (lambda a, b: abs(a) * sign(b), PAIR),
    "fmod": (truncated, [near(-9, 9, 26), near(0.5, 3, 13) + near(-3, -0.5, 13)]),
    "remainder": (remainder, [near(-9, 9, 26), near(0.5, 3, 13) + near(-3, -0.5, 13)]),
    "fract": (lambda x: x - (floor(x) if x > 0 else ceil(x)), [near(-9, 9, 26)]),
    "erf": (erf, [LINE]),
    "erfc": (erfc, [near(-3, 3, 14) + sizes(1e-7, 1, 6) + near(-6, 26, 10)]),
    "erfcx": (lambda x: exp(x * x) * erfc(x), [near(-3, 3, 14) + near(-5, 30, 10) + sizes(30, 1e15, 8, "+")]),
    "erfinv": (erfinv, [SIGNED_UNIT]),
    "gaussian": (lambda x: exp(-x * x), [near(-3, 3, 14) + sizes(1e-7, 1, 6) + near(-9, 9, 6) + near(-26, 26, 6)]),
    "normal_pdf": (pdf, [near(-3, 3, 14) + sizes(1e-7, 1, 6) + near(-12, 12, 6) + near(-37, 37, 6)]),
    "ndtr": (ndtr, [near(-3, 3, 14) + sizes(1e-7, 1, 6) + near(-12, 8, 6) + near(-37, -12, 6)]),
    "log_ndtr": (lambda x: log(ndtr(x)) if x < 0 else log1p(-ndtr(-x)), [LINE + near(-300, 10, 8)]),
    "mills": (mills, [LINE + near(-300, 10, 8)]),
    "mills_excess": (lambda x: x + mills(x), [MILLS]),
    "ndtri": (inverse(ndtr, lambda p: ndtri_start(p)), [UNIT]),
    "logit": (lambda p: log(p / (1 - p)), [UNIT]),
    "lgamma": (loggamma, [near(0.05, 5, 18) + sizes(5, 1e6, 8, "+") + sizes(1e-6, 0.1, 4, "+")]),
    "digamma": (digamma, [near(0.05, 5, 14) + near(1.4, 1.52, 6) + sizes(5, 1e6, 8, "+") + sizes(1e-6, 0.1, 4, "+")]),
    "i0": (i_order(0), [near(-5, 5, 14) + sizes(1e-7, 1, 4) + sizes(5, 80, 8)]),
    "i1": (i_order(1), [near(-5, 5, 14) + sizes(1e-7, 1, 4) + sizes(5, 80, 8)]),
    "polygamma:1": (lambda x: psi(1, x), [near(0.05, 5, 18) + sizes(5, 1e4, 8, "+")]),
    "polygamma:2": (lambda x: psi(2, x), [near(0.05, 5, 18) + sizes(5, 1e4, 8, "+")]),
    "polygamma:3": (lambda x: psi(3, x), [near(-2.9, 5, 18) + sizes(5, 1e3, 8, "+")]),
    "bessel_i:2": (i_order(2), [near(-5, 5, 14) + sizes(1e-7, 1, 4) + sizes(5, 80, 8)]),
    "bessel_i:3": (i_order(3), [near(-5, 5, 14) + sizes(1e-7, 1, 4) + sizes(5, 80, 8)]),
    "sinc_derivative:1": (sinc_derivative(1), [LINE]),
    "sinc_derivative:2": (sinc_derivative(2), [LINE]),
    "mills_derivative:1": (mills_derivative(1), [MILLS]),
    "mills_derivative:2": (mills_derivative(2), [MILLS]),
    "mills_derivative:3": (mills_derivative(3), [MILLS]),
}


ZEROS = set(
    "tanh dtanh sigmoid dsigmoid softplus logaddexp logaddexp2 atan atan2 direction hypot asinh sinc sinc_derivative logsigmoid silu gelu gelu_tanh"
    " gelu_gate gelu_gate_slope mish tanhshrink erf erfc erfinv gaussian normal_pdf ndtr mills_derivative ndtri logit celu lgamma".split()
)


def ndtri_start(p):
    # From the nearest double of erfinv; in the tails from the asymptotic form.
    if mpf("0.001") < p < mpf("0.999"):
        return sqrt(mpf(2)) * mpf(mp.erfinv(2 * p - 1))
    q = min(p, 1 - p)
    y = -sqrt(-2 * log(q) - log(2 * pi * -2 * log(q)))
    return y if p < 0.5 else -y


def single(x):
    return struct.unpack("f", struct.pack("f", x))[0]


def draw(rng, region):
    kind, lo, hi, *signs = region
    sign = rng.choice([-1, 1] if signs == ["+-"] else [-1] if signs == ["-"] else [1])
    if kind == "u":
        return single(rng.uniform(lo, hi))
    size = 10 ** rng.uniform(float(log10(lo)), float(log10(hi)))
    if kind == "c":
        return single(sign * (1 - size))
    if kind == "1":
        return single(1 + size)
    return single(sign * size)


def bits(x):
    return "%016x" % struct.unpack("<Q", struct.pack("<d", x))[0]


def number(x):
    x = mpf(x.real)
    nearest = float(x)
    if nearest == 0 or abs(nearest) < 2.0**-1000 or abs(nearest) == float("inf"):
        # Too small to matter, or not a number: no reference.
        return "-" if x != 0 else "0"
    exponent = int(floor(log(abs(mpf(nearest)), 2) + mpf(10) ** -30))
    rest = int(nint((x - mpf(nearest)) / mpf(2) ** (exponent - 52) * 1000))
    return bits(nearest) + ("%+d" % rest if rest else "")


def derivative(f, args, i, n):
    g = lambda t: f(*args[:i], t, *args[i + 1 :])
    # The difference's step is small against the argument and against 1.
    scale = min(abs(args[i]), mpf(1)) if args[i] else mpf(1)
    mp.dps = WORKING
    h = scale * mpf(10) ** -DIGITS
    points = [g(args[i] + (mpf(2 * k - n) / 2) * h) for k in range(n + 1)]
    total = sum((-1) ** (n - k) * binomial(n, k) * points[k] for k in range(n + 1))
    result = total / h**n
    # What rounding alone leaves of an exact 0.
    largest = max(abs(p) for p in points)
    noise = largest / h**n * mpf(10) ** (-mp.dps + 5)
    return mpf(0) if abs(result) <= noise else result


def order_of(name, f, args, i, n):
    """The derivative as it is written in the file."""
    at = lambda k: mpc(derivative(f, args[:i] + [args[i] * k / 4] + args[i + 1 :], i, n)).real
    exact = at(4)

    def changes(k):
        try:
            return sign(at(k)) != sign(exact)
        except ValueError:
            # Outside the domain.
            return False

    return "-" if name.split(":")[0] in ZEROS and (changes(3) or changes(5)) else number(exact)


def fnv1a(data):
    h = 0xCBF29CE484222325
    for byte in data:
        h = (h ^ byte) * 0x100000001B3 % 2**64
    return h


def main():
    with open(__file__, "rb") as script:
        print("# FNV-1a of scalars.py: %016x" % fnv1a(script.read()))
    for name, (f, regions) in FUNCTIONS.items():
        rng = random.Random(name)
        for row in zip(*regions):
            args = [draw(rng, region) for region in row]
            exact = [mpf(a) for a in args]
            mp.dps = WORKING
            numbers = [order_of(name, f, exact, 0, 0)]
            for i in range(len(args)):
                numbers += [order_of(name, f, exact, i, n) for n in (1, 2, 3)]
            print(name, *[bits(a) for a in args], *numbers, flush=True)


main()
