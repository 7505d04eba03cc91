//! Whether new connections are welcome, for health checks.

use super::Node;

/// Most important first: a node that drains says so, whatever else it might say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// a stop has begun
    Draining,
    /// one of a cluster that hasn't tried yet whether Redis is there
    Starting,
    /// Redis is away: its own connections are served, and hear nothing of other nodes
    Degraded,
    Ready,
}

impl Readiness {
    /// As health checks say it.
    pub fn word(self) -> &'static str {
        match self {
            Readiness::Draining => "DRAINING",
            Readiness::Starting => "STARTING",
            Readiness::Degraded => "DEGRADED",
            Readiness::Ready => "OK",
        }
    }
}

impl Node {
    pub fn readiness(&self) -> Readiness {
        if self.is_draining() {
            return Readiness::Draining;
        }
        let Some(cluster) = &self.cluster else {
            return Readiness::Ready;
        };
        let status = cluster.status();
        match (status.is_up(), status.is_tried()) {
            (true, _) => Readiness::Ready,
            (false, true) => Readiness::Degraded,
            (false, false) => Readiness::Starting,
        }
    }
}
