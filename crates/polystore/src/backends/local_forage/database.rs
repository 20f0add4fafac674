//! The database: it is opened on the first use, and again when it was closed.
//!
//! Object stores are made as localForage makes them: the database is opened in whatever version it
//! has, and if the store is missing, again in the next version.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_channel::oneshot;
use send_wrapper::SendWrapper;
use web_sys::js_sys::{Function, Reflect, global};
use web_sys::wasm_bindgen::prelude::Closure;
use web_sys::wasm_bindgen::{JsCast, JsValue};
use web_sys::{
    Event, IdbDatabase, IdbFactory, IdbOpenDbRequest, IdbTransactionMode, IdbVersionChangeEvent,
};

use super::failure::{error_of, name_of};
use super::transaction::Transaction;
use crate::error::{Error, ErrorKind, Result};
use crate::link::Link;
use crate::runtime::{Instant, timed_out, timeout_at};

/// What localForage tries blobs on. It makes this one together with the first one of its own.
const DETECT_BLOBS: &str = "local-forage-detect-blob-support";

/// How often a connection that was closed meanwhile is replaced at once.
const OPENINGS: usize = 4;

pub(super) struct Database {
    name: String,
    store: String,
    pub(super) timeout: Duration,
    link: Link<Connection>,
    is_closed: AtomicBool,
}

impl Database {
    pub(super) fn new(name: String, store: String, timeout: Duration) -> Self {
        Self {
            name,
            store,
            timeout,
            link: Link::default(),
            is_closed: AtomicBool::new(false),
        }
    }

    /// A connection that is open, as far as anybody has said.
    pub(super) async fn connection(&self) -> Result<Arc<Connection>> {
        if self.is_closed.load(Ordering::Relaxed) {
            return Err(Error::closed());
        }
        if let Some(connection) = self.link.now() {
            if connection.is_open() {
                return Ok(connection);
            }
            self.link.lose(&connection);
        }
        let (name, store, timeout) = (self.name.clone(), self.store.clone(), self.timeout);
        let connect = || SendWrapper::new(connect(name, store, timeout));
        self.link.get(connect).await
    }

    /// A new transaction. It must be used before anything else is waited for.
    pub(super) async fn begin(&self, mode: IdbTransactionMode) -> Result<Transaction> {
        let mut tries = 0;
        loop {
            let connection = self.connection().await?;
            let begun = connection.begin(&self.store, mode);
            match begun {
                Ok(transaction) => return Ok(transaction),
                Err(exception) => {
                    self.link.lose(&connection);
                    tries += 1;
                    if tries == OPENINGS {
                        return Err(error_of(&exception));
                    }
                }
            }
        }
    }

    /// Whether an operation that failed like this may succeed if it is tried again.
    pub(super) fn is_transient(error: &Error) -> bool {
        error.is_retryable() && error.kind() == ErrorKind::Unreachable
    }

    /// The connection may be dead.
    pub(super) fn give_up(&self) {
        self.link.drop_connection();
    }

    pub(super) async fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
        self.link.close().await;
    }
}

/// An open database. Dropping it closes it, once its transactions are done.
pub(super) struct Connection(SendWrapper<Inner>);

struct Inner {
    database: Opened,
    is_open: Rc<Cell<bool>>,
    /// Called when others want it in another version or deleted, and when the browser has closed it.
    _leave: Closure<dyn FnMut()>,
}

impl Connection {
    fn new(database: Opened) -> Self {
        let is_open = Rc::new(Cell::new(true));
        let leave = {
            let (is_open, database) = (Rc::clone(&is_open), database.0.clone());
            Closure::new(move || {
                is_open.set(false);
                database.close();
            })
        };
        let handler = Some(function(&leave));
        database.0.set_onversionchange(handler);
        database.0.set_onclose(handler);
        Self(SendWrapper::new(Inner {
            database,
            is_open,
            _leave: leave,
        }))
    }

    fn is_open(&self) -> bool {
        self.0.is_open.get()
    }

    fn begin(&self, store: &str, mode: IdbTransactionMode) -> Result<Transaction, JsValue> {
        let database = &self.0.database.0;
        let transaction = database.transaction_with_str_and_mode(store, mode)?;
        let store = transaction.object_store(store)?;
        Ok(Transaction::new(transaction, store))
    }
}

/// It is closed when nobody wants it any more: others wait for that.
struct Opened(IdbDatabase);

impl Drop for Opened {
    fn drop(&mut self) {
        self.0.set_onversionchange(None);
        self.0.set_onclose(None);
        self.0.close();
    }
}

