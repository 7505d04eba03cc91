//! One connection to one Redis. Commands and what is pushed share it (RESP 3): a message that Redis sent before an answer comes
//! before it.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, Cmd, Pipeline, ProtocolVersion, PushInfo, PushKind, RedisFuture,
    RedisResult, Value,
    aio::{ConnectionLike, MultiplexedConnection},
    cmd,
};
use tokio::{net::UnixStream, task::JoinHandle, time::timeout};

use super::{
    Patience, failure,
    pushes::Pushes,
    servers::{Access, Place},
};
use crate::client::{self, Address, ConnectError, Stream};

/// A connection that stands; cheap to clone, closed with its last clone.
#[derive(Clone)]
pub struct Link {
    connection: MultiplexedConnection,
    fate: Arc<Fate>,
    task: Arc<Task>,
    /// keeps an eye on the connection; not in the clones that the watch itself holds
    _watch: Option<Arc<Task>>,
}

/// What becomes of a connection.
struct Fate {
    place: Place,
    patience: Patience,
    /// `None` for a connection that only asks
    pushes: Option<Pushes>,
    /// answers can't be believed any more
    is_broken: AtomicBool,
    /// topics that this side wants to be told nothing more of
    leaving: Mutex<HashSet<Vec<u8>>>,
}

