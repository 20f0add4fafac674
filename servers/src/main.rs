//! Starts servers for a person who wants them running, until Ctrl-C or the end of standard input.

#[cfg(unix)]
fn main() {
    use polystore_servers::{Etcd, Postgres, Redis};

    let (redis, postgres, etcd) = std::thread::scope(|scope| {
        // At once: each is waiting for its own server only.
        let redis = scope.spawn(Redis::start);
        let postgres = scope.spawn(Postgres::start);
        let etcd = Etcd::start();
        let joined = "a server that does not start says why";
        (
            redis.join().expect(joined),
            postgres.join().expect(joined),
            etcd,
        )
    });
    let urls = [
        ("REDIS", redis.as_ref().map(Redis::url)),
        ("POSTGRES", postgres.as_ref().map(Postgres::url)),
        ("ETCD", etcd.as_ref().map(Etcd::url)),
    ];
    for (name, url) in urls {
        if let Some(url) = url {
            println!("export POLYSTORE_TEST_{name}_URL={url}");
        }
    }
    println!("# Running; Ctrl-C or the end of standard input stops them and removes their data.");
    // At Ctrl-C this process is gone at once; the servers' supervisors notice.
    let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
}

#[cfg(not(unix))]
fn main() {
    eprintln!("error: the servers are started on Unix only");
    std::process::exit(1);
}
