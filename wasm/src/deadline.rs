//! When a callback has run too long. Epochs count wall time; a thread that was not scheduled meanwhile must not cost
//! a guest its life, so that what counts is the processor time of the second half.

use std::time::Duration;

use wasmtime::{Store, UpdateDeadline};

/// How often a guest is given more time because its thread hardly ran.
const PATIENCE: u32 = 16;

/// The deadline of the running callback.
#[derive(Default)]
pub(crate) struct Deadline {
    half: Duration,
    /// Processor time of the thread at the last look, and looks taken.
    seen: Option<(Duration, u32)>,
}

impl Deadline {
    /// A callback begins that may take `allowed`. Returns the ticks until somebody looks.
    pub(crate) fn begin(&mut self, allowed: Duration) -> u64 {
        *self = Self {
            half: allowed / 2,
            seen: None,
        };
        ticks(self.half)
    }

    /// Half of the time has passed again; `processor` is what the thread has used since it began, if that is known.
    /// Returns the ticks until the next look, or nothing when it has been enough.
    fn look(&mut self, processor: Option<Duration>) -> Option<u64> {
        let more = ticks(self.half);
        let processor = processor?;
        match self.seen {
            None => self.seen = Some((processor, 1)),
            Some((before, looks)) => {
                let ran = processor.saturating_sub(before);
                if ran * 2 >= self.half || looks >= PATIENCE {
                    return None;
                }
                self.seen = Some((before, looks + 1));
            }
        }
        Some(more)
    }
}

/// Ends callbacks of this store at their deadline.
pub(crate) fn watch<T: 'static>(store: &mut Store<T>, deadline: fn(&mut T) -> &mut Deadline) {
    store.epoch_deadline_callback(move |mut context| {
        Ok(match deadline(context.data_mut()).look(processor_time()) {
            Some(ticks) => UpdateDeadline::Continue(ticks),
            None => UpdateDeadline::Interrupt,
        })
    });
}

/// One tick more than asked, because the first one is already under way.
fn ticks(time: Duration) -> u64 {
    u64::try_from(time.as_millis())
        .unwrap_or(u64::MAX >> 1)
        .saturating_add(1)
}

/// Of this thread. Linux keeps it in nanoseconds in the first field of `schedstat` (proc(5)).
fn processor_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(Duration::from_nanos(
        text.split_whitespace().next()?.parse().ok()?,
    ))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Deadline, PATIENCE};

    fn check(processor: impl Fn(u32) -> Option<u64>) -> u32 {
        let mut deadline = Deadline::default();
        assert_eq!(deadline.begin(Duration::from_millis(100)), 51);
        let mut looks = 1;
        while let Some(ticks) = deadline.look(processor(looks).map(Duration::from_millis)) {
            assert_eq!(ticks, 51);
            looks += 1;
        }
        looks
    }

    #[test]
    fn stops_what_runs_and_waits_for_what_was_not_let_run() {
        assert_eq!(check(|look| Some(u64::from(look) * 50)), 2, "it ran all the time");
        assert_eq!(
            check(|look| Some(u64::from(look) * 5)),
            6,
            "it ran a tenth of the time"
        );
        assert_eq!(check(|_| Some(7)), PATIENCE + 1, "it does not run at all");
        assert_eq!(check(|_| None), 1, "nobody knows");
    }
}
