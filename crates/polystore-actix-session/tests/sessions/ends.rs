//! Ids that are taken, logouts that come at the worst moment, and what is left of a session.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use actix_session::storage::{SaveError, SessionKey, SessionStore};
use actix_web::cookie::time::Duration;
use futures_util::future::{BoxFuture, FutureExt, join_all, pending};
use polystore_actix_session::Sessions;
use polystore_kv::backend::{Backend, BoxStream, Info, async_trait};
use polystore_kv::{Entry, Error, ErrorKind, Expiry, IntoStore, Result, Scan, Store, kv};
use polystore_servers::{Postgres, Redis};

use super::places::{again, everywhere, key, until};

const HOUR: Duration = Duration::HOUR;

fn state() -> HashMap<String, String> {
    HashMap::from([("user".to_owned(), "\"Ada\"".to_owned())])
}

type Moment = Mutex<Option<BoxFuture<'static, ()>>>;

/// A memory in which something else happens at a given moment.
#[derive(Default)]
struct Staged {
    /// Around the next writing of a session.
    before_set: Moment,
    after_set: Moment,
    /// So many ids to come are taken.
    taken: AtomicUsize,
    /// So many are put in, and the answer is lost.
    lost: AtomicUsize,
    /// There is no `insert`, no `replace` and no `touch`.
    is_plain: bool,
}

/// Staged events, and the memory that they happen to.
#[derive(Clone)]
struct Stage(Arc<Staged>, Store);

impl Stage {
    fn new(staged: Staged) -> Self {
        Self(Arc::new(staged), kv("memory:").unwrap())
    }

    fn sessions(&self) -> Sessions {
        Sessions::new(self.clone()).unwrap()
    }

    /// Somebody else, to whom nothing happens.
    fn others(&self) -> Sessions {
        Sessions::new(&self.1).unwrap()
    }
}

async fn happens(moment: &Moment) {
    let event = moment.lock().unwrap().take();
    if let Some(event) = event {
        event.await;
    }
}

fn counts_down(counter: &AtomicUsize) -> bool {
    let one_less = |left: usize| left.checked_sub(1);
    let counted = counter.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less);
    counted.is_ok()
}

#[async_trait]
impl Backend for Stage {
    fn info(&self) -> Info {
        Info::new("staged")
    }
    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        self.1.backend().get(key).await
    }
    async fn set(&self, key: &str, entry: Entry) -> Result<()> {
        if key.ends_with(".ended") {
            return self.1.backend().set(key, entry).await;
        }
        happens(&self.0.before_set).await;
        self.1.backend().set(key, entry).await?;
        happens(&self.0.after_set).await;
        Ok(())
    }
    async fn del(&self, key: &str) -> Result<()> {
        self.1.backend().del(key).await
    }
    fn scan(&self, scan: Scan) -> BoxStream<'static, Result<(String, Entry)>> {
        self.1.backend().scan(scan)
    }
    async fn insert(&self, key: &str, entry: Entry) -> Result<bool> {
        if self.0.is_plain {
            return Err(Error::unsupported("insert"));
        }
        if counts_down(&self.0.taken) {
            return Ok(false);
        }
        let inserted = self.1.backend().insert(key, entry).await;
        if counts_down(&self.0.lost) {
            let error = Error::new(ErrorKind::Unreachable, "the connection was lost");
            return Err(error.with_maybe_applied());
        }
        inserted
    }
    async fn replace(&self, key: &str, entry: Entry) -> Result<bool> {
        if self.0.is_plain {
            return Err(Error::unsupported("replace"));
        }
        happens(&self.0.before_set).await;
        let replaced = self.1.backend().replace(key, entry).await?;
        happens(&self.0.after_set).await;
        Ok(replaced)
    }
    async fn touch(&self, key: &str, expiry: Expiry) -> Result<bool> {
        match self.0.is_plain {
            true => Err(Error::unsupported("touch")),
            false => self.1.backend().touch(key, expiry).await,
        }
    }
}

#[actix_web::test]
async fn an_id_that_is_taken_is_not_overwritten() {
    let stage = Stage::new(Staged::default());
    let first = stage.others().save(state(), &HOUR).await.unwrap();
    stage.0.taken.store(3, Ordering::SeqCst);
    let new = stage.sessions().save(HashMap::new(), &HOUR).await.unwrap();
    assert_eq!(stage.1.keys().await.unwrap().len(), 2);
    assert_eq!(stage.others().load(&first).await.unwrap(), Some(state()));
    assert_eq!(
        stage.others().load(&new).await.unwrap(),
        Some(HashMap::new())
    );

    // A store that always says so is broken, and nobody waits for ever.
    stage.0.taken.store(usize::MAX, Ordering::SeqCst);
    let error = stage.sessions().save(state(), &HOUR).await.unwrap_err();
    assert!(matches!(error, SaveError::Other(_)), "{error:?}");
    assert!(format!("{error:?}").contains("taken"), "{error:?}");
    assert_eq!(stage.1.keys().await.unwrap().len(), 2);
}

