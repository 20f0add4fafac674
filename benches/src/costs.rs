//! What the methods on groups cost, in single gets and sets of the same store. Each store runs in a
//! process of its own.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use polystore_kv::Store;
use serde::{Deserialize, Serialize};

use crate::groups::{block_on, fill, median};
use crate::local::ours;
use crate::serving::Serving;
use crate::subject::User;
use crate::{Bench, Options};

/// What `--only` says to have only these.
pub(crate) const COSTS: &str = "costs";

/// Keys in a group, and other keys in the store.
const FEW: u32 = 100;
const OTHERS: u32 = 10_000;

/// How many single operations are timed together.
const SINGLES: u32 = 20;
const ROUNDS: u32 = 15;

/// Microseconds, medians.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Costs {
    get: f64,
    set: f64,
    get_many: f64,
    keys: f64,
    entries: f64,
    set_many: f64,
    del_many: f64,
    clear: f64,
    prune: f64,
}

pub(crate) fn costs(url: &str) -> Costs {
    let store = ours(url);
    block_on(async {
        // A server may hold what was measured before.
        store.clear().await.expect("the store works");
        fill(&store, "other:", OTHERS).await;
        let mut rounds = Vec::new();
        for round in 0..ROUNDS {
            rounds.push(measured(&store, round).await);
        }
        store.clear().await.expect("the store works");
        store.close().await.expect("the store works");
        let of = |cost: fn(&Costs) -> f64| median(rounds.iter().map(cost).collect());
        Costs {
            get: of(|costs| costs.get),
            set: of(|costs| costs.set),
            get_many: of(|costs| costs.get_many),
            keys: of(|costs| costs.keys),
            entries: of(|costs| costs.entries),
            set_many: of(|costs| costs.set_many),
            del_many: of(|costs| costs.del_many),
            clear: of(|costs| costs.clear),
            prune: of(|costs| costs.prune),
        }
    })
}

/// One round of everything, so that what slows the machine down for a while slows all of it.
async fn measured(store: &Store, round: u32) -> Costs {
    let few = store.prefix("few:");
    let ids: Vec<String> = (0..FEW).map(|id| format!("{id:03}")).collect();
    let users = || ids.iter().map(|id| (id, User::new(round)));
    let single = |n: u32| format!("other:{:07}", (round * SINGLES + n) * 31 % OTHERS);

    let get = timed(async {
        for n in 0..SINGLES {
            let user = store.get::<User>(&single(n)).await;
            assert!(user.expect("the store works").is_some());
        }
    });
    let get = get.await / f64::from(SINGLES);
    let set = timed(async {
        for n in 0..SINGLES {
            // Another value each time: SQLite does not write what is there already.
            let user = User::new(OTHERS + round);
            let set = store.set(&single(n), &user);
            set.await.expect("the store works");
        }
    });
    let set = set.await / f64::from(SINGLES);

    let set_many = timed(async { few.set_many(users()).await.expect("the store works") }).await;
    let get_many = timed(async {
        let found = few.get_many::<User>(&ids).await;
        assert_eq!(found.expect("the store works").len(), ids.len());
    });
    let get_many = get_many.await;
    let keys = timed(async {
        let keys = few.keys().await;
        assert_eq!(keys.expect("the store works").len(), ids.len());
    });
    let keys = keys.await;
    let entries = timed(async {
        let entries = few.entries::<User>().await;
        assert_eq!(entries.expect("the store works").len(), ids.len());
    });
    let entries = entries.await;
    let del_many = timed(async { few.del_many(&ids).await.expect("the store works") }).await;

    few.set_many(users()).await.expect("the store works");
    let clear = timed(async { few.clear().await.expect("the store works") }).await;

    let brief = few.set_many(users()).expires(Duration::from_millis(1));
    brief.await.expect("the store works");
    tokio::time::sleep(Duration::from_millis(2)).await;
    // Some of them may have left by themselves.
    let prune = timed(async {
        store.prune().await.expect("the store works");
    });
    let prune = prune.await;

    Costs {
        get,
        set,
        get_many,
        keys,
        entries,
        set_many,
        del_many,
        clear,
        prune,
    }
}

/// Microseconds.
async fn timed(work: impl Future<Output = ()>) -> f64 {
    let begun = Instant::now();
    work.await;
    begun.elapsed().as_secs_f64() * 1e6
}

impl Options {
    pub(crate) fn wants_only_costs(&self) -> bool {
        self.only.as_deref() == Some(COSTS)
    }
}

impl Bench<'_> {
    /// The table, or nothing if none of it is wanted.
    pub(crate) fn costs(&self) -> Option<String> {
        let folder = self.folder.display();
        let mut urls = vec![
            ("memory", "memory:".to_owned()),
            ("file", format!("file:{folder}/costs.json")),
            ("folder", format!("file:{folder}/costs/")),
            ("SQLite", format!("sqlite:{folder}/costs.db")),
            ("LevelDB", format!("level:{folder}/costs.level")),
        ];
        if let Some(redis) = &self.servers.redis {
            urls.push(("Redis", redis.database_url(6)));
        }
        if let Some(postgres) = &self.servers.postgres {
            urls.push(("PostgreSQL", postgres.url_with("table=costs")));
        }
        if let Some(etcd) = &self.servers.etcd {
            urls.push(("etcd", etcd.url()));
        }
        let wants = |what: &str| {
            self.options
                .wants(&format!("{} {COSTS}", what.to_lowercase()))
        };
        let server = wants("http")
            .then(|| Serving::of_rust("ours", "memory:"))
            .flatten();
        if let Some(server) = &server {
            urls.push(("HTTP", server.url()));
        }

        let mut rows = String::new();
        for (what, url) in urls {
            if !wants(what) {
                continue;
            }
            eprintln!("{} {COSTS}", what.to_lowercase());
            let Some(costs) = self.child::<Costs>(&[COSTS, &url]) else {
                continue;
            };
            let _ = write!(
                rows,
                "| {what} | {} | {} |",
                time(costs.get),
                time(costs.set)
            );
            for group in [costs.get_many, costs.keys, costs.entries] {
                let _ = write!(rows, " {} |", times(group / costs.get));
            }
            for group in [costs.set_many, costs.del_many, costs.clear, costs.prune] {
                let _ = write!(rows, " {} |", times(group / costs.set));
            }
            rows.push('\n');
        }
        let head = "| | a `get` | a `set` | `get_many` | `keys` | `entries` | `set_many` | `del_many` | `clear` | `prune` |\n\
                    |---|---|---|---|---|---|---|---|---|---|\n";
        (!rows.is_empty()).then(|| format!("{head}{rows}"))
    }
}

fn time(micros: f64) -> String {
    if micros < 1000.0 {
        format!("{} µs", times(micros))
    } else {
        format!("{} ms", times(micros / 1000.0))
    }
}

/// With two digits that count.
fn times(ratio: f64) -> String {
    match ratio {
        r if r >= 10.0 => format!("{r:.0}"),
        r if r >= 1.0 => format!("{r:.1}"),
        r => format!("{r:.2}"),
    }
}
