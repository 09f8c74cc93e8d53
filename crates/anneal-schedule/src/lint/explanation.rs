//! Why each finding matters, with an example that triggers it and one that does not.

use super::Code;

/// The explanation of a [`Code`]; see also [`Code::meaning`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// Why it matters.
    pub reason: &'static str,
    /// A schedule that triggers it.
    pub bad: Example,
    /// What to write instead.
    pub good: Example,
}

/// A schedule and its run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Example {
    /// The schedule in the text form.
    pub schedule: &'static str,
    /// The run, and further options, as flags of `anneal lint`.
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
    /// Why it matters, with an example that triggers it and one that does not.
    pub const fn explanation(self) -> Explanation {
        match self {
            Self::NeverWarm => explained(
                "A rise is cut off, or lowered by something else, before it reaches the peak that you \
                 chose. Training never uses the tuned rate.",
                "--steps 1000",
                "product([linear(0.1, 0.0), linear(0.0, 1.0)])",
                "cosine(0.1).warmup(10%)",
            ),
            Self::CutShort => explained(
                "The rates are those of the beginning of a longer run: right for a smoke test, but the rate \
                 never comes down to its end, and neither does the loss.",
                "--steps 1000",
                "cosine(0.1).length(5000).truncate()",
                "cosine(0.1)",
            ),
            Self::FrozenTail => explained(
                "Updates at a hundredth of the peak or less change almost nothing: the end of the run \
                 is wasted.",
                "--steps 1000",
                "linear(0.1, 0.0).length(60%)",
                "linear(0.1, 0.0)",
            ),
            Self::UnreachableEnd => explained(
                "The run ends in the middle of a curve, at a high rate, or a floor keeps the rate from \
                 the requested end. It is the last updates that bring the loss down.",
                "--steps 1000",
                "warm_restarts(0.1, 600)",
                "warm_restarts(0.1, 500)",
            ),
            Self::FlatFloor => explained(
                "`.floor(x)` cuts the curve off at x, so its last part is flat. Most libraries \
                 (`eta_min`, `min_lr`) instead scale the curve to reach x at the last update. Both \
                 are in use; they are not the same.",
                "--steps 1000",
                "cosine(6e-4).floor(6e-5)",
                "cosine(6e-4).end(6e-5)",
            ),
            Self::DecayNeverStarts => explained(
                "The first drop lies beyond the run, or the decay is too slow to matter: this trains \
                 like a constant rate.",
                "--steps 1000",
                "step_decay(0.1, 1000, 0.1)",
                "step_decay(0.1, 300, 0.1)",
            ),
            Self::EndsEarly => explained(
                "The rate falls at once and is flat for the rest of the run. A length was almost certainly \
                 meant in epochs: a number without a unit counts updates, and so does the factor of \
                 an exponential decay.",
                "--epochs 90 --steps-per-epoch 100",
                "step_decay(0.1, 30, 0.1)",
                "step_decay(0.1, 30ep, 0.1)",
            ),
            Self::RisesAgain => explained(
                "A cosine that continues, as torch's CosineAnnealingLR does, is a wave: after its \
                 length it climbs back to the peak. If T_max was meant in epochs, it does so many \
                 times.",
                "--epochs 100 --steps-per-epoch 50",
                "cosine(0.1).length(100).after(continue)",
                "cosine(0.1).length(100ep).after(continue)",
            ),
            Self::RestartResetsNothing => explained(
                "A restart helps because the rate rises again. Here the run contains none, or the \
                 rate was just as high before.",
                "--steps 1000",
                "warm_restarts(0.1, 1000)",
                "warm_restarts(0.1, 500)",
            ),
            Self::ShortPeriod => explained(
                "A rate that goes up and down every few updates acts like its mean. Almost certainly the \
                 length was meant in epochs, or the number is a number of repetitions.",
                "--epochs 30 --steps-per-epoch 100",
                "warm_restarts(0.1, 10)",
                "warm_restarts(0.1, 10ep)",
            ),
            Self::SuddenJump => explained(
                "Restarts and drops by ten are known to work; a rate that is suddenly a hundred times \
                 what any update before it had is usually a wrong exponent, and it destroys what \
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
                "The schedule after the warm-up would never be used, so it is refused.",
                "--steps 1000",
                "cosine(0.1).warmup(2000)",
                "cosine(0.1).warmup(50)",
            ),
            Self::WarmupRoundsToZero => explained(
                "A small share of a short run is less than half an update, so training starts at \
                 the peak.",
                "--steps 50",
                "cosine(0.1).warmup(0.5%)",
                "cosine(0.1).warmup(5)",
            ),
            Self::LooksLikeEpochs => explained(
                "timm and most recipes for images count lengths in epochs. Five updates out of tens of \
                 thousands warm nothing up, and a curve of 90 is over at once.",
                "--epochs 90 --steps-per-epoch 391",
                "cosine(0.1).warmup(5)",
                "cosine(0.1).warmup(5ep)",
            ),
            Self::LooksLikeUpdates => explained(
                "The length lies far beyond the run, so that it is refused, or the rate hardly falls. As a \
                 number of updates it would fit.",
                "--epochs 90 --steps-per-epoch 5005",
                "step_decay(0.1, 150150ep, 0.1)",
                "step_decay(0.1, 150150, 0.1)",
            ),
            Self::DoubleWarmup => explained(
                "One-cycle, Noam and `warmup_stable_decay` have a warm-up already. With a second one \
                 the rate rises to their small initial rate, and then again.",
                "--steps 1000",
                "one_cycle(0.1).warmup(50)",
                "one_cycle(0.1)",
            ),
            Self::RateTooHigh => explained(
                "Plain SGD is seldom stable above 1, Adam above 0.01; super-convergence uses 3. Only \
                 optimizers that scale each layer, such as LARS, tolerate more than 10. Usually an \
                 exponent or a decimal point is missing.",
                "--steps 1000",
                "cosine(30)",
                "cosine(0.30)",
            ),
            Self::LooksLikeMultiplier => explained(
                "torch's LambdaLR takes multipliers of the optimizer's rate; here a schedule is the \
                 rate itself. Copied unchanged, multipliers train at a rate of 1. Prodigy and \
                 D-Adaptation expect that: allow it for them.",
                "--steps 1000",
                "linear(1.0, 0.0)",
                "linear(1.0, 0.0).scale(3e-4)",
            ),
            Self::AboveStabilityCeiling => explained(
                "On a loss of curvature λ gradient descent diverges above 2/λ; momentum and Adam have \
                 their own ceilings.",
                "--steps 1000 --curvature 50",
                "cosine(0.1)",
                "cosine(0.03)",
            ),
            Self::VanishingDecay => explained(
                "A decay that is multiplied by the rate does nothing if their product is tiny. It \
                 only looks like regularization.",
                "--steps 1000 --weight-decay 0.01",
                "cosine(1e-5)",
                "cosine(3e-2)",
            ),
            Self::FadingDecay => explained(
                "In torch's AdamW the decay is multiplied by the rate, so it fades as the rate falls: \
                 the weights are held back at the beginning and grow freely at the end. Many recipes \
                 were tuned with it and are fine. A decay that is independent of the rate does not fade.",
                "--steps 1000 --weight-decay 0.1",
                "cosine(0.1)",
                "cosine(0.1).end(0.02)",
            ),
            Self::Invalid => explained(
                "A value is outside its range, so the schedule cannot be built.",
                "--steps 1000",
                "cosine(0.1).end(0.2)",
                "cosine(0.1).end(0.02)",
            ),
        }
    }
}
