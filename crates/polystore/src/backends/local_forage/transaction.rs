//! Transactions: what is asked in one, and what it waits for.
//!
//! A transaction ends by itself as soon as nothing of it is under way. So whatever depends on what it has
//! read is done in the event that brings it, and not by a task that may come later.

use futures_channel::oneshot;
use futures_util::future::{Either, select};
use web_sys::js_sys::Function;
use web_sys::wasm_bindgen::prelude::Closure;
use web_sys::wasm_bindgen::{JsCast, JsValue};
use web_sys::{IdbObjectStore, IdbRequest, IdbTransaction};

use super::failure::error_of;
use crate::error::{Error, Result};

type Handler = Closure<dyn FnMut()>;

/// A transaction of the one object store. If it is dropped, what was asked in it goes on.
pub(super) struct Transaction {
    inner: IdbTransaction,
    store: IdbObjectStore,
    request: Option<IdbRequest>,
    handlers: Vec<Handler>,
}

impl Transaction {
    pub(super) fn new(inner: IdbTransaction, store: IdbObjectStore) -> Self {
        Self {
            inner,
            store,
            request: None,
            handlers: Vec::new(),
        }
    }

    pub(super) fn store(&self) -> &IdbObjectStore {
        &self.store
    }

    /// Does this when `request`, and with it all before it, is done. If it throws, all is rolled back.
    pub(super) fn after(
        &mut self,
        request: IdbRequest,
        next: impl FnOnce() -> Result<(), JsValue> + 'static,
    ) {
        let inner = self.inner.clone();
        let mut next = Some(next);
        let handler = Handler::new(move || {
            let Some(next) = next.take() else { return };
            let _ = match next() {
                Ok(()) => commit(&inner),
                Err(_) => inner.abort(),
            };
        });
        request.set_onsuccess(Some(function(&handler)));
        self.request = Some(request);
        self.handlers.push(handler);
    }

    /// Nothing more is asked: it need not wait for what was.
    pub(super) fn commit(&self) {
        // If it cannot be any more, it has failed already, and says why.
        let _ = commit(&self.inner);
    }

    pub(super) fn abort(&self) {
        let _ = self.inner.abort();
    }

    /// Waits until `last`, and with it all before it, is done.
    pub(super) async fn read(mut self, last: &IdbRequest) -> Result<()> {
        let (handler, heard) = signal();
        last.set_onsuccess(Some(function(&handler)));
        self.inner.set_onabort(Some(function(&handler)));
        self.handlers.push(handler);
        self.request = Some(last.clone());
        let _ = heard.await;
        match last.error() {
            Ok(None) => Ok(()),
            _ => Err(self.failure()),
        }
    }

    /// Waits until all is done and kept, or rolled back.
    pub(super) async fn complete(mut self) -> Result<()> {
        let (aborted, is_aborted) = signal();
        let (completed, is_complete) = signal();
        self.inner.set_onabort(Some(function(&aborted)));
        self.inner.set_oncomplete(Some(function(&completed)));
        self.handlers.extend([aborted, completed]);
        match select(is_complete, is_aborted).await {
            Either::Left((Ok(()), _)) => Ok(()),
            _ => Err(self.failure()),
        }
    }

    fn failure(&self) -> Error {
        match self.inner.error() {
            Some(exception) => error_of(&exception),
            // It was told to, and who told it says why.
            None => error_of(&JsValue::UNDEFINED).retryable(true),
        }
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        // The handlers go with it, and must not be called any more.
        self.inner.set_onabort(None);
        self.inner.set_oncomplete(None);
        if let Some(request) = &self.request {
            request.set_onsuccess(None);
        }
    }
}

#[expect(
    deprecated,
    reason = "by web-sys alone: Indexed Database API 3.0 has it"
)]
fn commit(transaction: &IdbTransaction) -> Result<(), JsValue> {
    transaction.commit()
}

fn signal() -> (Handler, oneshot::Receiver<()>) {
    let (tell, heard) = oneshot::channel();
    let mut tell = Some(tell);
    let handler = Handler::new(move || {
        if let Some(tell) = tell.take() {
            let _ = tell.send(());
        }
    });
    (handler, heard)
}

fn function(handler: &Handler) -> &Function {
    handler.as_ref().unchecked_ref()
}
