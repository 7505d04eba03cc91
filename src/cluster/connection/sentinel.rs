//! The master that Sentinels know: they are asked one after the other, until one leads to a server that really is a master.

use redis::{RedisResult, cmd};

use super::{
    Patience, failure,
    link::Link,
    pushes::Pushes,
    servers::{Place, Sentinels, Server},
};

/// Connects to the master. Fails with what each of the Sentinels came to.
pub async fn open(sentinels: &Sentinels, patience: Patience, pushes: &Pushes) -> RedisResult<Link> {
    let mut failures: Vec<String> = Vec::new();
    let mut tried: Vec<Place> = Vec::new();
    for sentinel in &sentinels.sentinels {
        let found = match ask(sentinel, &sentinels.name, patience).await {
            Ok(found) => found,
            Err(error) => {
                failures.push(error.to_string());
                continue;
            }
        };
        if tried.contains(&found) {
            continue;
        }
        match open_master(&found, sentinels, patience, pushes).await {
            Ok(link) => return Ok(link),
            Err(error) => failures.push(error.to_string()),
        }
        tried.push(found);
    }
    failures.dedup();
    Err(failure::failure(format!(
        "no Sentinel leads to the master {}: {}",
        sentinels.name,
        failures.join("; ")
    )))
}

/// Where the master is, as this Sentinel says.
async fn ask(sentinel: &Server, name: &str, patience: Patience) -> RedisResult<Place> {
    let Server { place, access } = sentinel;
    let mut link = Link::open(place, access, patience, None).await?;
    let mut question = cmd("SENTINEL");
    question.arg("get-master-addr-by-name").arg(name);
    let found: RedisResult<Option<(String, u16)>> = question.query_async(&mut link).await;
    match found {
        Ok(Some((host, port))) => Ok(Place::Tcp { host, port }),
        Ok(None) => Err(failure::failure(format!(
            "the Sentinel at {place} knows no master called {name}"
        ))),
        Err(error)
            if error
                .detail()
                .is_some_and(|text| text.contains("unknown command")) =>
        {
            Err(failure::failure(format!(
                "what listens at {place} is no Sentinel"
            )))
        }
        Err(error) => Err(failure::not_let_in(place, access, &error)),
    }
}

/// Sentinels tell of a failover late, and a master that was away may come back as a replica: its own word counts.
async fn open_master(
    place: &Place,
    sentinels: &Sentinels,
    patience: Patience,
    pushes: &Pushes,
) -> RedisResult<Link> {
    let link = Link::open_master(place, &sentinels.access, patience, pushes).await?;
    link.ok_or_else(|| {
        failure::failure(format!(
            "Redis at {place} is a replica now, which takes no changes"
        ))
    })
}
