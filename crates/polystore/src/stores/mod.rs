//! The stores: what each keeps, its options and its limits. For reading only.

/// `memory:` — an ordered map in this process.
///
/// Each `kv("memory:")` is a store of its own; it is gone with its last handle.
///
/// | option | meaning |
/// |---|---|
/// | `max_entries=1000` | at most so many entries |
/// | `max_bytes=64MB` | at most so many bytes of keys and values, with about 200 bytes of overhead for each entry (units: `KB MB GB KiB MiB GiB`) |
///
/// With a limit, a write that exceeds it evicts another entry: of those not read or overwritten
/// since eviction last looked at them, the one written first ("second chance"). An entry
/// that alone is larger than `max_bytes` is a usage error.
///
/// Reads do not block each other. A listing of a prefix costs what it returns. Expired
/// entries are removed by a thread that exists while any entry has an expiry.
pub mod memory {}

/// `file:cache.json` — all entries in one JSON file.
///
/// The file is that of the npm package: an object of
/// `{"expires": milliseconds since 1970 or null, "value": …}` by key. It and its folder
/// are made by the first write. For up to some thousands of entries: every rewrite writes
/// all of them.
///
/// | option | meaning |
/// |---|---|
/// | `sync=full` (default) | a write returns when the file is on the disk: it survives power loss |
/// | `sync=normal` | a write returns when the operating system has it: it survives the death of the process; after power loss the file may be an older one, or empty on file systems that reorder |
/// | `timeout=10s` | how long a write waits for other processes |
///
/// A write makes a new file that takes the old one's name, so that readers never see half
/// a file and a kill leaves the old or the new. Writes that wait share one rewrite. Mode
/// and owner stay; a symbolic link is followed; of several hard links only this name gets
/// the new content. Processes take turns by a lock on `.cache.json.lock` beside the file;
/// the npm package does not take it, so let only one side write at a time.
///
/// What is under a key and is no entry is [`Corrupt`](crate::ErrorKind::Corrupt) in
/// `get`, left out of listings with a warning, and kept by rewrites. A file that is no JSON
/// object, even an empty one, is an error of every operation and stays as it is.
///
/// A listing shows the file as it was when the listing began. Expired entries go with
/// the next write, or by themselves within seconds in a process that has written.
pub mod file {}

/// `file:dir/` — a folder with a file for each entry.
///
/// The files are those of the npm package: `encodeURIComponent(key)` with `*` as `%2A`, and
/// `.json`, holding `{"expires": milliseconds since 1970 or null, "value": …}`. Files
/// named by the key as it is, as version 0.21 did, are found too; if both are there, the
/// encoded one wins, and a write leaves only that.
///
/// A key whose encoded name is longer than 255 bytes goes to the subfolder `.polystore`,
/// under the SHA-256 of the key, with the key beside the value. The npm package does not
/// look there (and cannot write such keys). Temporary files and the lock are there too.
///
/// | option | meaning |
/// |---|---|
/// | `sync=full` (default) | a write returns when its file is on the disk: it survives power loss |
/// | `sync=normal` | a write returns when the operating system has it: it survives the death of the process; after power loss recent entries may be old, missing or corrupt |
/// | `timeout=10s` | how long a write waits for other processes; a listing waits up to 2 s, then goes on |
///
/// Files that are no entries are [`Corrupt`](crate::ErrorKind::Corrupt) in `get` and left
/// out of listings with a warning. A listing reads the names as it goes, in the order
/// of the file system, and keeps a number for each entry that it has shown.
///
/// The npm package writes files in place: while it does, a read here may find half of one,
/// as [`Corrupt`](crate::ErrorKind::Corrupt), and right the next time.
///
/// There is no index of expiries: a process that has written walks through the folder in
/// the background when something may have expired.
///
/// Keys that differ only in case need a file system that tells them apart (Linux has one;
/// macOS and Windows by default do not).
pub mod folder {}

