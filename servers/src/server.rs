//! One server: its process, its temporary folder, and a supervisor that outlives us.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a server may take to answer, or to end. Machines that run tests can be slow.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How long to wait before a condition is looked at again.
pub(crate) const PAUSE: Duration = Duration::from_millis(10);

/// What every server here can do: [`Redis`](crate::Redis), [`Postgres`](crate::Postgres) and the others
/// dereference to it.
///
/// The server ends with this process, however it ends: also when it is killed, or exits with the
/// server in a `static`.
pub struct Server {
    name: &'static str,
    folder: PathBuf,
    owner: Option<Owner>,
    graceful: &'static str,
    state: Mutex<State>,
}

/// The user that a server runs as, where it must not be root.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owner {
    uid: u32,
    gid: u32,
}

/// How a server is ended.
pub(crate) struct Ends {
    /// The signal by which it finishes what it does.
    pub(crate) graceful: &'static str,
    /// The signal by which it and its own children go at once.
    pub(crate) quick: &'static str,
}

type Ready = Box<dyn Fn() -> bool + Send>;

struct State {
    supervisor: Child,
    /// Nothing once it was closed, at which the supervisor ends.
    orders: Option<ChildStdin>,
    answers: Receiver<String>,
    pid: Option<String>,
    ready: Ready,
}