#[actix_web::test]
async fn an_answer_that_was_lost_costs_an_id_and_no_login() {
    let stage = Stage::new(Staged::default());
    stage.0.lost.store(2, Ordering::SeqCst);
    let key = stage.sessions().save(state(), &HOUR).await.unwrap();
    assert_eq!(stage.others().load(&key).await.unwrap(), Some(state()));
    // The others are unknown to everyone, and expire.
    assert_eq!(stage.1.keys().await.unwrap().len(), 3);

    stage.0.lost.store(usize::MAX, Ordering::SeqCst);
    let error = stage.sessions().save(state(), &HOUR).await.unwrap_err();
    assert!(format!("{error:?}").contains("lost"), "{error:?}");
}

#[actix_web::test]
async fn a_store_without_atomic_writes_keeps_sessions_too() {
    let stage = Stage::new(Staged {
        is_plain: true,
        ..Staged::default()
    });
    let sessions = stage.sessions();
    let key = sessions.save(state(), &Duration::MINUTE).await.unwrap();
    sessions.update_ttl(&key, &HOUR).await.unwrap();
    let left = stage.1.ttl(key.as_ref()).await.unwrap().unwrap();
    assert!(left.as_duration() > Some(std::time::Duration::from_secs(3500)));
    assert_eq!(sessions.load(&key).await.unwrap(), Some(state()));
    sessions.update_ttl(&key, &Duration::ZERO).await.unwrap();
    assert_eq!(sessions.load(&key).await.unwrap(), None);
    sessions.update_ttl(&key, &HOUR).await.unwrap();
    assert_eq!(stage.1.keys().await.unwrap(), [""; 0]);
}

/// Ends the session at that moment, and gives what there is when `change` is done.
async fn ended_while(
    is_plain: bool,
    moment: fn(&Staged) -> &Moment,
    change: impl AsyncFn(Sessions, SessionKey),
) {
    let stage = Stage::new(Staged {
        is_plain,
        ..Staged::default()
    });
    let key = stage.others().save(state(), &HOUR).await.unwrap();
    let id = key.as_ref().to_owned();
    let (others, ended) = (stage.others(), self::key(&id));
    let logout = async move { others.delete(&ended).await.unwrap() };
    *moment(&stage.0).lock().unwrap() = Some(Box::pin(logout));
    change(stage.sessions(), key).await;
    assert!(moment(&stage.0).lock().unwrap().is_none(), "it happened");
    assert_eq!(stage.1.keys().await.unwrap(), [format!("{id}.ended")]);
}

#[actix_web::test]
async fn a_logout_wins_over_a_change_whenever_it_comes() {
    let moments: [fn(&Staged) -> &Moment; 2] = [|it| &it.before_set, |it| &it.after_set];
    for moment in moments {
        for is_plain in [false, true] {
            ended_while(is_plain, moment, async |sessions, key| {
                let same = again(&key);
                assert_eq!(sessions.update(key, state(), &HOUR).await.unwrap(), same);
            })
            .await;
        }
        ended_while(true, moment, async |sessions, key| {
            sessions.update_ttl(&key, &HOUR).await.unwrap();
        })
        .await;
    }
}

/// A client that goes away, a server that is killed.
#[actix_web::test]
async fn a_change_that_is_cut_off_leaves_no_session_that_was_ended() {
    let stage = Stage::new(Staged {
        is_plain: true,
        ..Staged::default()
    });
    let key = stage.others().save(state(), &HOUR).await.unwrap();
    let (others, ended) = (stage.others(), self::key(key.as_ref()));
    let logout = async move { others.delete(&ended).await.unwrap() };
    *stage.0.before_set.lock().unwrap() = Some(Box::pin(logout));
    *stage.0.after_set.lock().unwrap() = Some(Box::pin(pending()));
    let sessions = stage.sessions();
    let update = sessions.update(again(&key), state(), &HOUR);
    assert!(update.now_or_never().is_none(), "it is being written");
    assert!(stage.1.has(key.as_ref()).await.unwrap());
    assert_eq!(stage.sessions().load(&key).await.unwrap(), None);
    assert_eq!(
        stage.1.keys().await.unwrap(),
        [format!("{}.ended", key.as_ref())]
    );
}

