//! Why each finding matters, with a schedule that has it and one that does not.

use super::Code;

/// What there is to know of a [`Code`]; beside it, [`Code::meaning`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// Why it matters.
    pub reason: &'static str,
    /// A schedule that has it.
    pub bad: Example,
    /// What to write instead.
    pub good: Example,
}

/// A schedule in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Example {
    /// The schedule in the text form.
    pub schedule: &'static str,
    /// The run, and what else is known, as flags of `anneal lint`.
    pub flags: &'static str,
}

/// Two schedules in one run.
const fn explained(
    reason: &'static str,
    flags: &'static str,
    bad: &'static str,
    good: &'static str,
) -> Explanation {
    let (bad, good) = (Example { schedule: bad, flags }, Example { schedule: good, flags });
    Explanation { reason, bad, good }
}

impl Code {
    /// Why it matters, with a schedule that has it and one that does not.
    pub const fn explanation(self) -> Explanation {
        match self {
            Self::NeverWarm => explained(
                "A rise is cut off, or lowered by something else, before it reaches the peak that you \
                 chose. Training never sees the rate that was tuned.",
                "--steps 1000",
                "product([linear(0.1, 0.0), linear(0.0, 1.0)])",
                "cosine(0.1).warmup(10%)",
            ),
            Self::FrozenTail => explained(
                "Updates at a hundredth of the peak or less change almost nothing: the end of the run \
                 is paid for and wasted.",
                "--steps 1000",
                "linear(0.1, 0.0).length(60%)",
                "linear(0.1, 0.0)",
            ),
            Self::UnreachableEnd => explained(
                "The run ends in the middle of a curve, at a high rate, or a floor keeps the rate from \
                 an end that is asked for. The last updates are those that bring the loss down.",
                "--steps 1000",
                "warm_restarts(0.1, 600)",
                "warm_restarts(0.1, 500)",
            ),
            Self::FlatFloor => explained(
                "`.floor(x)` cuts the curve off at x, so that its last part is flat. Most libraries \
                 (`eta_min`, `min_lr`) scale the curve to reach x with the last update instead. Both \
                 are in use; they are not the same.",
                "--steps 1000",
                "cosine(6e-4).floor(6e-5)",
                "cosine(6e-4).end(6e-5)",
            ),
            Self::DecayNeverStarts => explained(
                "The first drop lies beyond the run, or the decay is too slow to be seen: this trains \
                 as a constant does.",
                "--steps 1000",
                "step_decay(0.1, 1000, 0.1)",
                "step_decay(0.1, 300, 0.1)",
            ),
            Self::EndsEarly => explained(
                "The rate falls at once and is flat for the rest of the run. Nearly always a length \
                 was meant in epochs: a number without a unit counts updates, and so does a factor of \
                 an exponential decay.",
                "--epochs 90 --steps-per-epoch 100",
                "step_decay(0.1, 30, 0.1)",
                "step_decay(0.1, 30ep, 0.1)",
            ),
            Self::RisesAgain => explained(
                "A cosine that continues, as torch's CosineAnnealingLR does, is a wave: after its \
                 length it climbs back to the peak. Where T_max was meant in epochs, it does so many \
                 times.",
                "--epochs 100 --steps-per-epoch 50",
                "cosine(0.1).length(100).after(continue)",
                "cosine(0.1).length(100ep).after(continue)",
            ),
            Self::RestartResetsNothing => explained(
                "A restart helps because the rate rises again. Here there is none in the run, or the \
                 rate was as high before it.",
                "--steps 1000",
                "warm_restarts(0.1, 1000)",
                "warm_restarts(0.1, 500)",
            ),
            Self::ShortPeriod => explained(
                "A rate that goes up and down every few updates acts like its mean. Nearly always the \
                 length was meant in epochs, or the number is that of the repetitions.",
                "--epochs 30 --steps-per-epoch 391",
                "warm_restarts(0.1, 10)",
                "warm_restarts(0.1, 10ep)",
            ),
            Self::SuddenJump => explained(
                "Restarts and drops by ten are known to work; a rate that is suddenly a hundred times \
                 what any update before it had is most often a wrong exponent, and it destroys what \
                 was learned.",
                "--steps 1000",
                "linear(0.0, 3e-4).then(100, cosine(3e-1))",
                "linear(0.0, 3e-4).then(100, cosine(3e-4))",
            ),
            Self::WarmupLongerThanHalf => explained(
                "Most of the run is spent below the rate that was tuned. 1 % to 10 % is usual.",
                "--steps 1000",
                "cosine(0.1).warmup(600)",
                "cosine(0.1).warmup(50)",
            ),
            Self::WarmupLongerThanRun => explained(
                "What follows the warm-up would never be used. Such a schedule is refused.",
                "--steps 1000",
                "cosine(0.1).warmup(2000)",
                "cosine(0.1).warmup(50)",
            ),
            Self::WarmupRoundsToZero => explained(
                "A small share of a short run is less than half an update, so that training begins at \
                 the peak.",
                "--steps 50",
                "cosine(0.1).warmup(0.5%)",
                "cosine(0.1).warmup(5)",
            ),
            Self::DoubleWarmup => explained(
                "One-cycle, Noam and `warmup_stable_decay` have a warm-up already. With another one \
                 the rate rises to the small rate that they begin with, and then again.",
                "--steps 1000",
                "one_cycle(0.1).warmup(50)",
                "one_cycle(0.1)",
            ),
            Self::RateTooHigh => explained(
                "Plain SGD is seldom stable above 1, Adam above 0.01; super-convergence uses 3. Only \
                 optimizers that scale each layer, such as LARS, bear more than 10. Most often an \
                 exponent or a point is missing.",
                "--steps 1000",
                "cosine(30)",
                "cosine(0.30)",
            ),
            Self::LooksLikeMultiplier => explained(
                "torch's LambdaLR takes multipliers of the optimizer's rate; a schedule here is the \
                 rate itself. Taken over as they are, multipliers train at a rate of 1. Prodigy and \
                 D-Adaptation do want that: allow it for them.",
                "--steps 1000",
                "linear(1.0, 0.0)",
                "linear(1.0, 0.0).scale(3e-4)",
            ),
            Self::AboveStabilityCeiling => explained(
                "On a loss of curvature λ gradient descent diverges above 2/λ; momentum and Adam have \
                 a ceiling of their own.",
                "--steps 1000 --curvature 50",
                "cosine(0.1)",
                "cosine(0.03)",
            ),
            Self::VanishingDecay => explained(
                "A decay that is multiplied with the rate does nothing where their product is tiny. It \
                 only looks as if the weights were regularized.",
                "--steps 1000 --weight-decay 0.01",
                "cosine(1e-5)",
                "cosine(3e-2)",
            ),
            Self::FadingDecay => explained(
                "In torch's AdamW the decay is multiplied with the rate, so it fades as the rate falls: \
                 the weights are held back at the beginning and grow freely at the end. Many recipes \
                 were tuned with it and are fine. A decay that is independent of the rate stays.",
                "--steps 1000 --weight-decay 0.1",
                "cosine(0.1)",
                "cosine(0.1).end(0.02)",
            ),
            Self::Invalid => explained(
                "A value lies outside its range, so that there is no schedule.",
                "--steps 1000",
                "cosine(0.1).end(0.2)",
                "cosine(0.1).end(0.02)",
            ),
        }
    }
}