/// `sqlite:app.db`, `sqlite:///abs/app.db`, `sqlite::memory:` — a table in an SQLite
/// database.
///
/// | option | meaning |
/// |---|---|
/// | `table=kv` | the table: letters, digits and `_` |
/// | `timeout=10s` | how long an operation waits for others that hold the database |
/// | `sync=full` | a write has waited for the disk when it returns: it survives power loss |
/// | `sync=normal` | it survives the death of the process; after power loss the last writes may be missing, the database is whole |
///
/// The table is that of the npm package: `id TEXT PRIMARY KEY, value TEXT NOT NULL,
/// expires_at INTEGER`, with the value's JSON as it is and the expiry in milliseconds since
/// 1970. It is made when it is absent, the file and its folder too. One that is there is
/// used as it is, whoever made it, with further columns or without a rowid: it needs those
/// three columns, a unique `id`, and a database in UTF-8; else every operation is a data
/// error that says what is missing. Several tables, processes and stores may share a
/// file; it may not be on a network file system.
///
/// Keys are compared byte by byte whatever the table's own collation is. A table that
/// ignores case can hold only one of `a` and `A`; to write the other is an
/// [`InvalidKey`](crate::ErrorKind::InvalidKey) error.
///
/// A key and its value together may have a gigabyte.
///
/// **Writes** that wait are gathered into one transaction by a thread, and return when that
/// is committed. With `sync=normal`, a lone write of a small value is done on the calling
/// thread: it waits for no disk. `set_many` and `del_many` are done as a whole or not at all;
/// so is `clear`, and other writes wait for it. The first write gives the database a write-ahead
/// log (`app.db-wal` and `app.db-shm` beside it, until the last program closes it) where
/// the file system allows; then readers and writers are in nobody's way.
///
/// **Reads** are done on the calling thread as long as that takes microseconds. When several
/// in a row took more than a millisecond (a cold disk), the next ones go to other threads for
/// a while. Listings read a page at a time: 2,000 entries, or about a megabyte. Opening
/// makes the file and the table if they are absent, for a read too; apart from that, a store
/// that is only read writes nothing, and a read-only file can be read (in a folder that cannot
/// be written, SQLite refuses a database with a write-ahead log). If the file is removed or
/// replaced while it is open, writes and listings are errors: nothing is written into what
/// nobody can find.
///
/// **Expired** entries are removed in small batches beside the writes, and at rest about
/// once a second while there are any, by a store that has written something. It takes
/// an index on `expires_at`; a table without one is looked through once a minute.
///
/// **A `rusqlite::Connection`** (feature `rusqlite-0_43`) is a store, with the table `kv`
/// and a timeout of 10 seconds. It is the only connection then, for reads and writes, with its own settings:
/// the durability is that of its pragmas. Only its busy handler is replaced. Rows that
/// another program left half typed (a value that is no text, an `expires_at` that is no
/// number) are an error of `get`, and left out of listings, with a warning in the log.
pub mod sqlite {}

