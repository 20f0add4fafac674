//! Replies that depend on the request's headers are kept beside each other.

use polystore_http_cache::HttpCache;
use polystore_kv::kv;

use crate::origin::{Got, Origin, client, in_memory, reply, send};
use reqwest_middleware::ClientWithMiddleware;

async fn ask(client: &ClientWithMiddleware, url: &str, languages: &[&str]) -> Got {
    let mut request = client.get(url);
    for language in languages {
        request = request.header("accept-language", *language);
    }
    send(request).await
}

#[tokio::test]
async fn each_language_is_asked_for_once() {
    let origin = Origin::start(|seen| {
        let language = seen.headers.get_all("accept-language").iter();
        let language: Vec<_> = language.map(|it| it.to_str().unwrap()).collect();
        let headers = [
            ("cache-control", "max-age=60"),
            ("vary", "Accept-Language, X-Other"),
        ];
        reply(200, &headers, language.join("|"))
    })
    .await;
    let (client, url) = (in_memory(), origin.url("/"));
    let all: [&[&str]; 4] = [&["de"], &["en, fr"], &[], &[""]];
    for (count, languages) in all.iter().enumerate() {
        let got = ask(&client, &url, languages).await;
        let said = if count == 0 { "uri-miss" } else { "vary-miss" };
        assert_eq!(
            got.cache,
            format!("polystore; fwd={said}; stored"),
            "{languages:?}"
        );
    }
    for languages in all {
        let got = ask(&client, &url, languages).await;
        assert!(got.is_hit(), "{languages:?}: {got:?}");
        assert_eq!(got.text(), languages.join("|"));
    }
    assert!(ask(&client, &url, &["en", "fr"]).await.is_hit());
    assert!(ask(&client, &url, &["en ,fr"]).await.is_hit());
    assert_eq!(origin.count(), 4);
    let other = send(
        client
            .get(&url)
            .header("accept-language", "de")
            .header("x-other", "1"),
    )
    .await;
    assert!(!other.is_hit());
}

#[tokio::test]
async fn a_variant_is_confirmed_by_itself() {
    let origin = Origin::start(|seen| {
        let tag = format!("\"{}\"", seen.header("accept-language"));
        let headers = [("vary", "accept-language"), ("etag", &tag)];
        match seen.header("if-none-match") == tag {
            true => reply(304, &headers, ""),
            false => reply(200, &headers, tag.clone()),
        }
    })
    .await;
    let (client, url) = (in_memory(), origin.url("/"));
    for said in ["miss; stored", "fwd=stale; fwd-status=304; stored"] {
        for language in ["de", "en"] {
            let got = ask(&client, &url, &[language]).await;
            assert!(got.cache.ends_with(said), "{got:?}");
            assert_eq!(got.text(), format!("\"{language}\""));
        }
    }
}

#[tokio::test]
async fn what_changes_the_resource_makes_all_variants_void() {
    let origin =
        Origin::counting(&[("cache-control", "max-age=60"), ("vary", "accept-language")]).await;
    let (client, url) = (in_memory(), origin.url("/"));
    for language in ["de", "en"] {
        ask(&client, &url, &[language]).await;
    }
    send(client.put(&url)).await;
    // Nor does the new one bring the other back.
    assert_eq!(ask(&client, &url, &["de"]).await.text(), "4");
    assert_eq!(ask(&client, &url, &["en"]).await.text(), "5");
    assert_eq!(ask(&client, &url, &["de"]).await.text(), "4");
}

#[tokio::test]
async fn changes_leave_no_more_behind_than_there_are_variants() {
    let headers = &[("cache-control", "max-age=60"), ("vary", "accept-language")];
    let (origin, store) = (Origin::counting(headers).await, kv("memory:").unwrap());
    let (client, url) = (client(HttpCache::new(&store).unwrap()), origin.url("/"));
    for _ in 0..10 {
        for language in ["de", "en"] {
            assert!(!ask(&client, &url, &[language]).await.is_hit());
            assert!(ask(&client, &url, &[language]).await.is_hit());
        }
        assert_eq!(store.keys().await.unwrap().len(), 3);
        send(client.put(&url)).await;
    }
}

#[tokio::test]
async fn the_last_reply_says_what_the_resource_depends_on() {
    let origin = Origin::start(|seen| {
        let vary = ["accept-language", "accept", ""][seen.before.min(2)];
        let mut headers = vec![("cache-control", "max-age=60")];
        if !vary.is_empty() {
            headers.push(("vary", vary));
        }
        reply(200, &headers, seen.before.to_string())
    })
    .await;
    let (client, url) = (in_memory(), origin.url("/"));
    for (language, text) in [("de", "0"), ("en", "1"), ("de", "1"), ("fr", "1")] {
        assert_eq!(
            ask(&client, &url, &[language]).await.text(),
            text,
            "{language}"
        );
    }
    let new = send(client.get(&url).header("cache-control", "no-cache")).await;
    assert_eq!(new.text(), "2");
    let plain = send(client.get(&url).header("accept", "text/plain")).await;
    assert!(plain.is_hit() && plain.text() == "2", "{plain:?}");
}

#[tokio::test]
async fn headers_that_the_client_adds_count_once_they_are_told() {
    let origin = Origin::counting(&[("cache-control", "max-age=60"), ("vary", "accept")]).await;
    let store = kv("memory:").unwrap();
    for (accept, text) in [("a", "1"), ("b", "2"), ("a", "1")] {
        let mut headers = reqwest::header::HeaderMap::new();
        headers.insert("accept", accept.parse().unwrap());
        let cache = HttpCache::new(&store).unwrap().client_headers(headers);
        let got = send(client(cache).get(origin.url("/"))).await;
        assert_eq!(got.text(), text, "{accept}");
    }
}
