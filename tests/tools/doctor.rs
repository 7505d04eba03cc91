//! `resound doctor` against setups that are each wrong in one way: it must name that way first. And against good ones.
use std::{fs, net::SocketAddr, path::PathBuf};

use rcgen::{BasicConstraints, IsCa, KeyPair, date_time_ymd};
use resound::{
    client::Address,
    config::{self, Browser, LaravelApp},
    doctor::{DoctorArguments, Finding, Report, Verdict, examine},
};

use crate::{
    fakes::{
        Act, Authority, answer, answers, nobody, params, passed_on, pem, proxy, tls_front, without,
    },
    helpers::{Server, eventually},
};

const KEY: &str = "278d425bdf160c739803";

/// What the doctor reads, good unless a test changes it.
struct Setup {
    settings: String,
    laravel: Option<LaravelApp>,
    arguments: DoctorArguments,
    folder: tempfile::TempDir,
}

/// The settings of the machine on which the doctor runs.
fn app(id: &str, key: &str, secret: &str) -> String {
    format!("[[apps]]\nid = '{id}'\nkey = '{key}'\nsecret = '{secret}'\n")
}

impl Setup {
    /// A Laravel app that posts to this address without TLS, as its browsers connect.
    fn at(address: SocketAddr) -> Setup {
        let folder = tempfile::tempdir().expect("a folder");
        let laravel = LaravelApp {
            folder: folder.path().to_owned(),
            source: ".env".to_owned(),
            broadcaster: Some("reverb".to_owned()),
            host: Some("localhost".to_owned()),
            port: Some(address.port()),
            scheme: Some("http".to_owned()),
            app_id: Some("3".to_owned()),
            app_key: Some(KEY.to_owned()),
            app_url: Some("http://app.example.com".to_owned()),
            browser: Browser {
                key: Some(KEY.to_owned()),
                host: Some("localhost".to_owned()),
                port: Some(address.port()),
                scheme: Some("http".to_owned()),
            },
            ..LaravelApp::default()
        };
        Setup {
            settings: app("3", KEY, "7ad3773142a6692b25b8"),
            laravel: Some(laravel),
            arguments: DoctorArguments {
                timeout: Some(10),
                ..DoctorArguments::default()
            },
            folder,
        }
    }

    fn tls_at(address: SocketAddr) -> Setup {
        let mut setup = Setup::at(address);
        let laravel = setup.laravel();
        laravel.scheme = Some("https".to_owned());
        laravel.browser.scheme = Some("https".to_owned());
        setup
    }

    fn laravel(&mut self) -> &mut LaravelApp {
        self.laravel.as_mut().expect("a Laravel app")
    }

    fn trusting(mut self, authority: &Authority) -> Setup {
        let file = self.write("ca.pem", &pem(&authority.certificate));
        self.arguments.ca = Some(file);
        self
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
        fs::write(&path, text).expect("written");
        path
    }

    async fn findings(self) -> Vec<Finding> {
        let examined = tokio::task::spawn_blocking(move || {
            let mut settings = config::from_toml(&self.settings).expect("settings");
            settings.laravel = self.laravel;
            let mut nobody_listens = |_: &Finding| {};
            let mut report = Report::new(&mut nobody_listens);
            examine(&settings, &self.arguments, &mut report).expect("usable arguments");
            report.findings
        });
        examined.await.expect("no panic")
    }

    /// The first thing that is wrong is `check`, and its text and cure have these parts.
    #[track_caller]
    fn finds(self, check: &str, text: &str, cure: &str) -> impl Future<Output = ()> {
        let wanted = [check, text, cure].map(str::to_owned);
        let caller = std::panic::Location::caller();
        async move {
            let [check, text, cure] = wanted;
            let findings = self.findings().await;
            let shown = lines(&findings);
            let wrong = |finding: &&Finding| finding.verdict == Verdict::Wrong;
            let first = findings.iter().find(wrong);
            let first = first.unwrap_or_else(|| panic!("{caller}: nothing is wrong:\n{shown}"));
            assert_eq!(first.check, check, "{caller}:\n{shown}");
            assert!(
                first.text.contains(&text),
                "{caller}: no {text:?}:\n{shown}"
            );
            let told = first.cure.as_deref().unwrap_or_default();
            assert!(told.contains(&cure), "{caller}: no {cure:?} in {told:?}");
            assert!(
                !shown.contains("7ad3773142a6692b25b8"),
                "a secret:\n{shown}"
            );
        }
    }