/// Ends with its last handle.
pub struct Task(pub JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What a Redis says of itself.
#[derive(Debug)]
pub struct Hello {
    pub is_master: bool,
    /// `standalone`, `cluster` or `sentinel`
    pub mode: String,
}

impl Link {
    /// Connects and logs in. Fails with a sentence.
    pub async fn open(
        place: &Place,
        access: &Access,
        patience: Patience,
        pushes: Option<Pushes>,
    ) -> RedisResult<Link> {
        let stream = dial(place, access, patience).await?;
        let fate = Arc::new(Fate {
            place: place.clone(),
            patience,
            pushes,
            is_broken: AtomicBool::new(false),
            leaving: Mutex::default(),
        });
        let mut config = AsyncConnectionConfig::new().set_response_timeout(Some(patience.answer));
        if fate.pushes.is_some() {
            let fate = fate.clone();
            config = config.set_push_sender(move |info| {
                fate.take(info);
                Ok::<(), ()>(())
            });
        }
        let info = access.for_redis().set_protocol(ProtocolVersion::RESP3);
        let greeting = MultiplexedConnection::new_with_config(&info, stream, config);
        let (connection, task) = match timeout(patience.answer, greeting).await {
            Ok(Ok(greeted)) => greeted,
            Ok(Err(error)) => return Err(failure::not_let_in(place, access, &error)),
            Err(_) => return Err(failure::no_answer(place, patience.answer)),
        };
        let task = tokio::spawn(task);
        Ok(Link {
            connection,
            fate,
            task: Arc::new(Task(task)),
            _watch: None,
        })
    }

    /// The same with one that tells of messages; `None` if it isn't a master.
    pub async fn open_master(
        place: &Place,
        access: &Access,
        patience: Patience,
        pushes: &Pushes,
    ) -> RedisResult<Option<Link>> {
        let mut link = Link::open(place, access, patience, Some(pushes.clone())).await?;
        let is_master = link.hello().await?.is_master;
        Ok(is_master.then_some(link))
    }

    /// Lives as long as the link and its clones.
    pub fn watched(self, watch: Arc<Task>) -> Link {
        Link {
            _watch: Some(watch),
            ..self
        }
    }

    pub fn place(&self) -> &Place {
        &self.fate.place
    }

    /// Ends it at once, whoever has a clone of it. What it hasn't been answered fails, and what it hasn't sent is never sent.
    pub fn cut(&self) {
        self.fate.break_off();
        self.task.0.abort();
    }

    /// What the other side is. Also the way to find out whether it still answers: no permission is needed for it.
    pub async fn hello(&mut self) -> RedisResult<Hello> {
        let said: HashMap<String, Value> = cmd("HELLO").arg(3).query_async(self).await?;
        let field = |name: &str| match said.get(name) {
            Some(Value::BulkString(text)) => String::from_utf8_lossy(text).into_owned(),
            Some(Value::SimpleString(text)) => text.clone(),
            _ => String::new(),
        };
        Ok(Hello {
            // who doesn't say is asked no further
            is_master: !matches!(field("role").as_str(), "replica" | "slave"),
            mode: field("mode"),
        })
    }

    async fn one(&mut self, command: &Cmd) -> RedisResult<Value> {
        self.fate.note_leaving(std::iter::once(command));
        let mut answer = self.connection.req_packed_command(command).await;
        let answers = answer.as_mut().into_iter();
        self.fate
            .forgive_leaving(std::iter::once(command).zip(answers));
        self.fate.judge(answer.as_ref().ok())?;
        answer.map_err(|error| self.fate.explained(error))
    }

    async fn many(
        &mut self,
        pipe: &Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisResult<Vec<Value>> {
        self.fate.note_leaving(pipe.cmd_iter());
        let answers = self.connection.req_packed_commands(pipe, offset, count);
        let mut answers = answers.await;
        let each = answers.iter_mut().flatten();
        self.fate.forgive_leaving(pipe.cmd_iter().zip(each));
        self.fate.judge(answers.iter().flatten())?;
        answers.map_err(|error| self.fate.explained(error))
    }
}

impl ConnectionLike for Link {
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
        self.connection.get_db()
    }
}

impl Fate {
    /// Called by the connection's own task, before the answers that came after the push are handed out.
    fn take(&self, info: PushInfo) {
        let Some(pushes) = &self.pushes else {
            return;
        };
        match info.kind {
            PushKind::Message | PushKind::SMessage => pushes.message(info.data),
            PushKind::Disconnection => self.break_off(),
            PushKind::SUnsubscribe if !self.has_left(&info.data) => self.break_off(),
            _ => {}
        }
    }

    /// Whether that topic was to be left. If not, its slot has moved to another server, which Redis tells in the words of an
    /// answer: the library takes it for one, so that from here on each answer goes to a command that wasn't meant.
    fn has_left(&self, data: &[Value]) -> bool {
        let Some(Value::BulkString(topic)) = data.first() else {
            return false;
        };
        let mut leaving = self.leaving.lock().unwrap_or_else(PoisonError::into_inner);
        leaving.remove(topic)
    }

    fn note_leaving<'a>(&self, commands: impl Iterator<Item = &'a Cmd>) {
        for command in commands {
            if let Some(topics) = topics_left(command) {
                let mut leaving = self.leaving.lock().unwrap_or_else(PoisonError::into_inner);
                leaving.extend(topics);
            }
        }
    }

    /// Whoever listens to nothing and leaves a topic is told by Redis that it is left, and by Valkey that there is nothing to
    /// leave. What an earlier connection listened to is left on the next one: nothing is wrong with it.
    fn forgive_leaving<'a>(&self, answers: impl Iterator<Item = (&'a Cmd, &'a mut Value)>) {
        for (command, answer) in answers {
            if !matches!(answer, Value::ServerError(error) if error.code() == "NOSUB") {
                continue;
            }
            *answer = Value::Nil;
            let mut leaving = self.leaving.lock().unwrap_or_else(PoisonError::into_inner);
            for topic in topics_left(command).into_iter().flatten() {
                leaving.remove(&topic);
            }
        }
    }

    fn break_off(&self) {
        self.is_broken.store(true, Ordering::Release);
        if let Some(pushes) = &self.pushes {
            pushes.lose();
        }
    }

    /// An error if no answer of this connection can be believed, or none that another server wouldn't have to give.
    fn judge<'a>(&self, answers: impl IntoIterator<Item = &'a Value>) -> RedisResult<()> {
        for answer in answers {
            if let Value::ServerError(error) = answer
                && failure::is_wrong_server(error.code(), error.details().unwrap_or_default())
            {
                self.break_off();
                return Err(error.clone().into());
            }
        }
        match self.is_broken.load(Ordering::Acquire) {
            true => Err(failure::failure(format!(
                "the connection to Redis at {} is gone, or serves other channels now",
                self.place
            ))),
            false => Ok(()),
        }
    }

    fn explained(&self, error: redis::RedisError) -> redis::RedisError {
        failure::of_call(&self.place, self.patience.answer, error)
    }
}