impl Server {
    /// A supervisor with an empty folder, and no server yet.
    pub(crate) fn new(name: &'static str, ends: &Ends, owner: Option<Owner>) -> Self {
        let mut command = Command::new("sh");
        command
            .args(["-c", include_str!("supervise.sh"), "supervise"])
            .args([name, ends.quick]);
        // Settings of a person's own servers (PGPORT, ETCD_NAME, …) are not for these.
        command.env_clear().env("LC_ALL", "C");
        for name in ["PATH", "TMPDIR"] {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        if let Some(Owner { uid, gid }) = owner {
            command.uid(uid).gid(gid);
        }
        let mut supervisor = command
            .current_dir("/")
            // A terminal's Ctrl-C is for us: the supervisor must live to clean up.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("every Unix has sh");
        let orders = supervisor.stdin.take();
        let output = supervisor.stdout.take().expect("it is piped");
        let (sender, answers) = mpsc::channel();
        // A thread of its own, as a pipe can't be read with a deadline.
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let folder = answers
            .recv_timeout(PATIENCE)
            .unwrap_or_else(|_| panic!("{name}: no temporary folder could be made"));
        let state = State {
            supervisor,
            orders,
            answers,
            pid: None,
            ready: Box::new(|| true),
        };
        Self {
            name,
            folder: folder.into(),
            owner,
            graceful: ends.graceful,
            state: Mutex::new(state),
        }
    }

    /// Starts by the shell commands `script`, of which the last replaces the shell (`exec`), and waits until
    /// `ready`. Answers the log if it ended instead.
    pub(crate) fn start(
        &self,
        script: &str,
        ready: impl Fn() -> bool + Send + 'static,
    ) -> Result<(), String> {
        self.write("run", script);
        let mut state = self.state();
        state.ready = Box::new(ready);
        self.launch(&mut state)
    }

    /// Like [`start`](Self::start), by `attempt` with other ports if the first were taken in between.
    pub(crate) fn start_on_free_ports<T>(
        &self,
        mut attempt: impl FnMut() -> (T, Result<(), String>),
    ) -> T {
        for _ in 0..10 {
            let (started, outcome) = attempt();
            match outcome {
                Ok(()) => return started,
                Err(log) if log.to_lowercase().contains("already in use") => {
                    // What it says of the next ports must not be mixed up with this.
                    self.write("log", "");
                }
                Err(log) => panic!("{} did not start:\n{log}", self.name),
            }
        }
        panic!("{} found no free port", self.name)
    }

    fn launch(&self, state: &mut State) -> Result<(), String> {
        state.pid = Some(state.order("start"));
        let deadline = Instant::now() + PATIENCE;
        while !(state.ready)() {
            if state.order("alive") == "no" {
                state.pid = None;
                return Err(self.log());
            }
            if Instant::now() > deadline {
                return Err(format!("no answer in {PATIENCE:?}:\n{}", self.log()));
            }
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// Stops it the way an administrator would, and waits until it has ended.
    ///
    /// # Panics
    /// If it does not end.
    pub fn stop(&self) {
        self.end(self.graceful);
    }

    /// Kills it on the spot (SIGKILL), and waits until it has ended.
    ///
    /// # Panics
    /// If it does not end.
    pub fn kill(&self) {
        self.end("KILL");
    }

    fn end(&self, signal: &str) {
        let mut state = self.state();
        let Some(pid) = state.pid.take() else { return };
        if state.try_order(signal).is_none() {
            // The supervisor waits for it, so that the number can't be another process' yet.
            let _ = Command::new("kill").args(["-s", "KILL", &pid]).status();
            panic!("{} did not end:\n{}", self.name, self.log());
        }
    }

    /// Starts it again after [`stop`](Self::stop) or [`kill`](Self::kill), with the same port and data, and waits until
    /// it answers. If it runs, nothing happens.
    ///
    /// # Panics
    /// With its log if it does not start.
    pub fn start_again(&self) {
        let mut state = self.state();
        if state.pid.is_some() && state.order("alive") == "yes" {
            return;
        }
        let deadline = Instant::now() + PATIENCE;
        // What was killed may have left children for a moment, which hold on to port or data.
        while let Err(log) = self.launch(&mut state) {
            assert!(
                Instant::now() < deadline,
                "{} did not start again:\n{log}",
                self.name
            );
            std::thread::sleep(PAUSE);
        }
    }

    /// Holds the process as it is (SIGSTOP): its connections stay open, and nothing is answered. It
    /// does not reach the processes that PostgreSQL has for its connections: take a
    /// [`Proxy`](crate::Proxy) there.
    pub fn pause(&self) {
        self.state().order("STOP");
    }

    /// Lets it go on after [`pause`](Self::pause).
    pub fn resume(&self) {
        self.state().order("CONT");
    }

    /// Whether the process is there.
    #[must_use]
    pub fn is_running(&self) -> bool {
        let mut state = self.state();
        state.pid.is_some() && state.order("alive") == "yes"
    }

    /// The server's process number, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        let state = self.state();
        state.pid.as_ref().and_then(|pid| pid.parse().ok())
    }

    /// The temporary folder with its data, which is removed at the end.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What it wrote to its log so far.
    #[must_use]
    pub fn log(&self) -> String {
        let log = fs::read(self.folder.join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Writes a file that only the server's user can read into the folder.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.join(name);
        fs::write(&path, text).expect("the folder is there, and ours or we are root");
        self.hand_over(&path);
        path
    }

    /// Makes `path` the server's own, as PostgreSQL wants of its key.
    pub(crate) fn hand_over(&self, path: &Path) {
        let only_owner = fs::Permissions::from_mode(if path.is_dir() { 0o700 } else { 0o600 });
        fs::set_permissions(path, only_owner).expect("it is ours, or we are root");
        if let Some(Owner { uid, gid }) = self.owner {
            chown(path, Some(uid), Some(gid)).expect("only root has another as owner");
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // One test's panic must not take the shared server from the others.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn order(&mut self, order: &str) -> String {
        self.try_order(order)
            .expect("the supervisor answers while we live")
    }

    fn try_order(&mut self, order: &str) -> Option<String> {
        let orders = self.orders.as_mut().expect("it is closed by drop only");
        writeln!(orders, "{order}").ok()?;
        self.answers.recv_timeout(PATIENCE).ok()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let state = self.state.get_mut();
        let state = state.unwrap_or_else(PoisonError::into_inner);
        drop(state.orders.take());
        let _ = state.supervisor.wait();
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = f.debug_struct("Server");
        debug
            .field("name", &self.name)
            .field("folder", &self.folder);
        debug.finish_non_exhaustive()
    }
}

impl Owner {
    /// The user to take where we are root, for a server that refuses to run as root.
    pub(crate) fn if_root() -> Option<Self> {
        let is_root = fs::metadata("/proc/self").is_ok_and(|us| us.uid() == 0);
        if !is_root {
            return None;
        }
        let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let named = |wanted: &str| {
            users.lines().find_map(|line| {
                let mut fields = line.split(':');
                let name = fields.next()?;
                let mut number = || fields.by_ref().find_map(|field| field.parse().ok());
                (name == wanted).then_some(Self {
                    uid: number()?,
                    gid: number()?,
                })
            })
        };
        named("postgres").or_else(|| named("nobody"))
    }
}

/// `words` as a line of a shell script.
pub(crate) fn line(words: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let quoted = |word: &str| format!("'{}'", word.replace('\'', r"'\''"));
    let words: Vec<String> = words
        .into_iter()
        .map(|word| quoted(word.as_ref()))
        .collect();
    words.join(" ")
}

/// Waits until `is_so`.
///
/// # Panics
/// With `what` if that takes too long.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited too long: {what}");
        std::thread::sleep(PAUSE);
    }
}

/// `url` with more parameters, like `"a=1&b=2"`.
pub(crate) fn with_query(url: &str, query: &str) -> String {
    let between = if url.contains('?') { '&' } else { '?' };
    format!("{url}{between}{query}")
}

/// The URL of a server that exists, from the environment.
pub(crate) fn existing(variable: &str) -> Option<String> {
    std::env::var(variable).ok().filter(|url| !url.is_empty())
}
