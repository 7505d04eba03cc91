//! A Redis Cluster: one connection to each of its masters, for the commands and the topics of its slots.
//!
//! Nothing is followed from server to server: whatever shows that the map of slots isn't true any more (`MOVED`, a topic that
//! was taken away, a server that is silent, gone or a replica, another map) ends all the connections, and the next ones are
//! made with a new map. So there is one way back, and it is the one that tells the driver that messages may be missing. A slot
//! that is on its way is waited for: it ends with one master or the other.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::{join_all, try_join_all};
use redis::{Cmd, Pipeline, RedisFuture, RedisResult, Value, aio::ConnectionLike, cmd};

use super::{
    Patience, failure,
    link::{Link, Task},
    pushes::Pushes,
    servers::{Place, Seeds},
    slots::{self, Range, Way},
};

/// Between two attempts with a slot that is on its way to another master.
const MOVING_PAUSE: Duration = Duration::from_millis(20);

/// Connections that stand; cheap to clone.
#[derive(Clone)]
pub struct Masters {
    map: Arc<Map>,
    links: Vec<Link>,
    /// how long an answer may take
    answer: Duration,
    _watch: Option<Arc<Task>>,
}

struct Map {
    ranges: Vec<Range>,
    /// of each range, the number of its link
    owners: Vec<usize>,
}

impl Masters {
    /// Asks the first of the nodes that answers for the map, and connects to every master in it.
    pub async fn open(seeds: &Seeds, patience: Patience, pushes: &Pushes) -> RedisResult<Masters> {
        let ranges = find_map(seeds, patience).await?;
        if let Some(slot) = slots::hole(&ranges) {
            return Err(failure::failure(format!(
                "no master of the Redis Cluster has slot {slot}: is it complete?"
            )));
        }
        let mut places: Vec<&Place> = ranges.iter().map(|range| &range.master).collect();
        places.sort();
        places.dedup();
        let owner = |range: &Range| places.binary_search(&&range.master).unwrap_or_default();
        let owners = ranges.iter().map(owner).collect();
        let opened = places
            .iter()
            .map(|place| open_master(place, seeds, patience, pushes));
        let links = try_join_all(opened).await?;
        let map = Arc::new(Map { ranges, owners });
        Ok(Masters {
            map,
            links,
            answer: patience.answer,
            _watch: None,
        })
    }

    /// Lives as long as these and their clones.
    pub fn watched(self, watch: Arc<Task>) -> Masters {
        Masters {
            _watch: Some(watch),
            ..self
        }
    }

    pub fn cut(&self) {
        self.links.iter().for_each(Link::cut);
    }

    pub fn links(&mut self) -> &mut [Link] {
        &mut self.links
    }

    /// Whether the master of this number, counted round and round, still has the same map.
    pub async fn is_map_true(&mut self, number: usize) -> RedisResult<bool> {
        let at = number % self.links.len();
        let ranges = ask_map(&mut self.links[at]).await?;
        Ok(ranges == self.map.ranges)
    }

    /// The number of the link to the slot's master.
    fn owner(&self, slot: u16) -> usize {
        let at = self.map.ranges.partition_point(|range| range.last < slot);
        self.map.owners.get(at).copied().unwrap_or_default()
    }

    /// The number of the one link that the command goes to.
    fn route(&self, command: &Cmd) -> RedisResult<usize> {
        match slots::way(command) {
            Way::Slot(slot) => Ok(self.owner(slot)),
            Way::Any => Ok(0),
            Way::All => Err(failure::failure(
                "a command for all masters of a Redis Cluster goes alone",
            )),
        }
    }

    async fn one(&mut self, command: &Cmd) -> RedisResult<Value> {
        if slots::way(command) != Way::All {
            let mut pipe = Pipeline::with_capacity(1);
            pipe.add_command(command.clone());
            let mut answers = self.many(&pipe, 0, 1).await?;
            let answer = answers.pop();
            return answer.ok_or_else(|| failure::failure("the Redis Cluster gave no answer"));
        }
        let asked = self
            .links
            .iter_mut()
            .map(|link| link.req_packed_command(command));
        let mut last = Value::Nil;
        for answer in join_all(asked).await {
            last = answer?.extract_error()?;
        }
        Ok(last)
    }

