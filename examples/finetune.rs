//! Fine-tunes a network with rates that fall from layer to layer, and layers that start to train one after another.
//!
//! ```text
//! cargo run --example finetune                       a small network, pretrained first on five classes of CIFAR-10
//! cargo run --example finetune -- --weights FILE     EfficientNet-Lite0 with its ImageNet weights; --help says where they are
//! cargo run --example finetune -- --help             everything else
//! ```

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anneal_examples::data::{CLASSES, Images};
use anneal_examples::prelude::*;
use anneal_examples::weights::{HOW_TO_GET, IMAGENET_CLASSES};
use burn::data::dataloader::DataLoader;
use burn::optim::AdamWConfig;
use burn::train::SupervisedTraining;
use burn::train::metric::{AccuracyMetric, LearningRateMetric, LossMetric};
use burn_anneal::evaluate;
use burn_anneal::prelude::*;
use burn_store::{BurnpackStore, ModuleSnapshot};
use clap::Parser;

const DEFAULTS: Defaults = Defaults {
    about: "Fine-tunes a network with rates per layer, and layers that start to train one after another",
    epochs: 10,
    batch_size: 32,
    learning_rate: 2e-3,
};

#[derive(Parser)]
#[command(version, after_help = HOW_TO_GET)]
struct FineTuning {
    #[command(flatten)]
    shared: Arguments,

    /// EfficientNet-Lite0's weights, as PyTorch saved them; see below
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
}

fn main() -> ExitCode {
    let FineTuning { shared, weights } = DEFAULTS.parse();
    conclude(run(&shared, weights))
}

fn run(arguments: &Arguments, weights: Option<PathBuf>) -> Result<Report, Box<dyn Error>> {
    let run = Run::open("finetune", Dataset::Cifar10, arguments)?;
    let images = run.images()?;
    let Some(weights) = weights else {
        // Pretrain on five classes, and continue on the other five with all weights except the last layer's.
        let config = ResidualNetworkConfig { classes: 5, ..ResidualNetworkConfig::default() };
        let old = (images.train.of_classes(0..5), images.test.of_classes(0..5));
        run.create()?;
        let pretraining = run.member("pretraining", arguments.seed)?;
        if !pretraining.file("model.bpk").exists() {
            train(&pretraining, config.init(&run.device()), GroupsConfig::new(), old)?;
        }
        let mut model = config.init(&run.device());
        let saved = BurnpackStore::from_file(pretraining.file("model.bpk"));
        model.load_from(&mut saved.with_regex(r"^(stem|blocks)\.").allow_partial(true))?;
        let groups = layer_decay(0.8).unfreeze_every(Span::percent(3.0)).weight_decay(0.02);
        let new = (images.train.of_classes(5..10), images.test.of_classes(5..10));
        return train(&run, model, groups, new);
    };
    // ImageNet weights with a new last layer. Small batches are too noisy to update the statistics of the norms.
    let config = EfficientNetConfig { classes: IMAGENET_CLASSES, image_size: 96 };
    let mut model = config.init(&run.device());
    model.load_pytorch(&weights)?;
    let output = EfficientNet::new_output(CLASSES, &run.device());
    let model = model.with_output(output).keeping_statistics();
    let layers = LayerMap::from_patterns(EfficientNet::LAYERS);
    let groups = layer_decay(0.9).layers(layers).unfreeze_every(Span::percent(1.0));
    let images = [images.train, images.test];
    let [old, new] = images.map(|images| images.with_normalization(EfficientNet::NORMALIZATION));
    train(&run, model, groups, (old, new))
}

fn train<M: ImageClassifier>(
    run: &Run,
    model: M,
    groups: GroupsConfig,
    (train, test): (Images, Images),
) -> Result<Report, Box<dyn Error>> {
    let arguments = run.arguments();
    let schedule = arguments.schedule(|peak| cosine(peak).warmup(Span::percent(10.0)).into())?;
    let (batch_size, augmentation) = (arguments.batch_size.get(), Augmentation::CROP_AND_FLIP);
    let train = train_loader(train, batch_size, augmentation, arguments.seed, &run.device());
    let test = test_loader(test, batch_size, &run.device().inner());
    // The table of groups: rates, starts, weight decay.
    let length = run.length(train.num_items());
    let rates = run.schedule(&schedule, length)?;
    say(run.describe(train.num_items(), test.num_items()));
    say(format_args!("{}\n", groups.resolve(&model, &rates, length)?.explain(0)));

    let progress = run.start()?;
    let training = SupervisedTraining::new(run.folder(), Arc::new(train), Arc::new(test.clone()))
        .metrics((AccuracyMetric::new(), LossMetric::new()))
        .metric_train_numeric(LearningRateMetric::new())
        .renderer(Box::new(progress.clone()))
        .num_epochs(run.epochs());
    let optimizer = AdamWConfig::new().with_weight_decay(0.0).build();
    let learner = LearnerBuilder::new(model, optimizer, schedule)
        .groups(groups)
        .checkpoints(run.checkpoints());
    let model = run.resuming(learner).launch(training)?.finished()?;
    let tested = evaluate(&model, &test)?;
    model.save_file(run.file("model.bpk"))?;
    Ok(run.finish(&rates, progress.history()?, tested)?)
}
