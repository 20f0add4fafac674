//! Origins, requests and records that are not as they should be.

use polystore_http_cache::HttpCache;
use polystore_kv::{Entry, Expiry, kv};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::origin::{Origin, client, get, in_memory, reply, send};

/// Whether the second of two requests is answered by what the first one got.
async fn is_kept(headers: &'static [(&'static str, &'static str)]) -> bool {
    let origin = Origin::counting(headers).await;
    let client = in_memory();
    get(&client, &origin.url("/")).await;
    get(&client, &origin.url("/")).await.is_hit()
}

#[tokio::test]
async fn no_quotation_hides_a_directive() {
    for control in [
        r#"max-age=60, x="\"", no-store"#,
        r#"max-age=60, x="a, no-store"#,
        r#"max-age=60, x=a"b, private, y="c""#,
        r#"max-age=60, private=", x"#,
    ] {
        let headers: &'static [_] = vec![("cache-control", control)].leak();
        assert!(!is_kept(headers).await, "{control}");
    }
    assert!(is_kept(&[("cache-control", r#"x="no-store, \", private", max-age=60"#)]).await);
}

#[tokio::test]
async fn an_age_beyond_all_numbers_is_old() {
    for age in [
        "99999999999999999999999",
        "18446744073709551616",
        "2147483649",
    ] {
        let headers: &'static [_] = vec![("cache-control", "max-age=60"), ("age", age)].leak();
        assert!(!is_kept(headers).await, "{age}");
    }
    for none in ["-1", "+100", "1e9", ""] {
        let headers: &'static [_] = vec![("cache-control", "max-age=60"), ("age", none)].leak();
        assert!(is_kept(headers).await, "{none}");
    }
}

#[tokio::test]
async fn what_vary_names_that_is_no_header_could_be_any() {
    for vary in ["accept-language; cookie", "accept language", "\"cookie\""] {
        let headers: &'static [_] = vec![("cache-control", "max-age=60"), ("vary", vary)].leak();
        assert!(!is_kept(headers).await, "{vary}");
    }
}

#[tokio::test]
async fn white_space_in_quotes_tells_variants_apart() {
    let origin = Origin::counting(&[("cache-control", "max-age=60"), ("vary", "x")]).await;
    let client = in_memory();
    for (value, is_hit) in [
        (r#""a, b""#, false),
        (r#""a,b""#, false),
        (r#""a\", b""#, false),
        (r#""a\",b""#, false),
        (r#""a", "b""#, false),
        (r#""a", "b""#, true),
        (r#""a, b""#, true),
    ] {
        let got = send(client.get(origin.url("/")).header("x", value)).await;
        assert_eq!(got.is_hit(), is_hit, "{value}");
    }
}

#[tokio::test]
async fn a_host_of_the_requests_own_is_another_resource() {
    let headers = [("cache-control", "max-age=60")];
    let origin =
        Origin::start(move |seen| reply(200, &headers, seen.header("host").to_owned())).await;
    let (client, url) = (in_memory(), origin.url("/"));
    let own = url.trim_start_matches("http://").trim_end_matches('/');
    get(&client, &url).await;
    for is_hit in [false, true] {
        for host in ["one.example", "other.example"] {
            let got = send(client.get(&url).header("host", host)).await;
            assert_eq!((got.text(), got.is_hit()), (host, is_hit));
        }
    }
    // The same one in other words.
    assert!(send(client.get(&url).header("host", own)).await.is_hit());
    // What changes the one changes no other.
    send(client.post(&url).header("host", "one.example")).await;
    for (host, is_hit) in [("one.example", false), ("other.example", true), (own, true)] {
        let got = send(client.get(&url).header("host", host)).await;
        assert_eq!(got.is_hit(), is_hit, "{host}");
    }
}

#[tokio::test]
async fn only_what_is_kept_is_no_request_whatever_else_is_asked() {
    let origin = Origin::counting(&[("cache-control", "max-age=60")]).await;
    let (client, url) = (in_memory(), origin.url("/"));
    for (name, value) in [("if-none-match", "\"a\""), ("range", "bytes=0-1")] {
        let request = client.get(&url).header("cache-control", "only-if-cached");
        let got = send(request.header(name, value)).await;
        assert_eq!((got.status, origin.count()), (504, 0), "{name}");
    }
}

#[tokio::test]
async fn what_shared_caches_have_to_confirm_is_fresh_until_it_is_stale() {
    assert!(is_kept(&[("cache-control", "max-age=60, proxy-revalidate")]).await);
}

#[tokio::test]
async fn no_record_is_too_much() {
    let born = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let born = born.unwrap().as_millis();
    let of = |count: usize| {
        let headers = (0..count).map(|name| format!(r#"["a{name}","b"]"#));
        let headers: Vec<String> = headers.collect();
        format!(
            r#"{{"reply/1": {{"born": {born}, "lifetime": 600, "status": 200, "http": "1.1",
                "headers": [{}], "body": ""}}}}"#,
            headers.join(",")
        )
    };
    // As many as a map holds are one too few for what is said of a reply.
    let [some, full, many] = [1001, 24_576, 40_000].map(of);
    let future = r#"{"reply/1": {"born": 9000000000000, "status": 200, "http": "1.1",
        "headers": [["cache-control", "max-age=60"]], "body": ""}}"#;
    for record in [&*some, &*full, &*many, future] {
        let store = kv("memory:").unwrap();
        let origin = Origin::counting(&[("cache-control", "max-age=60")]).await;
        let (client, url) = (client(HttpCache::new(&store).unwrap()), origin.url("/"));
        get(&client, &url).await;
        let key = store.keys().await.unwrap().remove(0);
        let entry = Entry::from_json(record, Expiry::Never).unwrap();
        store.put(&key, entry).await.unwrap();
        for is_hit in [false, true] {
            let got = get(&client, &url).await;
            assert_eq!((got.text(), got.is_hit()), ("2", is_hit));
        }
    }
}

/// The URL of an origin that says just that to whoever connects, and then ends the connection.
async fn says(reply: &'static str) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(reply.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    url
}

#[tokio::test]
async fn what_the_origin_cut_off_is_not_kept() {
    for (reply, is_whole) in [
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 4\r\ncache-control: max-age=60\r\n\r\nabc",
            false,
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncache-control: max-age=60\r\n\r\nabc",
            true,
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncache-control: max-age=60\r\n\r\n3\r\nabc\r\n",
            false,
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncache-control: max-age=60\r\n\r\n3\r\nabc\r\n0\r\n",
            false,
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: a\r\ncache-control: max-age=60\r\n\r\n3\r\nabc\r\n0\r\na: b\r\n\r\n",
            true,
        ),
        (
            "HTTP/1.0 200 OK\r\ncache-control: max-age=60\r\n\r\nabc",
            true,
        ),
        (
            "HTTP/1.1 103 Early Hints\r\nlink: <a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 3\r\ncache-control: max-age=60\r\n\r\nabc",
            true,
        ),
        (
            "HTTP/1.1 206 Partial Content\r\ncontent-range: bytes 0-2/9\r\ncontent-length: 3\r\ncache-control: max-age=60\r\n\r\nabc",
            false,
        ),
        (
            "HTTP/1.1 304 Not Modified\r\ncache-control: max-age=60\r\n\r\n",
            false,
        ),
    ] {
        let (client, url) = (in_memory(), says(reply).await);
        for expected in [false, is_whole] {
            let got = client.get(&url).send().await.unwrap();
            let said = got.headers().get_all("cache-status").iter().next_back();
            let is_hit = said.unwrap().as_bytes().starts_with(b"polystore; hit");
            assert_eq!(is_hit, expected, "{reply}");
            let _ = got.bytes().await;
        }
    }
}
