//! Loads an epoch ahead on another thread.

use super::Epoch;
use burn::data::dataloader::{DataLoaderIterator, Progress};
use burn::data::dataset::DatasetError;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;

/// An epoch that another thread loads ahead.
pub(super) struct Ahead<O> {
    batches: mpsc::Receiver<thread::Result<Result<O, DatasetError>>>,
    batch_size: usize,
    given: usize,
    total: usize,
    worker: Worker,
    workers: Arc<Workers>,
}

impl<O: Send + 'static> Ahead<O> {
    /// Starts loading; `None` if no thread is available.
    pub fn start<I: 'static>(mut epoch: Epoch<I, O>, queued: usize) -> Option<Self> {
        let workers = epoch.loader.workers.clone();
        let batch_size = epoch.loader.batch_size;
        let (given, total) = (epoch.given, epoch.order.len());
        // The queue allocates its memory at the start. One more batch waits outside of it.
        let (sender, batches) = mpsc::sync_channel(queued.min(total.div_ceil(batch_size)));
        let worker = workers.take()?;
        let job = move || {
            let mut next = || catch_unwind(AssertUnwindSafe(|| epoch.next())).transpose();
            while let Some(batch) = next() {
                if sender.send(batch).is_err() {
                    return;
                }
            }
        };
        worker.send(Box::new(job)).ok()?;
        Some(Self { batches, batch_size, given, total, worker, workers })
    }
}

impl<O> Iterator for Ahead<O> {
    type Item = Result<O, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.batches.recv().ok()?;
        self.given = self.given.saturating_add(self.batch_size).min(self.total);
        Some(batch.unwrap_or_else(|panic| resume_unwind(panic)))
    }
}

impl<O> DataLoaderIterator<O> for Ahead<O> {
    fn progress(&self) -> Progress {
        Progress::new(self.given, self.total, Some("items".to_owned()))
    }
}

impl<O> Drop for Ahead<O> {
    fn drop(&mut self) {
        self.workers.idle().push(self.worker.clone());
    }
}

type Worker = mpsc::Sender<Box<dyn FnOnce() + Send>>;

/// The idle threads. Epochs reuse them, because GPU backends keep memory for every thread that made a tensor. They end
/// with the last copy of the loader.
#[derive(Default)]
pub(super) struct Workers(Mutex<Vec<Worker>>);

impl Workers {
    fn take(&self) -> Option<Worker> {
        if let Some(worker) = self.idle().pop() {
            return Some(worker);
        }
        let (worker, jobs) = mpsc::channel::<Box<dyn FnOnce() + Send>>();
        let run = || jobs.into_iter().for_each(|job| job());
        thread::Builder::new().name("seeded-loader".to_owned()).spawn(run).ok()?;
        Some(worker)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Worker>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
