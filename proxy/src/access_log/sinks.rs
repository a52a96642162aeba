//! Where lines go: one writing thread per file, one buffer per logger, and nothing on the request path ever waits.
//!
//! A logger appends to its own lane under a lock that only the writing thread also takes, and only to swap the
//! buffer. A lane that is full drops the line and counts it: a blocked pipe or a full disk costs lines, not
//! exchanges.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use leno_model::access_log::Sink;

use crate::stats::{Registry, SharedCounter};

/// A lane wakes the writing thread at this size; arbitrary, about 200 lines.
const WAKE_AT: usize = 64 << 10;

/// A lane holds at most this much; arbitrary, about 4,000 lines.
const LANE_LIMIT: usize = 1 << 20;

/// How long the end of the process waits for the last lines.
const LAST_FLUSH: Duration = Duration::from_secs(2);

/// Every sink of the process, by what it is.
pub struct Sinks {
    open: Mutex<HashMap<Sink, Arc<Writer>>>,
    stats: Stats,
    interval: Duration,
}

/// One logger's way into a sink.
pub struct Lane {
    buffer: Arc<Mutex<Vec<u8>>>,
    writer: Arc<Writer>,
}

#[derive(Clone)]
struct Stats {
    dropped: SharedCounter,
    written: SharedCounter,
    failed: SharedCounter,
    reopen_failed: SharedCounter,
}

type Lanes = Mutex<Vec<Arc<Mutex<Vec<u8>>>>>;

struct Writer {
    lanes: Arc<Lanes>,
    wake: Sender<Order>,
    woken: Arc<AtomicBool>,
    dropped: SharedCounter,
    thread: Option<JoinHandle<()>>,
}

enum Order {
    Write,
    Reopen,
    /// Writes what there is, then answers.
    Flush(Sender<()>),
    Stop,
}

impl Sinks {
    /// No sink yet. Lines wait at most `interval` before they are written.
    pub fn new(registry: &Registry, interval: Duration) -> Arc<Self> {
        Arc::new(Self {
            open: Mutex::default(),
            stats: Stats {
                dropped: registry.shared_counter("access_log.lines_dropped", &[]),
                written: registry.shared_counter("filesystem.write_completed", &[]),
                failed: registry.shared_counter("filesystem.write_failed", &[]),
                reopen_failed: registry.shared_counter("filesystem.reopen_failed", &[]),
            },
            interval: interval.max(Duration::from_millis(1)),
        })
    }

    /// A new lane into `sink`, which is opened when it is not open yet.
    ///
    /// # Errors
    /// The file cannot be opened for appending.
    pub fn lane(&self, sink: &Sink) -> io::Result<Lane> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let writer = match open.get(sink) {
            Some(writer) => Arc::clone(writer),
            None => {
                let writer = Arc::new(Writer::start(sink, &self.stats, self.interval)?);
                open.insert(sink.clone(), Arc::clone(&writer));
                writer
            }
        };
        drop(open);
        let buffer = Arc::<Mutex<Vec<u8>>>::default();
        writer
            .lanes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Arc::clone(&buffer));
        Ok(Lane { buffer, writer })
    }

    /// Opens every file again (SIGUSR1), so that log rotation by renaming works.
    pub fn reopen(&self) {
        for writer in self.writers() {
            writer.order(Order::Reopen);
        }
    }

    /// Writes everything that was logged before this call, or gives up after two seconds.
    pub fn flush(&self) {
        let deadline = Instant::now() + LAST_FLUSH;
        for writer in self.writers() {
            let (done, answer) = channel();
            writer.order(Order::Flush(done));
            // Both ends of waiting are fine: it is written, or the sink is stuck.
            let _ = answer.recv_timeout(deadline.saturating_duration_since(Instant::now()));
        }
    }

    fn writers(&self) -> Vec<Arc<Writer>> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.values().cloned().collect()
    }
}