/// `level:dir`, `level:///abs/dir` — a LevelDB folder.
///
/// | option | meaning |
/// |---|---|
/// | `timeout=10s` | how long opening waits for another program that has the folder open |
/// | `sync=full` (default) | a write has waited for the disk when it returns: it survives power loss |
/// | `sync=normal` | it survives the death of the process; after power loss the last writes may be missing, the database is whole |
///
/// The folder is that of the npm package, which keeps it with `level` or `classic-level`: LevelDB's
/// own format with Snappy, keys in UTF-8 and values of
/// `{"expires": milliseconds since 1970 or null, "value": …}`. Both sides read and write the same folder,
/// in turns: LevelDB lets in one program at a time, and this store takes the same lock on the file
/// `LOCK`. One that is open elsewhere is an error after the `timeout`
/// ([`Timeout`](crate::ErrorKind::Timeout), retryable). The folder stays open until the store is closed
/// or its last handle is gone. Stores of the same folder in one process share it, each with
/// its own `sync`, and however it is written, symbolic links too.
///
/// Any key is kept, also the empty one. A key and its value together may have 256 MiB, and are then
/// in memory several times over. With values of usual size the whole store takes some 20 MB of memory
/// however much is in it, and at most 256 of its files are open.
///
/// **Writes** that wait are gathered into one batch by a thread, which waits for the disk once for
/// all of them. `set_many` and `del_many` are done as a whole up to 4 MB; `clear` goes through the
/// prefix in batches that other operations get between, so it is not. Every 4 MB or so the
/// log is made a table and tables are compacted: all operations wait for that, some tens of
/// milliseconds and, in a store of gigabytes written in no order, up to seconds.
/// That needs room on the disk, some 4 MB and as much as the tables that are compacted: without it, all
/// operations fail with [`Full`](crate::ErrorKind::Full), reads too, until there is some again.
///
/// **Reads** are done by that same thread: those that wait together, and before the writes that
/// wait. Listings read a page at a time, 2,000 entries or a megabyte, and a listing of a
/// prefix begins there. What was deleted costs the reads that pass over it until it is compacted.
///
/// **Damage** is an error ([`Corrupt`](crate::ErrorKind::Corrupt)) that names the file, and never a
/// missing entry: every block that is read is checked, and nothing is removed on the
/// strength of what could not be read. A damaged table that is due to be compacted, or a log that is
/// damaged before its end, keeps the folder from being opened at all. What a crash leaves at the end of a
/// log is cut off. If the folder is removed or replaced while it is open, writes and listings are errors.
///
/// What is in the folder and is no entry (a value that something else wrote, a key that is not UTF-8)
/// is [`Corrupt`](crate::ErrorKind::Corrupt) in `get`, left out of listings with a warning, and left alone by `clear`.
///
/// **Expired** entries: LevelDB has no index of expiries. A store that has written something walks
/// through the folder, a page at a time, when something that it knows of has expired: it rests
/// 20 times as long as a page took, so that this takes a twentieth of the thread's time at most. What has
/// expired is gone from the folder within seconds if that is small, and in a store of a million entries
/// within a minute or so.
pub mod level {}

/// `etcd://user:password@a:2379,b:2379` — keys in an etcd cluster (v3: etcd 3.4 and later).
///
/// | option | meaning |
/// |---|---|
/// | `tls` | TLS to all members, with the system's roots |
/// | `tls_ca=ca.pem` | trusts these certificates instead; turns on `tls`, as the next two do |
/// | `tls_cert=me.pem`, `tls_key=me.key` | shows this certificate to the server |
/// | `timeout=10s` | how long an operation waits, connecting and retries included |
///
/// The port is 2379 if there is none. A URL has no path: etcd has one space of keys, a part of which is
/// a [prefix](crate::Store::prefix). The user and the password may be percent-encoded. PEM files are read again for each
/// new connection. To try it: `etcd` alone starts a server on this machine, at `etcd://localhost`.
///
/// Under a key is the wrapper of the npm package, `{"expires": milliseconds since 1970 or null, "value": …}`.
/// What is anything else, or under a key that is not UTF-8, belongs to somebody else: it is
/// [`Corrupt`](crate::ErrorKind::Corrupt) in `get`, left out of listings with a warning, and kept by `clear` and
/// `prune`. Other programs may use the same cluster.
///
/// **Durability**: a write returns when a majority of the members has it on disk. Reads are linearizable: they see every
/// write that has returned, anywhere, and need a majority, too.
///
/// **Members** of the URL may be down. The store is connected to one of them, at first any; if that is lost, has no leader
/// or does not answer for two fifths of the timeout, to the next. One that is slow to connect does not
/// hold up the others. What a member that hangs was asked it may still do when it goes on: a write is not tried
/// again after silence, but ends as a [`Timeout`](crate::ErrorKind::Timeout) that may have been applied.
/// When fewer than a majority are up, operations fail with
/// [`Unreachable`](crate::ErrorKind::Unreachable) or [`Timeout`](crate::ErrorKind::Timeout) errors that
/// are retryable. What may be repeated is tried again within the timeout; `insert` is not once
/// it was sent.
///
/// **Requests** are shared: reads that wait go in one transaction of up to 128, and so do writes, each
/// acknowledged by one sync of the disks. `set_many`, `del_many`, `clear` and `prune` are done in such
/// transactions, not as a whole. A listing reads pages of about a megabyte, in the order of the keys' bytes, all as of
/// the moment of the first page (unless that is compacted meanwhile). It has to read values also
/// where only keys are wanted, because when they expire is in there.
///
/// **Limits**: no empty key; a key of 16 KiB, a value of 1,500,000 bytes of JSON (etcd takes requests of 1.5 MiB). A
/// server with a lower `--max-request-bytes` refuses large values, with the same error. etcd keeps everything in
/// memory and old revisions until they are compacted: start it with `--auto-compaction-retention`.
///
/// **Expiry** is judged by the clock of this process, to the millisecond. Entries leave the server by themselves,
/// by leases: those that expire at about the same time share one, which ends two seconds to some
/// percent of the time later. What expires in more than a hundred years has none. The npm
/// package makes no leases: what it wrote stays until [`prune`](crate::Store::prune).
///
/// **Users**: with a name in the URL, the store logs in, and again when etcd forgets the login. While
/// authentication is not enabled, the name is not used. A user with a part of the keys can use the store with that
/// prefix.
///
/// **A `tonic::transport::Channel`** (feature `tonic-0_14`) is a store, without a user and with a timeout of 10 seconds. It works
/// while the runtime runs on which the channel was made.
pub mod etcd {}

