//! A Redis Cluster of three masters: every slot is served, and what becomes of slots is noticed.

use redis::{Pipeline, Script};

use super::*;

/// A topic in a slot of this third of all.
fn topic_of(third: u16) -> String {
    let topics = (0..).map(|number| format!("resound:{{7:{number}}}"));
    let mut fitting = topics.filter(|topic| slots::slot(topic.as_bytes()) / 5_462 == third);
    fitting.next().expect("a topic")
}

#[tokio::test]
async fn commands_scripts_and_topics_of_all_masters() {
    let cluster = RedisCluster::start();
    let servers = cluster.servers();
    let (mut a, mut b) = (open(&servers).await, open(&servers).await);
    a.works().await;
    let topics: Vec<String> = (0..3).map(topic_of).collect();
    for topic in &topics {
        a.connection.subscribe(topic).await.expect("subscribed");
    }
    // each in a batch of its own, then all in one
    for (number, topic) in topics.iter().enumerate() {
        b.publish(topic, &number.to_string())
            .await
            .expect("published");
        let told = a.next().await.expect("a message");
        assert_eq!(told, (topic.clone(), number.to_string()));
    }
    let script = Script::new("redis.call('SPUBLISH', KEYS[1], ARGV[1]) return ARGV[1]");
    script
        .load_async(&mut b.connection)
        .await
        .expect("loaded on every master");
    let mut pipe = Pipeline::new();
    for number in 0..30 {
        pipe.invoke_script(script.key(&topics[number % 3]).arg(number));
    }
    let answers = b.connection.call(&mut pipe).await.expect("answers");
    let answers: Vec<usize> = answers
        .into_iter()
        .map(|answer| redis::from_redis_value(answer.expect("an answer")).expect("a number"))
        .collect();
    assert_eq!(answers, (0..30).collect::<Vec<_>>());
    let mut told: Vec<Vec<usize>> = vec![Vec::new(); 3];
    for _ in 0..30 {
        let (topic, text) = a.next().await.expect("a message");
        let third = topics.iter().position(|t| *t == topic).expect("a topic");
        told[third].push(text.parse().expect("a number"));
    }
    for (third, told) in told.iter().enumerate() {
        assert_eq!(
            *told,
            (third..30).step_by(3).collect::<Vec<_>>(),
            "in order"
        );
    }
    // leaving is no loss
    for topic in &topics {
        a.connection.unsubscribe(topic).await.expect("unsubscribed");
    }
    let mut pipe = Pipeline::new();
    for topic in &topics {
        pipe.add_command(a.connection.listening(topic, true));
    }
    for topic in &topics {
        pipe.add_command(a.connection.listening(topic, false));
    }
    pipe.add_command(a.connection.listening(&topics[1], true));
    for answer in a.connection.call(&mut pipe).await.expect("answers") {
        answer.expect("an answer");
    }
    for topic in &topics {
        b.publish(topic, "last").await.expect("published");
    }
    assert_eq!(a.next().await.expect("a message").0, topics[1]);
}

#[tokio::test]
async fn what_isnt_a_cluster_or_not_a_whole_one_is_told_so() {
    let alone = RedisServer::start();
    let seeds = |places: Vec<Place>| {
        Servers::Cluster(Seeds {
            places,
            access: Access::default(),
        })
    };
    let refused = refusal(&seeds(vec![alone.place()]), NORMAL).await;
    assert!(
        refused.contains("isn't part of a Redis Cluster"),
        "{refused}"
    );
    let cluster = RedisCluster::start();
    let refused = refusal(&cluster.nodes[0].servers(), NORMAL).await;
    assert!(refused.contains("is part of a Redis Cluster"), "{refused}");
    // the first that is a node leads to the others
    let places = vec![alone.place(), cluster.nodes[1].place()];
    open(&seeds(places)).await.works().await;
    cluster.nodes[0].order(&["CLUSTER", "DELSLOTS", "7"]);
    let refused = refusal(&seeds(vec![cluster.nodes[0].place()]), NORMAL).await;
    assert!(refused.contains("has slot 7"), "{refused}");
}

#[tokio::test]
async fn a_slot_that_moves_ends_the_connection_and_the_next_one_finds_it() {
    // the fourth has nothing yet
    let cluster = RedisCluster::start_with(4);
    let servers = cluster.servers();
    let topic = topic_of(0);
    let slot = slots::slot(topic.as_bytes());
    let mut told = open(&servers).await;
    told.connection.subscribe(&topic).await.expect("subscribed");
    let mut asking = open(&servers).await;
    let mut idle = open_with(&servers, SHORT).await.expect("a connection");
    cluster.move_slot(slot, 3);
    // by the topic that was taken away, by a command, and by the map
    told.until_lost().await;
    let error = asking.publish(&topic, "x").await.expect_err("it has moved");
    assert_eq!(error.code(), Some("MOVED"), "{error}");
    asking.until_lost().await;
    idle.until_lost().await;

    cluster.wait_until_complete();
    let mut again = open_again(&servers, NORMAL).await;
    again.works().await;
    again
        .connection
        .subscribe(&topic)
        .await
        .expect("subscribed");
    again.publish(&topic, "there").await.expect("published");
    assert_eq!(again.next().await.expect("a message").1, "there");
    // scripts came to the new one as well
    let memory = cluster.nodes[3].text(&["INFO", "memory"]);
    assert!(!memory.contains("number_of_cached_scripts:0\r"), "{memory}");
}

