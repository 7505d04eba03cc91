//! A page of metrics, read as strictly as its formats are written.
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use crate::{admin_get, helpers::Server};

/// Far more than anything takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a scrape said.
#[derive(Debug, Default)]
pub struct Page {
    /// declared type by metric
    pub types: BTreeMap<String, String>,
    /// value by sample: name and labels as written
    pub samples: BTreeMap<String, f64>,
}

impl Page {
    pub async fn of(server: &Server) -> Page {
        let answer = admin_get(server, "/metrics", "").await;
        assert_eq!(answer.status, 200);
        let content_type = answer.header("content-type");
        assert_eq!(
            content_type,
            Some("text/plain; version=0.0.4; charset=utf-8")
        );
        Page::parse(&answer.body)
    }

    /// The page once this sample has this value: what is counted after a frame was written may come after the frame.
    pub async fn with(server: &Server, sample: &str, value: f64) -> Page {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let page = Page::of(server).await;
            if page.get(sample) == value {
                return page;
            }
            let found = page.get(sample);
            assert!(
                Instant::now() < deadline,
                "{sample} is {found}, not {value}"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub async fn open_metrics_of(server: &Server) -> Page {
        // Prometheus asks like this
        let accept = "Accept: application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.1\r\n";
        let answer = admin_get(server, "/metrics", accept).await;
        let content_type = answer.header("content-type");
        assert_eq!(
            content_type,
            Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
        );
        let body = answer.body.strip_suffix("# EOF\n").expect("an end");
        Page::parse(body)
    }

    /// Panics at the first line that isn't as it should be.
    pub fn parse(text: &str) -> Page {
        let mut page = Page::default();
        let mut helped = BTreeSet::new();
        let mut current = String::new();
        assert!(text.ends_with('\n'));
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect(line);
                assert!(is_name(name) && !help.is_empty(), "{line}");
                assert!(helped.insert(name.to_owned()), "told twice: {line}");
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect(line);
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert!(helped.contains(name), "no help before {line}");
                current = name.to_owned();
                let before = page.types.insert(name.to_owned(), kind.to_owned());
                assert_eq!(before, None, "declared twice: {line}");
            } else {
                let (sample, value) = line.rsplit_once(' ').expect(line);
                let (name, labels) = match sample.split_once('{') {
                    Some((name, labels)) => (name, labels.strip_suffix('}').expect(line)),
                    None => (sample, ""),
                };
                assert!(is_name(name), "{line}");
                check_labels(labels);
                let suffix = name.strip_prefix(current.as_str()).expect(line);
                let kind = page.types[&current].as_str();
                let is_whole = match kind {
                    // the older format declares counters under their whole name
                    "counter" => suffix == "_total" || current.ends_with("_total"),
                    "gauge" => suffix.is_empty(),
                    _ => ["_bucket", "_sum", "_count"].contains(&suffix),
                };
                assert!(is_whole, "{kind} {line}");
                let value: f64 = value.parse().expect(line);
                assert!(value.is_finite() && value >= 0.0, "{line}");
                let before = page.samples.insert(sample.to_owned(), value);
                assert_eq!(before, None, "twice: {line}");
            }
        }
        page.check_histograms(text);
        page
    }

    fn check_histograms(&self, text: &str) {
        let histograms = self.types.iter().filter(|(_, kind)| *kind == "histogram");
        for (name, _) in histograms {
            let start = format!("{name}_bucket{{le=\"");
            let buckets: Vec<f64> = text
                .lines()
                .filter(|line| line.starts_with(&start))
                .map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap())
                .collect();
            assert!(buckets.is_sorted() && buckets.len() > 2, "{name}");
            let all = self.get(&format!("{name}_bucket{{le=\"+Inf\"}}"));
            assert_eq!(all, self.get(&format!("{name}_count")));
        }
    }

    /// The value of a sample, written with its labels; 0 while nothing of it has been counted.
    pub fn get(&self, sample: &str) -> f64 {
        self.samples.get(sample).copied().unwrap_or(0.0)
    }

    /// The sum of a metric's samples, whatever their labels.
    pub fn sum(&self, name: &str) -> f64 {
        let of_name = |sample: &str| sample == name || sample.starts_with(&format!("{name}{{"));
        let samples = self.samples.iter().filter(|(sample, _)| of_name(sample));
        samples.map(|(_, value)| value).sum()
    }
}

fn is_name(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !text.is_empty() && !text.as_bytes()[0].is_ascii_digit() && text.bytes().all(is_part)
}

/// `name="value"` with commas in between, quotes and backslashes in values escaped.
fn check_labels(mut text: &str) {
    let all = text;
    while !text.is_empty() {
        let (name, rest) = text.split_once("=\"").expect(all);
        assert!(is_name(name), "{all}");
        let mut escaped = false;
        let end = rest.find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        text = &rest[end.expect(all) + 1..];
        if !text.is_empty() {
            text = text.strip_prefix(',').expect(all);
        }
    }
}
