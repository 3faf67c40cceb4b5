//! Whether a process of a container listens at a port, as this machine's kernel says: no connection is made, and nothing has
//! to lead there.

use std::fs;

/// The state of a socket that listens.
const LISTENS: &str = "0A";

/// None where the container is not on this machine, or its sockets are not to be seen.
pub fn at(pid: i64, container: &str, port: u16) -> Option<bool> {
    // The number may be another process's here: what runs in a container is in its control groups.
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    if container.is_empty() || !groups.contains(container) {
        return None;
    }
    let tables = ["tcp", "tcp6"].map(|table| fs::read_to_string(format!("/proc/{pid}/net/{table}")).ok());
    let [four, six] = tables;
    Some(four?.lines().chain(six.iter().flat_map(|table| table.lines())).any(|line| listens(line, port)))
}

/// Whether a line of a table is a socket that listens at the port, for more than its own container.
fn listens(line: &str, port: u16) -> bool {
    let mut words = line.split_whitespace().skip(1);
    let (Some(local), Some(_), Some(state)) = (words.next(), words.next(), words.next()) else {
        return false;
    };
    let Some((address, at)) = local.rsplit_once(':') else { return false };
    // 127.0.0.0/8 and ::1, in words of the machine's own order; an IPv4 address may be written as one of IPv6.
    let last = address.get(address.len().saturating_sub(8)..).unwrap_or(address);
    let is_own = match address.len() {
        8 => last.ends_with("7F"),
        _ => {
            address == "00000000000000000000000001000000"
                || address.starts_with("0000000000000000FFFF0000") && last.ends_with("7F")
        }
    };
    state == LISTENS && !is_own && u16::from_str_radix(at, 16) == Ok(port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_others_reach_listens() {
        let line = |local: &str, state: &str| {
            format!("   0: {local} 00000000:0000 {state} 00000000:00000000 00:0 0 1000")
        };
        let v6 = |address: &str| format!("{address}:1B58");
        let table = [
            (line("00000000:1B58", "0A"), true),
            (line("020012AC:1B58", "0A"), true),
            (line("00000000:1B59", "0A"), false),
            (line("00000000:1B58", "01"), false),
            (line("0B00007F:1B58", "0A"), false),
            (line(&v6("00000000000000000000000000000000"), "0A"), true),
            (line(&v6("00000000000000000000000001000000"), "0A"), false),
            (line(&v6("0000000000000000FFFF00000100007F"), "0A"), false),
            ("  sl  local_address rem_address   st".to_owned(), false),
            (String::new(), false),
        ];
        for (line, expected) in table {
            assert_eq!(listens(&line, 7000), expected, "{line}");
        }
    }
}
