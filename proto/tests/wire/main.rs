//! The protocol on the wire: what is sent arrives, what breaks the specification is refused, and a server keeps both
//! the message limit and the token.

mod arbitrary;
mod hostile;
mod kept;
mod round_trip;
mod transport;
