//! Who gets what, and what is seen of it elsewhere.

use polystore_http_cache::HttpCache;
use polystore_kv::{Scan, kv};

use crate::origin::{Origin, client, get, reply, send};

#[tokio::test]
async fn what_was_asked_for_by_name_is_kept_only_if_the_origin_allows() {
    for (control, is_kept) in [
        ("max-age=60", false),
        ("max-age=60, public", true),
        ("s-maxage=60", true),
        ("max-age=60, must-revalidate", true),
    ] {
        let headers = [("cache-control", control)];
        let origin = Origin::start(move |seen| {
            reply(200, &headers, seen.header("authorization").to_owned())
        })
        .await;
        let client = client(HttpCache::new("memory:").unwrap());
        send(client.get(origin.url("/")).header("authorization", "one")).await;
        let other = send(client.get(origin.url("/")).header("authorization", "other")).await;
        assert_eq!(other.text() == "one", is_kept, "{control}");
        assert_eq!(
            get(&client, &origin.url("/")).await.text() == "one",
            is_kept,
            "{control}"
        );
    }
}

#[tokio::test]
async fn names_in_the_url_and_of_the_client_count_too() {
    let origin = Origin::counting(&[("cache-control", "max-age=60")]).await;
    let url = origin.url("/").replace("//", "//ada:secret@");
    let client_of_all = client(HttpCache::new("memory:").unwrap());
    for _ in 0..2 {
        assert!(!get(&client_of_all, &url).await.is_hit());
    }
    let headers = [("authorization", "Bearer 1".parse().unwrap())];
    let headers = headers
        .map(|(name, value)| (name.parse().unwrap(), value))
        .into_iter()
        .collect();
    let known = client(HttpCache::new("memory:").unwrap().client_headers(headers));
    for _ in 0..2 {
        assert!(!get(&known, &origin.url("/")).await.is_hit());
    }
}

#[tokio::test]
async fn a_private_cache_keeps_what_is_one_users() {
    for headers in [
        &[("cache-control", "max-age=60, private")][..],
        &[("cache-control", "max-age=60"), ("set-cookie", "a=b")],
        &[("cache-control", "max-age=60, s-maxage=0")],
    ] {
        let origin = Origin::counting(headers).await;
        let store = kv("memory:").unwrap();
        let own = client(HttpCache::new(&store).unwrap().private());
        let all = client(HttpCache::new(&store).unwrap());
        get(&own, &origin.url("/")).await;
        assert!(get(&own, &origin.url("/")).await.is_hit(), "{headers:?}");
        // By mistake in the same store: it is not given away.
        assert!(!get(&all, &origin.url("/")).await.is_hit(), "{headers:?}");
    }
}

#[tokio::test]
async fn a_private_cache_tells_its_users_names_apart() {
    let origin = Origin::start(|seen| {
        let name = seen.header("authorization").to_owned();
        reply(200, &[("cache-control", "max-age=60")], name)
    })
    .await;
    let client = client(HttpCache::default().private());
    for is_hit in [false, true] {
        for name in ["one", "other"] {
            let got = send(client.get(origin.url("/")).header("authorization", name)).await;
            assert_eq!((got.text(), got.is_hit()), (name, is_hit));
        }
    }
}

#[tokio::test]
async fn a_private_cache_tells_those_with_a_name_from_those_without() {
    let origin = Origin::start(|seen| {
        let name = seen.header("authorization").to_owned();
        reply(200, &[("cache-control", "max-age=60")], name)
    })
    .await;
    let client = client(HttpCache::default().private());
    let ask = |name: &'static str| {
        let request = client.get(origin.url("/"));
        send(match name {
            "" => request,
            name => request.header("authorization", name),
        })
    };
    for name in ["", "one", "", "one"] {
        assert_eq!(ask(name).await.text(), name);
    }
    assert_eq!(origin.count(), 2);
    // What anybody changes is changed for all.
    for name in ["", "one"] {
        send(client.put(origin.url("/")).header("authorization", name)).await;
        for name in ["", "one"] {
            assert!(!ask(name).await.is_hit(), "{name}");
            assert!(ask(name).await.is_hit(), "{name}");
        }
    }
}

#[tokio::test]
async fn nothing_of_a_request_is_in_the_store() {
    let store = kv("memory:").unwrap();
    let origin = Origin::counting(&[
        ("cache-control", "max-age=60, public"),
        ("vary", "authorization, cookie"),
    ])
    .await;
    let client = client(HttpCache::new(&store).unwrap());
    let url = origin
        .url("/path-secret?token=query-secret")
        .replace("//", "//ada:url-secret@");
    let request = client.get(&url).header("cookie", "cookie-secret");
    send(request.header("authorization", "Bearer header-secret")).await;
    let mut entries = store.scan(Scan::new());
    let mut count = 0;
    while let Some((key, entry)) = entries.try_next().await.unwrap() {
        let kept = format!("{key} {}", entry.json());
        assert!(!kept.contains("secret") && !kept.contains("ada"), "{kept}");
        assert!(
            key.len() <= 97
                && key
                    .bytes()
                    .all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
        );
        count += 1;
    }
    assert_eq!(count, 2);
}
