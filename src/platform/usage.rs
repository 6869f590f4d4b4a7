//! Processor time and memory of this program, from `/proc` (proc(5)); unknown where there is none.

use std::time::Duration;

/// Ticks a second of `/proc/self/stat`: `sysconf(_SC_CLK_TCK)`, which is 100 on every Linux that Rust runs on.
const TICKS_A_SECOND: f64 = 100.0;

/// Processor time used so far, by all threads, in user and kernel mode.
pub(crate) fn processor_time() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the program's name in brackets, which may hold anything; fields 14 and 15 are the times.
    let after_name = stat.rsplit_once(')')?.1;
    let mut fields = after_name.split_whitespace().skip(11);
    let ticks = fields.next()?.parse::<f64>().ok()? + fields.next()?.parse::<f64>().ok()?;
    Some(Duration::from_secs_f64(ticks / TICKS_A_SECOND))
}

/// Most memory held at once so far, bytes.
pub(crate) fn memory_peak_bytes() -> Option<u64> {
    memory("VmHWM:")
}

/// Memory held now, bytes.
pub(crate) fn memory_bytes() -> Option<u64> {
    memory("VmRSS:")
}

fn memory(name: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_both() {
        assert!(memory_peak_bytes().is_some_and(|bytes| bytes > 100_000));
        assert!(memory_bytes().is_some_and(|bytes| bytes > 100_000));
        let before = processor_time().unwrap();
        let mut sum = 0u64;
        while processor_time().unwrap() < before + Duration::from_millis(50) {
            sum = (0..1_000_000u64).fold(sum, |sum, n| sum.wrapping_mul(31).wrapping_add(n));
        }
        std::hint::black_box(sum);
    }
}
