//! An address to check, and who says that it is the one.
use super::{Context, DoctorArguments, Finding};
use crate::{
    client::Address,
    config::{LaravelApp, Settings},
};

pub(super) const ADDRESS: &str = "address";
pub(super) const TLS: &str = "tls";

/// Where `from` says that the server is.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) address: Address,
    from: From,
}

/// The settings to change when an address is wrong.
#[derive(Clone, Debug)]
enum From {
    /// the option `--url`
    Option,
    /// `REVERB_HOST` … or `PUSHER_HOST` …
    Backend(&'static str),
    /// `VITE_REVERB_HOST` …
    Browser(&'static str),
    /// `[server]`
    Server,
}

impl Place {
    /// Where PHP posts: what `--url` says, or the Laravel app, or the server itself.
    pub(super) fn of_backend(
        context: &Context<'_>,
        arguments: &DoctorArguments,
    ) -> Result<Place, Finding> {
        if let Some(address) = &arguments.url {
            return Ok(Place::of_option(address.clone()));
        }
        let Some(laravel) = context.laravel() else {
            return Place::of_server(context.settings);
        };
        let family = family(laravel);
        let Some(host) = laravel.host.as_deref().filter(|host| !host.is_empty()) else {
            if !laravel.is_project() {
                return Place::of_server(context.settings);
            }
            return Err(Finding::wrong(
                ADDRESS,
                format!("{family}_HOST is not set, so PHP doesn't know where to post events"),
                format!(
                    "set {family}_HOST, {family}_PORT and {family}_SCHEME in {} to where the server is, for PHP on the same machine 127.0.0.1, {} and http",
                    laravel.source, context.settings.server.port
                ),
            ));
        };
        let address = parse(host, laravel.port, laravel.scheme.as_deref());
        let mut address = address.ok_or_else(|| unusable(family, host))?;
        address.prefix = php_prefix(laravel.path.as_deref().unwrap_or_default());
        Ok(Place::of_php(address, laravel))
    }

    pub(super) fn of_option(address: Address) -> Place {
        let from = From::Option;
        Place { address, from }
    }

    fn of_server(settings: &Settings) -> Result<Place, Finding> {
        let from = From::Server;
        match Address::of_server(settings) {
            Ok(address) => Ok(Place { address, from }),
            Err(error) => {
                let cure = "ask with --url at the address that the app and browsers use";
                Err(Finding::wrong(ADDRESS, error.to_string(), cure))
            }
        }
    }

    pub(super) fn of_php(address: Address, laravel: &LaravelApp) -> Place {
        let from = From::Backend(family(laravel));
        Place { address, from }
    }

    pub(super) fn of_a_browser(address: Address, laravel: &LaravelApp) -> Place {
        let from = From::Browser(browser_family(laravel));
        Place { address, from }
    }

    /// Where browsers connect; `None` if the app doesn't say.
    pub(super) fn of_browser(
        laravel: &LaravelApp,
        backend: &Place,
    ) -> Option<Result<Place, Finding>> {
        let browser = &laravel.browser;
        let family = browser_family(laravel);
        let host = browser.host.as_deref().filter(|host| !host.is_empty())?;
        let scheme = browser.scheme.as_deref();
        // Echo's own defaults: 80 for ws, 443 for wss
        let Some(mut address) = parse(host, browser.port, scheme) else {
            return Some(Err(unusable(family, host)));
        };
        if browser.scheme.is_some() && browser.port.is_none() {
            address.port = if address.is_tls { 443 } else { 80 };
        }
        if address.host == backend.address.host {
            address.prefix.clone_from(&backend.address.prefix);
        }
        Some(Ok(Place::of_a_browser(address, laravel)))
    }

    /// The same, asked with TLS.
    pub(super) fn over_tls(&self) -> Place {
        let mut place = self.clone();
        place.address.is_tls = true;
        place
    }

    pub(super) fn is_of_browser(&self) -> bool {
        matches!(self.from, From::Browser(_))
    }

    /// The name of a check at this place.
    pub(super) fn named(&self, check: &str) -> String {
        match self.from {
            From::Browser(_) => format!("browser {check}"),
            _ => check.to_owned(),
        }
    }

    /// Where the host is set, for cures.
    pub(super) fn host_setting(&self) -> String {
        self.setting("HOST", "server.host")
    }

    pub(super) fn port_setting(&self) -> String {
        self.setting("PORT", "server.port")
    }

    /// `REVERB_HOST and REVERB_PORT`
    pub(super) fn settings(&self) -> String {
        match self.from {
            From::Option => "--url".to_owned(),
            _ => format!("{} and {}", self.host_setting(), self.port_setting()),
        }
    }

    /// Whether the Laravel app says so, for PHP or for browsers.
    pub(super) fn is_of_app(&self) -> bool {
        matches!(self.from, From::Backend(_) | From::Browser(_))
    }

    pub(super) fn scheme_setting(&self, scheme: &str) -> String {
        match self.from {
            From::Option => format!("give {scheme}:// in --url"),
            From::Backend(family) => format!("set {family}_SCHEME={scheme}"),
            From::Browser(family) => {
                format!("set {family}_SCHEME={scheme} and build the assets again (npm run build)")
            }
            From::Server => format!("ask with --url {scheme}://{}", self.address.authority()),
        }
    }

    fn setting(&self, name: &str, of_server: &str) -> String {
        match self.from {
            From::Option => "--url".to_owned(),
            From::Backend(family) | From::Browser(family) => format!("{family}_{name}"),
            From::Server => of_server.to_owned(),
        }
    }
}

pub(super) fn family(laravel: &LaravelApp) -> &'static str {
    match laravel.broadcaster.as_deref() {
        Some("pusher") => "PUSHER",
        _ => "REVERB",
    }
}

pub(super) fn browser_family(laravel: &LaravelApp) -> &'static str {
    match family(laravel) {
        "PUSHER" => "VITE_PUSHER",
        _ => "VITE_REVERB",
    }
}