/// What a command takes back of what is listened to on a Redis Cluster; `None` of other commands.
fn topics_left(command: &Cmd) -> Option<impl Iterator<Item = Vec<u8>>> {
    let mut words = command.args_iter();
    if !matches!(words.next(), Some(redis::Arg::Simple(b"SUNSUBSCRIBE"))) {
        return None;
    }
    Some(words.filter_map(|word| match word {
        redis::Arg::Simple(topic) => Some(topic.to_vec()),
        _ => None,
    }))
}

async fn dial(place: &Place, access: &Access, patience: Patience) -> RedisResult<Box<dyn Stream>> {
    let Some(address) = place.address(access.tls.is_some()) else {
        return dial_unix(place, patience).await;
    };
    let stream = dial_tcp(&address, access, patience.connect).await;
    stream.map_err(failure::not_connected)
}

async fn dial_tcp(
    address: &Address,
    access: &Access,
    patience: Duration,
) -> Result<Box<dyn Stream>, ConnectError> {
    let found = client::resolve(address, patience).await?;
    let stream = client::connect_tcp(address, &found, patience).await?;
    // Otherwise the system goes on to send what a connection had to say that was given up, for minutes if the network is away: Redis would
    // hear of subscriptions after it has been told, by the next connection, what there is.
    let _ = stream.set_zero_linger();
    Ok(match &access.tls {
        Some(tls) => Box::new(client::start_tls(address, stream, tls.config(), patience).await?),
        None => Box::new(stream),
    })
}

async fn dial_unix(place: &Place, patience: Patience) -> RedisResult<Box<dyn Stream>> {
    let Place::Unix(path) = place else {
        return Err(failure::failure("Redis is nowhere"));
    };
    match timeout(patience.connect, UnixStream::connect(path)).await {
        Ok(Ok(stream)) => Ok(Box::new(stream)),
        Ok(Err(error)) => Err(failure::failure(format!(
            "Redis can't be reached at {place}: {error}"
        ))),
        Err(_) => Err(failure::no_answer(place, patience.connect)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_listens_to_can_be_left() {
        let fate = Fate {
            place: Place::Unix("redis.sock".into()),
            patience: Patience {
                connect: Duration::ZERO,
                answer: Duration::ZERO,
            },
            pushes: None,
            is_broken: AtomicBool::new(false),
            leaving: Mutex::default(),
        };
        let said = |line: &[u8]| redis::parse_redis_value(line).expect("an answer");
        let nothing = b"-NOSUB 'sunsubscribe' command executed not in subscribed mode\r\n";
        let other = b"-ERR unknown command\r\n";
        let mut commands = [cmd("SUNSUBSCRIBE"), cmd("SUNSUBSCRIBE"), cmd("UNSUBSCRIBE")];
        for (command, topic) in commands.iter_mut().zip(["a", "b", "c"]) {
            command.arg(topic);
        }
        fate.note_leaving(commands.iter());
        let mut answers = [said(nothing), said(other), said(nothing)];
        fate.forgive_leaving(commands.iter().zip(&mut answers));
        assert_eq!(answers, [Value::Nil, said(other), Value::Nil]);
        // should its slot move later, that is told in the same words
        let left = |topic: &str| fate.has_left(&[Value::BulkString(topic.into())]);
        assert!(!left("a") && left("b"));
    }
}
