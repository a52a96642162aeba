//! Reads a folder again whenever it changes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{RecursiveMode, Watcher};
use tokio::sync::{mpsc, watch};

use super::{Folder, Reading};

/// Changes that come within this of each other are read once. Arbitrary: editors write a file in several steps.
const SETTLE: Duration = Duration::from_millis(100);

/// Where new readings arrive. Dropping it ends the watch.
pub type Readings = watch::Receiver<Reading>;

/// Reads `root` now, and again after each change, on its own task.
///
/// # Errors
/// The folder cannot be listed or watched now. Later failures keep the last reading and are logged.
pub fn watch(root: &Path) -> anyhow::Result<Readings> {
    let mut folder = Folder::default();
    let first = folder.read(root)?;
    report(&first);
    let (readings, receiver) = watch::channel(first);
    // One place in the queue suffices: a change that finds it taken is covered by the reading that is due.
    let (changed, mut changes) = mpsc::channel(1);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| match event {
        Ok(event) if event.kind.is_access() => {}
        Ok(_) => notify_once(&changed),
        Err(error) => {
            tracing::warn!(%error, "watching the folder");
            notify_once(&changed);
        }
    })?;
    watcher.watch(root, RecursiveMode::Recursive)?;
    let root: PathBuf = root.to_owned();
    tokio::spawn(async move {
        let _watcher = watcher;
        loop {
            tokio::select! {
                () = readings.closed() => return,
                change = changes.recv() => if change.is_none() { return },
            }
            tokio::time::sleep(SETTLE).await;
            while changes.try_recv().is_ok() {}
            match folder.read(&root) {
                Ok(reading) => {
                    readings.send_if_modified(|current| {
                        let differs = *current != reading;
                        if differs {
                            report(&reading);
                            *current = reading;
                        }
                        differs
                    });
                }
                Err(error) => {
                    tracing::error!(folder = %root.display(), %error, "cannot be read; the last reading stays")
                }
            }
        }
    });
    Ok(receiver)
}

fn report(reading: &Reading) {
    for problem in &reading.problems {
        tracing::error!("{problem}");
    }
}

/// A full queue means that a reading is due anyway.
fn notify_once(changed: &mpsc::Sender<()>) {
    let _already_due = changed.try_send(());
}