    /// Nothing is wrong; returns the lines.
    async fn finds_nothing(self) -> String {
        let findings = self.findings().await;
        let shown = lines(&findings);
        assert!(
            findings
                .iter()
                .all(|finding| finding.verdict != Verdict::Wrong),
            "{shown}"
        );
        shown
    }
}

fn lines(findings: &[Finding]) -> String {
    findings
        .iter()
        .map(|finding| format!("{finding}\n"))
        .collect()
}

fn has(lines: &str, verdict: &str, check: &str) {
    let start = format!("{verdict:8} {check} ");
    assert!(
        lines.lines().any(|line| line.starts_with(&start)),
        "no {start:?} in\n{lines}"
    );
}

#[tokio::test]
async fn a_good_setup() {
    let server = Server::start().await;
    let lines = Setup::at(server.addr).finds_nothing().await;
    for check in [
        "settings",
        "broadcaster",
        "app",
        "address",
        "tls",
        "server",
        "clock",
        "event",
        "websocket",
        "round trip",
        "browser",
    ] {
        has(&lines, "ok", check);
    }
    has(&lines, "skipped", "assets");
    has(&lines, "note", "queue");
}

#[tokio::test]
async fn a_good_setup_behind_tls_with_browsers_elsewhere() {
    let server = Server::with("[app_defaults]\nallowed_origins = ['app.example.com']").await;
    let authority = Authority::new("Test CA");
    let (leaf, key) = authority.issue(params("localhost"));
    let front = tls_front(server.addr, vec![leaf], &key).await;
    let mut setup = Setup::at(server.addr).trusting(&authority);
    let laravel = setup.laravel();
    laravel.app_url = Some("https://app.example.com/home".to_owned());
    laravel.browser.port = Some(front.port());
    laravel.browser.scheme = Some("https".to_owned());
    setup.write("public/build/manifest.json", "{}");
    let script = format!("'pusher:connection_established',key:'{KEY}',wsHost:'localhost'");
    setup.write("public/build/assets/app-1.js", &script);
    let lines = setup.finds_nothing().await;
    for check in [
        "browser tls",
        "browser websocket",
        "browser round trip",
        "assets",
    ] {
        has(&lines, "ok", check);
    }
}

#[tokio::test]
async fn a_good_server_without_laravel() {
    let server = Server::with("[server]\npath = '/reverb'").await;
    let mut setup = Setup::at(server.addr);
    setup.laravel = None;
    let url = format!("http://127.0.0.1:{}/reverb", server.addr.port());
    setup.arguments.url = Some(Address::parse(&url).expect("an address"));
    let lines = setup.finds_nothing().await;
    has(&lines, "ok", "round trip");
}

#[tokio::test]
async fn broadcasters_that_send_elsewhere() {
    let server = Server::start().await;
    let mut setup = Setup::at(server.addr);
    setup.laravel().broadcaster = Some("log".to_owned());
    setup
        .finds("broadcaster", "\"log\"", "BROADCAST_CONNECTION=reverb")
        .await;

    let mut setup = Setup::at(server.addr);
    setup.laravel().broadcaster = Some("pusher".to_owned());
    setup.laravel().host = None;
    setup
        .finds("broadcaster", "Pusher's own servers", "PUSHER_HOST")
        .await;

    let mut setup = Setup::at(server.addr);
    setup.laravel().host = None;
    setup.write("artisan", "");
    setup
        .finds("address", "REVERB_HOST is not set", "REVERB_PORT")
        .await;
}

#[tokio::test]
async fn apps_that_differ() {
    let server = Server::start().await;
    let mut setup = Setup::at(server.addr);
    setup.laravel().app_key = Some("another-key".to_owned());
    setup
        .finds("app", "the key of app 3 is another-key", KEY)
        .await;

    let mut setup = Setup::at(server.addr);
    setup.laravel().app_id = Some("4".to_owned());
    setup.finds("app", "only 3", "same id").await;

    let mut setup = Setup::at(server.addr);
    setup.settings = app("3", KEY, "not-the-secret");
    setup
        .finds("event", "another secret for app 3", "REVERB_APP_SECRET")
        .await;

    let mut setup = Setup::at(server.addr);
    setup.settings = app("4", KEY, "s");
    setup.laravel().app_id = Some("4".to_owned());
    setup
        .finds("event", "doesn't know the app 4", "REVERB_APP_ID")
        .await;

    let mut setup = Setup::at(server.addr);
    setup.settings = app("3", "other", "7ad3773142a6692b25b8");
    setup.laravel().app_key = Some("other".to_owned());
    setup.laravel().browser.key = Some("other".to_owned());
    setup
        .finds("event", "another key than other", "same id")
        .await;
}

