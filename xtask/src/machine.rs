//! What the whole machine uses: containers are not children of this process, so that children alone tell too little.

/// The unit of the times in /proc/stat: USER_HZ, which Linux keeps at 100 for programs whatever the kernel's own is.
/// <https://man7.org/linux/man-pages/man5/proc_stat.5.html>
const TICKS_PER_S: f64 = 100.0;

/// The state of the machine at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moment {
    /// CPU time of everything that has run since the machine was started, in seconds: user and kernel mode, also that
    /// of interrupts; neither idle time, nor waiting for disks, nor what a hypervisor took away.
    pub cpu_s: f64,
    /// Memory that could not be given to a new program, in bytes.
    pub memory_bytes: u64,
}

impl Moment {
    /// This moment; none where the system does not tell in a way that is understood here.
    pub fn now() -> Option<Self> {
        let stat = std::fs::read_to_string("/proc/stat").ok()?;
        let memory = std::fs::read_to_string("/proc/meminfo").ok()?;
        Some(Self { cpu_s: cpu_s(&stat)?, memory_bytes: memory_bytes(&memory)? })
    }
}

fn cpu_s(stat: &str) -> Option<f64> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> = line.split_whitespace().map_while(|word| word.parse().ok()).collect();
    // user, nice, system, idle, iowait, irq, softirq, steal; a guest's time is part of the user's.
    let [user, nice, system, _, _, irq, softirq, ..] = ticks[..] else { return None };
    Some((user + nice + system + irq + softirq) as f64 / TICKS_PER_S)
}

fn memory_bytes(meminfo: &str) -> Option<u64> {
    let field = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<u64>().ok()
    };
    Some(field("MemTotal")?.checked_sub(field("MemAvailable")?)? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_time_waiting_and_stolen_time_are_no_use() {
        let stat = "cpu  100 20 30 4000 500 6 7 800 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\nintr 5\n";
        assert_eq!(cpu_s(stat), Some(1.63));
        assert_eq!(cpu_s("cpu  1 2\n"), None);
    }

    #[test]
    fn memory_that_can_be_had_back_is_free() {
        let text = "MemTotal:       1000 kB\nMemFree:          10 kB\nMemAvailable:    900 kB\n";
        assert_eq!(memory_bytes(text), Some(102_400));
    }
}
