//! Name, connection, and whether TLS is spoken where it is expected, and only there.
use super::{
    Context, Finding, certificate, machine,
    place::{ADDRESS, Place, TLS},
    spoken::{FirstAnswer, ask, speaks_tls},
};
use crate::client::{self, ConnectError};
use std::net::SocketAddr;
use tokio::net::TcpStream;

/// One finding for the connection and, if there is one, one for TLS.
pub(super) async fn check(context: &Context<'_>, place: &Place) -> Vec<Finding> {
    let address = &place.address;
    let connected = async {
        let found = client::resolve(address, context.patience).await?;
        let stream = client::connect_tcp(address, &found, context.patience).await?;
        Ok((found, stream))
    };
    let (found, stream) = match connected.await {
        Ok(connected) => connected,
        Err(error) => return vec![unreachable(place, &error, machine::is_container())],
    };
    let peer = stream.peer_addr().map(|peer| peer.to_string());
    let through = peer.map_or(String::new(), |peer| format!(" ({peer})"));
    let reached = format!("{address} takes connections{through}");
    let finding = match local_name(place) {
        Some(warning) => warning,
        None => Finding::ok(place.named(ADDRESS), reached),
    };
    let tls = match address.is_tls {
        true => certificate::check(context, place, &found, stream).await,
        false => plain(context, place, &found, stream).await,
    };
    vec![finding, tls]
}

/// A name that only this machine or only its containers know is of no use to browsers.
fn local_name(place: &Place) -> Option<Finding> {
    let host = &place.address.host;
    let is_bare = !host.contains(['.', ':']) && !place.address.is_loopback();
    (place.is_of_browser() && is_bare).then(|| {
        Finding::warning(
            place.named(ADDRESS),
            format!("the name {host} has no dot: browsers on other machines won't find it, though this one does"),
            format!("if it is the name of a container, set {} to a name that browsers know", place.host_setting()),
        )
    })
}

fn unreachable(place: &Place, error: &ConnectError, is_container: bool) -> Finding {
    let (host, settings) = (place.host_setting(), place.settings());
    let address = &place.address;
    let is_local = is_container && address.is_loopback() && place.is_of_app();
    if is_local && place.is_of_browser() {
        return Finding::warning(
            place.named(ADDRESS),
            format!(
                "{error}; but this is a container, and a browser's {} is another machine",
                address.host
            ),
            "run `resound doctor` outside of it as well",
        );
    }
    let cure = match error {
        ConnectError::Unresolved { .. } => {
            format!("correct {host}, or make a DNS entry for {}", address.host)
        }
        ConnectError::Refused(_) => {
            format!("start the server with `resound`, or correct {settings}")
        }
        ConnectError::Timeout { .. } => format!(
            "let the firewall pass port {}, or correct {settings}",
            address.port
        ),
        _ => format!("correct {settings}"),
    };
    let cure = match is_local {
        true => format!(
            "{cure}; inside a container {} is the container itself: set {host} to the name of the service that runs Resound, and let browsers keep a host of their own",
            address.host
        ),
        false => cure,
    };
    Finding::wrong(place.named(ADDRESS), error.to_string(), cure)
}

async fn plain(
    context: &Context<'_>,
    place: &Place,
    found: &[SocketAddr],
    mut stream: TcpStream,
) -> Finding {
    let address = &place.address;
    let said = ask(&mut stream, address, context.patience).await;
    let is_tls = match said {
        FirstAnswer::Http => {
            return Finding::ok(place.named(TLS), "no TLS, as the address says");
        }
        FirstAnswer::WantsTls => true,
        FirstAnswer::Else(_) => speaks_tls(address, found, context.patience).await,
    };
    if is_tls {
        return Finding::wrong(
            place.named(TLS),
            format!("{} speaks TLS, but is asked without", address.authority()),
            place.scheme_setting("https"),
        );
    }
    let reason = match said {
        FirstAnswer::Else(reason) => reason,
        _ => String::new(),
    };
    Finding::wrong(
        place.named(TLS),
        format!(
            "{} takes connections, but speaks neither HTTP nor TLS: {reason}",
            address.authority()
        ),
        format!("correct {}", place.settings()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{client::Address, config::LaravelApp, doctor::Verdict};

    #[test]
    fn localhost_in_a_container_is_the_container() {
        let check = |host: &str, is_browser: bool, is_container: bool, verdict, part: &str| {
            let address = Address::parse(&format!("http://{host}:8080")).expect(host);
            let place = match is_browser {
                true => Place::of_a_browser(address, &LaravelApp::default()),
                false => Place::of_php(address, &LaravelApp::default()),
            };
            let error = ConnectError::Refused("a:1".to_owned());
            let found = unreachable(&place, &error, is_container);
            assert_eq!(found.verdict, verdict, "{found}");
            let said = format!("{} {}", found.text, found.cure.unwrap_or_default());
            assert!(said.contains(part), "{said}");
            assert_eq!(said.contains("container"), !part.is_empty(), "{said}");
        };
        check("localhost", false, false, Verdict::Wrong, "");
        check(
            "localhost",
            false,
            true,
            Verdict::Wrong,
            "the container itself",
        );
        check(
            "127.0.0.1",
            false,
            true,
            Verdict::Wrong,
            "the container itself",
        );
        check("resound", false, true, Verdict::Wrong, "");
        check("localhost", true, true, Verdict::Warning, "another machine");
        check("localhost", true, false, Verdict::Wrong, "");
    }
}