#[tokio::test]
async fn addresses_that_lead_nowhere() {
    let nobody = nobody();
    let address = nobody.address;
    Setup::at(address)
        .finds("address", "nothing listens at localhost", "REVERB_PORT")
        .await;

    let mut setup = Setup::at(address);
    setup.laravel().host = Some("resound.invalid".to_owned());
    setup
        .finds(
            "address",
            "resound.invalid leads to no address",
            "REVERB_HOST",
        )
        .await;

    let mut setup = Setup::at(address);
    setup.laravel().host = Some("https://ws.example.com".to_owned());
    setup
        .finds(
            "address",
            "REVERB_HOST is https://ws.example.com",
            "bare name",
        )
        .await;

    let silent = proxy(address, |_| Act::Silence).await;
    let mut setup = Setup::at(silent);
    setup.arguments.timeout = Some(1);
    setup
        .finds("tls", "neither HTTP nor TLS", "REVERB_PORT")
        .await;
}

/// Only a cluster has one; the rest of the way is looked at all the same.
#[tokio::test]
async fn a_redis_that_is_none() {
    let server = Server::start().await;
    let nobody = nobody();
    let cluster = |address: SocketAddr| {
        let mut setup = Setup::at(server.addr);
        setup.settings += &format!(
            "[cluster]\nenabled = true\nurl = 'redis://u:7ad3773142a6692b25b8@{address}'\n"
        );
        setup
    };
    cluster(nobody.address)
        .finds(
            "redis",
            "Redis can't be reached",
            "cluster.url is \"redis://u:****@",
        )
        .await;
    let silent = proxy(server.addr, |_| Act::Silence).await;
    let mut setup = cluster(silent);
    setup.arguments.timeout = Some(1);
    setup
        .finds("redis", "gave no answer within 1 s", "start Redis")
        .await;
    let findings = cluster(server.addr).findings().await;
    let shown = lines(&findings);
    has(&shown, "wrong", "redis");
    has(&shown, "ok", "round trip");
}

#[tokio::test]
async fn tls_and_plain_mixed_up() {
    let server = Server::start().await;
    Setup::tls_at(server.addr)
        .finds("tls", "speaks HTTP without TLS", "REVERB_SCHEME=http")
        .await;

    let authority = Authority::new("Test CA");
    let (leaf, key) = authority.issue(params("localhost"));
    let front = tls_front(server.addr, vec![leaf], &key).await;
    Setup::at(front)
        .finds(
            "tls",
            "speaks TLS, but is asked without",
            "REVERB_SCHEME=https",
        )
        .await;

    // nginx says so in plain HTTP
    let page = "<title>400 The plain HTTP request was sent to HTTPS port</title>";
    let nginx = answers(answer("400 Bad Request", &["Server: nginx"], page)).await;
    Setup::at(nginx)
        .finds("tls", "speaks TLS", "REVERB_SCHEME=https")
        .await;
}

