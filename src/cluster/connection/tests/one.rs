//! One server: how one gets in, why one doesn't, and how the end of a connection is noticed.

use redis::{ErrorKind, Pipeline, ServerErrorKind};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
};

use super::*;

fn with(server: &RedisServer, access: Access) -> Servers {
    Servers::One(Server {
        place: server.place(),
        access,
    })
}

fn url(text: &str) -> Servers {
    Servers::One(Server::parse(text).expect("a URL"))
}

#[tokio::test]
async fn passwords_databases_and_sockets() {
    let server = RedisServer::start_with(&["--unixsocket", "DIR/redis.sock"]);
    for rules in [
        "ACL SETUSER ann on >secret ~* &* +@all",
        "CONFIG SET requirepass other",
    ] {
        server.order_line(rules);
    }
    let at = server.address;
    let socket = server.path().join("redis.sock");
    for works in [
        format!("redis://:other@{at}"),
        format!("redis://ann:secret@{at}/3"),
        format!("redis+unix://{}?user=ann&pass=secret", socket.display()),
    ] {
        open(&url(&works)).await.works().await;
    }
    let check = async |text: String, expected: &str| {
        let refusal = refusal(&url(&text), NORMAL).await;
        assert!(refusal.contains(expected), "{text}: {refusal}");
        assert!(!refusal.contains("wr0ng"), "{refusal}");
    };
    check(format!("redis://{at}"), "wants a password").await;
    check(format!("redis://:wr0ng@{at}"), "refuses the password").await;
    check(format!("redis://ann:wr0ng@{at}"), "refuses the user ann").await;
    check(format!("redis://ann:secret@{at}/99"), "has no database 99").await;
    let nowhere = format!("redis+unix://{}.not", socket.display());
    check(nowhere, "No such file").await;
}

#[tokio::test]
async fn data_goes_into_the_database_that_was_named() {
    let server = RedisServer::start();
    open(&url(&format!("{}/3", server.url())))
        .await
        .works()
        .await;
    let keyspace = server.text(&["INFO", "keyspace"]);
    assert!(keyspace.contains("db3:keys=1,"), "{keyspace}");
    assert!(!keyspace.contains("db0:"), "{keyspace}");
}

/// The commands that the scripts and the nodes give.
fn commands() -> Vec<String> {
    let mut sources = vec![include_str!("../../nodes.rs").to_owned()];
    let scripts = concat!(env!("CARGO_MANIFEST_DIR"), "/src/cluster/scripts");
    for file in std::fs::read_dir(scripts).expect("the scripts") {
        let path = file.expect("a file").path();
        sources.push(std::fs::read_to_string(path).expect("a script"));
    }
    let mut found: Vec<String> = Vec::new();
    for source in sources {
        for opening in ["redis.call('", "cmd(\"", "run(connection, \""] {
            let calls = source.split(opening).skip(1);
            found.extend(calls.map(|call| {
                let name = call.split(['\'', '"']).next().unwrap_or_default();
                name.to_ascii_uppercase()
            }));
        }
    }
    found.sort();
    found.dedup();
    assert!(found.len() > 10, "{found:?}");
    found
}

#[tokio::test]
async fn the_documented_acl_lets_in_and_allows_what_is_needed_and_no_more() {
    let server = RedisServer::start();
    server.order_line("ACL SETUSER resound on >secret");
    let rules = documented_rules("resound", false);
    server.order_line(&format!("ACL SETUSER resound {rules}"));
    let mut open = open(&with(&server, user("resound", "secret"))).await;
    // what the user may do, told apart from how many words a command takes
    let may = |name: &str, word: &str| {
        let denied = (1..8).find_map(|count| {
            let mut words = vec!["ACL", "DRYRUN", "resound", name];
            words.extend(std::iter::repeat_n(word, count));
            match server.ask(&words) {
                Ok(redis::Value::Okay) => Some(true),
                Ok(_) => Some(false),
                Err(_) => None,
            }
        });
        denied.unwrap_or_else(|| panic!("{name} takes other words"))
    };
    let mut needed = commands();
    needed.extend(["EVALSHA", "TIME", "PUBLISH", "SUBSCRIBE", "UNSUBSCRIBE"].map(str::to_owned));
    for name in needed {
        let word = if name == "EVALSHA" { "1" } else { "resound:x" };
        // of no key at all, or of one of ours
        let is_allowed = match name.as_str() {
            "TIME" => server.text(&["ACL", "DRYRUN", "resound", "TIME"]) == "OK",
            "EVALSHA" => {
                let words = [
                    "ACL",
                    "DRYRUN",
                    "resound",
                    "EVALSHA",
                    "0123",
                    "1",
                    "resound:x",
                ];
                server.text(&words) == "OK"
            }
            _ => may(&name, word),
        };
        assert!(is_allowed, "{name}");
    }
    for (name, word) in [
        ("SET", "other:x"),
        ("PUBLISH", "other:x"),
        ("SUBSCRIBE", "other:x"),
        ("FLUSHALL", "async"),
        ("KEYS", "resound:x"),
        ("DEBUG", "x"),
        ("CLIENT", "KILL"),
        ("FUNCTION", "FLUSH"),
        ("SCRIPT", "FLUSH"),
        ("EVAL", "1"),
    ] {
        assert!(!may(name, word), "{name} {word}");
    }
    let refused: RedisResult<()> = cmd("SET")
        .arg("other:x")
        .arg(1)
        .query_async(&mut open.connection)
        .await;
    let error = refused.expect_err("another's key");
    assert_eq!(error.kind(), ErrorKind::Server(ServerErrorKind::NoPerm));
    let topic = "resound:{7:a}";
    open.connection.subscribe(topic).await.expect("subscribed");
    let other = open.connection.subscribe("other:{7:a}").await;
    assert!(other.is_err());
    let mut pipe = Pipeline::new();
    pipe.cmd("PUBLISH").arg(topic).arg("x");
    open.connection.call(&mut pipe).await.expect("an answer");
    assert_eq!(open.next().await.expect("a message").1, "x");
}

