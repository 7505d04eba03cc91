//! Resound: a server for Pusher Channels protocol 7 and its HTTP API. This page is the map of the code; what goes over the
//! wire is described where it is written, with the number of its rule (`C-12`), and
//! `docs/protocol-coverage.md` names the test of each rule.
//!
//! # Modules
//!
//! | Module | What it is for |
//! |---|---|
//! | `main.rs` | arguments, logging, run, exit code |
//! | [`cli`], [`welcome`] | the command line and `resound config`; what is printed at start |
//! | [`health`], [`publish`], [`tail`] | the tools that ask a running server, each a command; `tail/admin.rs` prints the live stream |
//! | [`nodes`] | `resound nodes`: asks Redis which servers are in a cluster |
//! | [`doctor`] | `resound doctor`: the way of an event from PHP to a browser, a file for each check |
//! | [`mod@bench`] | `resound bench`: a load generator for any server of the protocol: scenarios, sockets on a few polls, a publisher, exact counts |
//! | [`client`] | the client side of the protocol, for the tools: where a server is, [`http`](client::http) requests signed as a backend does, a [`socket`](client::socket) as a browser has it, whose certificates are believed |
//! | [`config`] | settings: reads every source, checks, hands out typed values; `default.toml` beside it documents them all |
//! | [`import`] | `resound import`: lays out as TOML what [`config`] read from a Laravel project or from soketi |
//! | [`reload`] | settings read anew while serving: compared, put into force, told |
//! | [`log`] | `tracing` to standard error, as text or JSON |
//! | [`server`] | puts everything together: listeners, workers, signals, drain. The only file that knows actix-server. In files of their own: the file limit and who has room within it ([`limits`](server::limits), `room`), what a listener asks and how long it waits (`entrance`, `patience`), what it accepts and with which options (`raw`), what a connection goes through before HTTP (`accept`, `proxy_protocol`, `misdialed`), its byte stream (`wire`), HTTP and who leaves it for a socket (`http`), the admin listener's worker (`apart`), SIGHUP and the other signals (`reload`, `signals`), [`tls`](server::tls), [`systemd`](server::systemd) |
//! | [`bind`] | opens listening sockets, and says in a sentence why one can't be opened |
//! | [`admin`] | the operator's listener, a small server of its own: metrics, health, the live stream |
//! | [`observe`] | what becomes known of what happens: one function for each thing, which counts it and tells the live stream |
//! | [`metrics`] | counters, nothing else: [`worker`](metrics::worker) for one thread, [`shared`](metrics::shared) for many; `admin/export.rs` adds them up when somebody asks |
//! | [`live`] | the live stream: events, filters, a bounded queue for each listener |
//! | [`peer`] | who is at the other end of a connection, as its listener saw it, and the client behind trusted proxies |
//! | [`gate`] | what one address may do: connections, handshakes, wrong signatures, lines in the log |
//! | [`rate`] | how often something may happen: windows and buckets, pure |
//! | [`node`] | [`Node`](node::Node), the process-wide handle of endpoints and sessions: settings, apps, `publish`, connection counts |
//! | [`apps`] | apps by id and by key: secrets, flags, limits; which origins they allow |
//! | [`api`] | the HTTP API: a table of routes, `Signed` (the check of a request), `ApiError` (every refusal), a file for each endpoint; what an app may still do (`allowance`), what `info` asks (`info`), idempotency (`once`) |
//! | [`mod@upgrade`] | the handshake: takes the socket from actix and gives it a session and a connection; `attendance` counts it as long as it lasts; `faults` breaks it in tests |
//! | [`socket`] | [`connection`](socket::connection): the future of one socket, and what it asks of the conversation on it |
//! | [`session`] | one connection's protocol state; one `match` over [`ClientMessage`](protocol::client::ClientMessage), a function for each arm: subscriptions, client events, sign-in; `awaited` is what a cluster hasn't answered yet |
//! | [`hub`] | one worker's sockets and local channels. [`inbox`](hub::inbox): what others may ask of it. [`link`](hub::link), [`outbox`](hub::outbox): one socket and the bytes it is owed. [`ticker`](hub::ticker): the one timer |
//! | [`directory`] | what must be true across workers: who has subscribers, counts, presence, cached events; in files of their own users with their watchers, the telling of counts, and what is done later |
//! | [`idempotency`] | answers of late by idempotency key, so that a repeated request publishes once; `api/once.rs` uses it |
//! | [`vital`] | tasks that the process can't be without |
//! | [`webhook`] | tells an app's servers what happens: collector (what is held back or cancels out), queues and lanes of each endpoint, body, the HTTP client. Where they go is an [`apps`] matter |
//! | [`cluster`] | several nodes on one Redis: what must be true across them, and the way of every event between them. What others see of it is the [`Cluster`](cluster::Cluster) handle; its files are below |
//! | [`protocol`] | Pusher protocol 7, pure: names, messages, users, errors; [`signature`](protocol::signature) of what clients bring, [`request`](protocol::request) of what backends send; all we say is written here into frames |
//! | [`frame`] | WebSocket frames, pure: encode once, parse a client's bytes in place; and write what a client writes, for tools and tests |
//! | `fuzzing` | what the targets in `fuzz/` and the tests call: each parser, with what must hold for any bytes; those of parsers that only their module sees are beside them (`api/`, `config/`, `cluster/`, `server/proxy_protocol/`); not compiled into the server |
//!
//! # In `cluster/`
//!
//! | File | What it is for |
//! |---|---|
//! | `handle`, `serving` | both ends of what the process sees: [`Cluster`](cluster::Cluster), by which sessions, node and API ask; and the way back, into inboxes, to those who wait, to webhooks |
//! | `core`, `channel` | what a node does with what it is asked, what Redis answers and what other nodes tell: pure. Of one channel in files of their own: what follows from `answers`, `registration` of what was missed, and what is done `alone` while Redis is away |
//! | `terms` | the words in which a node, Redis and other nodes speak of channels, pure data |
//! | `driver` | does what the core says: one task on a thread of its own, which owns the core, the connection and everything else here |
//! | `connection` | one Redis, a master behind Sentinels or a Redis Cluster; watched, connected anew for as long as it takes, messages within bounds |
//! | `scripts` and its Lua files, `calls` | what Redis does in one atomic step: join, leave, publish, register, …; calls of the core as such scripts |
//! | `wire`, `messages`, `keys` | how a message is written, with its version; what it means to the core; what everything is called in Redis |
//! | `nodes` | signs of life, dead nodes and who takes away what they had |
//! | `held`, `rules` | news of who left that wait for a return (webhooks, watchlists), and when they do |
//! | `queries` | what the HTTP API asks: answered by Redis, or with what this node knows |
//! | `status`, `listing`, `probe`, `settings` | for readiness and metrics; for `resound nodes`; for the doctor; from settings to a connection |
//! | `testing` | tests, none of which ships: the scripts in Rust (`model`), random histories on them (`simulation`), the same on a real Redis (`real`, on `redis`); a cluster that a test plays (`fake`) |
//!
//! # Who may use whom
//!
//! ```text
//! main -> cli, log, welcome (which reads what server started)
//!     \-> health, publish, tail, doctor, bench -> client
//!     |-> nodes, doctor -> cluster::listing, cluster::probe
//!     |-> import
//!     |      /-> admin -> node, metrics, live (and api::health)
//!     |      |-> reload -> node, log
//!     \-> server -> api ----------------> node -> directory, cluster -> hub::inbox (a handle, Send)
//!               \-> upgrade -> session -> node, cluster (the handle)
//!                       \          \---> socket -> hub (this worker's, not Send)
//!                        \------------> socket
//! cluster: handle -> driver (a queue) -> core -> channel
//!                          \-> connection, scripts, serving -> hub::inbox, webhook
//! session, node, directory, cluster -> webhook (raise and forget)
//! api, node -> idempotency
//! upgrade, session, api, node -> observe -> metrics, live
//! hub -> metrics::worker (plain counters)
//! server, admin -> bind
//! server, upgrade, session, api -> gate -> peer, rate
//! server, webhook, cluster -> vital
//! everything may use: config -> apps -> rate, protocol -> frame
//! ```
//!
//! Arrows go one way: a session implements [`socket::Conversation`], which is all that a connection knows of it.
//! [`protocol`] and [`frame`] use nothing above them and neither actix nor tokio. [`hub`] knows frames and ids, not JSON,
//! HTTP or apps; [`api`] knows no hubs: it asks the node. [`webhook`] knows nobody who raises. `node.directory()` is for
//! reading and for subscriptions; events go through [`Node::publish`](node::Node::publish). In a cluster the directory is
//! empty: what it knows of one node, Redis knows of all, and the cluster's driver of this one's channels. A `node` in
//! `cluster/` is a server of the cluster, of which [`Node`](node::Node) is this process's.
//!
//! # Where state lives
//!
//! | State | Owner | Guard |
//! |---|---|---|
//! | one socket's protocol state | [`Session`](session::Session), inside the connection future | none: one owner |
//! | a socket's io, its outbox, its times | [`Link`](hub::link::Link) (`Rc`, in the hub and the connection) | `Cell`, `RefCell`, one thread |
//! | sockets and subscribers of a worker | [`Hub`](hub::Hub) (thread local, made with the worker) | `RefCell`, one thread |
//! | worker sets, counts, presence, users, cached events | [`Directory`](directory::Directory) in the node | 64 shards of `std::sync::Mutex` |
//! | in a cluster: subscriptions of every node, members, cached events, order and history of each channel, who is alive | Redis, all of a channel under keys of one slot | Lua scripts: each is one step for everybody |
//! | in a cluster: this node's channels as its subscribers have been told them, events that wait for Redis, news that wait for a return, who waits for an answer | the driver's task, on a thread of its own | none: one owner; asked by an unbounded queue, on which events need a permit (`cluster.publishes_max`) and a connection has 64 answers to come |
//! | what a connection waits for from the cluster | [`Session`](session::Session) | none: one owner |
//! | answers by idempotency key | [`Answers`](idempotency::Answers) in the node | one `std::sync::Mutex` |
//! | webhooks on their way: to the collector, held back by it, for each lane of an endpoint | [`Webhooks`](webhook::Webhooks) in the node, and its tasks | tokio `mpsc`, bounded in events and bytes; each task owns the rest |
//! | connections: all, and of each app; channels of each app | [`Node`](node::Node) and [`AppUsage`](apps::AppUsage), counted by permits that live as long as their socket | atomics |
//! | what addresses did lately, and their connections | [`Gate`](gate::Gate) in the node | 64 shards of `std::sync::Mutex`, bounded by `limits.addresses_max` |
//! | events and reads of this second of an app | [`AppUsage`](apps::AppUsage) | a `std::sync::Mutex` each, taken by apps with such a limit |
//! | counts of a worker's hub and of its sockets | [`WorkerMetrics`](metrics::worker::WorkerMetrics), [`SocketMetrics`](metrics::worker::SocketMetrics) | atomics with one writer, a cache line of their own |
//! | other counts | [`Metrics`](metrics::Metrics) | atomics in stripes; maps by app or reason are swapped whole when a key is new |
//! | live events on their way to a listener | [`Live`](live::Live) | tokio `mpsc`, bounded in events |
//! | apps and settings | [`Node`](node::Node) | immutable, swapped whole by a reload; a session looks for a new version with each message |
//!
//! # Invariants
//!
//! - No lock is held across an `await`, and no two at once. The directory's shards, the gate's, the idempotency table and
//!   the windows of an app are the only ones while serving; an event without a key takes one, its channel's shard. All
//!   that concerns a user (his channel, his watchers) is in one shard.
//! - Commands go into inboxes under the channel's shard lock: every worker sees one order per channel. A subscriber
//!   remembers the [`Position`](hub::inbox::Position) at which it joined, so it neither misses nor repeats an event.
//! - In a cluster a channel's order is the sequence that its scripts count. A change and the message that tells of it are one
//!   script; every node, the one that asked included, tells its subscribers in that order and each event once: a gap makes it
//!   register the channel anew, with what Redis remembers of it (history), and what can't be had any more is counted as missed.
//! - A node's name belongs to one life among the others. Whoever was taken for dead comes back under a new one and registers
//!   all it has, so nothing old is brought back: before that each worker reads what has come for its sockets
//!   ([`Command::CatchUp`](hub::inbox::Command::CatchUp)), since whoever left while the process stood still is only then known to have. Its events are numbered under an origin that lasts for the process, which is
//!   how one that is sent again is known.
//! - While Redis is away the core answers everything at once with what the node knows; what was done so is made up for by
//!   registering each channel, and its events go out before newer ones.
//! - Who answers a subscription: without a cluster the session, in the same call. In a cluster the driver, by one
//!   [`Command::Admit`](hub::inbox::Command::Admit): the hub subscribes the socket, gives it its frames and the session a letter. Until
//!   then what depends on it waits (one message at most, nothing more is read); pings are answered all the same.
//!   Each place that was asked for is given back exactly once, whenever the connection ends.
//! - Nothing per socket but its connection future, its link and its session: no channel, no timer, no buffer.
//! - No queue without a limit and an owner who decides what happens at it: outbox → closed with 4100; inbox → publishers
//!   wait, then 503, and connections stop reading; what must not be lost (a member that left) goes in all the same;
//!   webhooks → dropped and counted; live events → dropped, counted, and the listener is told how many.
//! - Counting a delivery costs one addition for each command and each flush, never a lock; telling costs one look at a
//!   number while nobody listens. Channel names and whatever clients choose are never labels of a metric.
//! - Webhooks are raised under the channel's shard lock where order matters, in a cluster by the driver of the node whose script
//!   made the change, and raising never waits. Events of one channel
//!   take one lane of each endpoint.
//! - What the process can't be without is supervised: a worker's hub and ticker, the directory's clock, the webhooks' collector, a
//!   cluster's driver. Should one panic, the process ends with code 70. The watchdog's signs of life are those of every worker.
//! - A broadcast is encoded once; nothing between [`Node::publish`](node::Node::publish) and the socket looks into it.
//!   `data` is never parsed and written again.
//! - No borrow of a `RefCell` lives across a call that can reach the same hub. Connections are `poll` functions, so none
//!   lives across an `await`.
//! - Input is checked once, at the edge, and becomes a type that can only be valid: `ChannelName`, `SocketId`, `Signed`.
//! - Only [`config`] reads settings from files and variables; only [`server`] touches signals. Certificates, and what systemd
//!   says in variables, are `server`'s too.
//! - Secrets print as nothing: not in logs, errors or `Debug`.
//!
//! # A REST trigger, from HTTP bytes to sockets
//!
//! 1. actix reads the request on some worker; the table in `api.rs` routes `POST /apps/{id}/events`.
//! 2. `api/signed.rs`: `Signed` finds the app, reads the body within its limit, checks key, time, MD5 and HMAC. The endpoint
//!    only ever sees a request that is allowed.
//! 3. `api/events.rs`: `trigger` checks the event, calls [`Node::publish`](node::Node::publish) for each channel, answers
//!    `{}` or the counts asked for. With an idempotency key `api/once.rs` answers a repeated request like the first. It
//!    doesn't wait for sockets.
//! 4. `node/events.rs`: `publish` has `protocol/server.rs` write the event once into a [`Frame`](frame::Frame) and gives it to the
//!    directory, or to the cluster. While a worker has no room it waits for some.
//! 5. `directory.rs`: under the channel's shard lock, keeps the event if the kind is cached, and pushes one `Deliver` into
//!    the inbox of each worker that has subscribers.
//! 6. `hub.rs` on each of those workers: a turn takes the commands that wait, `deliver` appends the frame to the subscribers'
//!    outboxes (not to `except`), then each touched socket is flushed once, with one vectored write, in slices.
//! 7. A write that would block is left to the connection's task, which is woken when the socket takes more.
//!
//! In a cluster steps 4 and 5 are: [`Cluster::publish`](cluster::Cluster::publish) takes a permit and puts the event into the driver's
//! queue; the core lets one batch of a channel out at a time; `publish.lua` gives the event its number, remembers it, keeps it
//! if the kind is cached, and publishes it on the channel's topic. From there it comes back to each node with subscribers; `channel.rs`
//! sees that it is the next one, and `serving.rs` pushes it into the inboxes. The answer to HTTP comes when the script has run
//! ([`Taken`](cluster::Taken)).
//!
//! # A client's frame, from socket to reply
//!
//! 1. `socket/connection.rs`: the socket is readable; bytes go into the worker's scratch buffer. While an inbox is full
//!    nothing is read. `frame/reader.rs` checks the declared length before waiting for the rest, unmasks in place, yields
//!    text.
//! 2. `session.rs` has `protocol/client.rs` parse a [`ClientMessage`](protocol::client::ClientMessage) that borrows from
//!    that text; nonsense becomes a [`ClientError`](protocol::codes::ClientError) with its code, answered as `pusher:error`.
//! 3. For a subscribe, `session/subscribe.rs` reads top to bottom: channel name, signature if the kind asks for one, member;
//!    `directory.join` (one lock: worker set, count, presence, cached event; announces a new member); `hub.subscribe`; the
//!    replies into this socket's own outbox. In a cluster `Cluster::join` instead, and `session/awaited.rs` notes it: the driver listens
//!    to the channel's topic, runs `join.lua`, and admits the socket through its hub; `awaited::take` goes on.
//! 4. Back in `connection.rs` the same poll goes on to its write half: confirmation and cached event leave in one write.
//!
//! Where to add a channel kind, an endpoint, a setting, a message, a webhook event or a code: `CONTRIBUTING.md`.

pub mod admin;
pub mod api;
pub mod apps;
pub mod bench;
pub mod bind;
pub mod cli;
pub mod client;
pub mod cluster;
pub mod config;
pub mod directory;
pub mod doctor;
pub mod frame;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod gate;
pub mod health;
pub mod hub;
pub mod idempotency;
pub mod import;
pub mod live;
pub mod log;
pub mod metrics;
pub mod node;
pub mod nodes;
pub mod observe;
pub mod peer;
pub mod protocol;
pub mod publish;
pub mod rate;
pub mod reload;
pub mod server;
pub mod session;
pub mod socket;
pub mod tail;
pub mod upgrade;
pub mod vital;
pub mod webhook;
pub mod welcome;
