//! What is on the page.

use polystore_kv::{Error, ErrorKind, Expiry, Timestamp};
use wasm_bindgen::prelude::*;
use web_sys::{
    Document, Element, Event, HtmlElement, HtmlInputElement, HtmlTextAreaElement, Window,
};

use crate::notes::Note;

/// When the time left is shown as short, in milliseconds.
const SOON: i64 = 10_000;

pub(crate) struct Page {
    window: Window,
    document: Document,
    pub(crate) stores: HtmlElement,
    pub(crate) server: HtmlElement,
    url: HtmlInputElement,
    about: HtmlElement,
    pub(crate) form: HtmlElement,
    title: HtmlInputElement,
    text: HtmlTextAreaElement,
    expires: HtmlInputElement,
    error: HtmlElement,
    pub(crate) dismiss: HtmlElement,
    count: HtmlElement,
    pub(crate) reload: HtmlElement,
    pub(crate) clear: HtmlElement,
    pub(crate) list: HtmlElement,
    said: HtmlElement,
}

impl Page {
    pub(crate) fn new() -> Result<Self, JsValue> {
        let window = web_sys::window().ok_or("there is no window")?;
        let document = window.document().ok_or("there is no document")?;
        if let (Some(origin), Ok(here)) = (
            document.get_element_by_id("origin"),
            window.location().origin(),
        ) {
            origin.set_text_content(Some(&here));
        }
        Ok(Self {
            stores: found(&document, "#stores")?,
            server: found(&document, "#server")?,
            url: found(&document, "#url")?,
            about: found(&document, "#about")?,
            form: found(&document, "#note")?,
            title: found(&document, "#title")?,
            text: found(&document, "#text")?,
            expires: found(&document, "#expires")?,
            error: found(&document, "#error")?,
            dismiss: found(&document, "#error button")?,
            count: found(&document, "#count")?,
            reload: found(&document, "#reload")?,
            clear: found(&document, "#clear")?,
            list: found(&document, "#notes")?,
            said: found(&document, "#said")?,
            window,
            document,
        })
    }

    pub(crate) fn window(&self) -> &Window {
        &self.window
    }

    pub(crate) fn load_again(&self) {
        // Of a page that is being left already, nobody has to know.
        let _ = self.window.location().reload();
    }

    /// The URL of the store that is ticked; `http:` where it has one of its own.
    pub(crate) fn chosen(&self) -> String {
        found::<HtmlInputElement>(&self.document, "#stores :checked")
            .map(|radio| radio.value())
            .unwrap_or_default()
    }

    /// Ticks the store that has this URL.
    pub(crate) fn choose(&self, url: &str) {
        let is_server = url.starts_with("http");
        let value = if is_server { "http:" } else { url };
        if let Ok(radio) = found::<HtmlInputElement>(
            &self.document,
            &format!("#stores [value='{}']", value.replace(['\'', '\\'], "")),
        ) {
            radio.set_checked(true);
        }
        self.ask_for_url(is_server);
        if is_server {
            self.url.set_value(url);
        }
    }

    pub(crate) fn ask_for_url(&self, ask: bool) {
        self.server.set_hidden(!ask);
    }

    pub(crate) fn url(&self) -> String {
        self.url.value()
    }

    /// Says what kind of store it is.
    pub(crate) fn about(&self, text: &str) {
        self.about.set_text_content(Some(text));
    }

    /// Title, text and words for how long it stays, as they stand in the fields.
    pub(crate) fn note(&self) -> (String, String, String) {
        (self.title.value(), self.text.value(), self.expires.value())
    }

    pub(crate) fn fill_expires(&self, expires: &str) {
        self.expires.set_value(expires);
    }

    /// Empties the fields for the next note.
    pub(crate) fn next_note(&self) {
        self.title.set_value("");
        self.text.set_value("");
        focus(&self.title);
    }

    /// Puts a note into the fields.
    pub(crate) fn edit(&self, note: &Note) {
        self.title.set_value(&note.title);
        self.text.set_value(&note.text);
        focus(&self.text);
    }

    /// Says what went wrong, first what it means and then how the store puts it.
    pub(crate) fn wrong(&self, error: &Error) {
        let children = self.error.children();
        for (at, text) in [meaning(error.kind()), &error.to_string()]
            .into_iter()
            .enumerate()
        {
            if let Some(child) = u32::try_from(at).ok().and_then(|at| children.item(at)) {
                child.set_text_content(Some(text));
            }
        }
        self.error.set_hidden(false);
    }

    pub(crate) fn all_is_well(&self) {
        self.error.set_hidden(true);
    }

    /// Says it to who listens to the page.
    pub(crate) fn say(&self, text: &str) {
        self.said.set_text_content(Some(text));
    }

    /// For when what had the focus has gone.
    pub(crate) fn focus_heading(&self) {
        focus(&self.count);
    }

    pub(crate) fn show(&self, notes: &[Note]) {
        let count = match notes.len() {
            0 => "No notes".to_owned(),
            1 => "1 note".to_owned(),
            n => format!("{n} notes"),
        };
        self.count.set_text_content(Some(&count));
        self.clear.set_hidden(notes.is_empty());

        let focused = self.focused();
        self.list.set_text_content(None);
        for note in notes {
            // Without a document there is no page to show it on.
            let _ = self.append(note);
        }
        if let Some((what, title)) = focused {
            self.focus_button(&what, &title);
        }
        self.count_down(notes);
    }