#[tokio::test]
async fn tls_with_a_ca_of_ones_own_and_with_a_client_certificate() {
    let authority = Authority::new();
    let server = authority.redis("no");
    let mut connection = open(&server.servers()).await;
    connection
        .connection
        .subscribe("a")
        .await
        .expect("subscribed");
    connection.publish("a", "x").await.expect("published");
    assert_eq!(connection.next().await.expect("a message").1, "x");

    let check = async |servers: Servers, expected: &str| {
        let refusal = refusal(&servers, SHORT).await;
        assert!(refusal.contains(expected), "{expected}: {refusal}");
    };
    let tls = |tls: Tls| Access {
        tls: Some(tls),
        ..Access::default()
    };
    check(
        with(&server, tls(Tls::default())),
        "signed by a CA that isn't known here",
    )
    .await;
    let other = Authority::new();
    check(
        with(&server, tls(other.tls())),
        "signed by a CA that isn't known here",
    )
    .await;
    check(with(&server, Access::default()), "may want TLS").await;
    let localhost = Servers::One(Server {
        place: Place::Tcp {
            host: "localhost".to_owned(),
            port: server.address.port(),
        },
        access: server.access.clone(),
    });
    check(localhost, "is for another name").await;
    let plain = RedisServer::start();
    check(with(&plain, tls(authority.tls())), "rediss://").await;

    let strict = authority.redis("yes");
    open(&with(&strict, tls(authority.tls_with_identity()))).await;
    check(strict.servers(), "wants a client certificate").await;
}

/// Somebody who answers every connection with this, and closes it.
async fn stranger(answer: &'static [u8]) -> Servers {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(answer).await;
            let mut heard = [0; 1024];
            let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut heard).await;
        }
    });
    url(&format!("redis://:s3cret@{address}"))
}

#[tokio::test]
async fn who_isnt_a_redis_of_use_is_told_so() {
    let check = async |servers: &Servers, expected: &str| {
        let refusal = refusal(servers, SHORT).await;
        assert!(refusal.contains(expected), "{expected}: {refusal}");
        assert!(!refusal.contains("s3cret"), "{refusal}");
    };
    check(
        &stranger(b"HTTP/1.1 400 Bad Request\r\n\r\n").await,
        "isn't a Redis",
    )
    .await;
    check(&stranger(b"").await, "ends the connection at once").await;
    let five = b"-ERR unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `default`, `s3cret`, \r\n";
    check(&stranger(five).await, "is too old").await;
    let odd = b"-ODD what is s3cret\r\n";
    check(&stranger(odd).await, "doesn't let us in").await;
    check(&stranger(b"-NOPROTO sorry\r\n").await, "is too old").await;
    check(
        &stranger(b"-LOADING Redis is loading\r\n").await,
        "still reading",
    )
    .await;
    let full = b"-ERR max number of clients reached\r\n";
    check(&stranger(full).await, "max number of clients").await;
    check(
        &url(&format!("redis://127.0.0.1:{}", free_port())),
        "nothing listens",
    )
    .await;
    check(&url("redis://no.such.host.invalid"), "no.such.host.invalid").await;

    let server = RedisServer::start();
    server.order(&["REPLICAOF", "127.0.0.1", "1"]);
    check(&server.servers(), "is a replica").await;
}

#[tokio::test]
async fn a_silent_redis_is_noticed() {
    let server = RedisServer::start();
    let mut idle = open_with(&server.servers(), SHORT)
        .await
        .expect("a connection");
    let mut asking = open_with(&server.servers(), SHORT)
        .await
        .expect("a connection");
    server.pause();
    let began = Instant::now();
    let mut pipe = Pipeline::new();
    pipe.cmd("GET").arg("a");
    let error = asking
        .connection
        .call(&mut pipe)
        .await
        .expect_err("no answer");
    assert!(
        error.to_string().contains("gave no answer within 3 s"),
        "{error}"
    );
    // nobody asks anything on this one
    idle.until_lost().await;
    // the pause between two looks, and the time that an answer may take
    assert!(began.elapsed() >= SHORT.answer);
    assert!(
        refusal(&server.servers(), SHORT)
            .await
            .contains("gave no answer")
    );
    server.go_on();
    open_again(&server.servers(), SHORT).await.works().await;
}