#[tokio::test]
async fn a_slot_on_its_way_is_waited_for() {
    let cluster = RedisCluster::start();
    let servers = cluster.servers();
    let (topic, other) = (topic_of(0), topic_of(1));
    let slot = slots::slot(topic.as_bytes()).to_string();
    let is_moving = |moves: bool| {
        let ids = [cluster.id(0), cluster.id(1)];
        let set = |node: usize, state: &[&str]| {
            let words = [&["CLUSTER", "SETSLOT", &slot], state].concat();
            cluster.nodes[node].order(&words);
        };
        if !moves {
            set(0, &["STABLE"]);
            return set(1, &["STABLE"]);
        }
        set(1, &["IMPORTING", &ids[0]]);
        set(0, &["MIGRATING", &ids[1]]);
    };
    let batch = || {
        let mut pipe = Pipeline::new();
        for key in [&topic, &other, &topic] {
            pipe.cmd("EVAL")
                .arg("return redis.call('RPUSH', KEYS[1], 'x')");
            pipe.arg(1).arg(key);
        }
        pipe
    };
    let mut open_one = open_with(&servers, SHORT).await.expect("a connection");
    is_moving(true);
    let mut connection = open_one.connection.clone();
    let mut first = batch();
    let waiting = tokio::spawn(async move { connection.call(&mut first).await });
    until("the part that isn't moving is done", async || {
        let length = cluster.nodes[1].order(&["LLEN", &other]);
        redis::from_redis_value::<u32>(length).expect("a number") == 1
    })
    .await;
    is_moving(false);
    let answers = waiting.await.expect("no panic").expect("answers");
    let answers: Vec<u32> = answers
        .into_iter()
        .map(|answer| redis::from_redis_value(answer.expect("an answer")).expect("a number"))
        .collect();
    assert_eq!(answers, [1, 1, 2]);
    // one that doesn't arrive is an error in the end
    cluster.nodes[0].order(&["DEL", &topic]);
    is_moving(true);
    let answers = open_one.connection.call(&mut batch()).await;
    let answers = answers.expect("answers");
    let error = answers[0].as_ref().expect_err("it is still on its way");
    assert_eq!(error.code(), Some("ASK"), "{error}");
}

/// Redis tells of a slot that has moved in the words of an answer: commands that wait for theirs must not get another's.
#[tokio::test]
async fn no_answer_is_taken_for_another_when_a_topic_is_taken_away() {
    let cluster = RedisCluster::start();
    let servers = cluster.servers();
    let topics = (0..).map(|number| format!("resound:{{7:m{number}}}"));
    let mine: Vec<String> = topics
        .filter(|topic| slots::slot(topic.as_bytes()) < 5_461)
        .take(20)
        .collect();
    for topic in &mine {
        let mut open = open_again(&servers, NORMAL).await;
        let slot = slots::slot(topic.as_bytes());
        open.connection.subscribe(topic).await.expect("subscribed");
        let mut connection = open.connection.clone();
        let stays = mine.iter().find(|t| slots::slot(t.as_bytes()) != slot);
        let stays = stays.expect("another slot").clone();
        let asking = tokio::spawn(async move {
            for number in 0.. {
                let mut pipe = Pipeline::new();
                pipe.cmd("EVAL")
                    .arg("return ARGV[1]")
                    .arg(1)
                    .arg(&stays)
                    .arg(number);
                let Ok(answers) = connection.call(&mut pipe).await else {
                    return number;
                };
                for answer in answers {
                    let answer: i32 = redis::from_redis_value(answer.expect("an answer"))
                        .expect("an answer to this command");
                    assert_eq!(answer, number);
                }
            }
            0
        });
        cluster.move_slot(slot, 1);
        open.until_lost().await;
        asking.await.expect("no wrong answer");
        cluster.move_slot(slot, 0);
    }
}

#[tokio::test]
async fn a_master_that_dies_or_is_replaced_ends_the_connection() {
    let mut cluster = RedisCluster::start_with(4);
    cluster.make_replica(3, 0);
    let servers = cluster.servers();
    let topic = topic_of(0);
    let works = async |open: &mut Open| {
        open.connection.subscribe(&topic).await.expect("subscribed");
        open.publish(&topic, "x").await.expect("published");
        assert_eq!(open.next().await.expect("a message").1, "x");
    };
    let mut first = open_with(&servers, SHORT).await.expect("a connection");
    works(&mut first).await;
    // as for maintenance: the old master lives on, as a replica
    until("the replica is the master", async || {
        // Redis gives up a failover that the two don't agree on in time
        let _ = cluster.nodes[3].ask(&["CLUSTER", "FAILOVER"]);
        // asked more often, it would begin anew each time
        tokio::time::sleep(Duration::from_millis(500)).await;
        let info = cluster.nodes[3].text(&["INFO", "replication"]);
        info.contains("role:master")
    })
    .await;
    first.until_lost().await;
    let mut second = open_again(&servers, SHORT).await;
    works(&mut second).await;

    cluster.nodes[3].pause();
    second.until_lost().await;
    until("the old one is the master again", async || {
        cluster.nodes[0]
            .text(&["INFO", "replication"])
            .contains("role:master")
    })
    .await;
    let mut third = open_again(&servers, SHORT).await;
    works(&mut third).await;
    cluster.nodes[3].kill();
}
