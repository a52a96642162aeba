//! Queues between filters, over all workers. Whoever registered a queue last hears of its entries.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use leno_sdk::host::{HostError, QueueId};
use tokio::sync::Notify;

/// All queues of the process. They are never removed: their number is that of names in configurations.
#[derive(Default)]
pub struct Queues {
    queues: Mutex<Vec<Queue>>,
    /// Somebody asked for one that was not there.
    missed: AtomicBool,
}

#[derive(Default)]
struct Queue {
    name_space: String,
    name: Vec<u8>,
    entries: VecDeque<Vec<u8>>,
    bytes: usize,
    listeners: Vec<Arc<Listener>>,
}

/// Where one plugin on one worker hears of a queue's entries.
#[derive(Default)]
pub struct Listener {
    waiting: AtomicU64,
    notify: Notify,
}

/// Entries of one queue. Arbitrary.
const ENTRIES: usize = 100_000;

/// Bytes of one queue. Arbitrary.
const BYTES: usize = 16 << 20;

impl Queues {
    /// Creates a queue or finds it, and listens to it until the listener is dropped by the caller.
    pub fn register(&self, name_space: &str, name: &[u8]) -> (QueueId, Arc<Listener>) {
        let mut queues = self.lock();
        let index = find(&queues, name_space, name).unwrap_or_else(|| {
            queues.push(Queue {
                name_space: name_space.to_owned(),
                name: name.to_owned(),
                ..Queue::default()
            });
            queues.len() - 1
        });
        let listener = Arc::new(Listener::default());
        queues[index].forget_the_dead();
        queues[index].listeners.push(listener.clone());
        (id(index), listener)
    }

    /// Finds a queue.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn resolve(&self, name_space: &str, name: &[u8]) -> Result<QueueId, HostError> {
        let found = find(&self.lock(), name_space, name).map(id);
        if found.is_none() {
            self.missed.store(true, Ordering::Relaxed);
        }
        found.ok_or(HostError::NotFound)
    }

    /// Empty queues with the names of these.
    pub(super) fn named_alike(&self) -> Self {
        let other = Self::default();
        other.learn(self);
        other
    }

    /// From now on the names of `other` can be resolved here too.
    pub(super) fn learn(&self, other: &Self) {
        let names: Vec<_> = {
            let others = other.lock();
            others
                .iter()
                .map(|queue| (queue.name_space.clone(), queue.name.clone()))
                .collect()
        };
        let mut queues = self.lock();
        for (name_space, name) in names {
            if find(&queues, &name_space, &name).is_none() {
                queues.push(Queue {
                    name_space,
                    name,
                    ..Queue::default()
                });
            }
        }
    }

    /// Whether a name was asked for that nobody had registered.
    pub(super) fn has_missed(&self) -> bool {
        self.missed.load(Ordering::Relaxed)
    }

    /// Appends an entry.
    ///
    /// # Errors
    /// `NotFound`; `Limit` when the queue is full.
    pub fn push(&self, queue: QueueId, entry: &[u8]) -> Result<(), HostError> {
        let mut queues = self.lock();
        let queue = at(&mut queues, queue)?;
        if queue.entries.len() >= ENTRIES || queue.bytes + entry.len() > BYTES {
            return Err(HostError::Limit);
        }
        queue.bytes += entry.len();
        queue.entries.push_back(entry.to_owned());
        queue.forget_the_dead();
        if let Some(listener) = queue.listeners.last() {
            listener.waiting.fetch_add(1, Ordering::Relaxed);
            listener.notify.notify_one();
        }
        Ok(())
    }

    /// Appends the oldest entry to `entry` and removes it.
    ///
    /// # Errors
    /// `NotFound`, `Empty`.
    pub fn pop(&self, queue: QueueId, entry: &mut Vec<u8>) -> Result<(), HostError> {
        let mut queues = self.lock();
        let queue = at(&mut queues, queue)?;
        let oldest = queue.entries.pop_front().ok_or(HostError::Empty)?;
        queue.bytes -= oldest.len();
        entry.extend_from_slice(&oldest);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Queue>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// Nobody else holds a listener whose plugin is gone.
    fn forget_the_dead(&mut self) {
        self.listeners.retain(|listener| Arc::strong_count(listener) > 1);
    }
}

impl Listener {
    /// Waits for entries; how many have come since the last time.
    pub async fn entries(&self) -> u64 {
        loop {
            match self.waiting.swap(0, Ordering::Relaxed) {
                0 => self.notify.notified().await,
                count => return count,
            }
        }
    }
}

fn find(queues: &[Queue], name_space: &str, name: &[u8]) -> Option<usize> {
    queues
        .iter()
        .position(|queue| queue.name_space == name_space && queue.name == name)
}

fn id(index: usize) -> QueueId {
    QueueId(u32::try_from(index + 1).unwrap_or(u32::MAX))
}

fn at(queues: &mut [Queue], id: QueueId) -> Result<&mut Queue, HostError> {
    let index = (id.0 as usize).checked_sub(1).ok_or(HostError::NotFound)?;
    queues.get_mut(index).ok_or(HostError::NotFound)
}

#[cfg(test)]
mod tests {
    use leno_sdk::host::{HostError, QueueId};

    use super::{BYTES, Queues};

    fn pop(queues: &Queues, queue: QueueId) -> Result<Vec<u8>, HostError> {
        let mut entry = Vec::new();
        queues.pop(queue, &mut entry).map(|()| entry)
    }

    #[test]
    fn entries_come_out_in_order() {
        let queues = Queues::default();
        let (queue, _listener) = queues.register("space", b"jobs");
        assert_eq!(queue, QueueId(1));
        assert_eq!(queues.register("space", b"jobs").0, queue);
        assert_ne!(queues.register("other", b"jobs").0, queue);
        assert_eq!(queues.resolve("space", b"jobs"), Ok(queue));
        assert_eq!(queues.resolve("space", b"none"), Err(HostError::NotFound));
        queues.push(queue, b"a").unwrap();
        queues.push(queue, b"").unwrap();
        assert_eq!(pop(&queues, queue).unwrap(), b"a");
        assert_eq!(pop(&queues, queue).unwrap(), b"");
        assert_eq!(pop(&queues, queue), Err(HostError::Empty));
        assert_eq!(pop(&queues, QueueId(0)), Err(HostError::NotFound));
        assert_eq!(queues.push(QueueId(77), b"x"), Err(HostError::NotFound));
    }

    #[test]
    fn a_full_queue_refuses() {
        let queues = Queues::default();
        let (queue, _listener) = queues.register("", b"q");
        queues.push(queue, &vec![0; BYTES]).unwrap();
        assert_eq!(queues.push(queue, b"x"), Err(HostError::Limit));
        pop(&queues, queue).unwrap();
        queues.push(queue, b"x").unwrap();
    }

    #[tokio::test]
    async fn the_last_one_that_registered_and_still_lives_hears_of_entries() {
        let queues = Queues::default();
        let (queue, first) = queues.register("", b"q");
        let (_, second) = queues.register("", b"q");
        queues.push(queue, b"1").unwrap();
        queues.push(queue, b"2").unwrap();
        assert_eq!(second.entries().await, 2);
        drop(second);
        queues.push(queue, b"3").unwrap();
        assert_eq!(first.entries().await, 1);
    }
}
