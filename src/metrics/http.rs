//! Requests of the HTTP API by route and status.

use super::shared::Striped;

/// The routes by which requests are counted; a prefix in front of them makes no difference. What is at none of them counts
/// as `other`.
const ROUTES: [&str; 15] = [
    "/apps/{app_id}/events",
    "/apps/{app_id}/batch_events",
    "/apps/{app_id}/channels",
    "/apps/{app_id}/channels/{channel}",
    "/apps/{app_id}/channels/{channel}/users",
    "/apps/{app_id}/channels/{channel}/events",
    "/apps/{app_id}/users/{user_id}/terminate_connections",
    "/users/{user_id}/terminate_connections",
    "/apps/{app_id}/connections",
    "/app/{key}",
    "/up",
    "/up/{app_id}",
    "/ready",
    "/live",
    "/accept-traffic",
];

/// The statuses that are answered with. Any other counts as 0.
const STATUSES: [u16; 17] = [
    200, 400, 401, 403, 404, 405, 408, 409, 413, 415, 426, 429, 431, 500, 502, 503, 504,
];

const ROUTE_COUNT: usize = ROUTES.len() + 1;
const STATUS_COUNT: usize = STATUSES.len() + 1;

/// A route as it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route(usize);

impl Route {
    pub const OTHER: Route = Route(ROUTES.len());

    /// The route with this pattern, whatever stands in front of it.
    pub fn of_pattern(pattern: &str) -> Route {
        let known = (0..ROUTES.len()).filter(|route| pattern.ends_with(ROUTES[*route]));
        known
            .max_by_key(|route| ROUTES[*route].len())
            .map_or(Route::OTHER, Route)
    }
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct HttpMetrics(Striped<{ ROUTE_COUNT * STATUS_COUNT }>);

impl HttpMetrics {
    pub fn count(&self, route: Route, status: u16) {
        let status = STATUSES.iter().position(|known| *known == status);
        let status = status.unwrap_or(STATUSES.len());
        self.0.add(route.0 * STATUS_COUNT + status, 1);
    }

    /// Route, status and count of all that has been counted.
    pub fn counts(&self) -> Vec<(&'static str, u16, u64)> {
        let all = (0..ROUTE_COUNT).flat_map(|route| (0..STATUS_COUNT).map(move |s| (route, s)));
        all.map(|(route, status)| {
            (
                ROUTES.get(route).copied().unwrap_or("other"),
                STATUSES.get(status).copied().unwrap_or(0),
                self.0.get(route * STATUS_COUNT + status),
            )
        })
        .filter(|(_, _, count)| *count > 0)
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_known_by_its_pattern_below_any_prefix() {
        for (index, pattern) in ROUTES.iter().enumerate() {
            assert_eq!(Route::of_pattern(pattern), Route(index), "{pattern}");
            let below = format!("/reverb{pattern}");
            assert_eq!(Route::of_pattern(&below), Route(index), "{below}");
        }
        for pattern in ["/", "", "/reverb", "/apps"] {
            assert_eq!(Route::of_pattern(pattern), Route::OTHER, "{pattern}");
        }
    }

    #[test]
    fn statuses_that_nobody_thought_of_are_counted_together() {
        let http = HttpMetrics::default();
        http.count(Route(0), 200);
        http.count(Route(0), 200);
        http.count(Route::OTHER, 418);
        http.count(Route::OTHER, 599);
        let expected = [("/apps/{app_id}/events", 200, 2), ("other", 0, 2)];
        assert_eq!(http.counts(), expected);
    }
}
