//! What to do about what an engine says: one table of its words.

/// Words of the engine's in small letters, or of what is between it and here, and what to do about them.
const TABLE: [(&str, &str); 16] = [
    ("no command specified", "the image says of no program that it runs: [services.NAME] command says which"),
    (
        "bind source path does not exist",
        "[services.NAME] files shows what is there, relative to seagull.toml; elsewhere it must be among the run's files",
    ),
    (
        "unknown capability",
        "capabilities are named as in CHOWN or NET_BIND_SERVICE; man 7 capabilities lists them, there with CAP_ before",
    ),
    (
        "chdir to cwd",
        "the container's user may not enter the directory that it begins in, or it is not there",
    ),
    (
        "exec: \"/bin/sh\"",
        "the image has no shell: write command and ready.command as lists, and prepare and reset not at all",
    ),
    (
        "exec: \"python",
        "tests run in an image that has Python and pytest; [environment.NAME] python says where",
    ),
    ("executable file not found", "the image has no such program: command names one that it has"),
    ("no such file or directory: unknown", "the image has no such program: command names one that it has"),
    ("unable to find user", "the image has no such user: user names one of its /etc/passwd, or a number"),
    ("address pool", NETWORKS),
    ("fully subnetted", NETWORKS),
    ("no space left on device", DISK),
    (
        "is already in use by container",
        "a container of this name is not of this run: docker rm --force removes it, if nobody needs it",
    ),
    (
        NO_SOCKET,
        "an engine on this machine is needed, for services are reached and shown files here: DOCKER_HOST=unix:///PATH, or none",
    ),
    (
        "permission denied (os error",
        "this user may not speak to the engine: be in the group docker, or name one that is yours with DOCKER_HOST",
    ),
    ("config.json: ", "docker login writes this file; mend it, or put it away and log in again"),
];
const NETWORKS: &str = "each sandbox takes a network: seagull executor gc and docker network prune give back what nobody uses; \
                        default-address-pools in the engine's daemon.json makes more";
const DISK: &str = "docker system df says what fills the engine's disk; seagull executor gc, seagull services templates --remove \
                    and docker system prune make room";
/// Said here, of where an engine is.
pub const NO_SOCKET: &str = "it is not named by a socket";

pub fn of(said: &str) -> Option<&'static str> {
    let said = said.to_lowercase();
    TABLE.iter().find(|(words, _)| said.contains(words)).map(|(_, hint)| *hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_engines_say_has_a_hint() {
        // As Docker 20.10 says it.
        let table = [
            ("No command specified", "command says which"),
            (
                "invalid mount config for type \"bind\": bind source path does not exist: /x/schema.sql",
                "[services.NAME] files",
            ),
            ("invalid CapAdd: unknown capability: \"CAP_X\"", "man 7 capabilities"),
            (
                "OCI runtime exec failed: exec failed: unable to start container process: exec: \"/bin/sh\": stat /bin/sh: \
                 no such file or directory: unknown",
                "no shell",
            ),
            (
                "failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: \
                 exec: \"python3\": executable file not found in $PATH: unknown",
                "Python and pytest",
            ),
            (
                "could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network",
                "default-address-pools",
            ),
            ("error creating overlay mount to /x: no space left on device", "docker system df"),
        ];
        for (said, hint) in table {
            assert!(of(said).is_some_and(|found| found.contains(hint)), "{said}: {:?}", of(said));
        }
        assert_eq!(of("something else"), None);
    }
}
