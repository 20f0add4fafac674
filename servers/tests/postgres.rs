//! PostgreSQL answers, is lost and comes back, also behind `PgBouncer`.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use polystore_servers::{PgBouncer, Postgres, Tls};

#[test]
fn what_was_acknowledged_survives_a_kill_and_a_stop() {
    let Some(postgres) = Postgres::start() else {
        return;
    };
    postgres.sql("create table t (a int, b text); insert into t values (1, 'one'), (2, null)");
    let rows = ["1|one", "2|"];
    assert_eq!(postgres.sql("select * from t order by a"), rows);
    postgres.kill();
    assert!(!postgres.is_running());
    postgres.start_again();
    assert_eq!(postgres.sql("select * from t order by a"), rows);
    postgres.stop();
    postgres.start_again();
    assert_eq!(postgres.sql("select * from t order by a"), rows);
    assert_eq!(postgres.sql("show synchronous_commit"), ["on"]);
    assert_eq!(postgres.sql("show fsync"), ["on"]);
    let error = postgres.try_sql("select * from nowhere").unwrap_err();
    assert!(error.starts_with("42P01: "), "{error}");
}

#[test]
fn settings_password_and_tls_count() {
    let builder = Postgres::builder().setting("max_connections", "7");
    let builder = builder.password("secret").tls(Tls::new().asking_clients());
    let Some(postgres) = builder.start() else {
        return;
    };
    assert_eq!(postgres.sql("show max_connections"), ["7"]);
    assert_eq!(postgres.sql("show ssl"), ["on"]);
    let rules = "select type, auth_method, options from pg_hba_file_rules where type <> 'local'";
    let rules = postgres.sql(rules);
    assert_eq!(rules, ["hostssl|scram-sha-256|{clientcert=verify-ca}"]);
    assert!(postgres.url().contains("postgres:secret@127.0.0.1:"));
}

#[test]
fn a_pooler_stands_in_front_of_it() {
    let Some(postgres) = Postgres::builder().password("secret").start() else {
        return;
    };
    let Some(pooler) = PgBouncer::start(&postgres, "transaction") else {
        return;
    };
    assert!(pooler.is_running());
    assert_ne!(pooler.address(), postgres.address());
    // It was ready when it had passed a query on.
    let seen = "select count(*) from pg_stat_activity where backend_type = 'client backend'";
    assert_eq!(postgres.sql(seen), ["2"]);
}