    async fn many(
        &mut self,
        pipe: &Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisResult<Vec<Value>> {
        let mut answers = self.send(pipe, offset, count).await?;
        if pipe.is_transaction() {
            return Ok(answers);
        }
        let deadline = Instant::now() + self.answer;
        while let Some(late) = slots::to_repeat(pipe, &answers)
            && Instant::now() < deadline
        {
            tokio::time::sleep(MOVING_PAUSE).await;
            let mut again = Pipeline::with_capacity(late.len());
            for command in late.iter().filter_map(|at| pipe.cmd_iter().nth(*at)) {
                again.add_command(command.clone());
            }
            let repeated = self.send(&again, 0, late.len()).await?;
            for (at, answer) in late.into_iter().zip(repeated) {
                answers[at] = answer;
            }
        }
        Ok(answers)
    }

    /// Each command to the master of its key.
    async fn send(
        &mut self,
        pipe: &Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisResult<Vec<Value>> {
        let routes: RedisResult<Vec<usize>> = pipe.cmd_iter().map(|c| self.route(c)).collect();
        let routes = routes?;
        let Some(first) = routes.first() else {
            return Ok(Vec::new());
        };
        if routes.iter().all(|route| route == first) || pipe.is_transaction() {
            let link = &mut self.links[*first];
            return link.req_packed_commands(pipe, offset, count).await;
        }
        self.scatter(pipe, &routes).await
    }

    /// To each master its commands, in their order; the answers in the order of all.
    async fn scatter(&mut self, pipe: &Pipeline, routes: &[usize]) -> RedisResult<Vec<Value>> {
        let mut parts: Vec<Pipeline> = self.links.iter().map(|_| Pipeline::new()).collect();
        for (command, route) in pipe.cmd_iter().zip(routes) {
            parts[*route].add_command(command.clone());
        }
        let asked = self
            .links
            .iter_mut()
            .zip(&parts)
            .map(async |(link, part)| match part.len() {
                0 => Ok(Vec::new()),
                count => link.req_packed_commands(part, 0, count).await,
            });
        let answers: RedisResult<Vec<Vec<Value>>> = join_all(asked).await.into_iter().collect();
        let mut answers: Vec<_> = answers?.into_iter().map(Vec::into_iter).collect();
        let in_order = routes.iter().map(|route| answers[*route].next());
        let in_order: Option<Vec<Value>> = in_order.collect();
        in_order.ok_or_else(|| failure::failure("the Redis Cluster gave too few answers"))
    }
}

impl ConnectionLike for Masters {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(self.one(command))
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipe: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(self.many(pipe, offset, count))
    }

    fn get_db(&self) -> i64 {
        0
    }
}

async fn find_map(seeds: &Seeds, patience: Patience) -> RedisResult<Vec<Range>> {
    let mut failures = Vec::new();
    for place in &seeds.places {
        let found = match Link::open(place, &seeds.access, patience, None).await {
            Ok(mut link) => ask_map(&mut link).await,
            Err(error) => Err(error),
        };
        match found {
            Ok(ranges) => return Ok(ranges),
            Err(error) => failures.push(error.to_string()),
        }
    }
    Err(failure::failure(format!(
        "no node of the Redis Cluster can be asked: {}",
        failures.join("; ")
    )))
}

async fn ask_map(link: &mut Link) -> RedisResult<Vec<Range>> {
    let place = link.place().clone();
    let answer: RedisResult<Value> = cmd("CLUSTER").arg("SLOTS").query_async(link).await;
    match answer {
        Ok(answer) => slots::parse(&answer, &place).ok_or_else(|| {
            failure::failure(format!("Redis at {place} doesn't say who has which slots"))
        }),
        Err(error) if error.detail().is_some_and(|text| text.contains("disabled")) => Err(
            failure::failure(format!("Redis at {place} isn't part of a Redis Cluster")),
        ),
        Err(error) => Err(error),
    }
}

async fn open_master(
    place: &Place,
    seeds: &Seeds,
    patience: Patience,
    pushes: &Pushes,
) -> RedisResult<Link> {
    let link = Link::open_master(place, &seeds.access, patience, pushes).await?;
    link.ok_or_else(|| {
        failure::failure(format!(
            "{place} was a master of the Redis Cluster, and isn't any more"
        ))
    })
}
