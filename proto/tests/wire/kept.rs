//! A release takes what an older one sends: messages as release 0.1 encoded them, at least one of each kind.
//!
//! A line of `0.1.txt` has the name of a message and its bytes in hexadecimal digits, and is never changed again. A new kind,
//! or a new kind of event, gets a line at the end. A receiver may add to a message what it lacks, and must drop nothing.

use prost::Message;
use seagull_domain::*;
use seagull_proto::convert::*;
use seagull_proto::v1;

use crate::arbitrary::EVENTS;

const SENT: &str = include_str!("0.1.txt");

macro_rules! kinds {
    ($($message:ident => $value:ty),+ $(,)?) => {
        const KINDS: &[&str] = &[$(stringify!($message)),+];

        /// The message as it is sent on by whoever received it.
        fn sent_on(kind: &str, bytes: &[u8]) -> Vec<u8> {
            match kind {
                $(stringify!($message) => {
                    let value = <$value>::try_from(v1::$message::decode(bytes).unwrap());
                    v1::$message::from(value.unwrap_or_else(|refused| panic!("{kind}: {refused}"))).encode_to_vec()
                })+
                _ => panic!("{kind} is no message that is sent"),
            }
        }
    };
}

messages!(kinds);

fn lines() -> impl Iterator<Item = (&'static str, Vec<u8>)> {
    SENT.lines().map(|line| {
        let (kind, digits) = line.split_once(' ').expect("a line has a kind and its bytes");
        let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).expect("two digits are a byte");
        (kind, (0..digits.len()).step_by(2).map(byte).collect())
    })
}

#[test]
fn what_was_sent_is_taken_and_nothing_of_it_is_dropped() {
    for (kind, bytes) in lines() {
        let again = sent_on(kind, &bytes);
        assert!(keeps(&bytes, &again), "{kind}: {bytes:?}\nhas become\n{again:?}");
    }
}

#[test]
fn each_kind_of_message_and_of_event_has_a_line() {
    for kind in KINDS {
        assert!(lines().any(|(of, _)| of == *kind), "{kind} has no line in 0.1.txt");
    }
    let items = lines().filter(|(kind, _)| *kind == "StreamItem");
    let of = |bytes: Vec<u8>| fields(&bytes).unwrap().last().unwrap().0;
    let events: std::collections::BTreeSet<u64> = items.map(|(_, bytes)| of(bytes)).collect();
    assert_eq!(events.len() as u64, EVENTS, "events by their fields: {events:?}");
}

/// The fields of a message by number, as the wire has them; None where bytes are no message.
fn fields(mut bytes: &[u8]) -> Option<Vec<(u64, Vec<u8>)>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let length = match key & 7 {
            0 => {
                let mut rest = bytes;
                varint(&mut rest)?;
                bytes.len() - rest.len()
            }
            2 => usize::try_from(varint(&mut bytes)?).ok()?,
            _ => return None,
        };
        fields.push((key >> 3, bytes.split_off(..length)?.to_vec()));
    }
    Some(fields)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    prost::encoding::decode_varint(bytes).ok()
}

/// Whether a message still has all that was in it, in its order; it may have more.
fn keeps(before: &[u8], again: &[u8]) -> bool {
    if before == again {
        return true;
    }
    let (Some(before), Some(again)) = (fields(before), fields(again)) else { return false };
    let mut rest = again.iter();
    let has =
        |(number, value): &(u64, Vec<u8>)| rest.any(|(other, again)| other == number && keeps(value, again));
    before.iter().all(has)
}
