//! Stores that take their time, and programs that do not wait for them.

use std::time::Duration;

use polystore_http_cache::{Caching, HttpCache};
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};

use crate::origin::{Origin, client, get, reply, send};
use crate::staged::{Hold, Staged, eventually, soon};

type Headers = &'static [(&'static str, &'static str)];
const PLAIN: Headers = &[("cache-control", "max-age=600")];
const VARYING: Headers = &[("cache-control", "max-age=600"), ("vary", "accept")];

/// A request of its own, read to its end.
fn reading(client: &ClientWithMiddleware, url: &str) -> tokio::task::JoinHandle<String> {
    let (client, url) = (client.clone(), url.to_owned());
    tokio::spawn(async move { get(&client, &url).await.text().to_owned() })
}

/// Whether it is answered from the store, without asking anybody.
async fn is_kept(client: &ClientWithMiddleware, url: &str) -> bool {
    let asked = client.get(url).header("cache-control", "only-if-cached");
    send(asked).await.is_hit()
}

async fn until_kept(client: &ClientWithMiddleware, url: &str) {
    soon("kept", async {
        while !is_kept(client, url).await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_reply_is_whole_however_long_its_store_takes() {
    const LIMIT: Duration = Duration::from_secs(5);
    let of = reqwest::Client::builder;
    let (origin, mut readers) = (Origin::counting(PLAIN).await, Vec::new());
    for limited in [of().timeout(LIMIT), of().read_timeout(LIMIT)] {
        let (staged, store) = Staged::new();
        staged.hold(Hold::BeforeSets);
        let client = ClientBuilder::new(limited.no_proxy().build().unwrap())
            .with(HttpCache::new(store).unwrap())
            .build();
        let reader = reading(&client, &origin.url("/"));
        staged.until_waiting(1).await;
        readers.push((staged, client, reader));
    }
    // Until the limits of the requests are over: what is late is the store.
    tokio::time::sleep(LIMIT + Duration::from_secs(1)).await;
    for (number, (staged, client, reader)) in readers.into_iter().enumerate() {
        staged.hold(Hold::Nothing);
        let got = soon("read", reader).await.expect("a whole reply");
        assert_eq!(got, (number + 1).to_string());
        assert!(is_kept(&client, &origin.url("/")).await);
    }
}

#[tokio::test]
async fn a_reader_that_leaves_at_the_end_leaves_a_reply_that_is_kept() {
    for (headers, hold) in [
        (PLAIN, Hold::BeforeSets),
        (PLAIN, Hold::AfterSets),
        (VARYING, Hold::BeforeSets),
        (VARYING, Hold::AfterSets),
    ] {
        let (staged, store) = Staged::new();
        let (origin, client) = (
            Origin::counting(headers).await,
            client(HttpCache::new(store).unwrap()),
        );
        staged.hold(hold);
        let reader = reading(&client, &origin.url("/"));
        staged.until_waiting(1).await;
        reader.abort();
        assert!(reader.await.unwrap_err().is_cancelled());
        staged.hold(Hold::Nothing);
        until_kept(&client, &origin.url("/")).await;
    }
}

#[tokio::test]
async fn a_store_that_hangs_has_only_so_many_replies_to_keep() {
    const MOST: usize = 1024;
    let (staged, store) = Staged::new();
    let origin = Origin::counting(PLAIN).await;
    let client = client(HttpCache::new(store).unwrap());
    staged.hold(Hold::BeforeSets);
    for number in 0..MOST {
        let reader = reading(&client, &origin.url(&format!("/{number}")));
        staged.until_waiting(number + 1).await;
        reader.abort();
    }
    // One more is not kept, and not held up.
    let got = soon("read", get(&client, &origin.url("/more"))).await;
    assert_eq!(got.text(), (MOST + 1).to_string());
    staged.hold(Hold::Nothing);
    eventually("kept", || staged.len() == MOST).await;
    until_kept(&client, &origin.url("/0")).await;
    get(&client, &origin.url("/more")).await;
    assert!(is_kept(&client, &origin.url("/more")).await);
}

#[tokio::test]
async fn a_change_holds_over_replies_that_are_being_written() {
    for headers in [PLAIN, VARYING] {
        for hold in [Hold::BeforeSets, Hold::AfterSets] {
            for leaves in [false, true] {
                let (staged, store) = Staged::new();
                let origin = Origin::counting(headers).await;
                let (client, url) = (client(HttpCache::new(store).unwrap()), origin.url("/"));
                staged.hold(hold);
                let reader = reading(&client, &url);
                staged.until_waiting(1).await;
                if leaves {
                    reader.abort();
                }
                // The change does not wait for what hangs.
                soon("changed", send(client.put(&url))).await;
                let what = format!("{headers:?} {hold:?} {leaves}");
                assert!(!is_kept(&client, &url).await, "{what}");
                let after = soon("asked", get(&client, &url)).await;
                assert_eq!((after.text(), after.is_hit()), ("3", false), "{what}");
                staged.hold(Hold::Nothing);
                assert_eq!(reader.await.ok().as_deref(), (!leaves).then_some("1"));
                soon("kept", async {
                    loop {
                        let got = get(&client, &url).await;
                        assert_ne!(got.text(), "1", "{what}");
                        if got.is_hit() && staged.len() == headers.len() {
                            break;
                        }
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                })
                .await;
            }
        }
    }
}

#[tokio::test]
async fn a_change_that_is_given_up_makes_void_what_is_kept() {
    let (staged, store) = Staged::new();
    let origin = Origin::start_when(|seen| async move {
        if seen.method == "PUT" {
            std::future::pending::<()>().await;
        }
        reply(200, PLAIN, seen.before.to_string())
    })
    .await;
    let (client, url) = (client(HttpCache::new(store).unwrap()), origin.url("/"));
    get(&client, &url).await;
    let putting = tokio::spawn(client.put(&url).send());
    eventually("the origin was asked", || origin.count() == 2).await;
    assert!(is_kept(&client, &url).await);
    putting.abort();
    assert!(putting.await.unwrap_err().is_cancelled());
    assert!(!is_kept(&client, &url).await);
    eventually("removed", || staged.len() == 0).await;
    assert_eq!(get(&client, &url).await.text(), "2");
    assert!(is_kept(&client, &url).await);
}

#[tokio::test]
async fn a_change_that_is_given_up_while_its_store_hangs_makes_void_what_is_kept() {
    for private in [false, true] {
        let (staged, store) = Staged::new();
        let origin = Origin::counting(PLAIN).await;
        let cache = HttpCache::new(store).unwrap();
        let cache = if private { cache.private() } else { cache };
        let (client, url) = (client(cache), origin.url("/"));
        get(&client, &url).await;
        staged.hold(Hold::BeforeDels);
        let putting = tokio::spawn(client.put(&url).send());
        staged.until_waiting(1).await;
        putting.abort();
        assert!(putting.await.unwrap_err().is_cancelled());
        staged.hold(Hold::Nothing);
        eventually("removed", || staged.len() == 0).await;
        assert!(!is_kept(&client, &url).await);
    }
}

#[tokio::test]
async fn what_could_not_be_removed_is_no_hit() {
    for headers in [PLAIN, VARYING] {
        let (staged, store) = Staged::new();
        let origin = Origin::counting(headers).await;
        let (client, url) = (client(HttpCache::new(store).unwrap()), origin.url("/"));
        let ask = |accept: &'static str| send(client.get(&url).header("accept", accept));
        assert_eq!(ask("a").await.text(), "1");
        assert_eq!(ask("b").await.is_hit(), headers == PLAIN);
        staged.is_down(true);
        let before = origin.count();
        send(client.put(&url)).await;
        let (known, new) = (staged.len(), (before + 2).to_string());
        assert_eq!(ask("a").await.text(), new);
        // It is back, with what it had.
        staged.is_down(false);
        assert_eq!(staged.len(), known);
        let new = (before + 3).to_string();
        for is_hit in [false, true] {
            let got = ask("a").await;
            assert_eq!((got.text(), got.is_hit()), (&*new, is_hit), "{headers:?}");
        }
        // Nor does the new one bring the other back.
        assert_eq!(ask("b").await.is_hit(), headers == PLAIN);
    }
}

#[tokio::test]
async fn what_could_not_be_removed_is_removed_once_it_is_asked_for() {
    let (staged, store) = Staged::new();
    let origin = Origin::start(|seen| match seen.before {
        0 => reply(200, PLAIN, "old"),
        _ => reply(200, &[("cache-control", "no-store")], "new"),
    })
    .await;
    let (client, url) = (client(HttpCache::new(store).unwrap()), origin.url("/"));
    get(&client, &url).await;
    staged.is_down(true);
    send(client.put(&url)).await;
    staged.is_down(false);
    assert_eq!(staged.len(), 1);
    assert_eq!(get(&client, &url).await.text(), "new");
    assert_eq!(staged.len(), 0);
}

#[tokio::test]
async fn what_could_not_be_removed_of_one_part_of_a_store_is_not_taken_for_anothers() {
    let (staged, store) = Staged::new();
    let origin = Origin::counting(PLAIN).await;
    let (client, url) = (client(HttpCache::new(&store).unwrap()), origin.url("/"));
    let of = |part: &str| Caching::new().store(store.prefix(part)).unwrap();
    let ask = |part: &str| send(client.get(&url).with_extension(of(part)));
    for part in ["one:", "other:"] {
        ask(part).await;
        assert!(ask(part).await.is_hit());
    }
    staged.is_down(true);
    send(client.put(&url).with_extension(of("one:"))).await;
    staged.is_down(false);
    ask("other:").await;
    assert!(!ask("one:").await.is_hit());
    for part in ["one:", "other:"] {
        assert!(ask(part).await.is_hit(), "{part}");
    }
}

#[tokio::test]
async fn an_older_reply_that_comes_late_does_not_take_the_place_of_a_newer_one() {
    for vary in ["", "accept"] {
        let may_answer = std::sync::Arc::new(tokio::sync::Notify::new());
        let waits = std::sync::Arc::clone(&may_answer);
        let origin = Origin::start_when(move |seen| {
            let waits = std::sync::Arc::clone(&waits);
            async move {
                if seen.before == 0 {
                    waits.notified().await;
                }
                let made = std::time::SystemTime::now();
                let made = made - Duration::from_secs(if seen.before == 0 { 20 } else { 10 });
                let date = httpdate::fmt_http_date(made);
                let headers = [PLAIN[0], ("date", &*date), ("vary", vary)];
                reply(200, &headers, seen.before.to_string())
            }
        })
        .await;
        let (client, url) = (crate::origin::in_memory(), origin.url("/"));
        let older = reading(&client, &url);
        eventually("the origin was asked", || origin.count() == 1).await;
        assert_eq!(get(&client, &url).await.text(), "1");
        may_answer.notify_one();
        assert_eq!(older.await.unwrap(), "0");
        let got = get(&client, &url).await;
        assert_eq!((got.text(), got.is_hit()), ("1", true), "{vary:?}");
    }
}
