//! How metrics are written for a scrape, one after the other.

use std::fmt;

use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, NoLabelSet},
    metrics::MetricType,
};

use crate::metrics::worker::{Histogram, LATENCY_BUCKETS};

pub type Labels<'a> = Vec<(&'static str, &'a str)>;

/// Names of counters are given without `_total`.
pub struct Page<'a>(pub DescriptorEncoder<'a>);

impl Page<'_> {
    pub fn counters<'l, V: EncodeCounterValue>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels<'l>, V)>,
    ) -> fmt::Result {
        let mut metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in values {
            metric
                .encode_family(&labels)?
                .encode_counter::<NoLabelSet, _, f64>(&value, None)?;
        }
        Ok(())
    }

    pub fn gauges<'l, V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels<'l>, V)>,
    ) -> fmt::Result {
        let mut metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in values {
            metric.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    pub fn counter(
        &mut self,
        name: &str,
        help: &str,
        value: impl EncodeCounterValue,
    ) -> fmt::Result {
        let mut metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        metric.encode_counter::<NoLabelSet, _, f64>(&value, None)
    }

    /// The sum of these.
    pub fn histogram<'h>(
        &mut self,
        name: &str,
        help: &str,
        histograms: impl IntoIterator<Item = &'h Histogram>,
    ) -> fmt::Result {
        let bounds = LATENCY_BUCKETS.iter().map(|bound| bound.as_secs_f64());
        let mut buckets: Vec<(f64, u64)> = bounds.chain([f64::INFINITY]).map(|b| (b, 0)).collect();
        let mut sum = 0.0;
        for histogram in histograms {
            sum += histogram.sum_s();
            for (bucket, count) in buckets.iter_mut().zip(histogram.counts()) {
                bucket.1 += count;
            }
        }
        let count = buckets.iter().map(|(_, count)| count).sum();
        self.0
            .encode_descriptor(name, help, None, MetricType::Histogram)?
            .encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    pub fn gauge(&mut self, name: &str, help: &str, value: impl EncodeGaugeValue) -> fmt::Result {
        let mut metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        metric.encode_gauge(&value)
    }
}
