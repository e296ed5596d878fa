//! The usual metrics of a process, read from /proc when they are asked for. Elsewhere than on Linux there are none.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// The kernel shows times to programs in hundredths of a second, whatever its own clock is.
const TICKS_PER_SECOND: f64 = 100.0;

/// Registers them as a collector.
#[derive(Debug)]
pub struct ProcessMetrics;

/// What /proc says of this process.
struct Snapshot {
    cpu_seconds: f64,
    start_time_seconds: f64,
    virtual_bytes: i64,
    resident_bytes: i64,
    threads: i64,
    open_fds: i64,
    max_fds: i64,
}

impl Snapshot {
    fn take() -> Option<Self> {
        let read = |file: &str| std::fs::read_to_string(format!("/proc/{file}")).ok();
        let stat = read("self/stat")?;
        // The second field is the program's name in parentheses, which may hold spaces: count from behind it.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<f64>().ok();
        let boot_seconds: f64 =
            read("stat")?.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
        let status = read("self/status")?;
        let kibibytes = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key))?;
            line.trim_start_matches(':').split_whitespace().next()?.parse::<i64>().ok()
        };
        let limits = read("self/limits")?;
        let max_fds = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
        Some(Self {
            cpu_seconds: (number(14)? + number(15)?) / TICKS_PER_SECOND,
            start_time_seconds: boot_seconds + number(22)? / TICKS_PER_SECOND,
            virtual_bytes: kibibytes("VmSize")? * 1024,
            resident_bytes: kibibytes("VmRSS")? * 1024,
            threads: kibibytes("Threads")?,
            open_fds: i64::try_from(std::fs::read_dir("/proc/self/fd").ok()?.count()).ok()?,
            max_fds: max_fds.split_whitespace().next()?.parse().unwrap_or(i64::MAX),
        })
    }
}

impl Collector for ProcessMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(now) = Snapshot::take() else { return Ok(()) };
        let mut put = |name: &str, help: &str, metric: &dyn Metric| metric.put(&mut encoder, name, help);
        let cpu = ConstCounter::<f64>::new(now.cpu_seconds);
        put("process_cpu_seconds", "Processor time used", &cpu)?;
        for (name, help, value) in [
            ("process_virtual_memory_bytes", "Virtual memory", now.virtual_bytes),
            ("process_resident_memory_bytes", "Resident memory", now.resident_bytes),
            ("process_threads", "Threads", now.threads),
            ("process_open_fds", "Open file descriptors", now.open_fds),
            ("process_max_fds", "The most file descriptors that may be open", now.max_fds),
        ] {
            put(name, help, &ConstGauge::<i64>::new(value))?;
        }
        put(
            "process_start_time_seconds",
            "When the process started, in Unix time",
            &ConstGauge::<f64>::new(now.start_time_seconds),
        )
    }
}

/// Counters and gauges alike.
trait Metric {
    fn put(&self, encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str) -> Result<(), fmt::Error>;
}

impl<T: EncodeMetric> Metric for T {
    fn put(&self, encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str) -> Result<(), fmt::Error> {
        self.encode(encoder.encode_descriptor(name, help, None, self.metric_type())?)
    }
}
