//! What a container says, in whole lines: an engine has long ones in pieces, of which each might have half a secret.

use super::LogOutput;

/// Pieces of lines, of each stream.
#[derive(Debug, Default)]
pub struct Said {
    out: Vec<u8>,
    err: Vec<u8>,
}

impl Said {
    /// The lines that are whole now, with their ends.
    pub fn take(&mut self, piece: LogOutput) -> String {
        let stream = match piece {
            LogOutput::StdErr { .. } => &mut self.err,
            _ => &mut self.out,
        };
        stream.extend_from_slice(&piece.into_bytes());
        let whole = stream.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let rest = stream.split_off(whole);
        String::from_utf8_lossy(&std::mem::replace(stream, rest)).into_owned()
    }

    /// What has no end, where nothing more comes.
    pub fn rest(&mut self) -> String {
        let rest = [std::mem::take(&mut self.out), std::mem::take(&mut self.err)].concat();
        String::from_utf8_lossy(&rest).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_told_when_it_is_whole_whatever_comes_between() {
        let mut said = Said::default();
        let out = |text: &[u8]| LogOutput::StdOut { message: text.to_vec().into() };
        assert_eq!(said.take(out(b"one\ntwo hun")), "one\n");
        assert_eq!(said.take(LogOutput::StdErr { message: "beside\nno end".into() }), "beside\n");
        assert_eq!(said.take(out(b"ter2 caf\xc3")), "");
        assert_eq!(said.take(out(b"\xa9\nlast")), "two hunter2 caf\u{e9}\n");
        assert_eq!(said.rest(), "lastno end");
        assert_eq!(said.rest(), "");
    }
}