/// `https://host/path?own=query`, `http://` — a server that speaks the HTTP protocol: `polystore serve`, the
/// crate `polystore-server`, or one for the client of the npm package.
///
/// | option | meaning |
/// |---|---|
/// | `polystore.token_env=NAME` | sends the token that is in this environment variable, as `authorization: Bearer` |
/// | `polystore.timeout=10s` | how long an operation waits, connecting and retries included; a listing, for each piece |
/// | `polystore.max_reply=64MiB` | the longest value, or line of a listing, that is read; of a server of the npm package, the longest listing |
/// | `polystore.tls_ca=ca.pem` | trusts these certificates instead of the system's roots |
/// | `polystore.tls_cert=me.pem`, `polystore.tls_key=me.key` | shows this certificate to the server |
///
/// Everything else in the query is kept and sent with every request, as the path is. It cannot have the names that the
/// protocol itself uses (`key`, `prefix`, `expires`, `limit`, `after`, `values`, `ttl`, `all`). A user and a password in
/// the URL are sent as Basic authentication. A token that the program has goes in by
/// `polystore_kv::HttpStore`. Of the three there can be one, and none is ever shown.
///
/// **What the server speaks** is found out once, by `GET /_/store`, on the first use. One that speaks the whole
/// protocol (`docs/http.md`) has [what its store has](crate::Store::capabilities), within the limits of the server. One that does not
/// know the question speaks what the npm package does: single keys and whole listings, without `insert`, `replace`,
/// `touch`, `ttl` and `prune`, and without the empty key, `.`, `..` and `ping`, which stand for other things in its paths. What is
/// no answer (a server that is down, 401, 403, 429, 5xx) is the error of that operation, and the next one asks again. A listing of
/// such a server is in memory as a whole; `clear` lists, and then deletes key by key.
///
/// **Requests** are shared: reads that wait go in one request of up to 1,000 keys, and so do writes, of up to
/// 4 MiB; nothing is delayed for that. Writes of one key keep their order. `set_many` and `del_many` are not done as a whole.
/// `clear` and `prune` are one request each: give a store with millions of entries a longer timeout. Listings come line by
/// line, in bounded memory, in the order that the store has. Connections are pooled, and HTTP/2 is spoken where TLS offers it.
///
/// **Expiry** is judged by the server. What is sent is the time that is left, so the clocks need not agree: an
/// entry stays longer by the time that the request takes.
///
/// **Failures**: 404 is a missing key, every other status an error that names it: 401 and 403 are
/// [`Denied`](crate::ErrorKind::Denied), 429 [`Throttled`](crate::ErrorKind::Throttled), 5xx connection errors. An error that
/// a server of the whole protocol describes is the same error here. 429, 502, 503 and lost connections are tried again within the timeout,
/// after the wait that the server asks for; `insert` is not once it was sent. A reply that is not JSON is
/// [`Corrupt`](crate::ErrorKind::Corrupt), one that is too long or cut short [`Unreachable`](crate::ErrorKind::Unreachable).
///
/// **Redirects** are followed up to five times, those of 301 to 303 for reads only: a write would become a read there, and
/// is an error. Another origin (scheme, host or port) never gets the token, and from `http:` to `https:` or back none is
/// followed: the error says which URL to use.
///
/// **A `reqwest` of your own** (0.13) is the same crate as this store's, which enables `rustls-no-provider` in it: where your program
/// chooses no TLS of reqwest's, `reqwest::Client::new()` panics until `rustls::crypto::ring::default_provider().install_default()` was called. This
/// store needs no such call, and neither does a program with reqwest's feature `rustls`.
///
/// **In browsers and Workers** it is their `fetch` that asks:
///
/// - A server of another origin than the page's must let the page ask and see the headers of the protocol, as
///   `polystore serve --cors-origin` does (`docs/http.md`, "From pages"); one that does not cannot be told from one that is
///   down, and the error says that it may be that. A server that hides `polystore-protocol` is taken for one of the npm package.
/// - A browser asks a server of another origin for leave before each write, and before each read that has a token, once for
///   each URL: what goes in one request (`get_many`, `set_many`, `del_many`) asks for it once.
/// - Trust is the browser's: the options `polystore.tls_…` are usage errors there, and so is `polystore.token_env`, as there is
///   no environment. Cookies go along to the page's own origin only. There is no `user-agent` of ours.
/// - A page is not told where a redirect leads, so none is followed in browsers: it is an error, whatever is asked. In Workers
///   it is as above.
/// - An operation that is dropped ends its request, if no other one shares it.
/// - A page is not told either how a reply was sent: one that ends with its connection, without a length, and is cut off there
///   looks whole if it can be read. `polystore serve` sends no such reply.
///
/// ```
/// # #[cfg(feature = "http")]
/// # fn main() -> polystore_kv::Result<()> {
/// use polystore_kv::{HttpStore, kv};
/// let store = kv("http://127.0.0.1:3000/")?;                                     // polystore serve
/// let store = kv(HttpStore::new("https://kv.example.com/app").token("secret"))?;
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "http"))]
/// # fn main() {}
/// ```
pub mod http {}