async fn connect(name: String, store: String, timeout: Duration) -> Result<Connection> {
    let is_blocked = Rc::new(Cell::new(false));
    let opening = async {
        let factory = factory()?;
        let mut version = None;
        loop {
            let opened = open(&factory, &name, version, &store, &is_blocked).await;
            version = match opened {
                Ok(database) if database.0.object_store_names().contains(&store) => {
                    return Ok(Connection::new(database));
                }
                Ok(database) => Some(database.0.version() + 1.0),
                // Somebody else was faster.
                Err(exception) if version.is_some() && name_of(&exception) == "VersionError" => {
                    None
                }
                Err(exception) => return Err(error_of(&exception)),
            };
        }
    };
    // Less than an operation may take, so that it hears why.
    let deadline = Instant::now() + timeout * 9 / 10;
    match timeout_at(deadline, opening).await {
        Ok(connected) => connected,
        Err(_) if is_blocked.get() => Err(Error::new(
            ErrorKind::Timeout,
            "the object store cannot be made: another page has the database open, and does not \
             close it for the new version",
        )),
        Err(_) => Err(timed_out(timeout)),
    }
}

/// The browser's IndexedDB, in a page or in a worker of one.
fn factory() -> Result<IdbFactory> {
    let found = Reflect::get(&global(), &"indexedDB".into());
    let factory = found.map_err(|exception| error_of(&exception))?;
    match factory.is_object() {
        true => Ok(factory.unchecked_into()),
        false => Err(Error::new(
            ErrorKind::Denied,
            "there is no IndexedDB here, or the browser denies it to this page",
        )),
    }
}

/// Opens it in this version, and makes the object store if that is a new one; or in the one that it has.
///
/// A request to open cannot be taken back. One whose caller has gone makes the store all the same, when it
/// can, and then closes the database: so the handlers are left to the request.
async fn open(
    factory: &IdbFactory,
    name: &str,
    version: Option<f64>,
    store: &str,
    is_blocked: &Rc<Cell<bool>>,
) -> Result<Opened, JsValue> {
    let request = match version {
        Some(version) => factory.open_with_f64(name, version)?,
        None => factory.open(name)?,
    };
    let (tell, told) = oneshot::channel();
    let mut tell = Some(tell);
    let settled = Closure::<dyn FnMut(Event)>::new(move |event: Event| {
        event.prevent_default();
        let (Some(tell), Some(request)) = (tell.take(), request_of(&event)) else {
            return;
        };
        let outcome = match request.error() {
            Ok(None) => request.result().map(|it| Opened(it.unchecked_into())),
            Ok(Some(exception)) => Err(exception.into()),
            Err(exception) => Err(exception),
        };
        let _ = tell.send(outcome);
    });
    let settled = settled.into_js_value();
    request.set_onsuccess(Some(settled.unchecked_ref()));
    request.set_onerror(Some(settled.unchecked_ref()));
    if version.is_some() {
        let store = store.to_owned();
        let upgrade = Closure::<dyn FnMut(IdbVersionChangeEvent)>::new(
            move |event: IdbVersionChangeEvent| {
                let Some(request) = request_of(&event) else {
                    return;
                };
                if make_stores(&request, &store, event.old_version()).is_err()
                    && let Some(transaction) = request.transaction()
                {
                    let _ = transaction.abort();
                }
            },
        );
        request.set_onupgradeneeded(Some(upgrade.into_js_value().unchecked_ref()));
        let is_blocked = Rc::clone(is_blocked);
        let blocked = Closure::<dyn FnMut()>::new(move || is_blocked.set(true));
        request.set_onblocked(Some(blocked.into_js_value().unchecked_ref()));
    }
    told.await.unwrap_or_else(|_| Err(JsValue::UNDEFINED))
}

fn make_stores(request: &IdbOpenDbRequest, store: &str, old: f64) -> Result<(), JsValue> {
    let database: IdbDatabase = request.result()?.unchecked_into();
    let has = |name: &str| database.object_store_names().contains(name);
    if !has(store) {
        database.create_object_store(store)?;
    }
    if old <= 1.0 && !has(DETECT_BLOBS) {
        database.create_object_store(DETECT_BLOBS)?;
    }
    Ok(())
}

fn request_of(event: &Event) -> Option<IdbOpenDbRequest> {
    event.target().map(JsCast::unchecked_into)
}

fn function(handler: &Closure<dyn FnMut()>) -> &Function {
    handler.as_ref().unchecked_ref()
}
