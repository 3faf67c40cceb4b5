//! What a worker lives in: the one interface of all sandboxes.
#![expect(clippy::disallowed_methods, reason = "a shell: what lives in a sandbox has a task of its own")]

mod children;
mod environment;
mod exit;
mod home;
mod process;
mod survivors;

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use seagull_domain::{Limits, Used};
use tokio::sync::{mpsc, watch};

use crate::control_groups::Group;
pub use children::Children;
pub use environment::environment;
pub use exit::{End, Exit, Left, OutOfMemory, Usage};
pub use home::Home;
pub(crate) use home::remove_abandoned;
pub use process::ProcessSandbox;
pub(crate) use process::own_program;

/// What is to live in a sandbox.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Program and arguments.
    pub command: Vec<OsString>,
    /// The whole environment; see [`environment`].
    pub env: Vec<(OsString, OsString)>,
    pub cwd: PathBuf,
    /// Owned by the sandbox: gone when it has ended. The first is reached from inside, others may be.
    pub directories: Vec<PathBuf>,
    /// Takes stdout and stderr of everything inside that says nothing else. Not in any of `directories`.
    pub log: PathBuf,
    /// A directory that what is inside writes to, and that stays when the sandbox is gone.
    pub shared: Option<PathBuf>,
    /// What the command works on, with `cwd` in it. All that is reached from inside has the same path there.
    pub tree: PathBuf,
    /// What it may take on this machine, where that is bounded.
    pub bounds: Option<Limits>,
    /// What is `/etc/hosts` for what lives in a process sandbox, where this process may see to that.
    pub hosts: Option<PathBuf>,
}

/// Starts sandboxes of one kind.
pub trait Sandbox: Send + Sync {
    /// Starts what is to live in the sandbox; must be called inside a runtime. An error is the machine's; a command that
    /// cannot be started ends as [`End::NotStarted`].
    fn start(&self, spec: &Spec) -> io::Result<Handle>;
}

/// Something that lives in a sandbox. Dropping it kills everything inside.
#[derive(Debug)]
pub struct Handle {
    orders: mpsc::UnboundedSender<Order>,
    exit: watch::Receiver<Option<Exit>>,
    meter: Meter,
}

/// Tells what all that is in a sandbox has taken so far, where that is counted.
#[derive(Debug, Clone, Default)]
pub struct Meter(Arc<OnceLock<Group>>);

impl Meter {
    /// It is counted by this group, if there is any.
    pub(crate) fn set(&self, group: Group) {
        if !group.directories().is_empty() {
            let _ = self.0.set(group);
        }
    }

    /// Nothing once the sandbox is gone.
    pub fn read(&self) -> Option<Used> {
        self.0.get()?.used()
    }

    /// Whether the kernel has killed something of it for want of memory.
    pub fn was_out_of_memory(&self) -> bool {
        self.0.get().is_some_and(Group::was_out_of_memory)
    }

    /// Whose memory that was, where the kernel's log has it; see [`Group::by_log`].
    pub(crate) fn out_of_memory(&self) -> Option<OutOfMemory> {
        self.0.get()?.by_log()
    }

    /// What it has taken, by how it ended; nothing where that says nothing.
    pub fn at_end(&self, exit: &Exit) -> Option<Used> {
        let Usage { user_seconds, system_seconds, peak_bytes } = exit.usage;
        let cpu_us = ((user_seconds + system_seconds) * 1e6) as u64;
        self.0.get().filter(|_| peak_bytes > 0)?;
        Some(Used { cpu_us, peak_kib: peak_bytes / 1024, whole: true })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Interrupt,
    DumpStacks,
    Kill,
}

impl Handle {
    /// Of what somebody attends to until its end, by the orders that come; when no more can, nobody wants it.
    pub(crate) fn attended<A: Future<Output = Exit> + Send + 'static>(
        meter: Meter,
        attend: impl FnOnce(mpsc::UnboundedReceiver<Order>) -> A,
    ) -> Handle {
        let (orders, receiver) = mpsc::unbounded_channel();
        let (sender, exit) = watch::channel(None);
        let attended = attend(receiver);
        tokio::spawn(async move { sender.send_replace(Some(attended.await)) });
        Handle { orders, exit, meter }
    }

    pub fn meter(&self) -> &Meter {
        &self.meter
    }

    /// Interrupts the main process, as Ctrl-C would.
    pub fn interrupt(&self) {
        self.order(Order::Interrupt);
    }

    /// Asks the main process for the stacks of its threads, on its stderr. It must have said that it can: the signal
    /// kills one that did not expect it.
    pub fn dump_stacks(&self) {
        self.order(Order::DumpStacks);
    }

    /// Kills everything inside, within a second.
    pub fn kill(&self) {
        self.order(Order::Kill);
    }

    /// Waits until nothing of the sandbox is left. May be given up and called again, also after the end.
    pub async fn wait(&self) -> Exit {
        let mut exit = self.exit.clone();
        let ended = exit.wait_for(Option::is_some).await.ok().and_then(|exit| exit.clone());
        ended.unwrap_or_else(|| Exit::of(End::SupervisorLost))
    }

    pub fn has_ended(&self) -> bool {
        self.exit.borrow().is_some()
    }

    /// An order to what has ended changes nothing.
    fn order(&self, order: Order) {
        let _ = self.orders.send(order);
    }
}
