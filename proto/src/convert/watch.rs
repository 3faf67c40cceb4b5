//! A run's stream as a client receives it.

use std::iter;

use prost::Message;
use prost::encoding::encoded_len_varint;
use seagull_domain::{ExecutorId, RunId, Seq, SlotNumber, StreamItem, TestIndex};

use super::Invalid;
use super::printed::Printed;
use super::scalar::{self, Checked};
use crate::v1::watch_message;
use crate::{limits, v1};

/// A call of `Watch`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchAsked {
    pub run: RunId,
    /// Events with a higher number only.
    pub after: Seq,
    /// With what tests print while they run.
    pub output: bool,
}

/// A message of a run's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Watched {
    Items(Vec<StreamItem>),
    /// What slots do now, and what the scheduler says of itself; `after` is the last number that was sent before.
    Live {
        after: Seq,
        slots: Vec<LiveSlot>,
        word: String,
    },
    /// All that was durable when the call arrived has been sent.
    CaughtUp {
        after: Seq,
    },
    Printed(Printed),
}

/// What a slot does now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveSlot {
    pub executor: ExecutorId,
    pub slot: SlotNumber,
    pub test: Option<TestIndex>,
}

/// Packs events into messages: many to one, yet none of them near the limit of a message, so that the first events
/// of a long replay arrive early.
pub fn pack_items(items: impl IntoIterator<Item = StreamItem>) -> impl Iterator<Item = v1::WatchMessage> {
    let mut items = items.into_iter().map(v1::StreamItem::from).peekable();
    iter::from_fn(move || {
        let mut packed = Vec::new();
        let mut room = limits::CHUNK_BYTES;
        while let Some(item) = items.peek() {
            let length = item.encoded_len();
            let needed = 1 + encoded_len_varint(length as u64) + length;
            if !packed.is_empty() && (needed > room || packed.len() == limits::ITEMS) {
                break;
            }
            room = room.saturating_sub(needed);
            packed.extend(items.next());
        }
        (!packed.is_empty()).then(|| message(watch_message::Message::Items(v1::Items { items: packed })))
    })
}

fn message(message: watch_message::Message) -> v1::WatchMessage {
    v1::WatchMessage { message: Some(message) }
}

impl From<Watched> for v1::WatchMessage {
    /// Sends any number of events as one message; see [`pack_items`].
    fn from(watched: Watched) -> Self {
        message(match watched {
            Watched::Items(items) => watch_message::Message::Items(v1::Items {
                items: items.into_iter().map(Into::into).collect(),
            }),
            Watched::Live { after, slots, word } => watch_message::Message::Live(v1::Live {
                after: after.0,
                slots: slots.into_iter().map(Into::into).collect(),
                word: scalar::fitted(word, limits::WORD_BYTES),
            }),
            Watched::CaughtUp { after } => watch_message::Message::CaughtUp(v1::CaughtUp { after: after.0 }),
            Watched::Printed(printed) => watch_message::Message::Printed(printed.into()),
        })
    }
}

impl TryFrom<v1::WatchMessage> for Watched {
    type Error = Invalid;

    fn try_from(message: v1::WatchMessage) -> Checked<Self> {
        Ok(match scalar::required(message.message, "WatchMessage.message")? {
            watch_message::Message::Items(items) => {
                scalar::bounded_count(items.items.len(), limits::ITEMS, "Items.items")?;
                let known = items.items.into_iter().filter(|item| item.event.is_some());
                Self::Items(known.map(StreamItem::try_from).collect::<Checked<_>>()?)
            }
            watch_message::Message::Live(live) => Self::Live {
                after: scalar::seq(live.after, "Live.after")?,
                slots: scalar::list(live.slots, limits::ATTEMPTS, "Live.slots", LiveSlot::try_from)?,
                word: scalar::text(live.word, limits::WORD_BYTES, "Live.word")?,
            },
            watch_message::Message::CaughtUp(caught_up) => {
                Self::CaughtUp { after: scalar::seq(caught_up.after, "CaughtUp.after")? }
            }
            watch_message::Message::Printed(printed) => Self::Printed(printed.try_into()?),
        })
    }
}

impl From<LiveSlot> for v1::LiveSlot {
    fn from(live: LiveSlot) -> Self {
        Self { executor: live.executor.into(), slot: live.slot.0, test: live.test.map(|test| test.0) }
    }
}

impl TryFrom<v1::LiveSlot> for LiveSlot {
    type Error = Invalid;

    fn try_from(message: v1::LiveSlot) -> Checked<Self> {
        Ok(Self {
            executor: scalar::id(message.executor, "LiveSlot.executor")?,
            slot: scalar::slot_number(message.slot, "LiveSlot.slot")?,
            test: message.test.map(|test| scalar::test(test, "LiveSlot.test")).transpose()?,
        })
    }
}

impl From<WatchAsked> for v1::WatchRequest {
    fn from(asked: WatchAsked) -> Self {
        Self { run: asked.run.into(), after: asked.after.0, output: asked.output }
    }
}

impl TryFrom<v1::WatchRequest> for WatchAsked {
    type Error = Invalid;

    fn try_from(message: v1::WatchRequest) -> Checked<Self> {
        Ok(Self {
            run: scalar::id(message.run, "WatchRequest.run")?,
            after: scalar::seq(message.after, "WatchRequest.after")?,
            output: message.output,
        })
    }
}
