//! CPU time of a process, to the nanosecond.

use std::fs;
use std::io::ErrorKind;
use std::time::Duration;

use anyhow::Context as _;

/// What all threads of `pid` have run so far: the sum of the first field of their `schedstat`
/// (<https://docs.kernel.org/scheduler/sched-stats.html>).
///
/// # Errors
/// The process has ended, or the kernel does not keep the figure.
pub fn cpu(pid: u32) -> anyhow::Result<Duration> {
    let folder = format!("/proc/{pid}/task");
    let mut sum = 0u64;
    for task in fs::read_dir(&folder).with_context(|| folder.clone())? {
        let path = task?.path().join("schedstat");
        let text = match fs::read_to_string(&path) {
            // A thread that has ended meanwhile; peers that are measured keep theirs.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            other => other.with_context(|| path.display().to_string())?,
        };
        let first = text.split_ascii_whitespace().next().unwrap_or_default();
        let time: u64 = first
            .parse()
            .with_context(|| format!("{}: {text}", path.display()))?;
        sum += time;
    }
    Ok(Duration::from_nanos(sum))
}

/// The middle of `values`, which is not empty.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) && middle > 0 {
        f64::midpoint(values[middle - 1], values[middle])
    } else {
        values[middle]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_grows_with_work() {
        let mut busy = std::process::Command::new("sh")
            .args(["-c", "while :; do :; done"])
            .spawn()
            .expect("a shell");
        let before = cpu(busy.id()).expect("it runs");
        while cpu(busy.id()).expect("it runs") == before {
            std::thread::yield_now();
        }
        busy.kill().expect("it runs");
        busy.wait().expect("it has ended");
        assert!(cpu(busy.id()).is_err());
    }

    #[test]
    fn the_middle_of_an_even_number_is_between_two() {
        assert!((median(vec![4.0, 1.0, 3.0, 2.0]) - 2.5).abs() < 1e-9);
        assert!((median(vec![9.0, 1.0, 3.0]) - 3.0).abs() < 1e-9);
    }
}