/// `redis://host:6379/0` — strings in Redis or Valkey (6 or later), a cluster of them, or what Sentinels watch over.
///
/// | URL | server |
/// |---|---|
/// | `redis://user:password@host:6379/3` | one server; the number is the database. `redis://:password@host` is the default user |
/// | `rediss://…` | the same with TLS |
/// | `redis+unix:///path/to/socket?db=3`, `redis+unix://user:password@/path/…` | one server on this machine |
/// | `redis-cluster://user:password@a:6379,b,c`, `rediss-cluster://…` | a cluster: some of its servers, of which one has to answer |
/// | `redis-sentinel://user:password@s1:26379,s2/0?master=NAME`, `rediss-sentinel://…` | the master that these Sentinels name; user, password and database are the master's |
///
/// | option | meaning |
/// |---|---|
/// | `timeout=10s` | how long an operation waits, connecting and trying again included |
/// | `db=0` | the database, with `redis+unix:` |
/// | `tls_ca=ca.pem` | whom to trust instead of the system's roots, with TLS |
/// | `tls_cert=client.pem`, `tls_key=client.key` | the client's certificate and its key, with TLS |
/// | `master=NAME` | the name that the Sentinels have for the master |
/// | `sentinel_user=`, `sentinel_password=` | how to log in to the Sentinels |
///
/// To try it: `docker run -p 6379:6379 valkey/valkey`, or Debian's `redis-server`; then
/// `redis://localhost`.
///
/// A key's string is the value's JSON, as the npm package has it. A string that is no JSON, and
/// another Redis type, is [`Corrupt`](crate::ErrorKind::Corrupt) in `get`, and left out
/// of listings, with a warning for what is no JSON. `keys()` looks at no values: it shows
/// strings that are no JSON too, and `clear()` removes them. Other types are left alone by
/// both; `set` and `del` of the very key replace and remove them. A value may have 512 MB.
///
/// **Durability** is the server's: a write returns when the server has it. What survives the death of
/// the server, and power loss, is what its `appendonly`, `appendfsync` and `save` say; with Redis' own
/// defaults the writes of some minutes can be lost. A write does not wait for replicas (`WAIT`):
/// a failover can lose the last ones. Reads go to masters.
///
/// **Expiry** is kept by the server, by its clock, to the millisecond: it is told the time that is left, and
/// nothing goes early. An instant that is read comes from the time that is left too: it is off by how long
/// the answer took. `prune()` has nothing to do.
///
/// **Requests**: all operations share a connection (one to each server of a cluster), and those that
/// wait go together. `get_many`, `set_many` and `del_many` go in requests of 500 keys or a
/// megabyte; they are not atomic. Listings go through the server by `SCAN`: one of
/// a prefix costs what the database holds, and is in no order. They keep some 20 bytes for each
/// key that was shown, so that none is twice. `clear()` removes in batches (`UNLINK`), never by
/// `FLUSHDB`.
///
/// **Lost connections** are replaced. What only says what is to be (`set`, `del`, `touch`) and what only reads is
/// tried again until its time is over, also while the server loads, or a replica becomes the
/// master; an `insert` that was sent is not. A listing begins again where it has to, at that server.
/// While the slots of a cluster are on their way from one server to another, a listing can miss keys of
/// those slots.
///
/// **Users** need the commands `GET MGET SET UNLINK EXISTS TYPE PTTL PEXPIRE PERSIST SCAN MULTI EXEC`, and
/// `CLUSTER SLOTS` in a cluster. Only [`evict`](crate::backend::Backend::evict) needs `EVAL`.
///
/// **A client** of the crate `redis` (feature `redis-1`) is a store too, with its database, user, TLS and
/// the timeout of 10 seconds: a `redis::Client` is connected on the first use and again when the
/// connection is lost; a `ClusterClient` likewise (its own retries and time limits hold as well: with
/// `retries(0)` no insert is sent twice); a `ConnectionManager` comes back by itself, within
/// its own time limits; a `MultiplexedConnection` that is lost stays lost.
pub mod redis {}

