//! The predictions of an ensemble, and the diversity of its members.

use super::*;
use anneal_tests::FEATURES;
use burn::data::dataloader::batcher::Batcher;
use burn::data::dataset::InMemDataset;
use burn::module::{Module, Param};
use burn::tensor::Tensor;
use burn_anneal::Pairs;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

/// Counts the members that are alive.
static LIVE: AtomicI64 = AtomicI64::new(0);
static MOST: AtomicI64 = AtomicI64::new(0);

#[derive(Debug)]
struct Life;

impl Life {
    fn new() -> Self {
        MOST.fetch_max(LIVE.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        Self
    }
}

impl Clone for Life {
    fn clone(&self) -> Self {
        Self::new()
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        LIVE.fetch_sub(1, Ordering::SeqCst);
    }
}

#[derive(Module, Debug)]
struct Counted {
    model: TinyModel,
    #[module(skip)]
    life: Life,
}

fn tiny(seed: u64) -> TinyModel {
    TinyModel::seeded(seed, &Device::default())
}

fn logits(model: &TinyModel, points: Points) -> Tensor<2> {
    model.forward(points).output
}

/// The logits of the points with these numbers, in f64.
fn logits_of(model: &TinyModel, items: usize) -> Vec<Vec<f64>> {
    let all = points(&(0..items).collect::<Vec<_>>(), &Device::default());
    rows(logits(model, all))
}

fn rows(tensor: Tensor<2>) -> Vec<Vec<f64>> {
    let columns = tensor.dims()[1];
    let numbers: Vec<f64> = tensor.into_data().iter::<f64>().collect();
    numbers.chunks(columns).map(<[f64]>::to_vec).collect()
}

fn softmax(logits: &[f64]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = logits.iter().map(|logit| (logit - largest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

fn mean(all: &[Vec<f64>]) -> Vec<f64> {
    let sum = |i: usize| all.iter().map(|row| row[i]).sum::<f64>();
    (0..all[0].len()).map(|i| sum(i) / all.len() as f64).collect()
}

fn predicted(ensemble: &Ensemble<TinyModel>, items: usize, batch: usize) -> Vec<Vec<f64>> {
    let means = ensemble.predict(&*batches(items, batch, 0), logits).unwrap();
    assert_eq!(means.len(), items.div_ceil(batch));
    rows(Tensor::cat(means, 0))
}

fn close(found: &[Vec<f64>], expected: &[Vec<f64>], most: f64) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
        assert!((found - expected).abs() < most, "{found}, not {expected}");
    }
}

#[test]
fn means_are_those_of_the_definition() {
    let models = [1, 2, 3].map(tiny);
    let each = models.each_ref().map(|model| logits_of(model, 20));
    let over = |of: &dyn Fn(&[f64]) -> Vec<f64>| -> Vec<Vec<f64>> {
        (0..20).map(|row| mean(&each.each_ref().map(|logits| of(&logits[row])))).collect()
    };
    let ensemble = Ensemble::of_models(models);
    assert_eq!(ensemble.len(), 3);
    let outputs = ensemble.clone().mean_of(MeanOf::Outputs);
    close(&predicted(&outputs, 20, 6), &over(&|logits| logits.to_vec()), 1e-6);
    // Logarithms of probabilities that add up to 1.
    let logarithms = predicted(&ensemble, 20, 6);
    let probabilities = |rows: &[Vec<f64>]| -> Vec<Vec<f64>> {
        rows.iter().map(|row| row.iter().map(|ln_p| ln_p.exp()).collect()).collect()
    };
    close(&probabilities(&logarithms), &over(&softmax), 1e-6);
    // The order and size of batches do not matter.
    close(&predicted(&ensemble, 20, 20), &logarithms, 1e-6);
}

/// In f32 a probability below e⁻¹⁰³ is 0, and e⁸⁹ infinite.
#[test]
fn small_probabilities_keep_their_logarithms() {
    let batch = |values: [f32; 3]| Tensor::<2>::from_floats([values], &Device::default());
    let steep = Ensemble::of_models([0.0, 200.0, 1_000.0].map(scalar));
    let found = steep.predict_batch(batch([1.0, 0.0, -1.0]), times).unwrap();
    // p₂ is ⅓, e⁻⁴⁰⁰ and e⁻²⁰⁰⁰; of the middle ⅓, e⁻²⁰⁰ and e⁻¹⁰⁰⁰.
    let third = (1.0f64 / 9.0).ln();
    close(&rows(found), &[vec![(7.0f64 / 9.0).ln(), third, third]], 1e-5);
    let steeper = Ensemble::of_models([200.0, 1_000.0].map(scalar));
    let found = steeper.predict_batch(batch([1.0, 0.0, -1.0]), times).unwrap();
    let half = 0.5f64.ln();
    close(&rows(found), &[vec![0.0, half - 200.0, half - 400.0]], 1e-3);
    // A class that all members exclude stays excluded.
    let excluded = batch([1.0, f32::NEG_INFINITY, 0.0]);
    let found = rows(steeper.predict_batch(excluded, times).unwrap());
    assert!(found[0][1] == f64::NEG_INFINITY && found[0][0] == 0.0, "{found:?}");
}

#[test]
fn a_regression_has_the_mean_of_its_values() {
    let ensemble = Ensemble::of_models([1.0, 2.0, 6.0].map(scalar)).mean_of(MeanOf::Outputs);
    let batch = Tensor::<1>::from_floats([1.0, -2.0], &Device::default());
    let found: Tensor<1> =
        ensemble.predict_batch(batch, |model, batch| batch * model.weight.val()).unwrap();
    assert_eq!(found.into_data().iter::<f32>().collect::<Vec<_>>(), [3.0, -6.0]);
}

fn scalar(value: f32) -> TermModel {
    TermModel::new(&[value])
}

fn times(model: &TermModel, batch: Tensor<2>) -> Tensor<2> {
    batch * model.weight.val().unsqueeze::<2>()
}

fn files(folder: &Path, seeds: &[u64]) -> Vec<std::path::PathBuf> {
    let file = |seed: &u64| {
        let path = folder.join(format!("{seed}.bpk"));
        let model = Counted { model: tiny(*seed), life: Life::new() };
        model.save_file(&path).unwrap();
        path
    };
    seeds.iter().map(file).collect()
}

/// With any number of members in files, few models are alive; and predictions match those of members in memory.
#[test]
fn members_in_files_are_loaded_one_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let template = || Counted { model: tiny(0), life: Life::new() };
    let answers = |model: &Counted, points| logits(&model.model, points);
    let loader = batches(20, 6, 0);
    let mut most = vec![];
    for members in [2, 12] {
        let seeds: Vec<u64> = (1..=members).collect();
        let ensemble = Ensemble::of(files(folder.path(), &seeds), template());
        MOST.store(0, Ordering::SeqCst);
        let found = ensemble.predict(&*loader, answers).unwrap();
        let diversity = ensemble.weight_diversity().unwrap();
        most.push(MOST.load(Ordering::SeqCst));

        let kept = Ensemble::of_models(seeds.into_iter().map(tiny));
        let expected = kept.predict(&*loader, logits).unwrap();
        assert_eq!(rows(Tensor::cat(found, 0)), rows(Tensor::cat(expected.clone(), 0)));
        assert_eq!(diversity, kept.weight_diversity().unwrap());
        // Loaded once, it gives the same predictions.
        let loaded = ensemble.loaded().unwrap().predict(&*loader, answers).unwrap();
        assert_eq!(rows(Tensor::cat(loaded, 0)), rows(Tensor::cat(expected, 0)));
    }
    assert_eq!(most[0], most[1], "as many live at once");
    assert!(most[0] <= 6, "{most:?}");
}

#[test]
fn snapshots_of_a_run_are_members() {
    let folder = tempfile::tempdir().unwrap();
    let snapshots = Snapshots::new(folder.path());
    let mut training = in_a_loop(builder(cycles(4)).snapshots(snapshots), 12);
    (0..12).for_each(|_| update(&mut training));
    drop(training);
    let all = Snapshots::list(folder.path()).unwrap();
    let models = all.iter().map(|snapshot| snapshot.load(tiny(0)).unwrap());
    let expected = predicted(&Ensemble::of_models(models), 20, 6);
    // Also into a model for training.
    let into = TinyModel::new(&device());
    assert_eq!(predicted(&Ensemble::of(&all, into), 20, 6), expected);
}

/// A loader that shuffles by its seed gives the same epoch in every pass.
#[test]
fn a_seeded_loader_gives_the_same_batches_to_each() {
    let ensemble = Ensemble::of_models([1, 2, 3].map(tiny));
    let loader = seeded(20, 6, 4);
    let once = Ensemble::of_models([tiny(2)]);
    let pass = |ensemble: &Ensemble<TinyModel>| {
        rows(Tensor::cat(ensemble.predict(&*loader, logits).unwrap(), 0))
    };
    assert_eq!(pass(&once), pass(&once));
    // A run with this loader continues with its third epoch.
    let first = |loader: &dyn DataLoader<Points>| {
        loader.iter().next().unwrap().unwrap().features.into_data()
    };
    let epochs = |looks: bool| {
        let loader = seeded(20, 6, 4);
        let begun = [first(&*loader), first(&*loader)];
        if looks {
            once.predict(&*loader, logits).unwrap();
        }
        (begun, first(&*loader))
    };
    assert_eq!(epochs(true), epochs(false));
    let direct: Vec<Tensor<2>> = {
        let items = seeded(20, 6, 4);
        let models = [1, 2, 3].map(tiny);
        let batches = items.iter().map(|batch| batch.unwrap());
        let mean = |batch: Points| {
            let answer = |model: &TinyModel| {
                burn::tensor::activation::softmax(logits(model, batch.clone()), 1)
            };
            let [a, b, c] = models.each_ref().map(answer);
            (a + b + c) / 3.0
        };
        batches.map(mean).collect()
    };
    let found = pass(&ensemble);
    let found: Vec<Vec<f64>> =
        found.iter().map(|row| row.iter().map(|ln_p| ln_p.exp()).collect()).collect();
    close(&found, &rows(Tensor::cat(direct, 0)), 1e-6);
}

fn check(found: &Pairs, expected: impl Fn(usize, usize) -> f64, most: f64) {
    for i in 0..found.members() {
        for j in 0..i {
            let (found, expected) = (found.get(i, j).unwrap(), expected(i, j));
            assert!((found - expected).abs() < most, "({i}, {j}): {found}, not {expected}");
        }
    }
}

#[test]
fn diversity_is_that_of_the_definition() {
    let models = [1, 2, 3, 4].map(tiny);
    let weights = models.each_ref().map(flat);
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let weights = weights.map(|all| all.into_iter().map(f64::from).collect::<Vec<_>>());
    let norm = |i: usize| dot(&weights[i], &weights[i]).sqrt();
    let each = models.each_ref().map(|model| logits_of(model, 20));
    let ensemble = Ensemble::of_models(models);

    let found = ensemble.weight_diversity().unwrap();
    let apart = |i: usize, j: usize| {
        let apart: Vec<f64> = weights[i].iter().zip(&weights[j]).map(|(a, b)| a - b).collect();
        dot(&apart, &apart).sqrt() / (norm(i) * norm(j)).sqrt()
    };
    check(&found.distance, apart, 1e-6);
    check(&found.cosine, |i, j| dot(&weights[i], &weights[j]) / (norm(i) * norm(j)), 1e-6);

    let found = ensemble.prediction_diversity(&*batches(20, 6, 0), logits).unwrap();
    let class = |logits: &[f64]| (0..3).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap();
    let differ = |i: usize, j: usize| {
        let differ = |row: &usize| class(&each[i][*row]) != class(&each[j][*row]);
        (0..20).filter(differ).count() as f64 / 20.0
    };
    check(&found.disagreement, differ, 1e-9);
    assert!(found.disagreement.mean().unwrap() > 0.0);
    let diverge = |i: usize, j: usize| {
        let of = |row: usize| {
            let (p, q) = (softmax(&each[i][row]), softmax(&each[j][row]));
            let kl = |p: &[f64], q: &[f64]| -> f64 {
                p.iter().zip(q).map(|(p, q)| p * (p / q).ln()).sum()
            };
            0.5 * (kl(&p, &q) + kl(&q, &p))
        };
        (0..20).map(of).sum::<f64>() / 20.0
    };
    check(&found.divergence, diverge, 1e-6);
    let text = format!("{}\n{found}", ensemble.weight_diversity().unwrap());
    for words in ["distance of weights", "cosine of weights", "disagreement", "divergence"] {
        assert!(text.contains(words), "{text}");
    }
}

/// Running statistics are not weights.
#[test]
fn running_statistics_do_not_count_as_weights() {
    let normed = |variance: f32| {
        let mut norm = burn::nn::BatchNormConfig::new(2).init(&Device::default());
        let ones = Tensor::<1>::ones([2], &Device::default());
        norm.running_var = burn::module::RunningState::new(ones * variance);
        norm
    };
    let diversity = Ensemble::of_models([1.0, 1e6].map(normed)).weight_diversity().unwrap();
    assert_eq!(diversity.distance.get(0, 1), Some(0.0));
}

#[test]
fn members_of_one_kind_alone_or_equal_are_no_error() {
    let alone = Ensemble::of_models([tiny(1)]);
    assert_eq!(alone.weight_diversity().unwrap().distance.mean(), None);
    let equal = Ensemble::of_models([tiny(1), tiny(1)]);
    let found = equal.prediction_diversity(&*batches(20, 6, 0), logits).unwrap();
    assert_eq!((found.disagreement.get(0, 1), found.divergence.get(0, 1)), (Some(0.0), Some(0.0)));
    assert_eq!(equal.weight_diversity().unwrap().distance.get(0, 1), Some(0.0));
}

#[test]
fn what_members_cannot_say_together_is_refused() {
    let loader = batches(20, 6, 0);
    let none = Ensemble::of_models(Vec::<TinyModel>::new());
    assert!(none.is_empty());
    assert!(matches!(none.predict(&*loader, logits), Err(EnsembleError::NoMembers)));
    assert!(matches!(none.weight_diversity(), Err(EnsembleError::NoMembers)));
    let diversity = none.prediction_diversity(&*loader, logits);
    assert!(matches!(diversity, Err(EnsembleError::NoMembers)));

    let two = Ensemble::of_models([tiny(1), tiny(2)]);
    let empty = two.predict(&*batches(0, 6, 0), logits);
    assert!(matches!(empty, Err(EnsembleError::NoBatches)));

    // NaN in a weight gives NaN in the prediction.
    let broken = |value: f32| {
        let mut model = tiny(3);
        let weight = model.head.weight.val();
        model.head.weight = Param::from_tensor(weight.mul_scalar(0.0).add_scalar(value));
        model
    };
    for mean_of in [MeanOf::Probabilities, MeanOf::Outputs] {
        let ensemble = Ensemble::of_models([tiny(1), broken(f32::NAN)]).mean_of(mean_of);
        let error = ensemble.predict(&*loader, logits).unwrap_err();
        assert!(matches!(error, EnsembleError::NotFinite { .. }), "{error}");
        assert!(error.to_string().contains("member 1 of 2"), "{error}");
    }
    let error = Ensemble::of_models([tiny(1), broken(f32::NAN)]).weight_diversity().unwrap_err();
    assert!(matches!(error, EnsembleError::Norm { .. }), "{error}");
    let zeros = Ensemble::of_models([TermModel::new(&[1.0]), TermModel::new(&[0.0])]);
    assert!(matches!(zeros.weight_diversity(), Err(EnsembleError::Norm { .. })));

    // Other classes, other layers.
    let wide =
        |classes: usize| burn::nn::LinearConfig::new(FEATURES, classes).init(&Device::default());
    let other = Ensemble::of_models([wide(3), wide(4)]);
    let answers = |model: &burn::nn::Linear, points: Points| model.forward(points.features);
    let error = other.predict(&*loader, answers).unwrap_err().to_string();
    assert!(
        error.contains("member 1 of 2 gives the shape [6, 4] for batch 0")
            && error.contains("[6, 3]")
    );
    assert!(matches!(other.weight_diversity(), Err(EnsembleError::OtherWeights { .. })));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wide.bpk");
    wide(3).save_file(&path).unwrap();
    let files = [path, folder.path().join("nowhere.bpk")];
    let ensemble = Ensemble::of(&files[..1], tiny(1));
    assert!(matches!(ensemble.clone().loaded(), Err(EnsembleError::Member { .. })));
    assert!(matches!(ensemble.predict(&*loader, logits), Err(EnsembleError::Member { .. })));
    let error = Ensemble::of(&files, wide(3)).predict(&*loader, answers).unwrap_err().to_string();
    assert!(error.contains("nowhere.bpk"), "{error}");
}

/// A loader that gives fewer batches each time.
#[test]
fn a_loader_that_changes_is_noticed() {
    struct Fewer(AtomicUsize);
    impl Batcher<usize, Points> for Fewer {
        fn batch(&self, items: Vec<usize>, device: &Device) -> Points {
            let kept = items.len() - self.0.fetch_add(1, Ordering::SeqCst);
            points(&items[..kept], device)
        }
    }
    let items = InMemDataset::new((0..6).collect());
    let loader = SeededLoader::new(items, Fewer(AtomicUsize::new(0)), 6);
    let error = Ensemble::of_models([tiny(1), tiny(2)]).predict(&loader, logits).unwrap_err();
    assert!(matches!(error, EnsembleError::Shape { .. }), "{error}");
}