#[tokio::test]
async fn bad_certificates() {
    let server = Server::start().await;
    let authority = Authority::new("Test CA");
    let front = async |params| {
        let (leaf, key) = authority.issue(params);
        tls_front(server.addr, vec![leaf], &key).await
    };

    let mut old = params("localhost");
    (old.not_before, old.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
    Setup::tls_at(front(old).await)
        .trusting(&authority)
        .finds("tls", "expired on 2021-01-01", "renew")
        .await;

    let mut early = params("localhost");
    early.not_before = date_time_ymd(3000, 1, 1);
    Setup::tls_at(front(early).await)
        .trusting(&authority)
        .finds("tls", "not valid before 3000-01-01", "clock")
        .await;

    Setup::tls_at(front(params("other.example.com")).await)
        .trusting(&authority)
        .finds(
            "tls",
            "for other.example.com, not for localhost",
            "REVERB_HOST",
        )
        .await;

    Setup::tls_at(front(params("localhost")).await)
        .finds("tls", "that authority is private", "--ca FILE")
        .await;

    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
    let chain = vec![made.cert.der().clone()];
    let self_signed = tls_front(server.addr, chain, &made.signing_key).await;
    Setup::tls_at(self_signed)
        .finds("tls", "self-signed", "--ca FILE")
        .await;

    // as `openssl req -x509` makes it
    let mut authority = params("localhost");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("made");
    let chain = vec![authority.self_signed(&key).expect("made").der().clone()];
    let self_signed = tls_front(server.addr, chain, &key).await;
    Setup::tls_at(self_signed)
        .finds("tls", "self-signed", "CA:FALSE")
        .await;
}

#[tokio::test]
async fn chains() {
    let server = Server::start().await;
    let root = Authority::new("Root CA");
    let intermediate = root.below("Intermediate CA");
    let (leaf, key) = intermediate.issue(params("localhost"));

    let cut = tls_front(server.addr, vec![leaf.clone()], &key).await;
    Setup::tls_at(cut)
        .trusting(&root)
        .finds("tls", "the intermediate certificate", "fullchain.pem")
        .await;

    let whole = vec![leaf, intermediate.certificate.clone()];
    let whole = tls_front(server.addr, whole, &key).await;
    Setup::tls_at(whole)
        .finds(
            "tls",
            "an authority that this machine doesn't know",
            "public authority",
        )
        .await;
    Setup::tls_at(whole).trusting(&root).finds_nothing().await;
}

#[tokio::test]
async fn proxies_with_gaps() {
    let server = Server::start().await;
    let html = "<!DOCTYPE html><html><head><title>Not Found</title></head></html>";
    let not_found = answer(
        "404 Not Found",
        &["Content-Type: text/html; charset=UTF-8"],
        html,
    );

    let page = not_found.clone();
    let only_app = proxy(server.addr, move |head| match head.contains(" /apps/") {
        true => Act::Answer(page.clone()),
        false => Act::Forward(passed_on(head)),
    })
    .await;
    Setup::at(only_app)
        .finds("server", "forwards /app to Resound, but not /apps", "/apps")
        .await;

    let page = not_found.clone();
    let only_apps = proxy(server.addr, move |head| match head.contains(" /app/") {
        true => Act::Answer(page.clone()),
        false => Act::Forward(passed_on(head)),
    })
    .await;
    Setup::at(only_apps)
        .finds("websocket", "forwards /apps, but not /app", "below /app")
        .await;

    let no_upgrade = proxy(server.addr, |head| {
        Act::Forward(passed_on(&without(head, &["upgrade", "connection"])))
    })
    .await;
    Setup::at(no_upgrade)
        .finds(
            "websocket",
            "takes the Upgrade headers away",
            "proxy_set_header Upgrade",
        )
        .await;

    let other_page = answers(not_found).await;
    Setup::at(other_page)
        .finds(
            "server",
            "an HTML page (\"Not Found\") with status 404",
            "forward /app and /apps",
        )
        .await;

    let gateway = answers(answer("502 Bad Gateway", &["Server: nginx"], "<html>")).await;
    Setup::at(gateway)
        .finds("server", "answers 502", "upstream")
        .await;

    let redirect = answer(
        "301 Moved Permanently",
        &["Location: https://ws.example.com/"],
        "",
    );
    Setup::at(answers(redirect).await)
        .finds(
            "server",
            "redirects (301) to https://ws.example.com/",
            "scheme",
        )
        .await;

    let challenge = "<html><title>Just a moment...</title></html>";
    let headers = [
        "Server: cloudflare",
        "CF-RAY: 1-FRA",
        "Content-Type: text/html",
    ];
    let cloudflare = answers(answer("403 Forbidden", &headers, challenge)).await;
    Setup::at(cloudflare)
        .finds("server", "Cloudflare answers", "directly")
        .await;
}

#[tokio::test]
async fn other_servers() {
    let reverb = answer(
        "405 Method Not Allowed",
        &["Allow: POST"],
        "Method not allowed.",
    );
    Setup::at(answers(reverb).await)
        .finds("server", "Laravel Reverb answers", "stop it")
        .await;
    let soketi = answer("404 Not Found", &["uWebSockets: 20"], "");
    Setup::at(answers(soketi).await)
        .finds("server", "soketi answers", "stop it")
        .await;
}

#[tokio::test]
async fn clocks_that_differ() {
    let server = Server::start().await;
    // A server whose clock is far behind: it says so in its answers' dates, and refuses what comes from the future.
    let date = "Date: Sun, 06 Nov 1994 08:49:37 GMT";
    let expired = "Timestamp expired: Given timestamp (2026-01-01T00:00:00Z) not within 600s";
    let refusal = answer("401 Unauthorized", &["X-Resound: 1", date], expired);
    let behind = proxy(server.addr, move |head| match head.starts_with("POST ") {
        true => Act::Answer(refusal.clone()),
        false => Act::Forward(passed_on(head)),
    })
    .await;
    let findings = Setup::at(behind).findings().await;
    has(&lines(&findings), "warning", "clock");
    Setup::at(behind)
        .finds("event", "ahead of the server's", "NTP")
        .await;
}

#[tokio::test]
async fn refused_sockets() {
    let check = async |settings: &str, text: &str, cure: &str| {
        let server = Server::with(settings).await;
        Setup::at(server.addr).finds("websocket", text, cure).await;
    };
    check(
        "[app_defaults]\nallowed_origins = ['other.example.com']",
        "refuses pages of http://app.example.com (code 4009",
        "REVERB_ALLOWED_ORIGINS",
    )
    .await;
    check(
        "[app_defaults]\nrequire_tls = true",
        "over TLS only",
        "https",
    )
    .await;

    let server = Server::with("[app_defaults]\nconnections_max = 1").await;
    let url = format!("ws://{}/app/{KEY}", server.addr);
    let (_first, _) = tokio_tungstenite::connect_async(url)
        .await
        .expect("a place");
    Setup::at(server.addr)
        .finds(
            "websocket",
            "as many connections as it may",
            "REVERB_APP_MAX_CONNECTIONS",
        )
        .await;
}

#[tokio::test]
async fn a_server_that_stops() {
    let mut server = Server::start().await;
    let url = format!("ws://{}/app/{KEY}", server.addr);
    // It waits for this one, which doesn't answer its close frame.
    let (_held, _) = tokio_tungstenite::connect_async(url)
        .await
        .expect("a place");
    server.drain();
    eventually("it drains", || server.node.is_draining()).await;
    Setup::at(server.addr)
        .finds("websocket", "is draining", "restart")
        .await;
}

#[tokio::test]
async fn an_origin_can_be_given() {
    let server = Server::with("[app_defaults]\nallowed_origins = ['other.example.com']").await;
    let mut setup = Setup::at(server.addr);
    setup.arguments.origin = Some("https://other.example.com/page".to_owned());
    setup.laravel().browser = Browser::default();
    setup.finds_nothing().await;
}

#[tokio::test]
async fn browsers_that_are_sent_elsewhere() {
    let server = Server::start().await;
    let mut setup = Setup::at(server.addr);
    setup.laravel().browser.key = Some("old-key".to_owned());
    setup
        .finds("browser", "browsers use the key old-key", "npm run build")
        .await;

    let mut setup = Setup::at(server.addr);
    setup.laravel().browser.host = Some("browsers.invalid".to_owned());
    setup
        .finds("browser address", "leads to no address", "VITE_REVERB_HOST")
        .await;

    let mut setup = Setup::at(server.addr);
    setup.laravel().app_url = Some("https://app.example.com".to_owned());
    setup
        .finds(
            "browser",
            "browsers refuse ws://localhost",
            "VITE_REVERB_SCHEME=https",
        )
        .await;

    let other = Server::start().await;
    let mut setup = Setup::at(server.addr);
    setup.arguments.timeout = Some(1);
    setup.laravel().browser.port = Some(other.addr.port());
    setup
        .finds("browser round trip", "didn't come back", "the same server")
        .await;
}

#[tokio::test]
async fn stale_assets() {
    let server = Server::start().await;
    let setup = Setup::at(server.addr);
    setup.write("public/build/manifest.json", "{}");
    let script = "'pusher:connection_established',key:'old-key',wsHost:'localhost'";
    setup.write("public/build/assets/app-1.js", script);
    setup
        .finds("assets", "don't have the key", "npm run build")
        .await;
}