/// `postgres://user:password@host:5432/database`, `postgresql://…` — a table in a PostgreSQL
/// database (12 or later).
///
/// | option | meaning |
/// |---|---|
/// | `table=kv` | the table: letters, digits and `_`, with its schema as in `app.kv`; upper and lower case differ |
/// | `timeout=10s` | how long an operation waits, connecting and trying again included |
/// | `pooler=transaction` | for a pooler that gives a session for a transaction only (`PgBouncer` with `pool_mode = transaction`): nothing is prepared or left in a session, and a connection gets one statement at a time. Slower; not needed for `pool_mode = session` |
/// | `sslmode=` | `disable`: no TLS · `prefer` (default): TLS if the server has it, nothing is checked · `require`: TLS, and checked as by `verify-ca` if `sslrootcert` is given · `verify-ca`: the certificate is issued by a trusted authority · `verify-full`: and to the host of the URL |
/// | `sslrootcert=ca.pem` | whom to trust instead of the system's roots; without `sslmode` it means `verify-full` |
/// | `sslcert=me.pem`, `sslkey=me.key` | the client's certificate and key |
/// | `application_name=` | what the server shows of this program |
/// | `target_session_attrs=any` | `read-write` or `read-only`: which of several servers will do |
/// | `load_balance_hosts=disable` | `random`: several servers are tried in no order |
/// | `channel_binding=prefer` | `disable`, `require` |
/// | `options=-c name=value` | settings of the server for the connections |
/// | `host=`, `port=`, `user=`, `password=`, `dbname=` | for what the URL leaves out: `postgres:///db?host=/run/postgresql` |
///
/// As in libpq, a URL may name several hosts, which are tried one after another
/// (`postgres://a,b:5433/db`), and a host that begins with `/` (percent-encoded in the URL) is the
/// folder of a Unix socket, where there is no TLS. Without a user it is that of the
/// operating system, without a database that of the user's name. Neither `PGPASSWORD` and its like nor `~/.pgpass` are read.
/// `sslmode=prefer` and `require` keep nobody from posing as the server: over a
/// network that is not yours, use `verify-full`.
///
/// The table is that of the npm package: `id text primary key, value text not null, expires_at
/// timestamptz`, with the value's JSON as it is, and an index on `expires_at`. It is made when it is absent,
/// with keys in the order of bytes (`collate "C"`, which the npm package does not mind). One
/// that is there is used as it is, without a right to make one: `id` and `value` are `text` or `varchar`,
/// `id` is unique, and the expiry is `expires_at timestamptz` or `"expiresAt" timestamp` in UTC; else
/// every operation is a data error that says what is missing. The database's encoding has to be
/// UTF-8. Several programs may start at once, and share the table.
///
/// A key has at most 2,692 bytes, which fit into the index whatever they are, and no NUL. (Longer ones
/// that others wrote are read, listed and deleted.) A value has at most a
/// gigabyte; a hundred megabytes take seconds, so give such a store a longer `timeout`.
///
/// **Durability** is that of the server's `synchronous_commit`: by default, what a write returned for
/// survives power loss.
///
/// **Operations that wait share statements**, and none is delayed for that: reads on one connection, writes
/// on another, listings, clears and prunes on a third, each made when it is first needed. A
/// write that the table's own rules refuse fails alone; one of a row that another session holds locked
/// keeps the store's other writes waiting with it, until its timeout at most. `set_many` and `del_many` are done as a whole or not at all up
/// to 10,000 entries and 16 MiB, and in parts of that beyond. `clear` goes through the prefix in batches, and never drops or truncates.
/// A lost connection is replaced; what can be repeated is, until the timeout, after failures that pass
/// (`insert` never, once it was sent). The server gives up at the timeout too (`statement_timeout`): a write whose program has gone
/// does not wait for a lock for ever.
///
/// **Prefixes** are ranges of an index in the order of bytes: the primary key of a table made here,
/// any index on `id` with `collate "C"` or `"POSIX"`, one with `text_pattern_ops`, or in a database whose own collation
/// is C the primary key that npm makes. A table without one gets the index
/// `idx_kv_id_bytes` on its first use if it is under 64 MB and this user may; else a warning in the log says what to make, and until
/// then each page of a listing reads the whole table. Listings read 1,000 entries at a time, or
/// about a megabyte of values, in the order of bytes; each page is as of its own moment.
///
/// **Expiry** is judged by the server's clock. What lies between the two clocks is measured, again every
/// ten seconds of use and when this machine's clock was set: an instant reads back as the millisecond that was
/// written, and other programs see it right within the time that a message takes. Expired entries are removed, up to 500 at a time and beside other
/// programs that do the same, by a store that has written something: within a second or so,
/// or within minutes where the table has no index on the expiry.
///
/// **Given clients** stand for the table `kv` and a timeout of 10 seconds. A `tokio_postgres::Config` (feature
/// `tokio-postgres-0_7`) makes connections as a URL does; where its `sslmode` is `require`, the server's certificate is checked as
/// by `verify-full`. A `tokio_postgres::Client` is the one connection for everything, and when it is lost
/// every operation fails: the store cannot make another. Of a `deadpool_postgres::Pool` (feature `deadpool-postgres-0_14`) a
/// connection is taken for each statement. Neither gets a `statement_timeout`.
///
/// A server to try it on: `docker run -e POSTGRES_PASSWORD=secret -p 5432:5432 postgres`, then
/// `postgres://postgres:secret@localhost/postgres`.
pub mod postgres {}

