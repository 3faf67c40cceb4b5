//! The one task that owns the state: receive, step, hand the facts to the journal, and perform effects once they are
//! durable, in order.
#![expect(clippy::disallowed_methods, reason = "the shell of the core: time enters here")]

use std::collections::{BTreeMap, VecDeque};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use seagull_domain::{Desired, Digest, ExecutorId, Instant, RunOverview, RunState, Seq, Workspace};
use seagull_scheduler_core::{Call, Effect, Event, Phase, Refusal, Run, State, is_kept_waiting};
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::committer::{Committer, Progress, Work};
use crate::disk::Disk;
use crate::requests::{Displaced, Errand, Live, Request};

/// What would change something and waits for room on the disk; beyond that its senders wait.
const PUT_OFF: usize = 1024;

pub(crate) struct Actor {
    state: State,
    committer: Committer,
    requests: mpsc::Receiver<Request>,
    /// What came while there was no room on the disk.
    put_off: VecDeque<Request>,
    errands: mpsc::UnboundedSender<Errand>,
    live: broadcast::Sender<Live>,
    disk: Arc<Disk>,
    waiting: VecDeque<Waiting>,
    /// What is known to be durable.
    progress: Progress,
    /// Executors whose calls are held.
    reports: BTreeMap<Call, (ExecutorId, oneshot::Sender<Result<Desired, Displaced>>)>,
    submissions: BTreeMap<Call, oneshot::Sender<Result<bool, Refusal>>>,
    /// Who waits to be heard.
    words: BTreeMap<Call, oneshot::Sender<()>>,
    next_call: Call,
    /// A snapshot is on its way to the journal.
    snapshotting: bool,
    origin: tokio::time::Instant,
    /// When the loop last did something.
    turned: Instant,
}

/// Effects with the fact they wait for.
struct Waiting {
    seq: Seq,
    since: Instant,
    effects: Vec<Effect>,
}

/// The other ends of an actor.
pub(crate) struct Ends {
    pub requests: mpsc::Receiver<Request>,
    pub errands: mpsc::UnboundedSender<Errand>,
    pub live: broadcast::Sender<Live>,
    pub disk: Arc<Disk>,
}

impl Actor {
    pub fn new(state: State, committer: Committer, ends: Ends) -> Actor {
        let progress = committer.durable.borrow().clone();
        Actor {
            state,
            committer,
            requests: ends.requests,
            put_off: VecDeque::new(),
            errands: ends.errands,
            live: ends.live,
            disk: ends.disk,
            waiting: VecDeque::new(),
            progress,
            reports: BTreeMap::new(),
            submissions: BTreeMap::new(),
            words: BTreeMap::new(),
            next_call: Call(0),
            snapshotting: false,
            origin: tokio::time::Instant::now(),
            turned: Instant(0),
        }
    }

    /// Runs until nobody can ask any more. An error means that what is acknowledged cannot be kept: the process must end.
    pub async fn run(mut self) -> Result<(), String> {
        let mut durable = self.committer.durable.clone();
        self.step(Event::Recovered);
        loop {
            self.room().await?;
            if let Some(request) = self.put_off.pop_front() {
                self.turn();
                self.handle(request)?;
                continue;
            }
            let timer = self.state.next_deadline().map(|at| self.origin + Duration::from_millis(at.0));
            tokio::select! {
                request = self.requests.recv() => match request {
                    Some(request) => {
                        self.turn();
                        self.handle(request)?;
                    }
                    None => return Ok(()),
                },
                changed = durable.changed() => {
                    let progress = durable.borrow_and_update().clone();
                    if let Some(error) = progress.failed.clone().or(changed.err().map(|e| e.to_string())) {
                        return Err(error);
                    }
                    self.turn();
                    self.excuse();
                    self.progress = progress;
                    self.committed();
                }
                () = sleep_until(timer) => {
                    self.turn();
                    self.excuse();
                    self.step(Event::Tick);
                }
            }
        }
    }

