//! The combinators.

use super::{COUNT, FLAG, LENGTH, LEVEL, NUMBER, RATE, entries, needed, optional};
use crate::*;

const SCHEDULES: Argument = needed("schedules", "schedules", "a list; in Rust also a tuple");

entries! { COMBINATORS, Combinator:
    warmup, "A rise before the schedule.", "inner(0) · (t+1)/(n+1) for t < n, then inner(t − n)",
    [
        needed("length", LENGTH, "n, how long it rises"),
        optional(
            "ramp", "linear, cosine, exponential, one_minus_sqrt or logarithmic", "linear", "the shape of the rise",
        ),
        optional("start", LEVEL, "0", "what it rises from"),
        optional("include_start", FLAG, "false", "the first update has the start, update n the peak: t/n"),
        optional("include_peak", FLAG, "false", "the last update of the rise has the peak: (t+1)/n"),
        optional("overlay", FLAG, "false", "multiplies the schedule instead of shifting it"),
        optional("replace", FLAG, "false", "replaces the schedule's first updates instead of shifting it"),
    ],
    ["linear warm-up", "num_warmup_steps", "warmup_t"],
    "cosine(0.1).warmup(10%)" = cosine(0.1).warmup(Span::percent(10));

    then in sequence, "Continues with another schedule after a length.", "first(t), then next(t − length)",
    [],
    ["SequentialLR", "join_schedules"],
    "constant(0.1).then(5ep, cosine(0.1))" = constant(0.1).then(Span::epochs(5), cosine(0.1));

    sequence, "Schedules one after another.", "part(t − start of the part)",
    [needed("parts", "(length, schedule)", "a list; in Rust also a tuple")],
    ["SequentialLR", "join_schedules"],
    "sequence([(2ep, linear(0.01, 0.1)), (rest, cosine(0.1))])"
        = sequence([(Span::epochs(2), linear(0.01, 0.1).into()), (Span::Rest, ScheduleConfig::from(cosine(0.1)))]);

    repeat_every in repeat, "Repeats the schedule at regular intervals.", "inner(t mod every)",
    [
        needed("every", LENGTH, "the length of each repetition"),
        optional("count", COUNT, "none", "the number of repetitions, after which the rate is held"),
    ],
    [],
    "linear(0.1, 0.01).repeat_every(2ep)" = linear(0.1, 0.01).repeat_every(Span::epochs(2));

    repeat_times in repeat, "Repeats the schedule in equal parts of the run.", "inner(t mod (T/count))",
    [needed("count", COUNT, "the number of repetitions")],
    [],
    "cosine(0.1).repeat_times(3)" = cosine(0.1).repeat_times(3);

    truncate, "The beginning of a longer run: for a short trial of a real recipe.",
    "inner(t) as in the long run",
    [optional("length", LENGTH, "rest", "the long run; by default as long as the schedule needs")],
    [],
    "cosine(0.1).length(30ep).truncate()" = cosine(0.1).length(Span::epochs(30)).truncate();

    floor, "Never below a rate.", "max(inner(t), floor)",
    [needed("floor", LEVEL, "the lowest rate")],
    [],
    "cosine(0.1).floor(0.01)" = cosine(0.1).floor(0.01);

    cap, "Never above a rate.", "min(inner(t), cap)",
    [needed("cap", LEVEL, "the highest rate")],
    [],
    "cosine(0.1).cap(0.08)" = cosine(0.1).cap(0.08);

    scale, "A multiple of the schedule.", "factor · inner(t)",
    [needed("factor", NUMBER, "the factor")],
    [],
    "cosine(0.1).scale(0.5)" = cosine(0.1).scale(0.5);

    product, "The product, update by update; a.times(b) for two.", "a(t) · b(t) · …",
    [SCHEDULES],
    ["ChainedScheduler"],
    "product([cosine(0.1), linear(1.0, 0.5)])" = product((cosine(0.1), linear(1.0, 0.5)));

    sum, "The sum, update by update; a.plus(b) for two.", "a(t) + b(t) + …",
    [SCHEDULES],
    [],
    "sum([cosine(0.1), constant(0.01)])" = sum((cosine(0.1), constant(0.01)));

    minimum, "The lowest of several.", "min(a(t), b(t), …)",
    [SCHEDULES],
    [],
    "minimum([cosine(0.1), constant(0.05)])" = minimum((cosine(0.1), constant(0.05)));

    maximum, "The highest of several.", "max(a(t), b(t), …)",
    [SCHEDULES],
    [],
    "maximum([cosine(0.1), constant(0.05)])" = maximum((cosine(0.1), constant(0.05)));

    delay, "Starts later; the first rate is held until then.", "inner(0) for t < n, then inner(t − n)",
    [needed("length", LENGTH, "n, the delay")],
    ["fit_flat_cos"],
    "cosine(0.1).delay(30%)" = cosine(0.1).delay(Span::percent(30));

    stretch, "Slows the schedule down; a factor below 1 speeds it up.", "inner(⌊t/factor⌋)",
    [needed("factor", NUMBER, "the factor of every length inside")],
    [],
    "step_decay(0.1, 10, 0.5).stretch(2.0)" = step_decay(0.1, Span::steps(10), 0.5).stretch(2.0);

    by_samples, "Moves with the samples rather than the updates, under batches that grow.",
    "inner(samples before update t)",
    [],
    ["Megatron's OptimizerParamScheduler"],
    "linear(0.1, 0.0).by_samples()" = linear(0.1, 0.0).by_samples();

    phase, "Starts a periodic schedule at a later point.", "inner(t + shift)",
    [needed("shift", LENGTH, "how far into the schedule it starts")],
    [],
    "warm_restarts(0.1, 2ep).phase(1ep)"
        = warm_restarts(0.1, Span::epochs(2)).phase(Span::epochs(1));

    smooth, "The mean over the last updates.", "mean of inner(t − window + 1) … inner(t)",
    [needed("window", LENGTH, "the number of updates")],
    [],
    "step_decay(0.1, 3ep, 0.5).smooth(1ep)"
        = step_decay(0.1, Span::epochs(3), 0.5).smooth(Span::epochs(1));

    follow_batch_size, "A rate proportional to a schedule of batch sizes.", "noise_scale · inner(t)",
    [needed("noise_scale", RATE, "rate per sample in a batch")],
    [],
    "linear(64.0, 256.0).follow_batch_size(1e-4)" = linear(64.0, 256.0).follow_batch_size(1e-4);

    follow_noise, "A rate that falls where the noise of a diffusion process is high.",
    "peak / (1 + inner(t))",
    [needed("peak", RATE, "the rate without noise")],
    [],
    "linear(1e-4, 0.02).follow_noise(1e-3)" = linear(1e-4, 0.02).follow_noise(1e-3);

    follow_momentum, "The rate that critically damps Nesterov's method under a schedule of momentum.",
    "((1 − inner(t))/(1 + inner(t)))² / curvature",
    [needed("curvature", NUMBER, "an eigenvalue of the Hessian")],
    [],
    "linear(0.5, 0.9).follow_momentum(10.0)" = linear(0.5, 0.9).follow_momentum(10.0);

    mechanical_momentum, "The momentum of a particle under friction, from its rate.",
    "1 − friction · √inner(t)",
    [needed("friction", NUMBER, "the friction")],
    [],
    "cosine(0.1).mechanical_momentum(0.5)" = cosine(0.1).mechanical_momentum(0.5);

    follow_temperature, "A rate proportional to a schedule of temperatures.", "ratio · inner(t)",
    [needed("ratio", RATE, "rate per unit of temperature")],
    [],
    "linear(0.5, 0.07).follow_temperature(2.0)" = linear(0.5, 0.07).follow_temperature(2.0);
}
