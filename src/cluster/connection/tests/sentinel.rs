//! A master that Sentinels know, before and after it is another one.

use super::*;

#[tokio::test]
async fn the_master_is_found_through_any_sentinel_and_after_a_failover() {
    let mut set = SentinelSet::start();
    let mut settings = set.settings();
    // one that nobody listens at comes first
    settings.sentinels.insert(
        0,
        Server {
            place: Place::Tcp {
                host: "127.0.0.1".to_owned(),
                port: free_port(),
            },
            access: Access::default(),
        },
    );
    let servers = Servers::Sentinels(Box::new(settings.clone()));
    let mut first = open_with(&servers, SHORT).await.expect("a connection");
    first.works().await;

    let mut unknown = settings.clone();
    unknown.name = "other".to_owned();
    let unknown = refusal(&Servers::Sentinels(Box::new(unknown)), SHORT).await;
    assert!(
        unknown.contains("knows no master called other"),
        "{unknown}"
    );
    assert!(unknown.contains("nothing listens"), "{unknown}");
    let mut strangers = settings.clone();
    strangers.sentinels = vec![set.servers[0].server()];
    let strangers = refusal(&Servers::Sentinels(Box::new(strangers)), SHORT).await;
    assert!(strangers.contains("is no Sentinel"), "{strangers}");

    // ordered: the old master stays alive, as a replica
    let before = set.where_is_the_master();
    set.sentinels[0].order(&["SENTINEL", "FAILOVER", MASTER_NAME]);
    first.until_lost().await;
    until("the other one is the master", async || {
        set.where_is_the_master() != before
    })
    .await;
    let mut second = open_again(&servers, SHORT).await;
    second.works().await;

    // and unasked: the new master dies
    let after = set.where_is_the_master();
    assert_ne!(after, before);
    until("the old master has come back as a replica", async || {
        let sentinel = &set.sentinels[0];
        let known = sentinel.order(&["SENTINEL", "REPLICAS", MASTER_NAME]);
        format!("{known:?}").contains("master-link-status\"), SimpleString(\"ok")
            || sentinel.text(&["INFO", "sentinel"]).contains("status=ok")
                && set.servers[0]
                    .text(&["INFO", "replication"])
                    .contains("master_link_status:up")
    })
    .await;
    set.servers[1].kill();
    second.until_lost().await;
    set.sentinels[1].kill();
    open_again(&servers, SHORT).await.works().await;
    let role = set.servers[0].text(&["INFO", "replication"]);
    assert!(role.contains("role:master"), "{role}");
}

#[tokio::test]
async fn sentinels_and_their_master_have_passwords_of_their_own() {
    let set = SentinelSet::start();
    for server in &set.servers {
        server.order(&["CONFIG", "SET", "masterauth", "of-the-master"]);
        server.order(&["CONFIG", "SET", "requirepass", "of-the-master"]);
    }
    for sentinel in &set.sentinels {
        let rules = "ACL SETUSER asker on >of-the-sentinel -@all +sentinel|get-master-addr-by-name";
        sentinel.order_line(rules);
    }
    let with = |sentinel: &str, master: &str| {
        let mut settings = set.settings();
        settings.access = user("", master);
        for each in &mut settings.sentinels {
            each.access = user("asker", sentinel);
        }
        Servers::Sentinels(Box::new(settings))
    };
    open(&with("of-the-sentinel", "of-the-master"))
        .await
        .works()
        .await;
    let check = async |servers: Servers, expected: &str| {
        let refusal = refusal(&servers, NORMAL).await;
        assert!(refusal.contains(expected), "{refusal}");
        assert!(!refusal.contains("wr0ng"), "{refusal}");
    };
    check(with("wr0ng", "of-the-master"), "refuses the user asker").await;
    check(with("of-the-sentinel", "wr0ng"), "refuses the password").await;
}