impl Lane {
    /// Appends what `write` appends; drops it when the lane is full.
    pub fn append(&self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut buffer = self.buffer.lock().unwrap_or_else(PoisonError::into_inner);
        if buffer.len() >= LANE_LIMIT {
            drop(buffer);
            self.writer.dropped.inc();
            return;
        }
        write(&mut buffer);
        let full = buffer.len() >= WAKE_AT;
        drop(buffer);
        if full && !self.writer.woken.swap(true, Ordering::AcqRel) {
            self.writer.order(Order::Write);
        }
    }
}

impl Writer {
    fn start(sink: &Sink, stats: &Stats, interval: Duration) -> io::Result<Self> {
        let output = Output::open(sink)?;
        let (wake, orders) = channel();
        let lanes = Arc::<Lanes>::default();
        let woken = Arc::new(AtomicBool::new(false));
        let work = Work {
            output,
            lanes: Arc::clone(&lanes),
            woken: Arc::clone(&woken),
            stats: stats.clone(),
            batch: Vec::new(),
            broken: false,
        };
        let thread = std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || work.run(&orders, interval))?;
        Ok(Self {
            lanes,
            wake,
            woken,
            dropped: stats.dropped.clone(),
            thread: Some(thread),
        })
    }

    fn order(&self, order: Order) {
        // The thread ends only with the writer, so somebody listens.
        let _ = self.wake.send(order);
    }
}

impl Drop for Writer {
    /// Writes the rest. A sink that is stuck is left behind: the thread ends with the process.
    fn drop(&mut self) {
        let (done, answer) = channel();
        self.order(Order::Flush(done));
        self.order(Order::Stop);
        let written = answer.recv_timeout(LAST_FLUSH).is_ok();
        if let Some(thread) = self.thread.take().filter(|_| written) {
            // A panic of the thread has been reported by the panic hook.
            let _ = thread.join();
        }
    }
}

/// What the writing thread works with.
struct Work {
    output: Output,
    lanes: Arc<Lanes>,
    woken: Arc<AtomicBool>,
    stats: Stats,
    batch: Vec<u8>,
    /// The last write failed, and that has been said.
    broken: bool,
}

impl Work {
    fn run(mut self, orders: &Receiver<Order>, interval: Duration) {
        loop {
            match orders.recv_timeout(interval) {
                Ok(Order::Write) | Err(RecvTimeoutError::Timeout) => self.write_all(),
                Ok(Order::Reopen) => {
                    self.write_all();
                    self.reopen();
                }
                Ok(Order::Flush(done)) => {
                    self.write_all();
                    // The one who asked may have given up.
                    let _ = done.send(());
                }
                Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn write_all(&mut self) {
        self.woken.store(false, Ordering::Release);
        let lanes: Vec<_> = {
            let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
            lanes.retain(|lane| {
                let held = Arc::strong_count(lane) > 1;
                held || !lane.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
            });
            lanes.clone()
        };
        for lane in lanes {
            self.batch.clear();
            std::mem::swap(
                &mut self.batch,
                &mut lane.lock().unwrap_or_else(PoisonError::into_inner),
            );
            if !self.batch.is_empty() {
                self.write_batch();
            }
        }
    }

    fn write_batch(&mut self) {
        match self.output.write(&self.batch) {
            Ok(()) => {
                self.stats.written.inc();
                self.broken = false;
            }
            Err(error) => {
                self.stats.failed.inc();
                let lines = self.batch.iter().filter(|byte| **byte == b'\n').count();
                self.stats.dropped.add(lines as u64);
                if !std::mem::replace(&mut self.broken, true) {
                    tracing::error!(code = "access_log_write", sink = %self.output, %error, "access log lines are lost");
                }
            }
        }
    }

    fn reopen(&mut self) {
        if let Err(error) = self.output.reopen() {
            self.stats.reopen_failed.inc();
            tracing::error!(code = "access_log_reopen", sink = %self.output, %error, "still writing to the old file");
        }
    }
}

enum Output {
    File(std::path::PathBuf, File),
    Stdout,
    Stderr,
}

impl Output {
    fn open(sink: &Sink) -> io::Result<Self> {
        Ok(match sink {
            Sink::File(path) => Self::File(path.clone(), append_to(path)?),
            Sink::Stdout => Self::Stdout,
            Sink::Stderr => Self::Stderr,
        })
    }

    fn reopen(&mut self) -> io::Result<()> {
        if let Self::File(path, file) = self {
            *file = append_to(path)?;
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::File(_, file) => file.write_all(bytes),
            Self::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(bytes)?;
                out.flush()
            }
            Self::Stderr => io::stderr().lock().write_all(bytes),
        }
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path, _) => write!(out, "{}", path.display()),
            Self::Stdout => out.write_str("stdout"),
            Self::Stderr => out.write_str("stderr"),
        }
    }
}

