//! Times one SGD update of a model with 8 × 8 parameters: at one rate, with this crate's layer-wise rates, and with
//! Burn's groups.
//!
//! `cargo bench --workspace --profile dev --config docs/benchmarks.toml --bench groups`
//!
//! The variants take turns within each round, so that changes of the machine's speed affect all equally; a line gives
//! the medians over the rounds and of their ratios, in core time.

mod common;

use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::module::{Module, Param, ParamGroup, ParamId};
use burn::optim::{GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::{Device, Tensor};
use burn::train::TrainOutput;
use burn_anneal::groups::parameters;
use burn_anneal::prelude::*;
use common::{median, rounds};
use std::hint::black_box;
use std::time::Instant;

#[derive(Module, Debug)]
struct Weights {
    blocks: Vec<Param<Tensor<2>>>,
}

impl Weights {
    fn new(count: usize, device: &Device) -> Self {
        let block = |_| Param::from_tensor(Tensor::ones([8, 8], device));
        Self { blocks: (0..count).map(block).collect() }
    }

    fn gradients(&self) -> GradientsParams {
        let mut gradients = GradientsParams::new();
        for block in &self.blocks {
            gradients.register(block.id, Tensor::<2>::ones([8, 8], &Device::default()));
        }
        gradients
    }
}

/// A model in training; each has its own, because its parameters change.
trait Trained {
    fn update(&mut self, gradients: GradientsParams);
    fn model(&self) -> &Weights;
}

struct Burns {
    model: Option<Weights>,
    optimizer: ModuleOptimizer,
    scheduler: ModuleLrScheduler,
}

impl Trained for Burns {
    fn update(&mut self, gradients: GradientsParams) {
        let rates = self.scheduler.step();
        let model = self.model.take().map(|model| self.optimizer.step(rates, model, gradients));
        self.model = black_box(model);
    }

    fn model(&self) -> &Weights {
        self.model.as_ref().expect("it is put back")
    }
}

impl Trained for TrainingLoop<Weights> {
    fn update(&mut self, gradients: GradientsParams) {
        self.pass(|_| TrainOutput { grads: gradients, item: () });
        TrainingLoop::update(self).expect("nothing stops it");
        black_box(TrainingLoop::model(self));
    }

    fn model(&self) -> &Weights {
        TrainingLoop::model(self)
    }
}

const RATE: f64 = 1e-3;

fn run() -> RunLength {
    RunLength::updates(1 << 40)
}

/// Burn's optimizer, with one rate or with groups of ids.
fn burns(model: Weights, groups: usize) -> Burns {
    let schedule =
        |scale: f64| Scheduler::new(constant(RATE).scale(scale), run()).expect("a valid schedule");
    let mut scheduler = ModuleLrScheduler::new(schedule(1.0));
    let ids: Vec<ParamId> = model.blocks.iter().map(|block| block.id).collect();
    for group in (0..groups).filter(|_| groups > 1) {
        let members = ids.iter().skip(group).step_by(groups).copied().collect();
        scheduler = scheduler.with_group(ParamGroup::from_ids(members), schedule(scale(group)));
    }
    let optimizer = SgdConfig::new().build().into();
    Burns { model: Some(model), optimizer, scheduler }
}

fn scale(group: usize) -> f64 {
    0.9_f64.powi(group as i32)
}

/// This crate's loop, with layer-wise rates.
fn ours(model: Weights, groups: usize) -> TrainingLoop<Weights> {
    let count = parameters(&model).len();
    let layer = move |path: &str| {
        let index: usize = path.rsplit('.').next().and_then(|i| i.parse().ok()).unwrap_or(0);
        index % groups.min(count)
    };
    let groups =
        layer_decay(0.9).layers(LayerMap::from_fn(move |parameter| layer(&parameter.path)));
    LearnerBuilder::new(model, SgdConfig::new().build(), constant(RATE))
        .run(run())
        .groups(groups)
        .build_loop()
        .expect("groups that fit the model")
}

/// The seconds per update.
fn timed(trained: &mut dyn Trained, updates: usize) -> f64 {
    let gradients: Vec<GradientsParams> =
        (0..updates).map(|_| trained.model().gradients()).collect();
    let start = Clock::now();
    gradients.into_iter().for_each(|gradients| trained.update(gradients));
    start.seconds_since() / updates as f64
}

/// The core time of this thread, if the kernel reports it, so that other programs disturb less. Parameters of 8 × 8 are
/// updated on one thread.
struct Clock {
    wall: Instant,
    on_core: Option<u64>,
}

impl Clock {
    fn now() -> Self {
        Self { wall: Instant::now(), on_core: on_core() }
    }

    fn seconds_since(&self) -> f64 {
        match (self.on_core, on_core()) {
            (Some(before), Some(now)) => (now - before) as f64 * 1e-9,
            _ => self.wall.elapsed().as_secs_f64(),
        }
    }
}

fn on_core() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ').next()?.parse().ok()
}

fn main() {
    let rounds = rounds();
    let device = Device::default().autodiff();
    println!(
        "parameters groups | one rate µs | ours µs  ratio  first update ms | Burn's groups µs  ratio"
    );
    for count in [12, 120, 1_200, 12_000] {
        for groups in [1, 12, 48] {
            if groups > count {
                continue;
            }
            let model = || Weights::new(count, &device);
            let mut one = burns(model(), 1);
            let mut layered = ours(model(), groups);
            let mut grouped = burns(model(), groups);
            let gradients = layered.model().gradients();
            let start = Instant::now();
            Trained::update(&mut layered, gradients);
            let first = start.elapsed().as_secs_f64();
            let updates = (6_000 / count).max(1);
            let mut times = [vec![], vec![], vec![]];
            for round in 0..rounds {
                let all: [&mut dyn Trained; 3] = [&mut one, &mut layered, &mut grouped];
                // The first variant changes from round to round.
                for turn in 0..3 {
                    let which = (turn + round) % 3;
                    times[which].push(timed(all[which], updates) * 1e6);
                }
            }
            let ratio = |which: usize| {
                median(times[which].iter().zip(&times[0]).map(|(time, one)| time / one).collect())
            };
            println!(
                "{count:10} {groups:6} | {:11.1} | {:7.1}  {:.3}  {:15.1} | {:16.1}  {:.3}",
                median(times[0].clone()),
                median(times[1].clone()),
                ratio(1),
                first * 1e3,
                median(times[2].clone()),
                ratio(2),
            );
        }
    }
}