    /// Nobody is silent who waits for an answer that waits for the disk.
    fn excuse(&mut self) {
        let now = self.now();
        let late = self.waiting.iter().take_while(|waiting| is_kept_waiting(waiting.since, now));
        let held = late.flat_map(|waiting| &waiting.effects).filter_map(|effect| match effect {
            Effect::Answer { call, .. } => self.reports.get(call),
            _ => None,
        });
        let held: Vec<_> =
            held.filter(|(_, reply)| !reply.is_closed()).map(|(executor, _)| executor.clone()).collect();
        if !held.is_empty() {
            self.step(Event::Unanswered(held));
        }
    }

    /// Until there is room on the disk. Who only asks is answered meanwhile; what changes something waits for its turn, for
    /// as long as anybody waits for it.
    async fn room(&mut self) -> Result<(), String> {
        let disk = self.disk.clone();
        let mut room = pin!(disk.room());
        loop {
            tokio::select! {
                biased;
                () = &mut room => return Ok(()),
                Some(request) = self.requests.recv(), if self.put_off.len() < PUT_OFF => {
                    if request.only_asks() {
                        self.handle(request)?;
                    } else {
                        self.put_off.retain(|request| !request.is_given_up());
                        self.put_off.push_back(request);
                    }
                }
            }
        }
    }