    fn append(&self, note: &Note) -> Result<(), JsValue> {
        let item = self.element(&self.list, "li", "")?;
        self.element(&item, "h3", &note.title)?;
        self.element(&item, "p", &note.text)?;
        self.element(&item, "span", "")?.set_class_name("left");
        let actions = self.element(&item, "div", "")?;
        actions.set_class_name("actions");
        for (what, name, word) in [("edit", "", "Edit"), ("delete", "danger", "Delete")] {
            let button = self.element(&actions, "button", word)?;
            button.set_attribute("type", "button")?;
            button.set_attribute("aria-label", &format!("{word} {}", note.title))?;
            button.set_attribute(&format!("data-{what}"), &note.title)?;
            button.set_class_name(name);
        }
        Ok(())
    }

    fn element(&self, parent: &Element, name: &str, text: &str) -> Result<Element, JsValue> {
        let element = self.document.create_element(name)?;
        element.set_text_content(Some(text));
        parent.append_child(&element)?;
        Ok(element)
    }

    /// The button of the list that has the focus: what it does, and to which note.
    fn focused(&self) -> Option<(String, String)> {
        let active = self.document.active_element()?;
        ["edit", "delete"].into_iter().find_map(|what| {
            let title = active.get_attribute(&format!("data-{what}"))?;
            Some((what.to_owned(), title))
        })
    }

    fn focus_button(&self, what: &str, title: &str) {
        let attribute = format!("data-{what}");
        let Ok(buttons) = self.list.query_selector_all(&format!("[{attribute}]")) else {
            return;
        };
        for at in 0..buttons.length() {
            let button = buttons
                .item(at)
                .and_then(|node| node.dyn_into::<HtmlElement>().ok());
            if let Some(button) =
                button.filter(|it| it.get_attribute(&attribute).as_deref() == Some(title))
            {
                return focus(&button);
            }
        }
        self.focus_heading();
    }

    /// Shows the time left of each, and says whether that of any is over.
    pub(crate) fn count_down(&self, notes: &[Note]) -> bool {
        let now = Timestamp::now().as_millis();
        let items = self.list.children();
        let mut has_expired = false;
        for (at, note) in notes.iter().enumerate() {
            let left = match note.expiry {
                Expiry::At(at) => Some(at.as_millis() - now),
                _ => None,
            };
            has_expired |= left.is_some_and(|left| left <= 0);
            let item = u32::try_from(at).ok().and_then(|at| items.item(at));
            let shown = item.and_then(|item| item.query_selector(".left").ok().flatten());
            if let Some(shown) = shown {
                let text = match (note.expiry, left) {
                    (Expiry::Never, _) => "stays".to_owned(),
                    (_, Some(left)) => format!("{} left", spoken(left)),
                    (_, None) => String::new(),
                };
                // What has not changed is not said again.
                if shown.text_content().as_deref() != Some(&text) {
                    shown.set_text_content(Some(&text));
                    let is_soon = left.is_some_and(|left| left <= SOON);
                    shown.set_class_name(if is_soon { "left is-soon" } else { "left" });
                }
            }
        }
        has_expired
    }
}

/// What the element that was clicked has as `data-NAME`.
pub(crate) fn data(event: &Event, name: &str) -> Option<String> {
    let target: Element = event.target()?.dyn_into().ok()?;
    let attribute = format!("data-{name}");
    target
        .closest(&format!("[{attribute}]"))
        .ok()??
        .get_attribute(&attribute)
}

fn found<T: JsCast>(document: &Document, css: &str) -> Result<T, JsValue> {
    let missing = || JsValue::from(js_sys::Error::new(&format!("the page has no {css}")));
    let element = document.query_selector(css)?.ok_or_else(missing)?;
    element.dyn_into().map_err(|_| missing())
}

fn focus(element: &HtmlElement) {
    // Not being focused is all that can happen to it.
    let _ = element.focus();
}

/// In words for somebody who has not written the program.
fn meaning(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Full => "There is no room left: nothing was changed.",
        ErrorKind::Denied => "The browser or the server does not allow this.",
        ErrorKind::Unreachable | ErrorKind::Timeout => "The store cannot be reached.",
        ErrorKind::Throttled => "The server asks for fewer requests.",
        ErrorKind::ReadOnly => "Here notes can be read, but not written.",
        ErrorKind::InvalidValue => "This note is too large for this store.",
        ErrorKind::InvalidKey => "This store cannot have such a title.",
        ErrorKind::InvalidOption => "This means nothing to the store.",
        ErrorKind::Unsupported => "This store cannot do that.",
        ErrorKind::Decode | ErrorKind::Corrupt => "What is kept there is not a note.",
        _ => "That did not work.",
    }
}

/// The largest two units of what is left, such as `1 h 5 min`.
fn spoken(millis: i64) -> String {
    // A second that has begun counts.
    let seconds = millis.max(0).div_euclid(1000) + i64::from(millis.rem_euclid(1000) > 0);
    let units = [("d", 86400), ("h", 3600), ("min", 60), ("s", 1)];
    let first = units.iter().position(|(_, length)| seconds >= *length);
    let first = first.unwrap_or(units.len() - 1);
    let parts = units[first..].iter().take(2).enumerate();
    let parts = parts.filter_map(|(at, (unit, length))| {
        let count = match at {
            0 => seconds / length,
            _ => seconds % units[first].1 / length,
        };
        (at == 0 || count > 0).then(|| format!("{count} {unit}"))
    });
    parts.collect::<Vec<_>>().join(" ")
}
