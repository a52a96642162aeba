//! Reads a folder again whenever it changes.
//!
//! The system tells of changes at once, but not of all: links may lead elsewhere, and a folder may be replaced as a
//! whole. So what it does not tell of is looked for, and then its help is asked for anew.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;

use super::{Folder, Reading, scan};

/// Changes that come within this of each other are read once. Arbitrary: editors write a file in several steps.
const SETTLE: Duration = Duration::from_millis(100);

/// How often changes are looked for that nobody told of. Arbitrary: it costs a look at each file, without reading it.
const LOOK: Duration = Duration::from_secs(1);

/// Where new readings arrive. Dropping it ends the watch.
pub type Readings = watch::Receiver<Reading>;

/// Reads `root` now, and again after each change, on its own task.
///
/// # Errors
/// The folder cannot be listed or watched now. Later failures keep the last reading and are logged.
pub fn watch(root: &Path) -> anyhow::Result<Readings> {
    let seen = scan::fingerprint(root);
    // One place in the queue suffices: a change that finds it taken is covered by the reading that is due.
    let (changed, changes) = mpsc::channel(1);
    let watcher = listen(root, &changed)?;
    let mut folder = Folder::default();
    let first = folder.read(root)?;
    report(&first, &Reading::default());
    let (readings, receiver) = watch::channel(first);
    let watch = Watch {
        root: root.to_owned(),
        folder,
        readings,
        seen,
        watcher: Some(watcher),
        changed,
    };
    tokio::spawn(watch.run(changes));
    Ok(receiver)
}

struct Watch {
    root: PathBuf,
    folder: Folder,
    readings: watch::Sender<Reading>,
    /// The fingerprint before the last reading.
    seen: Option<u64>,
    watcher: Option<RecommendedWatcher>,
    changed: mpsc::Sender<()>,
}

impl Watch {
    async fn run(mut self, mut changes: mpsc::Receiver<()>) {
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due = self.folder.due();
            tokio::select! {
                () = self.readings.closed() => return,
                _ = changes.recv() => {}
                _ = looks.tick() => {
                    if self.fingerprint().await == self.seen {
                        continue;
                    }
                    self.listen_again();
                }
                () = sleep_until(due) => {}
            }
            tokio::time::sleep(SETTLE).await;
            while changes.try_recv().is_ok() {}
            // Before the reading: what changes meanwhile is found by the next look.
            self.seen = self.fingerprint().await;
            self.read();
        }
    }

    async fn fingerprint(&self) -> Option<u64> {
        let root = self.root.clone();
        let found = tokio::task::spawn_blocking(move || scan::fingerprint(&root)).await;
        found.ok().flatten()
    }

    /// What was listened to may be gone, or be somewhere else.
    fn listen_again(&mut self) {
        match listen(&self.root, &self.changed) {
            Ok(watcher) => self.watcher = Some(watcher),
            Err(error) => {
                self.watcher = None;
                tracing::debug!(folder = %self.root.display(), %error, "cannot be watched; changes are looked for");
            }
        }
    }

    fn read(&mut self) {
        match self.folder.read(&self.root) {
            Ok(reading) => {
                self.readings.send_if_modified(|current| {
                    let differs = *current != reading;
                    if differs {
                        report(&reading, current);
                        *current = reading;
                    }
                    differs
                });
            }
            Err(error) => {
                tracing::error!(folder = %self.root.display(), %error, "cannot be read; the last reading stays");
            }
        }
    }
}

fn listen(root: &Path, changed: &mpsc::Sender<()>) -> notify::Result<RecommendedWatcher> {
    let changed = changed.clone();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| match event {
        Ok(event) if event.kind.is_access() => {}
        Ok(_) => notify_once(&changed),
        Err(error) => {
            tracing::warn!(%error, "watching the folder");
            notify_once(&changed);
        }
    })?;
    watcher.watch(root, RecursiveMode::Recursive)?;
    Ok(watcher)
}

/// Says what is new.
fn report(reading: &Reading, before: &Reading) {
    for problem in &reading.problems {
        if !before.problems.contains(problem) {
            tracing::error!("{problem}");
        }
    }
    for skipped in &reading.skipped {
        if !before.skipped.contains(skipped) {
            tracing::warn!("{skipped}");
        }
    }
}

/// A full queue means that a reading is due anyway.
fn notify_once(changed: &mpsc::Sender<()>) {
    let _already_due = changed.try_send(());
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::time::Duration;

    use super::{Readings, watch};

    fn write(folder: &Path, name: &str) {
        let text = format!(
            "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: {name}}}\nspec:\n  servers:\n  \
             - {{port: {{number: 80, name: http, protocol: HTTP}}, hosts: ['*']}}\n"
        );
        fs::create_dir_all(folder).expect("a folder");
        fs::write(folder.join("g.yaml"), text).expect("write");
    }

    async fn holds(readings: &mut Readings, name: &str) {
        let found = readings.wait_for(|reading| {
            let gateways = &reading.world.gateways;
            gateways.len() == 1 && gateways.keys().all(|key| key.name == name)
        });
        let found = tokio::time::timeout(Duration::from_secs(20), found).await;
        assert!(matches!(found, Ok(Ok(_))), "{name} was not read");
    }

    #[tokio::test]
    async fn a_folder_may_be_replaced() {
        let home = tempfile::tempdir().expect("a temporary folder");
        let folder = home.path().join("w");
        write(&folder, "one");
        let mut readings = watch(&folder).expect("a watch");
        holds(&mut readings, "one").await;
        for name in ["two", "three"] {
            fs::remove_dir_all(&folder).expect("remove");
            write(&folder, name);
            holds(&mut readings, name).await;
            // The new one is watched like the first.
            let again = format!("{name}-again");
            write(&folder, &again);
            holds(&mut readings, &again).await;
        }
    }

    #[tokio::test]
    async fn what_a_link_leads_to_may_be_swapped() {
        let home = tempfile::tempdir().expect("a temporary folder");
        let at = |name: &str| home.path().join(name);
        write(&at("a"), "one");
        write(&at("b"), "two");
        let link = |to: &str| {
            std::os::unix::fs::symlink(at(to), at("draft")).expect("a link");
            fs::rename(at("draft"), at("w")).expect("rename");
        };
        link("a");
        let mut readings = watch(&at("w")).expect("a watch");
        holds(&mut readings, "one").await;
        link("b");
        holds(&mut readings, "two").await;
        write(&at("b"), "three");
        holds(&mut readings, "three").await;
    }
}