/// `config/broadcasting.php` falls back to https and 443, whatever the scheme.
fn parse(host: &str, port: Option<u16>, scheme: Option<&str>) -> Option<Address> {
    let scheme = scheme.unwrap_or("https");
    let port = port.unwrap_or(443);
    let host = match host.contains(':') && !host.starts_with('[') {
        true => format!("[{host}]"),
        false => host.to_owned(),
    };
    Address::parse(&format!("{scheme}://{host}:{port}")).ok()
}

fn unusable(family: &str, host: &str) -> Finding {
    let shown = crate::client::one_line(host);
    Finding::wrong(
        ADDRESS,
        format!(
            "{family}_HOST is {shown}, which with {family}_PORT and {family}_SCHEME is no address"
        ),
        format!(
            "set {family}_HOST to a bare name such as ws.example.com, {family}_PORT to a number and {family}_SCHEME to http or https"
        ),
    )
}

/// What is left of the path option when PHP has resolved it as a relative reference: everything up to the last slash.
fn php_prefix(path: &str) -> String {
    let (folder, _) = path.rsplit_once('/').unwrap_or_default();
    folder.to_owned()
}

/// `https://example.com` of a whole URL, as browsers put it into `Origin`.
pub(super) fn origin(url: &str) -> String {
    match reqwest::Url::parse(url) {
        Ok(url) => url.origin().ascii_serialization(),
        Err(_) => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn php_keeps_a_path_up_to_its_last_slash() {
        for (path, expected) in [
            ("", ""),
            ("/reverb/", "/reverb"),
            ("/reverb", ""),
            ("/a/b", "/a"),
            ("reverb", ""),
        ] {
            assert_eq!(php_prefix(path), expected, "{path}");
        }
    }

    #[test]
    fn hosts_ports_and_schemes_have_laravels_defaults() {
        let check =
            |host: &str, port: Option<u16>, scheme: Option<&str>, expected: Option<&str>| {
                let parsed = parse(host, port, scheme).map(|address| address.to_string());
                assert_eq!(parsed.as_deref(), expected, "{host} {port:?} {scheme:?}");
            };
        check("a.example", None, None, Some("https://a.example:443"));
        check(
            "a.example",
            None,
            Some("http"),
            Some("http://a.example:443"),
        );
        check("::1", Some(8080), Some("http"), Some("http://[::1]:8080"));
        check("https://a.example", None, None, None);
        check("a.example", None, Some("tcp"), None);
        check("a b", None, None, None);
    }

    #[test]
    fn origins_have_no_path() {
        for (url, expected) in [
            ("https://example.com/", "https://example.com"),
            ("http://localhost:8000/x?y", "http://localhost:8000"),
            ("nonsense", "nonsense"),
        ] {
            assert_eq!(origin(url), expected);
        }
    }
}
