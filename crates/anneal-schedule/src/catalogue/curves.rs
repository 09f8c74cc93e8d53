//! The curves.

use super::{COUNT, FLAG, LENGTH, LEVEL, NUMBER, RATE, entries, needed, optional};
use crate::*;

const PEAK: Argument = needed("peak", RATE, "the rate of the first update");
const END: Argument = optional("end", LEVEL, "0", "the rate at the end of the length");
const FILLS: Argument =
    optional("length", LENGTH, "rest", "how long it takes; by default to the end of the run");
const STAIRS: Argument = optional("staircase", FLAG, "false", "falls in steps");

entries! { CURVES, Curve:
    constant, "The same rate at every update.", "rate",
    [needed("rate", RATE, "the rate")],
    ["constant_schedule", "ConstantLR"],
    "constant(0.1)" = constant(0.1);

    cosine, "Half a cosine wave from the peak to the end.", "end + ½(peak − end)(1 + cos(π t/T))",
    [
        PEAK, END, FILLS,
        optional("exponent", NUMBER, "1", "raises the wave to a power"),
        optional("k", NUMBER, "1", "raises t/T to a power: above 1 the rate stays high longer"),
        optional("cycles", NUMBER, "0.5", "full waves in the length"),
        optional("after", "hold or continue", "hold", "what it does after the length"),
    ],
    ["CosineAnnealingLR", "cosine_decay_schedule", "CosineDecay", "CosineLRScheduler"],
    "cosine(0.1).end(1e-4)" = cosine(0.1).end(1e-4);

    linear in polynomial, "A straight line.", "start + (end − start) t/T",
    [
        needed("start", RATE, "the rate of the first update"), END, FILLS,
        optional("cycle", FLAG, "false", "restarts with a longer T instead of holding the end"),
    ],
    ["LinearLR", "linear_schedule", "get_linear_schedule_with_warmup"],
    "linear(0.1, 0.0)" = linear(0.1, 0.0);

    polynomial, "A power of the remaining share of the length.", "end + (start − end)(1 − t/T)^power",
    [
        needed("start", RATE, "the rate of the first update"), END,
        optional("power", NUMBER, "1", "the exponent"), FILLS,
        optional("cycle", FLAG, "false", "restarts with a longer T instead of holding the end"),
    ],
    ["PolynomialLR", "polynomial_schedule", "PolynomialDecay", "PolyLRScheduler"],
    "polynomial(0.1, 0.001, 2.0)" = polynomial(0.1, 0.001, 2.0);

    step_decay, "Drops by a factor at regular intervals.", "peak · gamma^⌊t/every⌋",
    [
        needed("peak", RATE, "the rate before the first drop"),
        needed("every", LENGTH, "the interval between drops"),
        optional("gamma", NUMBER, "0.1", "the factor of each drop"),
    ],
    ["StepLR", "StepLRScheduler"],
    "step_decay(0.1, 3ep, 0.5)" = step_decay(0.1, Span::epochs(3), 0.5);

    multi_step, "Drops by a factor at each milestone.", "peak · gamma^(milestones ≤ t)",
    [
        needed("peak", RATE, "the rate before the first milestone"),
        needed("milestones", LENGTH, "a list of positions, from the start"),
        optional("gamma", NUMBER, "0.1", "the factor of each drop"),
    ],
    ["MultiStepLR", "MultiStepLRScheduler"],
    "multi_step(0.1, [50%, 75%], 0.1)"
        = multi_step(0.1, [Span::percent(50), Span::percent(75)], 0.1);

    exponential, "Falls by the same factor at every update.", "peak · e^(−κt)",
    [
        PEAK,
        needed(
            "decay",
            "0.99, factor, half_life, kappa or toward",
            "the speed: a factor per update or per span, a half-life, κ, or an end",
        ),
    ],
    ["ExponentialLR", "exponential_decay", "ExponentialDecay"],
    "exponential(0.1, half_life(2ep))" = exponential(0.1, Decay::HalfLife(Span::epochs(2)));

    warmup_stable_decay in warmup, "A warm-up, a constant rate, and a decay at the end of the run; alias wsd.",
    "rise over warmup, peak, then peak · (T − t)/decay",
    [
        needed("peak", RATE, "the rate between warm-up and decay"),
        needed("warmup", LENGTH, "the length of the warm-up"),
        needed("decay", LENGTH, "the length of the decay"),
    ],
    ["WSDLRScheduler", "get_wsd_schedule"],
    "warmup_stable_decay(0.1, 5%, 20%)"
        = warmup_stable_decay(0.1, Span::percent(5), Span::percent(20));

    stable_decay, "A constant rate, and a decay at the end of the run.",
    "peak, then end + (peak − end)(T − t)/decay",
    [
        needed("peak", RATE, "the rate before the decay"),
        needed("decay", LENGTH, "the length of the decay"),
        optional("stable", "constant, rsqrt or power", "constant", "the rate before the decay"),
        optional("shape", "linear, one_minus_sqrt, cosine, power or exponential", "linear", "the shape of the decay"),
        END, FILLS,
    ],
    [],
    "stable_decay(0.1, 20%).shape(one_minus_sqrt)"
        = stable_decay(0.1, Span::percent(20)).shape(DecayShape::OneMinusSqrt);

    one_cycle, "Rises to the peak and falls far below the start.", "start → peak → end, half cosines",
    [
        needed("peak", RATE, "the rate at the turn"),
        FILLS,
        optional("start", LEVEL, "peak / 25", "the rate of the first update"),
        optional("end", LEVEL, "start / 10,000", "the last rate"),
        optional("pct_start", NUMBER, "0.3", "the share of the length that rises"),
        optional("anneal", "cosine or linear", "cosine", "the shape of each phase"),
        optional("three_phase", FLAG, "false", "returns to the start before going on to the end"),
    ],
    ["OneCycleLR", "fit_one_cycle", "cosine_onecycle_schedule"],
    "one_cycle(0.1)" = one_cycle(0.1);

    warm_restarts, "Repeated cosines, each from the peak.",
    "end + ½(peak − end)(1 + cos(π t_cycle/T_cycle))",
    [
        needed("peak", RATE, "the rate at the start of the first cycle"),
        needed("cycle", LENGTH, "the length of the first cycle"),
        optional("multiplier", NUMBER, "1", "ratio of each cycle's length to the previous one's"),
        optional("end", LEVEL, "0", "the rate at the end of each cycle"),
        optional("peak_decay", NUMBER, "1", "ratio of each peak to the previous one"),
        optional("cycle_warmup", LENGTH, "none", "a warm-up at the start of each cycle"),
        optional("limit", COUNT, "none", "the number of cycles, after which it holds the end"),
    ],
    ["CosineAnnealingWarmRestarts", "sgdr_schedule", "CosineDecayRestarts"],
    "warm_restarts(0.1, 10%).multiplier(2.0)"
        = warm_restarts(0.1, Span::percent(10)).multiplier(2.0);

    cyclic, "Rises and falls linearly, repeatedly.", "base → peak → base",
    [
        needed("base", LEVEL, "the rate at the start of each cycle"),
        needed("peak", RATE, "the rate at the turn"),
        needed("up", LENGTH, "how long it rises"),
        optional("down", LENGTH, "up", "how long it falls"),
        optional("scaling", "triangular, triangular2 or exp_range", "triangular", "how cycles shrink"),
    ],
    ["CyclicLR"],
    "cyclic(0.01, 0.1, 1ep)" = cyclic(0.01, 0.1, Span::epochs(1));

    inverse_sqrt, "Falls with the square root of the update.", "peak / √(1 + t/timescale)",
    [PEAK, needed("timescale", LENGTH, "the rate has halved after three of them")],
    ["get_inverse_sqrt_schedule", "rsqrt"],
    "inverse_sqrt(0.1, 10)" = inverse_sqrt(0.1, Span::steps(10));

    noam, "The Transformer's rise and inverse square root.",
    "factor · d^(−½) · min(s^(−½), s · w^(−3/2)), s = t + 1",
    [
        needed("factor", NUMBER, "multiplies all rates"),
        needed("model_size", COUNT, "d, the width of the model"),
        needed("warmup_length", LENGTH, "w, how long it rises"),
    ],
    ["NoamLrScheduler"],
    "noam(1.0, 512, 20)" = noam(1.0, 512, Span::steps(20));

    tanh, "Stays near the peak and falls along a hyperbolic tangent.",
    "end + ½(peak − end)(1 − tanh(lower + (upper − lower) t/T))",
    [
        PEAK, END, FILLS,
        optional("lower", NUMBER, "-7", "start on the tangent"),
        optional("upper", NUMBER, "3", "end on the tangent"),
    ],
    ["TanhLRScheduler"],
    "tanh(0.1)" = tanh(0.1);

    power_law, "Falls by a power of the update.", "peak · (1 + t/timescale)^(−power)",
    [
        PEAK,
        needed("timescale", LENGTH, "time until it falls noticeably"),
        needed("power", NUMBER, "the exponent"), STAIRS,
    ],
    [],
    "power_law(0.1, 10, 0.7)" = power_law(0.1, Span::steps(10), 0.7);

    inverse_time, "Falls as one over the update.", "peak / (1 + decay · t/per)",
    [
        PEAK,
        needed("decay", NUMBER, "growth of the divisor over each span"),
        needed("per", LENGTH, "the span"), STAIRS,
    ],
    ["InverseTimeDecay"],
    "inverse_time(0.1, 1.0, 1ep)" = inverse_time(0.1, 1.0, Span::epochs(1));

    piecewise_constant, "A value from each boundary on.", "the value of the last boundary ≤ t",
    [
        needed("start", RATE, "the rate before the first boundary"),
        needed("boundaries", LENGTH, "a list of positions, from the start"),
        needed("values", RATE, "a list, one per boundary"),
        optional("scales", FLAG, "false", "the values are factors of the previous rate"),
    ],
    ["PiecewiseConstantDecay", "piecewise_constant_schedule"],
    "piecewise_constant(0.1, [30%, 60%], [0.03, 0.01])"
        = piecewise_constant(0.1, [Span::percent(30), Span::percent(60)], [0.03, 0.01]);

    piecewise_interpolate, "Through a point at each boundary.", "the line between the points around t",
    [
        needed("start", RATE, "the rate of the first update"),
        needed("boundaries", LENGTH, "a list of positions, from the start"),
        needed("values", RATE, "a list, one per boundary"),
        optional("scales", FLAG, "false", "the values are factors of the previous rate"),
        optional("anneal", "linear or cosine", "linear", "the shape between the points"),
    ],
    ["piecewise_interpolate_schedule"],
    "piecewise_interpolate(0.01, [30%, 90%], [0.1, 0.001])"
        = piecewise_interpolate(0.01, [Span::percent(30), Span::percent(90)], [0.1, 0.001]);

    table, "A list of rates.", "rates[⌊t/every⌋], then the last",
    [
        needed("rates", RATE, "the list"),
        optional("every", LENGTH, "1 update", "how long each of them holds"),
    ],
    ["LambdaLR"],
    "table([0.1, 0.05, 0.02]).every(3ep)" = table([0.1, 0.05, 0.02]).every(Span::epochs(3));

    inverse_curvature, "Rates inverse to a list of curvatures.", "peak · c_min/c[⌊t/every⌋]",
    [
        needed("peak", RATE, "the rate where the curvature is smallest"),
        needed("curvatures", NUMBER, "the list"),
        optional("every", LENGTH, "1 update", "how long each of them holds"),
    ],
    [],
    "inverse_curvature(0.1, [1.0, 2.0, 4.0]).every(3ep)"
        = inverse_curvature(0.1, [1.0, 2.0, 4.0]).every(Span::epochs(3));
}
