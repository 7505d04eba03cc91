//! A webhook endpoint that hangs must not slow the delivery to sockets: the same load without one and with one, each beside members
//! that come and go, of whom webhooks tell.
use std::{error::Error, net::TcpListener, process::Child};

use super::{
    load,
    servers::{Programs, Running},
};

/// What is measured: 16,000 deliveries a second.
const FANOUT: &[&str] = &[
    "fanout",
    "--sockets",
    "200",
    "--rate",
    "80",
    "--seconds",
    "3",
];

/// Four webhooks for each that joins and leaves, until it is killed.
const CHURN: &[&str] = &[
    "presence",
    "--sockets",
    "20",
    "--rate",
    "500",
    "--seconds",
    "60",
];

/// p50 and p99 with an endpoint that never answers over those without an endpoint.
pub fn ratios(programs: &Programs) -> Result<(f64, f64), Box<dyn Error>> {
    // Connections wait in its queue for ever.
    let hanging = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}/hook", hanging.local_addr()?);
    let endpoint = format!("[[apps.webhooks]]\nurl = \"{url}\"");
    let without = measure(programs, "")?;
    let with = measure(programs, &endpoint)?;
    Ok((with.0 / without.0, with.1 / without.1))
}

fn measure(programs: &Programs, endpoint: &str) -> Result<(f64, f64), Box<dyn Error>> {
    let settings = format!("{endpoint}\n[webhook]\nallow_private_targets = true");
    let server = Running::spawn(programs.resound(None, 0, &settings))?;
    let _churn = Churn(load::command(programs, &server, CHURN).spawn()?);
    let outcome = load::run(programs, &server, FANOUT)?;
    let figure = |place| outcome.figure(place).ok_or("no latency was measured");
    Ok((figure("latency/p50_us")?, figure("latency/p99_us")?))
}

struct Churn(Child);

impl Drop for Churn {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
