//! The log of updates, read from the device and written by a separate thread.

use super::monitor::Plan;
use super::signals::{Signals, numbers};
use super::state::State;
use anneal_control::{Decision, LogStart, LoggedUpdate, Needs, UpdateLog};
use burn::tensor::Tensor;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Writes a line for each update to `updates.jsonl` in the folder of a run: loss, gradient norm, movement of the
/// weights, rate of each group, answers of controllers, and skips; with a [`NoiseScale`](anneal_control::NoiseScale),
/// also the norms that it uses; with several [tasks](crate::TaskGradients), also the mean cosine of their gradients.
/// [`UpdateLog`] reads it and documents the lines.
///
/// It costs one sum over the gradients, shared with clipping, and one over the weights; a separate thread reads them. A
/// resumed run continues the log from its checkpoint.
///
/// ```
/// use burn_anneal::LogUpdates;
/// let log = LogUpdates::to("runs/mine").gradient_l1();
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct LogUpdates {
    directory: PathBuf,
    gradient_l1: bool,
}

impl LogUpdates {
    /// Writes to this folder.
    pub fn to(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), gradient_l1: false }
    }

    /// Also writes ‖g‖₁, which costs one more sum over the gradients.
    pub fn gradient_l1(self) -> Self {
        Self { gradient_l1: true, ..self }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.join(UpdateLog::FILE)
    }

    pub(super) fn needs(&self) -> Needs {
        let gradient_l1 = self.gradient_l1;
        Needs { gradient_norm: true, gradient_l1, task_cosine: true, ..Needs::default() }
    }
}

impl<P: Into<PathBuf>> From<P> for LogUpdates {
    fn from(directory: P) -> Self {
        Self::to(directory)
    }
}

/// A line whose signals are still on their devices.
pub(super) struct Unwritten {
    pub line: LoggedUpdate,
    pub signals: Signals,
    /// ‖Δw‖₂; `None` if nothing can move.
    pub moved: Option<Tensor<1>>,
}

enum Message {
    Line(Box<Unwritten>),
    /// Asks for an answer once everything before it is in the file.
    Flush(SyncSender<()>),
}

/// The number of updates that may wait for their devices before training waits for the log.
const WAITING: usize = 256;

/// The log of a run.
pub(crate) struct Log {
    path: PathBuf,
    needs: Needs,
    /// `Some` until the run is over.
    writer: Mutex<Option<Writer>>,
    error: Arc<Mutex<Option<io::Error>>>,
}

/// The writing thread; dropping it waits for its end.
struct Writer {
    messages: Option<SyncSender<Message>>,
    thread: Option<JoinHandle<()>>,
    _open: Open,
}

/// The folders whose logs are being written.
static OPEN: Mutex<Vec<PathBuf>> = Mutex::new(vec![]);

/// A folder whose log is being written, until this is dropped.
struct Open(PathBuf);

impl Open {
    fn new(directory: &Path) -> io::Result<Self> {
        let folder = directory.canonicalize()?;
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        if open.contains(&folder) {
            let reason = "another run of this program writes to it; give each its own folder";
            return Err(io::Error::other(reason));
        }
        open.push(folder.clone());
        Ok(Self(folder))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        OPEN.lock().unwrap_or_else(PoisonError::into_inner).retain(|folder| *folder != self.0);
    }
}

