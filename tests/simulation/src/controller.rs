//! Scripted controllers: what stands in for the process of a run that workers wait for.

use std::collections::BTreeMap;

use seagull_domain::{InfraCause, SlotIndex};
use seagull_executor_core::{Exit, NodeOrder, Start, WorkerEvent, WorkerId};

use crate::physical::ControllerLife;
use crate::worker::Order;
use crate::world::{Action, World};

/// Those of an agent, that are not gone.
pub type Controllers = BTreeMap<WorkerId, Controller>;

pub struct Controller {
    slot: SlotIndex,
    /// Its place in the physical record.
    life: usize,
    /// It does nothing more, and hears nothing.
    stuck: bool,
    /// Its session has begun: it ends in order.
    opened: bool,
}

impl World {
    pub fn start_controller(&mut self, agent: usize, start: &Start) {
        let (slot, id, run) = (start.slot, start.worker, self.run_index(&start.run));
        self.census.count("met: controller started");
        self.log(|| format!("    agent {agent} starts a controller: {start:?}"));
        let start = self.now;
        self.physical.controllers.push(ControllerLife { run, agent, start, end: None, broke: false });
        let life = self.physical.controllers.len() - 1;
        let stuck = self.mishap(90);
        self.agents[agent].controllers.insert(id, Controller { slot, life, stuck, opened: false });
        if self.mishap(90) {
            self.census.count("fault: controller not started");
            let event = WorkerEvent::NotStarted(InfraCause::SandboxFailed, "no room for a sandbox".into());
            self.controller_says(agent, id, 20, event);
            self.controller_is_gone(agent, id, true, 20);
        } else if stuck {
            self.census.count("fault: controller stuck");
        } else {
            let grace_ms = self.scenario.runs[run].spec.grace_ms;
            let delay = self.random.within(50..=500);
            self.controller_says(agent, id, delay, WorkerEvent::Ready { grace_ms });
        }
    }

    pub fn controller_is_told(&mut self, agent: usize, id: WorkerId, order: &Order) {
        let Some(&Controller { stuck, opened, .. }) = self.agents[agent].controllers.get(&id) else { return };
        match order {
            Order::Kill => {
                let delay = self.random.within(0..=600);
                self.controller_exits(agent, id, true, delay);
            }
            _ if stuck => {}
            Order::Node(NodeOrder::Configure { .. }) if self.mishap(20) => {
                self.census.count("fault: controller died");
                self.controller_exits(agent, id, true, 1);
            }
            Order::Node(NodeOrder::Configure { number }) => {
                self.agents[agent].controllers.get_mut(&id).expect("it is there").opened = true;
                let event = WorkerEvent::NodeInput { number: *number, input: String::new() };
                let delay = self.random.within(1..=30);
                self.controller_says(agent, id, delay, event);
            }
            Order::Finish if self.random.chance(200) => {
                self.census.count("fault: controller stuck finishing");
                self.agents[agent].controllers.get_mut(&id).expect("it is there").stuck = true;
            }
            Order::Finish => {
                let dies = self.random.chance(200);
                if dies {
                    self.census.count("fault: controller died finishing");
                } else {
                    self.controller_says(agent, id, 1, WorkerEvent::Ended { exit: None });
                }
                self.controller_exits(agent, id, dies, 2);
            }
            Order::Interrupt => {
                if opened {
                    self.controller_says(agent, id, 1, WorkerEvent::Ended { exit: None });
                }
                self.controller_exits(agent, id, false, 2);
            }
            Order::Node(_) | Order::Reset | Order::Feed { .. } => {}
        }
    }

    pub fn controllers_die_with(&mut self, agent: usize) {
        for (_, controller) in std::mem::take(&mut self.agents[agent].controllers) {
            let life = &mut self.physical.controllers[controller.life];
            (life.end, life.broke) = (Some(self.now), true);
        }
    }

    fn controller_exits(&mut self, agent: usize, id: WorkerId, broke: bool, delay: u64) {
        let event = WorkerEvent::Exited(Exit::of("some way"));
        self.controller_says(agent, id, delay, event);
        self.controller_is_gone(agent, id, broke, delay);
    }

    /// After `delay`.
    fn controller_is_gone(&mut self, agent: usize, id: WorkerId, broke: bool, delay: u64) {
        let controller = self.agents[agent].controllers.remove(&id).expect("it is there");
        let life = &mut self.physical.controllers[controller.life];
        (life.end, life.broke) = (Some(self.now + delay), broke);
    }

    fn controller_says(&mut self, agent: usize, worker: WorkerId, delay: u64, event: WorkerEvent) {
        let slot = self.agents[agent].controllers[&worker].slot;
        self.after(delay, Action::Says { agent, slot, worker, event });
    }
}
