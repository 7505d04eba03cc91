//! A connection by which the scripts are called as a node calls them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use redis::Pipeline;
use tokio::sync::mpsc;

use super::{HISTORY, PATIENCE, RedisServer};
use crate::{
    cluster::{
        calls::{Caller, add, answer},
        connection::{Connection, Patience, Push},
        keys::{ChannelKeys, Keys},
        messages::understand,
        nodes,
        scripts::{News, Scripts},
        terms::{Answer, Call, What},
    },
    hub::inbox::ChannelKey,
};

/// Longer than any test.
const DOUBT: Duration = PATIENCE.saturating_mul(100);

/// What the scripts answer to the same calls, and what they tell whoever listens.
pub(super) struct Real {
    pub(super) connection: Connection,
    pub(super) pushes: mpsc::Receiver<Push>,
    pub(super) scripts: Scripts,
    pub(super) keys: Keys,
}

impl Real {
    pub(super) async fn connect(server: &RedisServer) -> Real {
        let (sender, pushes) = mpsc::channel(1024);
        let scripts = Scripts::new(false, HISTORY).with_doubt(DOUBT);
        let servers = server.servers();
        let patience = Patience {
            connect: PATIENCE,
            answer: PATIENCE,
        };
        let connection = Connection::open(&servers, patience, sender, &scripts).await;
        Real {
            connection: connection.expect("a connection"),
            pushes,
            scripts,
            keys: Keys::new("test"),
        }
    }

    pub(super) fn names(&self, key: &ChannelKey) -> ChannelKeys {
        self.keys.channel("7", &key.name)
    }

    pub(super) async fn call(&mut self, key: &ChannelKey, node: &str, call: &Call) -> Answer {
        let names = self.names(key);
        let mut pipe = Pipeline::new();
        let caller = Caller {
            node,
            origin: node,
            heartbeat: Duration::from_secs(5),
        };
        add(&self.scripts, &mut pipe, &names, caller, call);
        let mut answers = self.connection.call(&mut pipe).await.expect("answers");
        let value = answers
            .remove(0)
            .unwrap_or_else(|error| panic!("{call:?}: {error}"));
        answer(call, &value).expect("an answer")
    }

    pub(super) async fn one<T: redis::FromRedisValue>(&mut self, pipe: &mut Pipeline) -> T {
        let answer = nodes::one(&mut self.connection, pipe).await;
        answer.expect("an answer")
    }

    pub(super) async fn claim(
        &mut self,
        key: &ChannelKey,
        word: &str,
        name: &str,
        teller: &str,
    ) -> i64 {
        let mut pipe = Pipeline::new();
        let news = News {
            name,
            remembered_ms: 60_000,
            is_held: true,
        };
        let names = self.names(key);
        self.scripts.claim(&mut pipe, &names, word, news, teller);
        self.one(&mut pipe).await
    }

    pub(super) async fn forget_news(&mut self, key: &ChannelKey, field: &str) {
        let told = nodes::Told {
            keys: Arc::new(self.names(key)),
            field: field.to_owned(),
        };
        let forgotten = nodes::forget_news(&mut self.connection, &[told]).await;
        forgotten.expect("forgotten");
    }

    /// All that is written down.
    pub(super) async fn news(&mut self, key: &ChannelKey) -> BTreeMap<String, String> {
        let mut pipe = Pipeline::new();
        pipe.cmd("HGETALL").arg(self.names(key).held);
        self.one(&mut pipe).await
    }

    /// The next message of the topic.
    pub(super) async fn told(&mut self) -> (u64, What, u64) {
        let push = tokio::time::timeout(PATIENCE, self.pushes.recv()).await;
        match push.expect("a message").expect("a connection") {
            Push::Message { text, .. } => {
                let message = understand(&text).unwrap_or_else(|e| panic!("{}: {e}", &*text));
                (message.sequence, message.what, message.number)
            }
            Push::Lost => panic!("the connection is lost"),
        }
    }
}