impl Log {
    /// Starts the log; a resumed run keeps the lines of earlier updates.
    pub fn open(log: &LogUpdates, start: LogStart, goes_on: bool) -> io::Result<Self> {
        let path = log.path();
        fs::create_dir_all(&log.directory)?;
        let open = Open::new(&log.directory)?;
        let mut lines = match goes_on && path.exists() {
            true => before(&path, start.from)?,
            false => vec![],
        };
        lines.push(serde_json::to_string(&start)?);
        let beside = path.with_extension("jsonl.new");
        fs::write(&beside, lines.join("\n") + "\n")?;
        fs::rename(&beside, &path)?;
        let file = File::options().append(true).open(&path)?;
        let (messages, waiting) = mpsc::sync_channel(WAITING);
        let error = Arc::new(Mutex::new(None));
        let failed = error.clone();
        let thread = std::thread::spawn(move || {
            if let Err(error) = write(file, &waiting) {
                *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            }
        });
        let writer = Writer { messages: Some(messages), thread: Some(thread), _open: open };
        Ok(Self { path, needs: log.needs(), writer: Mutex::new(Some(writer)), error })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn needs(&self) -> Needs {
        self.needs
    }

    pub(super) fn write(&self, line: Unwritten) {
        self.send(Message::Line(Box::new(line)));
    }

    /// Waits until all lines are in the file.
    pub fn flush(&self) {
        let (done, waiting) = mpsc::sync_channel(1);
        self.send(Message::Flush(done));
        // A failed thread does not answer.
        let _ = waiting.recv();
    }

    /// Writes all remaining lines at the end of the run.
    pub fn close(&self) {
        drop(self.writer().take());
    }

    fn send(&self, message: Message) {
        if let Some(messages) = self.writer().as_ref().and_then(|writer| writer.messages.as_ref()) {
            // `error` reports if the thread has failed.
            let _ = messages.send(message);
        }
    }

    fn writer(&self) -> MutexGuard<'_, Option<Writer>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why lines could not be written.
    pub fn error(&self) -> Option<String> {
        let error = self.error.lock().unwrap_or_else(PoisonError::into_inner);
        error.as_ref().map(io::Error::to_string)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.messages = None;
        if let Some(thread) = self.thread.take() {
            // Its panic would be Burn's, about a device error that the run already has.
            let _ = thread.join();
        }
    }
}

/// The part of a line that is known without reading the device.
pub(super) fn line(
    plan: &Plan,
    state: &State,
    (number, step): (u64, u64),
    decision: &Decision,
    loss_scale: Option<f64>,
) -> LoggedUpdate {
    let answers = state.controllers.answers().filter(|(_, answer)| !answer.is_none());
    LoggedUpdate {
        update: number,
        step,
        epoch: state.place.epochs + 1,
        schedule_rate: plan.groups.schedule().rate(step),
        rates: plan.groups.decided(decision, step),
        loss_scale,
        skipped: decision.answer.skip.map(String::from),
        answers: answers.map(|(name, answer)| (name.to_string(), answer.into())).collect(),
        ..LoggedUpdate::default()
    }
}

/// The lines of earlier updates.
fn before(path: &Path, update: u64) -> io::Result<Vec<String>> {
    let log = UpdateLog::read(path).map_err(io::Error::other)?;
    Ok(log.lines_before(update))
}

/// Writes lines as they come, and flushes the file when no line has come for a while.
fn write(file: File, messages: &Receiver<Message>) -> io::Result<()> {
    let mut file = io::BufWriter::new(file);
    loop {
        match messages.recv_timeout(Duration::from_millis(200)) {
            Ok(Message::Line(line)) => {
                serde_json::to_writer(&mut file, &line.read())?;
                file.write_all(b"\n")?;
            }
            Ok(Message::Flush(done)) => {
                file.flush()?;
                // The receiver may have stopped waiting.
                let _ = done.send(());
            }
            Err(RecvTimeoutError::Timeout) => file.flush()?,
            Err(RecvTimeoutError::Disconnected) => return file.flush(),
        }
    }
}

impl Unwritten {
    /// Reads the signals; waits for the devices.
    fn read(self) -> LoggedUpdate {
        let seen = self.signals.read();
        let moved = self.moved.map(|moved| numbers(vec![moved]));
        LoggedUpdate {
            batches: seen.batches,
            loss: seen.loss,
            gradient_norm: seen.gradient_norm,
            gradient_l1: seen.gradient_l1,
            batch_gradient_norm: seen.batch_gradient_norm,
            mean_gradient_norm: seen.mean_gradient_norm,
            task_cosine: seen.task_cosine,
            update_norm: moved.and_then(|moved| moved.first().copied()),
            ..self.line
        }
    }
}
