//! Saved and resumed rounds.

use super::*;
use std::path::Path;

/// With all kinds of state: momentum on both sides, averages, and a controller with memory.
fn learner() -> LearnerBuilder<TermModel> {
    LearnerBuilder::new(TermModel::new(&[0.0]), sgd(Some(0.7)), cosine(RATE))
        .run(RunLength::updates(ROUNDS * STEPS))
        .average(Average::ema(0.5))
        .controller("rounds", LocalSteps::new(STEPS).constant_rounds())
}

fn build(learner: LearnerBuilder<TermModel>, directory: &Path) -> Federation<TermModel> {
    let server = ServerRate::new(cosine(1.0)).momentum(0.6);
    of(learner)
        .server_rate(server)
        .client_weights([1.0, 2.0, 3.0, 4.0])
        .resume(directory)
        .build()
        .unwrap()
}

/// In half precision, the first losses overflow, so that training also changes the scale.
#[test]
fn a_run_of_some_clients_goes_on_bit_for_bit() {
    for learner in [learner(), learner().half_precision(HalfPrecision::f16())] {
        let folder = tempfile::tempdir().unwrap();
        let mut whole = build(learner.clone(), folder.path());
        for clients in [&[3, 1][..], &[1, 0], &[3]] {
            let train = |client: usize, training: &mut _| descend(training, CENTERS[client]);
            whole.round_of(clients, train).unwrap();
            whole.save(folder.path()).unwrap();
        }
        let rest = |federation: &mut Federation<TermModel>| -> Vec<_> {
            let one = |_| {
                let found = round(federation);
                let clients = federation.clients().iter().map(|training| training.valid().values());
                (found, federation.model().values(), clients.collect::<Vec<_>>())
            };
            (3..ROUNDS).map(one).collect()
        };
        let expected = rest(&mut whole);
        let mut resumed = build(learner, folder.path());
        assert_eq!(resumed.next_round(), 3);
        let updates: Vec<u64> = resumed.clients().iter().map(TrainingLoop::next_update).collect();
        assert_eq!(updates, [STEPS, 2 * STEPS, 0, 2 * STEPS]);
        assert_eq!(rest(&mut resumed), expected);
    }
}

#[test]
fn it_goes_on_from_the_newest_round_that_all_have() {
    let folder = tempfile::tempdir().unwrap();
    let mut federation = build(learner(), folder.path());
    round(&mut federation);
    federation.save(folder.path()).unwrap();
    let after_one = weight(&federation);
    round(&mut federation);
    federation.save(folder.path()).unwrap();
    std::fs::write(folder.path().join("server/checkpoint/model-2.bpk"), "cut off").unwrap();
    let resumed = build(learner(), folder.path());
    assert_eq!((resumed.next_round(), weight(&resumed)), (1, after_one));

    std::fs::remove_dir_all(folder.path().join("client-2")).unwrap();
    let error = FederationBuilder::new(vec![client(None); 4], ROUNDS).resume(folder.path()).build();
    assert!(matches!(error.err().unwrap(), FederationError::Checkpoint(_)));
}
