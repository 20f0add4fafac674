//! Notes that are kept where a person chooses: a page in Rust, without a framework.
//!
//! `notes` keeps them, `page` shows them, and this is what the page does when something happens to it.

#![cfg(target_family = "wasm")]

mod notes;
mod page;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use polystore_kv::Error;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::spawn_local;

use self::notes::{Note, Notes};
use self::page::Page;

/// How often the time left is shown anew, in milliseconds.
const TICK: i32 = 250;

struct App {
    page: Page,
    notes: RefCell<Option<Notes>>,
    shown: RefCell<Vec<Note>>,
    /// Counts choices of a store: what was asked of an earlier one is shown no more.
    choice: Cell<u32>,
    /// Whether a listing is under way.
    is_reading: Cell<bool>,
}

/// What the page calls when the module is loaded.
#[wasm_bindgen(start)]
fn start() -> Result<(), JsValue> {
    let app = Rc::new(App {
        page: Page::new()?,
        notes: RefCell::default(),
        shown: RefCell::default(),
        choice: Cell::new(0),
        is_reading: Cell::new(false),
    });
    app.listen()?;
    spawn_local(async move {
        let remembered = notes::remembered().await;
        app.page.choose(&remembered);
        app.open(&remembered).await;
    });
    Ok(())
}

impl App {
    /// Does this for each event, and at each tick.
    fn listen(self: &Rc<Self>) -> Result<(), JsValue> {
        let page = &self.page;
        self.on(&page.stores, "change", |app, _| async move {
            let choice = app.page.chosen();
            app.page.ask_for_url(choice == "http:");
            match choice == "http:" {
                // It is opened when its URL is given.
                true => app.page.about("Of whatever store it has."),
                false => app.choose(&choice).await,
            }
        })?;
        self.on(&page.server, "submit", |app, _| async move {
            app.choose(&app.page.url()).await;
        })?;
        self.on(&page.form, "submit", |app, _| async move {
            app.save().await;
        })?;
        self.on(&page.form, "click", |app, event| async move {
            if let Some(expires) = page::data(&event, "expires") {
                app.page.fill_expires(&expires);
            }
        })?;
        self.on(&page.list, "click", |app, event| async move {
            if let Some(title) = page::data(&event, "edit") {
                app.edit(&title);
            }
            if let Some(title) = page::data(&event, "delete") {
                app.delete(&title).await;
            }
        })?;
        self.on(&page.clear, "click", |app, _| async move {
            app.clear().await;
        })?;
        self.on(&page.dismiss, "click", |app, _| async move {
            app.page.all_is_well();
        })?;
        self.on(&page.reload, "click", |app, _| async move {
            app.page.load_again();
        })?;
        // Other tabs write too.
        self.on(page.window(), "storage", |app, _| async move {
            app.read().await;
        })?;
        self.on(page.window(), "focus", |app, _| async move {
            app.read().await;
        })?;

        let app = Rc::clone(self);
        let tick = Closure::<dyn FnMut()>::new(move || app.tick());
        page.window()
            .set_interval_with_callback_and_timeout_and_arguments_0(
                tick.as_ref().unchecked_ref(),
                TICK,
            )?;
        tick.forget();
        Ok(())
    }

    /// Has `work` done for each such event.
    fn on<F: Future<Output = ()> + 'static>(
        self: &Rc<Self>,
        target: &web_sys::EventTarget,
        event: &str,
        work: impl Fn(Rc<Self>, web_sys::Event) -> F + 'static,
    ) -> Result<(), JsValue> {
        let app = Rc::clone(self);
        let heard = Closure::<dyn FnMut(web_sys::Event)>::new(move |event: web_sys::Event| {
            if event.type_() == "submit" {
                event.prevent_default();
            }
            spawn_local(work(Rc::clone(&app), event));
        });
        target.add_event_listener_with_callback(event, heard.as_ref().unchecked_ref())?;
        heard.forget();
        Ok(())
    }

    /// Opens the store that a person has chosen, and remembers it.
    async fn choose(&self, url: &str) {
        notes::remember(url).await;
        self.open(url).await;
    }

    async fn open(&self, url: &str) {
        let choice = self.choice.get() + 1;
        self.choice.set(choice);
        self.notes.take();
        self.show(Vec::new());
        self.page.all_is_well();
        self.page.about("Opening…");
        match Notes::open(url).await {
            _ if self.choice.get() != choice => {}
            Ok(notes) => {
                self.page.about(&notes.about());
                self.notes.replace(Some(notes));
                self.is_reading.set(false);
                self.read().await;
            }
            Err(error) => {
                self.page.about("This store cannot be used here.");
                self.page.wrong(&error);
            }
        }
    }

    /// The store, if there is one; its connection is shared.
    fn notes(&self) -> Option<Notes> {
        self.notes.borrow().clone()
    }

    /// Shows what the store has now.
    async fn read(&self) {
        let Some(notes) = self.notes() else { return };
        if self.is_reading.replace(true) {
            return;
        }
        let choice = self.choice.get();
        let read = notes.all().await;
        if self.choice.get() == choice {
            self.is_reading.set(false);
            match read {
                Ok(notes) => self.show(notes),
                Err(error) => self.page.wrong(&error),
            }
        }
    }

    fn show(&self, notes: Vec<Note>) {
        if *self.shown.borrow() != notes {
            self.page.show(&notes);
            self.shown.replace(notes);
        }
    }

    /// Counts down; what has expired is in the store no more.
    fn tick(self: &Rc<Self>) {
        let has_expired = self.page.count_down(&self.shown.borrow());
        let must_look = self.notes.borrow().as_ref().is_some_and(Notes::must_look);
        if has_expired || must_look {
            let app = Rc::clone(self);
            spawn_local(async move { app.read().await });
        }
    }

    async fn save(&self) {
        let (title, text, expires) = self.page.note();
        let done = async |notes: &Notes| notes.save(&title, &text, &expires).await;
        if self.change(done).await {
            self.page.next_note();
            self.page.say(&format!("Saved: {title}"));
        }
    }

    fn edit(&self, title: &str) {
        let shown = self.shown.borrow();
        if let Some(note) = shown.iter().find(|note| note.title == title) {
            self.page.edit(note);
        }
    }

    async fn delete(&self, title: &str) {
        if self
            .change(async |notes: &Notes| notes.delete(title).await)
            .await
        {
            self.page.focus_heading();
            self.page.say(&format!("Deleted: {title}"));
        }
    }

    async fn clear(&self) {
        if self.change(async |notes: &Notes| notes.clear().await).await {
            self.page.focus_heading();
            self.page.say("All notes are deleted.");
        }
    }

    /// Whether it could be done; what the store has then is shown.
    async fn change(&self, work: impl AsyncFnOnce(&Notes) -> Result<(), Error>) -> bool {
        let Some(notes) = self.notes() else {
            return false;
        };
        let choice = self.choice.get();
        let done = work(&notes).await;
        if self.choice.get() != choice {
            return false;
        }
        match &done {
            Ok(()) => self.page.all_is_well(),
            Err(error) => self.page.wrong(error),
        }
        // A listing that began before the change does not show it.
        self.is_reading.set(false);
        self.read().await;
        done.is_ok()
    }
}