#[actix_web::test]
async fn what_was_ended_stays_so_and_what_has_expired_goes_on_under_a_new_id() {
    for place in everywhere() {
        let (name, store) = (place.name, &place.store);
        let sessions = Sessions::new(store).unwrap();
        let ended = sessions.save(state(), &HOUR).await.unwrap();
        sessions.delete(&ended).await.unwrap();
        let same = sessions.update(again(&ended), state(), &HOUR).await;
        assert_eq!(same.unwrap(), ended, "{name}");
        sessions.update_ttl(&ended, &HOUR).await.unwrap();
        assert_eq!(sessions.load(&ended).await.unwrap(), None, "{name}");
        let mark = format!("{}.ended", ended.as_ref());
        assert_eq!(
            store.keys().await.unwrap(),
            std::slice::from_ref(&mark),
            "{name}"
        );
        let left = store.ttl(&mark).await.unwrap().unwrap();
        let left = left.as_duration().unwrap();
        assert!(left <= std::time::Duration::from_secs(3600), "{name}");

        let expired = sessions.save(state(), &HOUR).await.unwrap();
        store.del(expired.as_ref()).await.unwrap();
        let new = sessions.update(again(&expired), state(), &HOUR).await;
        let new = new.unwrap();
        assert_ne!(new, expired, "{name}");
        assert_eq!(sessions.load(&new).await.unwrap(), Some(state()), "{name}");
        assert_eq!(sessions.load(&expired).await.unwrap(), None, "{name}");
    }
}

#[actix_web::test]
async fn of_a_logout_among_many_changes_nothing_is_left_but_that() {
    for place in everywhere() {
        let sessions = Sessions::new(&place.store).unwrap();
        for round in 0..10 {
            let key = &sessions.save(state(), &HOUR).await.unwrap();
            let sessions = &sessions;
            let requests = (0..16).map(|number| async move {
                match number {
                    _ if number == round => sessions.delete(key).await.unwrap(),
                    _ if number % 3 == 0 => sessions.update_ttl(key, &HOUR).await.unwrap(),
                    _ => {
                        let updated = sessions.update(again(key), state(), &HOUR).await;
                        assert_eq!(updated.unwrap(), *key);
                    }
                }
            });
            join_all(requests).await;
            let left = sessions.load(key).await.unwrap();
            assert_eq!(left, None, "{}: round {round}", place.name);
        }
        let left = place.store.keys().await.unwrap();
        let are_marks = left.iter().all(|key| key.ends_with(".ended"));
        assert!(are_marks && left.len() == 10, "{}: {left:?}", place.name);
    }
}

/// Asks the places themselves: a listing never shows what has expired.
#[actix_web::test]
async fn sessions_that_have_expired_leave_by_themselves() {
    async fn fill(store: impl IntoStore) -> Sessions {
        let sessions = Sessions::new(store).unwrap();
        for _ in 0..20 {
            sessions
                .save(state(), &Duration::milliseconds(50))
                .await
                .unwrap();
        }
        sessions
    }
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("sessions");
    let _in_files = fill(at.as_path()).await;
    let files = || {
        let files = std::fs::read_dir(&at).unwrap();
        files
            .filter(|file| file.as_ref().unwrap().path().is_file())
            .count()
    };
    until("no file is left", async || files() == 0).await;

    if let Some(redis) = Redis::start() {
        let _in_redis = fill(redis.url()).await;
        until("no key is left", async || redis.command(&["DBSIZE"]) == "0").await;
    }
    if let Some(postgres) = Postgres::start() {
        let _in_postgres = fill(postgres.url_with("table=sessions")).await;
        let count = || postgres.sql("select count(*) from sessions");
        until("no row is left", async || count() == ["0"]).await;
    }
}

/// Of the driver that actix-session has for it: `SET id {"name":"json"} NX EX seconds`.
#[actix_web::test]
async fn in_redis_they_are_those_of_actix_sessions_own_store() {
    let Some(redis) = Redis::start() else { return };
    let sessions = Sessions::new(redis.url()).unwrap();
    let theirs = "Ab0".repeat(22)[..64].to_owned();
    let text = "{\"user\":\"\\\"Ada\\\"\"}";
    redis.command(&["SET", &theirs, text, "NX", "EX", "60"]);
    let key = key(&theirs);
    assert_eq!(sessions.load(&key).await.unwrap(), Some(state()));

    let ours = sessions.update(key, state(), &HOUR).await.unwrap();
    assert_eq!(ours.as_ref(), theirs);
    assert_eq!(redis.command(&["GET", &theirs]), text);
    let left: u64 = redis.command(&["TTL", &theirs]).parse().unwrap();
    assert!((3500..=3600).contains(&left), "{left}");
    let new = sessions.save(state(), &HOUR).await.unwrap();
    assert_eq!(redis.command(&["GET", new.as_ref()]), text);
}
