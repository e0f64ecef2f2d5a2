//! The metrics of a process: a registry, the common metrics of every process, and the text for
//! Prometheus.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use isthmus_replication::coordinates::Shard;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

/// The content type of [`Metrics::text`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The registry of a process. Clones share it. Every name starts with `isthmus_`.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Mutex<Registry>>);

impl Metrics {
    /// A registry with the uptime, resident memory and build of this process, whose kind is
    /// `process`.
    #[must_use]
    pub fn new(process: &str, version: &str) -> Self {
        let mut registry = Registry::with_prefix("isthmus");
        let build = vec![
            ("process".to_owned(), process.to_owned()),
            ("version".to_owned(), version.to_owned()),
        ];
        registry.register("build", "What runs", Info::new(build));
        registry.register_collector(Box::new(OfProcess {
            started: Instant::now(),
        }));
        Self(Arc::new(Mutex::new(registry)))
    }

    /// Adds metrics to the registry.
    pub fn register<T>(&self, add: impl FnOnce(&mut Registry) -> T) -> T {
        add(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds gauges that `take` samples at each request, so that every value is current. It must not
    /// block.
    pub fn sampled(&self, take: impl Fn() -> Vec<Gauge> + Send + Sync + 'static) {
        self.register(|registry| registry.register_collector(Box::new(Sampled(Box::new(take)))));
    }

    /// Every metric in the OpenMetrics text format, as [`CONTENT_TYPE`].
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        let registry = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = prometheus_client::encoding::text::encode(&mut text, &registry) {
            tracing::warn!(%error, "metrics could not be written");
        }
        text
    }
}

/// Labels of a sample.
pub type Labels = Vec<(&'static str, String)>;

/// The samples of one gauge.
#[derive(Debug)]
pub struct Gauge {
    name: &'static str,
    help: &'static str,
    unit: Option<Unit>,
    samples: Vec<(Labels, f64)>,
}

impl Gauge {
    /// A gauge without samples. `unit` is appended to its name.
    #[must_use]
    pub fn new(name: &'static str, help: &'static str, unit: Option<Unit>) -> Self {
        Self {
            name,
            help,
            unit,
            samples: Vec::new(),
        }
    }

    /// Adds a sample, if there is a value.
    pub fn sample(&mut self, labels: Labels, value: Option<f64>) {
        self.samples.extend(value.map(|value| (labels, value)));
    }

    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let mut metric =
            encoder.encode_descriptor(self.name, self.help, self.unit.as_ref(), MetricType::Gauge)?;
        for (labels, value) in &self.samples {
            if labels.is_empty() {
                metric.encode_gauge(value)?;
            } else {
                metric.encode_family(labels)?.encode_gauge(value)?;
            }
        }
        Ok(())
    }
}

/// The labels of a shard.
#[must_use]
pub fn of_shard(shard: &Shard) -> Labels {
    vec![
        ("group", shard.group.to_string()),
        ("partition", shard.partition.to_string()),
    ]
}

/// 1 for `true`, 0 for `false`.
#[must_use]
pub fn truth(value: bool) -> f64 {
    f64::from(u8::from(value))
}

struct Sampled(Box<dyn Fn() -> Vec<Gauge> + Send + Sync>);

impl std::fmt::Debug for Sampled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sampled")
    }
}

impl Collector for Sampled {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let gauges = (self.0)();
        gauges.iter().try_for_each(|gauge| gauge.encode(&mut encoder))
    }
}

#[derive(Debug)]
struct OfProcess {
    started: Instant,
}

impl Collector for OfProcess {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let uptime = ConstGauge::new(self.started.elapsed().as_secs_f64());
        let name = "process_uptime";
        uptime.encode(encoder.encode_descriptor(
            name,
            "Time since the process started",
            Some(&Unit::Seconds),
            uptime.metric_type(),
        )?)?;
        if let Some(bytes) = resident_bytes() {
            let resident = ConstGauge::new(bytes);
            let name = "process_resident_memory";
            resident.encode(encoder.encode_descriptor(
                name,
                "Resident memory",
                Some(&Unit::Bytes),
                resident.metric_type(),
            )?)?;
        }
        Ok(())
    }
}

/// The resident memory of this process in bytes, as reported by the kernel.
#[must_use]
pub fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::metrics::counter::Counter;

    #[test]
    fn the_text_holds_the_process_and_what_was_added() {
        let metrics = Metrics::new("gateway", "0.1.0");
        let refused: Counter = metrics.register(|registry| {
            let refused = Counter::default();
            registry.register("refused", "Refused links", refused.clone());
            refused
        });
        refused.inc();
        let text = metrics.text();
        for expected in [
            "isthmus_build_info{process=\"gateway\",version=\"0.1.0\"} 1",
            "isthmus_process_uptime_seconds ",
            "isthmus_process_resident_memory_bytes ",
            "isthmus_refused_total 1",
            "# EOF",
        ] {
            assert!(text.contains(expected), "{expected} is missing in\n{text}");
        }
    }

    #[test]
    fn a_sampled_gauge_is_what_it_is_when_it_is_asked_for() {
        use std::sync::atomic::{AtomicU32, Ordering};
        let metrics = Metrics::new("gateway", "0");
        let level = Arc::new(AtomicU32::new(1));
        let read = Arc::clone(&level);
        metrics.sampled(move || {
            let mut gauge = Gauge::new("level", "How high", Some(Unit::Seconds));
            let value = f64::from(read.load(Ordering::Relaxed));
            gauge.sample(vec![("peer", "us-east".to_owned())], Some(value));
            gauge.sample(vec![("peer", "ap-south".to_owned())], None);
            vec![gauge]
        });
        assert!(
            metrics
                .text()
                .contains("isthmus_level_seconds{peer=\"us-east\"} 1.0")
        );
        level.store(2, Ordering::Relaxed);
        let text = metrics.text();
        assert!(
            text.contains("isthmus_level_seconds{peer=\"us-east\"} 2.0"),
            "{text}"
        );
        assert!(!text.contains("ap-south"), "{text}");
    }

    #[test]
    fn resident_memory_is_more_than_a_megabyte() {
        assert!(resident_bytes().is_some_and(|bytes| bytes > 1 << 20));
    }
}