fn append_to(path: &std::path::Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use leno_model::access_log::Sink;

    use super::{LANE_LIMIT, Sinks};
    use crate::stats::Registry;

    const LONG: Duration = Duration::from_secs(3600);

    #[test]
    fn lines_of_all_lanes_arrive_also_after_they_are_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let sinks = Sinks::new(&Registry::new(), LONG);
        let sink = Sink::File(path.clone());
        let (one, two) = (sinks.lane(&sink).unwrap(), sinks.lane(&sink).unwrap());
        one.append(|out| out.extend_from_slice(b"one\n"));
        two.append(|out| out.extend_from_slice(b"two\n"));
        drop(one);
        sinks.flush();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\ntwo\n");
        two.append(|out| out.extend_from_slice(b"last\n"));
        drop((two, sinks));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\ntwo\nlast\n");
    }

    #[test]
    fn files_are_opened_again_after_rotation() {
        let folder = tempfile::tempdir().unwrap();
        let (path, old) = (folder.path().join("log"), folder.path().join("log.1"));
        let sinks = Sinks::new(&Registry::new(), LONG);
        let lane = sinks.lane(&Sink::File(path.clone())).unwrap();
        lane.append(|out| out.extend_from_slice(b"before\n"));
        std::fs::rename(&path, &old).unwrap();
        sinks.reopen();
        sinks.flush();
        lane.append(|out| out.extend_from_slice(b"after\n"));
        sinks.flush();
        assert_eq!(std::fs::read_to_string(&old).unwrap(), "before\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "after\n");
    }

    #[test]
    fn a_sink_that_cannot_be_opened_is_an_error() {
        let sinks = Sinks::new(&Registry::new(), LONG);
        assert!(sinks.lane(&Sink::File("/nonexistent/folder/log".into())).is_err());
    }

    #[test]
    fn a_full_disk_costs_lines_and_is_counted() {
        let registry = Registry::new();
        let sinks = Sinks::new(&registry, LONG);
        // Writes to this device always fail with "no space left".
        let lane = sinks.lane(&Sink::File("/dev/full".into())).unwrap();
        lane.append(|out| out.extend_from_slice(b"a\nb\n"));
        sinks.flush();
        assert_eq!(registry.shared_counter("filesystem.write_failed", &[]).total(), 1);
        assert_eq!(
            registry.shared_counter("access_log.lines_dropped", &[]).total(),
            2
        );
    }

    #[test]
    fn a_sink_that_is_stuck_drops_and_never_waits() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        assert!(
            std::process::Command::new("mkfifo")
                .arg(&path)
                .status()
                .unwrap()
                .success()
        );
        // Opened for both, so that opening it for writing succeeds; nobody reads.
        let held = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .unwrap();
        let registry = Registry::new();
        let sinks = Sinks::new(&registry, LONG);
        let lane = sinks.lane(&Sink::File(path)).unwrap();
        let dropped = registry.shared_counter("access_log.lines_dropped", &[]);
        let line = [b'x'; 1023];
        let started = Instant::now();
        for _ in 0..4 * LANE_LIMIT / line.len() {
            lane.append(|out| {
                out.extend_from_slice(&line);
                out.push(b'\n');
            });
        }
        assert!(dropped.total() > 0, "a stuck pipe takes 64 KiB and a lane 1 MiB");
        assert!(started.elapsed() < Duration::from_secs(5));
        drop(held);
        drop((lane, sinks));
    }
}