/// `cloudflare://ACCOUNT/NAMESPACE` — a namespace of Cloudflare KV (Workers KV), by Cloudflare's REST API.
///
/// | option | meaning |
/// |---|---|
/// | `token_env=CLOUDFLARE_API_TOKEN` | the environment variable that has the API token |
/// | `timeout=10s` | how long an operation waits, connecting, throttling and retries included |
/// | `base=https://api.cloudflare.com/client/v4` | where the API is: for a proxy, or for tests |
/// | `tls_ca=ca.pem` | trusts these certificates instead of the system's |
/// | `tls_cert=me.pem`, `tls_key=me.key` | shows this certificate to a proxy that asks for one |
///
/// The account and the namespace are their ids, as the dashboard and `wrangler kv namespace list` have them. The token needs
/// the permission "Workers KV Storage", "Edit" to write. A program that has it elsewhere than in its environment gives it
/// by [`Cloudflare::new`](crate::Cloudflare::new). With a `base` of `http://`, it goes over the network as it is.
///
/// **Eventual consistency** is what Cloudflare KV has: a write is seen at once where it was made, mostly, and
/// within a minute elsewhere; so is a removal, and that a key was not there. Of programs that write one key at the same time
/// the last one wins. Do not use it for locks, counters or what must not be lost in between: there is no
/// `insert`, `replace`, `touch` or `prune` here, as the API does nothing atomically.
///
/// A key's value is the JSON as it is, which the npm package reads and writes in a Worker. What is no JSON is
/// [`Corrupt`](crate::ErrorKind::Corrupt) in `get`, and left out of listings with values with a warning. `keys()` looks at no
/// values: it shows such keys too, and `clear()` removes them. An entry written here replaces the metadata that others gave it.
///
/// **Expiry** is judged by the clock of this process, to the millisecond, by metadata beside the value,
/// `{"expires": milliseconds since 1970}`. Cloudflare removes the entry by itself too, by its own expiry
/// (`expiration_ttl`): in whole seconds, one or two later than that, and not before a minute, the least that it takes. A
/// Worker goes by Cloudflare's expiry alone, so it sees what expires within a minute for up to a minute. What expires in more
/// than fifty years has only the metadata. Entries of others, without it, expire with Cloudflare's second.
///
/// **Requests** are shared, as Cloudflare allows a user 1,200 of them in five minutes: reads that wait go in
/// one for 100 keys, writes in one for 10,000 or 16 MiB, removals in one for 10,000. They are not done as a whole.
/// One key can be written once a second: what is written more often waits, and with it the store's other writes. When Cloudflare
/// asks for fewer requests (429) they are tried again when it says, within the timeout; a day's free
/// limit that is used up is [`Full`](crate::ErrorKind::Full).
///
/// **Listings** read 1,000 keys at a time, in the order of their bytes, and values, where those are wanted, 100 at a time, or
/// fewer where they are large. The API cannot begin after a key: a page with `after` goes through all keys of the prefix before it.
///
/// **Limits**: a key has 1 to 512 bytes and is not `.` or `..`; a value has 25 MiB.
pub mod cloudflare {}

mod browser;
#[doc(inline)]
pub use self::browser::{cookie, local_forage, web_storage, workers};
