//! Messages between processes: most arrive within milliseconds, some are lost, repeated, or delayed past others. What is sent
//! to a scheduler goes over a connection to its process, as TCP has it: it ends with that, and never comes to the next one.

use seagull_domain::{
    AttemptId, BootId, BundleContents, Desired, ExecutorId, Generation, Report, RunId, SuiteError,
};

use crate::world::{Action, World};

/// Of a thousand messages so many are lost, repeated or delayed.
const FAULTY: u64 = 50;

#[derive(Debug, Clone)]
pub enum ToScheduler {
    Report {
        agent: usize,
        transport: u64,
        report: Box<Report>,
    },
    Closed {
        executor: ExecutorId,
        boot: BootId,
        sequence: u64,
    },
    Fetch {
        agent: usize,
        run: RunId,
        attempt: AttemptId,
        generation: Generation,
    },
    Submit {
        run: usize,
    },
    Cancel {
        run: usize,
    },
    Drain {
        executor: ExecutorId,
        limit_ms: u64,
    },
    Judge {
        run: usize,
        word: Option<Vec<SuiteError>>,
    },
    /// A client's stream begins, or ends.
    Watch {
        run: usize,
        begins: bool,
    },
}

#[derive(Debug, Clone)]
pub enum ToAgent {
    Answer {
        transport: u64,
        desired: Box<Desired>,
    },
    /// The call ended without an answer.
    Failed {
        transport: u64,
    },
    Contents {
        attempt: AttemptId,
        generation: Generation,
        contents: Option<BundleContents>,
    },
    /// Contents will never come.
    Unavailable {
        attempt: AttemptId,
    },
}

impl World {
    /// When copies of a message arrive, in milliseconds from now: none if it is lost.
    fn fate(&mut self) -> Vec<u64> {
        let delay = self.random.within(1..=4);
        if !self.mishap(FAULTY) {
            return vec![delay];
        }
        match self.random.within(0..=2) {
            0 => {
                self.census.count("fault: message lost");
                vec![]
            }
            1 => {
                self.census.count("fault: message repeated");
                vec![delay, delay + self.random.within(0..=3000)]
            }
            _ => {
                self.census.count("fault: message delayed");
                let most = if self.random.chance(200) { 20_000 } else { 500 };
                vec![delay + self.random.within(10..=most)]
            }
        }
    }

    pub fn send_to_scheduler(&mut self, message: &ToScheduler) {
        if self.stays_behind(message) {
            return;
        }
        let copies = self.fate();
        // Half of what is lost is noticed by its sender, as when a connection breaks.
        if let (true, ToScheduler::Report { agent, transport, .. }) = (copies.is_empty(), message)
            && self.random.chance(500)
        {
            let failed = ToAgent::Failed { transport: *transport };
            return self.after(5, Action::ToAgent { agent: *agent, message: failed });
        }
        for delay in copies {
            self.after(delay, Action::ToScheduler { epoch: self.epoch, message: message.clone() });
        }
    }

    pub fn send_to_agent(&mut self, agent: usize, message: &ToAgent) {
        if self.is_cut_off(agent) {
            return;
        }
        for delay in self.fate() {
            self.after(delay, Action::ToAgent { agent, message: message.clone() });
        }
    }

    /// Whether its sender is cut off.
    fn stays_behind(&self, message: &ToScheduler) -> bool {
        match message {
            ToScheduler::Report { agent, .. } | ToScheduler::Fetch { agent, .. } => self.is_cut_off(*agent),
            ToScheduler::Closed { executor, .. } => self.is_executor_cut_off(executor.as_str()),
            ToScheduler::Submit { .. }
            | ToScheduler::Cancel { .. }
            | ToScheduler::Judge { .. }
            | ToScheduler::Watch { .. }
            | ToScheduler::Drain { .. } => self.clients_are_out(),
        }
    }

    pub fn is_cut_off(&self, agent: usize) -> bool {
        self.is_executor_cut_off(&self.physical.agents[agent].executor)
    }

    fn is_executor_cut_off(&self, name: &str) -> bool {
        let index: usize = name[1..].parse().expect("an executor's name ends with its number");
        self.cut_until[index] > self.now
    }

    pub fn clients_are_out(&self) -> bool {
        self.clients_cut_until > self.now
    }

    pub fn executor_is_cut_off(&mut self, executor: usize, for_ms: u64) {
        self.census.count("fault: executor cut off");
        let until = &mut self.cut_until[executor];
        *until = (*until).max(self.now + for_ms);
    }

    /// Their streams break, which the scheduler sees sooner or later.
    pub fn clients_are_cut_off(&mut self, for_ms: u64) {
        self.census.count("fault: clients cut off");
        self.clients_cut_until = self.now + for_ms;
        for run in 0..self.clients.len() {
            self.client_is_cut_off(run);
        }
    }
}