#[tokio::test]
async fn a_cut_connection_and_a_restart_are_noticed() {
    let mut server = RedisServer::start();
    let servers = server.servers();
    let mut first = open(&servers).await;
    server.order(&["CLIENT", "KILL", "SKIPME", "yes"]);
    first.until_lost().await;
    let error = first.publish("a", "x").await.expect_err("it is gone");
    assert!(error.to_string().contains("is gone"), "{error}");
    let mut second = open(&servers).await;
    server.restart();
    second.until_lost().await;
    open_again(&servers, NORMAL).await.works().await;
}

/// Whatever the system still has to send for it must not reach Redis after what the next connection asks: TCP would see to it, for
/// minutes, that it does.
#[tokio::test]
async fn a_connection_that_is_given_up_sends_nothing_more() {
    let server = RedisServer::start();
    let relay = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = relay.local_addr().expect("its address");
    let redis = server.address;
    let (relayed, ended) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let (mut node, _) = relay.accept().await.expect("a connection");
        let mut redis = TcpStream::connect(redis).await.expect("Redis");
        let end = tokio::io::copy_bidirectional(&mut node, &mut redis).await;
        relayed.send(end.map_err(|error| error.kind()))
    });
    let first = open(&url(&format!("redis://{address}"))).await;
    server.pause();
    let mut asking = first.connection.clone();
    let asked = tokio::spawn(async move {
        let mut pipe = Pipeline::new();
        pipe.cmd("GET").arg("a");
        asking.call(&mut pipe).await
    });
    // The question is on its way by then, which nothing tells; were it not, it would have to fail as well.
    tokio::time::sleep(Duration::from_millis(100)).await;
    first.connection.cut();
    // long before the time that an answer may take
    let answer = tokio::time::timeout(PATIENCE / 2, asked).await;
    let error = answer
        .expect("in time")
        .expect("no panic")
        .expect_err("no answer");
    assert!(error.to_string().contains("is gone"), "{error}");
    let end = tokio::time::timeout(PATIENCE / 2, ended).await;
    let end = end.expect("in time").expect("an end");
    assert_eq!(end, Err(std::io::ErrorKind::ConnectionReset));
    server.go_on();
}

#[tokio::test]
async fn a_master_that_becomes_a_replica_is_left() {
    let server = RedisServer::start();
    let mut idle = open_with(&server.servers(), SHORT)
        .await
        .expect("a connection");
    let mut asking = open(&server.servers()).await;
    server.order(&["REPLICAOF", "127.0.0.1", "1"]);
    let mut pipe = Pipeline::new();
    pipe.cmd("SET").arg("a").arg("b");
    let error = asking
        .connection
        .call(&mut pipe)
        .await
        .expect_err("a replica");
    assert_eq!(error.kind(), ErrorKind::Server(ServerErrorKind::ReadOnly));
    asking.until_lost().await;
    idle.until_lost().await;
}

#[tokio::test]
async fn scripts_that_redis_forgot_are_an_error_and_loaded_by_the_next_connection() {
    let server = RedisServer::start();
    let mut open_one = open(&server.servers()).await;
    let script = redis::Script::new("return 1");
    let batch = || {
        let mut pipe = Pipeline::new();
        pipe.invoke_script(&script.prepare_invoke());
        pipe.invoke_script(&script.prepare_invoke());
        pipe
    };
    let answers = open_one
        .connection
        .call(&mut batch())
        .await
        .expect("answers");
    for answer in answers {
        let error = answer.expect_err("not loaded");
        assert_eq!(error.kind(), ErrorKind::Server(ServerErrorKind::NoScript));
    }
    server.order(&["SCRIPT", "FLUSH"]);
    let again = open(&server.servers()).await;
    drop(again);
    let scripts = server.text(&["INFO", "memory"]);
    assert!(
        !scripts.contains("number_of_cached_scripts:0\r"),
        "{scripts}"
    );
}

#[tokio::test]
async fn messages_beyond_the_budget_are_left_out_and_counted() {
    let server = RedisServer::start();
    let inbound = Inbound::new(1 << 20);
    let (sender, pushes) = inbound.queue();
    let scripts = Scripts::new(false, crate::cluster::scripts::History::NONE);
    let connection = Connection::open(&server.servers(), NORMAL, sender, &scripts).await;
    let connection = connection.expect("a connection");
    let mut open = Open { connection, pushes };
    open.connection.subscribe("a").await.expect("subscribed");
    let text = "x".repeat(100_000);
    for _ in 0..20 {
        open.publish("a", &text).await.expect("published");
    }
    assert_eq!(inbound.left_out(), 10);
    assert!(inbound.bytes() <= 1 << 20);
    for _ in 0..10 {
        assert_eq!(open.next().await.expect("a message").1.len(), 100_000);
    }
    assert_eq!(inbound.bytes(), 0);
    open.publish("a", "last").await.expect("published");
    assert_eq!(open.next().await.expect("a message").1, "last");
}