    fn now(&self) -> Instant {
        Instant(u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// The loop does something: first of all it sees whether the process stood still.
    fn turn(&mut self) {
        let now = self.now();
        if let Some(pause) = self.state.stood_still(self.turned, now) {
            self.step(Event::Paused(pause));
        }
        self.turned = now;
    }

    fn handle(&mut self, request: Request) -> Result<(), String> {
        match request {
            Request::Event(event) => self.step(event),
            Request::Broken(why) => return Err(why),
            Request::Submit { spec, reply } => {
                let request = self.call();
                self.submissions.insert(request, reply);
                self.step(Event::Submit { request, spec });
            }
            Request::Cancel { run, reply } => {
                let request = self.call();
                self.words.insert(request, reply);
                self.step(Event::Cancel { request, run });
            }
            Request::Judge { run, word, reply } => {
                let request = self.call();
                self.words.insert(request, reply);
                self.step(Event::Judge { request, run, word });
            }
            Request::Report { report, reply } => {
                let call = self.call();
                self.reports.insert(call, (report.executor.clone(), reply));
                self.step(Event::Report { call, report });
            }
            Request::Bundle { run, attempt, generation, reply } => {
                let run = self.state.runs.get(&run);
                let _ = reply.send(run.and_then(|run| run.contents(attempt, generation)));
            }
            Request::Run { run, reply } => {
                let _ = reply.send(self.state.runs.get(&run).map(|run| run.spec.clone()));
            }
            Request::Overviews { reply } => {
                let _ = reply.send(self.state.runs.values().map(overview).collect());
            }
            Request::Slots { reply } => {
                let _ = reply.send(self.state.slots());
            }
            Request::Find { run, test, reply } => {
                let _ = reply.send(self.state.whereabouts(self.now(), &run, test));
            }
            Request::Standing { run, reply } => {
                let _ = reply.send(self.state.standing(self.now(), &run));
            }
            Request::Drain { executors, limit_ms, reply } => {
                self.step(Event::Drain { executors: executors.clone(), limit_ms });
                let is_young = self.now() < Instant(0) + self.state.settings.lease;
                let states = executors.iter().map(|executor| self.state.drain_state(executor, is_young));
                let _ = reply.send(states.collect());
            }
            Request::Blobs { reply } => {
                let _ = reply.send(self.state.runs.values().flat_map(blobs).collect());
            }
        }
        Ok(())
    }

    fn call(&mut self) -> Call {
        self.next_call = Call(self.next_call.0 + 1);
        self.next_call
    }

    fn step(&mut self, event: Event) {
        let now = self.now();
        let outcome = self.state.step(now, event);
        if !outcome.facts.is_empty() {
            self.committer.submit(Work::Facts(outcome.facts));
        }
        if !outcome.effects.is_empty() {
            let (seq, effects) = (self.state.seq, outcome.effects);
            self.waiting.push_back(Waiting { seq, since: now, effects });
        }
        self.committed();
    }

    /// Performs what waited for facts that are durable now.
    fn committed(&mut self) {
        let Progress { seq, wants_snapshot, .. } = self.progress;
        while let Some(Waiting { effects, .. }) = self.waiting.pop_front_if(|waiting| waiting.seq <= seq) {
            effects.into_iter().for_each(|effect| self.perform(effect));
        }
        let asked = std::mem::replace(&mut self.snapshotting, wants_snapshot);
        if wants_snapshot && !asked {
            let body = serde_json::to_string(&self.state).expect("the state has only text keys");
            let runs = self.state.runs.keys().cloned().collect();
            self.committer.submit(Work::Snapshot { seq: self.state.seq, body, runs });
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Answer { call, desired } => self.answer(call, Ok(*desired)),
            Effect::Displaced { call } => self.answer(call, Err(Displaced)),
            Effect::Drop { call } => {
                self.reports.remove(&call);
            }
            Effect::Submitted { request, attached, .. } => self.submitted(request, Ok(attached)),
            Effect::Refused { request, refusal } => self.submitted(request, Err(refusal)),
            Effect::Heard { request } => {
                if let Some(reply) = self.words.remove(&request) {
                    let _ = reply.send(());
                }
            }
            Effect::Plan { run, generation, discovered, slots, anticipated } => {
                if let Some(run) = self.state.runs.get(&run) {
                    let spec = Box::new(run.spec.clone());
                    let plan = Errand::Plan { spec, generation, discovered, slots, anticipated };
                    let _ = self.errands.send(plan);
                }
            }
            Effect::Anticipate { run, slots } => {
                if let Some(run) = self.state.runs.get(&run) {
                    let spec = Box::new(run.spec.clone());
                    let _ = self.errands.send(Errand::Anticipate { spec, slots });
                }
            }
            Effect::Archive { run } => {
                let _ = self.errands.send(Errand::Archive { run });
            }
            Effect::Live { run, executor, slot, test } => {
                let _ = self.live.send(Live { run, executor, slot, test });
            }
        }
    }

    fn answer(&mut self, call: Call, answer: Result<Desired, Displaced>) {
        if let Some((_, reply)) = self.reports.remove(&call) {
            let _ = reply.send(answer);
        }
    }

    fn submitted(&mut self, request: Call, outcome: Result<bool, Refusal>) {
        if let Some(reply) = self.submissions.remove(&request) {
            let _ = reply.send(outcome);
        }
    }
}

fn overview(run: &Run) -> RunOverview {
    let state = match run.phase {
        Phase::Ended { verdict, exit_code } => RunState::Ended { verdict, exit_code, at: 0 },
        _ => RunState::UnderWay,
    };
    let (counts, suite_errors) = (run.counts, run.suite_errors);
    RunOverview { counts, suite_errors, ..RunOverview::of(&run.spec, state) }
}

/// A run's artifact and manifests.
fn blobs(run: &Run) -> impl Iterator<Item = Digest> + use<> {
    let artifact = match run.spec.workspace {
        Workspace::Artifact { digest, .. } => Some(digest),
        Workspace::InPlace { .. } => None,
    };
    let discovered = match run.phase {
        Phase::Planning { discovered, .. } => Some(discovered),
        _ => None,
    };
    let earlier = run.live_attempts().find_map(|(_, attempt)| attempt.numbering.as_ref());
    let earlier = earlier.map(|numbering| numbering.manifest);
    [artifact, discovered, run.anticipated, run.manifest, earlier].into_iter().flatten()
}

async fn sleep_until(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use seagull_domain::{Epoch, Generation, Report};
    use seagull_scheduler_core::Settings;
    use tokio::sync::oneshot::error::TryRecvError;

    use super::*;
    use crate::requests::Handle;
    use crate::service::tests::spec;

    fn report() -> Report {
        Report {
            capacity: seagull_domain::Resources::UNBOUNDED,
            executor: "e".parse().unwrap(),
            boot: "b".parse().unwrap(),
            sequence: 1,
            known: (Epoch(0), 0),
            slots: 1,
            labels: BTreeMap::new(),
            draining: None,
            attempts: Vec::new(),
            workers: Vec::new(),
            batches: Vec::new(),
        }
    }

    /// Nothing of it becomes durable, and nobody else asks it.
    fn alone() -> Actor {
        let (committer, ..) = Committer::with_queue(Seq(0));
        let (disk, live) = (Arc::new(Disk::new(true)), broadcast::channel(8).0);
        let ends = Ends { requests: mpsc::channel(8).1, errands: mpsc::unbounded_channel().0, live, disk };
        Actor::new(State::new(Epoch(1), Settings::default()), committer, ends)
    }

    #[tokio::test]
    async fn whoever_stood_still_takes_nobody_for_lost() {
        let mut actor = alone();
        let (reply, answer) = oneshot::channel();
        actor.handle(Request::Report { report: Box::new(report()), reply }).unwrap();
        answer.await.unwrap().expect("it has the name");

        // It has no call outstanding, so that nothing is due before its lease ends.
        actor.turn();
        assert!(actor.state.next_deadline().is_some_and(|at| at - Instant(0) >= actor.state.settings.lease));
        actor.origin -= actor.state.settings.lease + Duration::from_secs(5);
        actor.turn();
        actor.step(Event::Tick);
        assert_eq!(actor.state.executors.len(), 1, "it may have reported meanwhile");
        // Silence is none the less silence.
        actor.turn();
        actor.origin -= actor.state.next_deadline().expect("a lease") - actor.now();
        actor.turn();
        actor.step(Event::Tick);
        assert!(actor.state.executors.is_empty());
    }

    #[tokio::test]
    async fn whoever_waits_for_the_disk_is_not_lost_as_long_as_it_waits() {
        let mut actor = alone();
        let (reply, _submitted) = oneshot::channel();
        actor.handle(Request::Submit { spec: Box::new(spec("r")), reply }).unwrap();
        let (reply, answer) = oneshot::channel();
        actor.handle(Request::Report { report: Box::new(report()), reply }).unwrap();
        assert!(!actor.waiting.is_empty(), "it was given something, which is not durable");
        let mut passes = || {
            actor.origin -= actor.state.next_deadline().expect("a lease") - actor.now();
            actor.turn();
            actor.excuse();
            actor.step(Event::Tick);
            actor.state.executors.len()
        };
        assert!((0..30).all(|_| passes() == 1), "it says nothing because it has no answer");
        drop(answer);
        assert!((0..30).any(|_| passes() == 0), "its connection is gone");
    }

    #[tokio::test]
    async fn nothing_is_answered_before_its_facts_are_durable() {
        let (committer, work, durable) = Committer::with_queue(Seq(0));
        let (requests, receiver) = mpsc::channel(8);
        let (errands, _queue) = mpsc::unbounded_channel();
        let handle = Handle { requests, live: broadcast::channel(8).0, durable: committer.durable.clone() };
        let disk = Arc::new(Disk::new(true));
        let ends = Ends { requests: receiver, errands, live: handle.live.clone(), disk };
        let state = State::new(Epoch(1), Settings::default());
        tokio::spawn(Actor::new(state, committer, ends).run());

        let (reply, mut submitted) = oneshot::channel();
        handle.requests.send(Request::Submit { spec: Box::new(spec("r")), reply }).await.unwrap();
        let (reply, mut assigned) = oneshot::channel();
        handle.requests.send(Request::Report { report: Box::new(report()), reply }).await.unwrap();
        // What needs no fact is answered: all that came before it has been seen to.
        let run = "r".parse().unwrap();
        handle.ask(|reply| Request::Run { run, reply }).await.flatten().expect("the run is known");
        assert_eq!(submitted.try_recv().unwrap_err(), TryRecvError::Empty);
        assert_eq!(assigned.try_recv().unwrap_err(), TryRecvError::Empty);

        let commit = || {
            let Ok(Work::Facts(facts)) = work.try_recv() else { panic!("there are facts to commit") };
            durable.send_modify(|progress| progress.seq = facts.last().expect("not empty").0);
        };
        commit();
        assert_eq!(submitted.await, Ok(Ok(false)), "it is the first of its id");
        assert_eq!(assigned.try_recv().unwrap_err(), TryRecvError::Empty);
        commit();
        assert_eq!(assigned.await.unwrap().expect("it has the name").attempts.len(), 1);

        let (reply, mut cancelled) = oneshot::channel();
        let run: seagull_domain::RunId = "r".parse().unwrap();
        handle.requests.send(Request::Cancel { run: run.clone(), reply }).await.unwrap();
        handle.ask(|reply| Request::Run { run, reply }).await.flatten().expect("the run is known");
        assert_eq!(cancelled.try_recv().unwrap_err(), TryRecvError::Empty);
        commit();
        assert_eq!(cancelled.await, Ok(()));
    }

    #[tokio::test]
    async fn while_the_disk_is_full_only_questions_are_answered() {
        let (committer, _work, _durable) = Committer::with_queue(Seq(0));
        let (requests, receiver) = mpsc::channel(8);
        let (errands, _queue) = mpsc::unbounded_channel();
        let handle = Handle { requests, live: broadcast::channel(8).0, durable: committer.durable.clone() };
        let disk = Arc::new(Disk::new(true));
        let ends = Ends { requests: receiver, errands, live: handle.live.clone(), disk: disk.clone() };
        let full = Arc::new(std::sync::atomic::AtomicBool::new(true));
        let (of, is_full) = (disk.clone(), full.clone());
        let write =
            move || if is_full.load(std::sync::atomic::Ordering::SeqCst) { Err("full") } else { Ok(()) };
        let writer = tokio::task::spawn_blocking(move || of.keep(|_| true, write));
        disk.full().await;
        tokio::spawn(Actor::new(State::new(Epoch(1), Settings::default()), committer, ends).run());

        let (reply, given_up) = oneshot::channel();
        handle.requests.send(Request::Submit { spec: Box::new(spec("given-up")), reply }).await.unwrap();
        drop(given_up);
        let (reply, mut submitted) = oneshot::channel();
        handle.requests.send(Request::Submit { spec: Box::new(spec("r")), reply }).await.unwrap();
        assert_eq!(handle.ask(|reply| Request::Overviews { reply }).await.unwrap().len(), 0);
        assert_eq!(submitted.try_recv().unwrap_err(), TryRecvError::Empty);
        full.store(false, std::sync::atomic::Ordering::SeqCst);
        writer.await.unwrap().unwrap();
        let known = async || {
            let runs = handle.ask(|reply| Request::Overviews { reply }).await.unwrap();
            runs.into_iter().map(|run| run.run.to_string()).collect::<Vec<_>>()
        };
        while known().await.is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(known().await, ["r"], "nobody waited for the other one");
    }

    #[test]
    fn a_run_is_made_of_its_artifact_and_its_manifests() {
        let mut run = Run::new(spec("r"));
        assert_eq!(blobs(&run).count(), 0);
        let [artifact, discovered, manifest] = [1, 2, 3].map(|n| Digest([n; 32]));
        run.spec.workspace = Workspace::Artifact { digest: artifact, directory: String::new() };
        run.phase = Phase::Planning { generation: Generation(1), discovered };
        assert_eq!(blobs(&run).collect::<Vec<_>>(), [artifact, discovered]);
        (run.phase, run.manifest) = (Phase::Running, Some(manifest));
        assert_eq!(blobs(&run).collect::<Vec<_>>(), [artifact, manifest]);
    }
}
