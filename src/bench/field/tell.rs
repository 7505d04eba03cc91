//! What a load came to, as rows of the report, and what went wrong on the way.
use super::{Field, Measured};
use crate::bench::{
    errors::Errors, publisher::Published, report::Report, swarm::Taken, usage::Usage,
};
use serde_json::json;

/// A share of a core from which on the load generator may be what is measured.
const BUSY: f64 = 0.9;

/// What went wrong on the way.
#[derive(Debug, Default)]
pub(super) struct Failures {
    refused: Errors,
    errors: Errors,
    failed: Errors,
    ended: Errors,
    /// events
    uncertain: u64,
}

impl Field<'_> {
    /// Rows about a load: how much, how fast, and what it cost.
    pub fn tell(&self, measured: &Measured, report: &mut Report) {
        let seconds = measured.wall.as_secs_f64().max(1e-9);
        let (sent, arrived) = (measured.sent, measured.arrived);
        report.figure("seconds", "measured for", measured.wall.as_secs_f64(), " s");
        let events = ["events", "events_per_s"];
        report.rate(events, "events", sent, sent as f64 / seconds);
        let deliveries = ["deliveries", "deliveries_per_s"];
        report.rate(deliveries, "deliveries", arrived, arrived as f64 / seconds);
        self.tell_usage(measured, "a delivery", arrived, report);
        self.tell_failures(&measured.published, &measured.taken, report);
    }

    /// What servers and we ourselves used; `of`: what there were so many of.
    pub fn tell_usage(
        &self,
        measured: &Measured,
        of: &'static str,
        count: u64,
        report: &mut Report,
    ) {
        let wall = measured.wall.as_secs_f64().max(1e-9);
        if let Some(server) = measured.server {
            let cpu = server.cpu.as_secs_f64();
            let percent = 100.0 * cpu / wall;
            let mut text = format!("{percent:.0} % of a core");
            if count > 0 {
                let each_us = cpu * 1e6 / count as f64;
                text.push_str(&format!(", {each_us:.2} µs {of}"));
                report.value("server_cpu_us_each", json!(each_us));
            }
            let label = "server's processor time";
            report.row("server_cpu_percent", label, json!(percent), text);
            tell_memory(server, report);
        }
        let busiest = measured.thread_cpu.as_secs_f64() / wall;
        if let Some(own) = measured.own {
            let percent = 100.0 * own.cpu.as_secs_f64() / wall;
            let text = format!(
                "{percent:.0} % of a core, its busiest thread {:.0} %",
                busiest * 100.0
            );
            report.row(
                "own_cpu_percent",
                "own processor time",
                json!(percent),
                text,
            );
            report.value("own_busiest_thread_percent", json!(busiest * 100.0));
        }
        if busiest >= BUSY {
            report.note(format!(
                "the load generator's busiest thread used {:.0} % of a core, so that it may be what was measured: the server can do this and perhaps more; try more --threads on a machine with more cores",
                busiest * 100.0
            ));
        }
    }

    /// What went wrong on the way, and before.
    pub fn tell_failures(&self, published: &Published, taken: &Taken, report: &mut Report) {
        let mut failures = self.besides.take();
        failures.add_published(published);
        failures.add_taken(taken);
        failures.tell(report);
        if published.stalls > 0 {
            report.note(format!(
                "{} times nothing came for half a second although it was due",
                published.stalls
            ));
        }
        let late = published.late + taken.late;
        if late > 0 {
            report.note(format!(
                "{late} events were due and not sent, since the server hadn't answered those before: it doesn't keep up with this rate"
            ));
        }
        if published.answered == 0 && published.refused.count() > 0 {
            report.problem("the server took none of the events".to_owned());
        }
    }
}

impl Failures {
    pub(super) fn add_published(&mut self, published: &Published) {
        self.refused.merge(&published.refused);
        self.uncertain += published.uncertain;
    }

    pub(super) fn add_taken(&mut self, taken: &Taken) {
        self.errors.merge(&taken.errors);
        self.failed.merge(&taken.failed);
        self.ended.merge(&taken.ended);
    }

    fn tell(&self, report: &mut Report) {
        report.errors("event refused", &self.refused);
        report.errors("error from the server", &self.errors);
        report.errors("socket failed", &self.failed);
        report.errors("socket cut by the server", &self.ended);
        if self.uncertain > 0 {
            report.note(format!(
                "{} events got no answer: whether they arrived isn't counted",
                self.uncertain
            ));
        }
    }
}

fn tell_memory(server: Usage, report: &mut Report) {
    let mib = server.rss_bytes as f64 / f64::from(1 << 20);
    report.row(
        "server_rss_bytes",
        "server's memory",
        server.rss_bytes.into(),
        format!("{mib:.1} MiB resident"),
    );
}
