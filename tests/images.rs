//! Images of services from a real registry.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::harness::{DECLARING, Docker, Running, Suite};
use crate::services::{ONE, said, suite};

/// `user` and `secret`, as `htpasswd -B` writes them.
const HTPASSWD: &str = "user:$2b$04$G5VN.L7qutZJkqK3muWp/eqrr8iTvgkD6y0ss9t4fWapYkg33qJtS\n";
/// The same in base 64.
const AUTH: &str = "dXNlcjpzZWNyZXQ=";
const REGISTRY: &str = "127.0.0.1:5055";
const PRIVATE: &str = "127.0.0.1:5055/private";

#[test]
fn an_image_is_fetched_with_the_credentials_that_a_login_has_left() {
    let Some(docker) = Docker::get() else { return };
    let Some(program) = docker.registry() else { return };
    let suite = suite(&ONE.replace("\"DECLARING\"", &format!("\"{PRIVATE}:1\"")));
    let top = suite.beside("registry");
    std::fs::create_dir(&top).unwrap();
    std::fs::write(top.join("users"), HTPASSWD).unwrap();
    let config = format!(
        "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {top}/data}}}}\nhttp: {{addr: '{REGISTRY}'}}\n\
         auth: {{htpasswd: {{realm: private, path: {top}/users}}}}\n",
        top = top.display()
    );
    std::fs::write(top.join("registry.yml"), config).unwrap();
    let mut registry = Command::new(program);
    registry.arg("serve").arg(top.join("registry.yml"));
    let _registry = Running::start(docker.place().command(registry), &suite.beside("registry.log"));
    let engine = |line: &str| {
        let curl = format!("curl -fsS --retry 50 --retry-delay 1 --retry-connrefused {line}");
        docker.place().shell(
            &curl.replace("ENGINE", &format!("--unix-socket {} http://engine", docker.socket().display())),
        );
    };
    engine(&format!("-u user:secret http://{REGISTRY}/v2/"));
    engine(&format!("-X POST ENGINE/images/{DECLARING}/tag?repo={PRIVATE}\\&tag=1"));
    let login = r#"{"username":"user","password":"secret"}"#;
    engine(&format!(
        "-X POST -H X-Registry-Auth:$(echo '{login}' | base64 -w0) ENGINE/images/{PRIVATE}/push?tag=1 >/dev/null"
    ));
    let helper = suite.beside("docker-credential-vault");
    let answer =
        r#"read -r server; [ "$server" = 127.0.0.1:5055 ] && echo '{"Username":"user","Secret":"secret"}'"#;
    std::fs::write(&helper, format!("#!/bin/sh\n{answer}\n")).unwrap();
    std::fs::set_permissions(&helper, PermissionsExt::from_mode(0o755)).unwrap();
    let known = |config: &str| {
        engine(&format!("-X DELETE ENGINE/images/{PRIVATE}:1 >/dev/null"));
        std::fs::write(suite.beside("config.json"), config).unwrap();
        let mut up = docker.seagull(&suite, &["services", "up"]);
        let path = std::env::join_paths([
            helper.parent().unwrap().into(),
            "/usr/bin".into(),
            std::path::PathBuf::from("/bin"),
        ]);
        up.env("DOCKER_CONFIG", helper.parent().unwrap()).env("PATH", path.unwrap()).output().unwrap()
    };
    let stderr = said(&known("{}"), 1);
    assert!(stderr.contains("no basic auth credentials\nhint: "), "{stderr}");
    engine(&format!("-X POST ENGINE/images/{DECLARING}/tag?repo={PRIVATE}\\&tag=1"));
    for config in [
        format!(r#"{{"auths": {{"{REGISTRY}": {{"auth": "{AUTH}"}}}}}}"#),
        format!(r#"{{"credHelpers": {{"{REGISTRY}": "vault"}}}}"#),
    ] {
        said(&known(&config), 0);
        said(&docker.seagull(&suite, &["services", "down"]).output().unwrap(), 0);
    }
    collected(&docker, &suite);
}

/// What was fetched goes where it is too much, but for what was used just now.
fn collected(docker: &Docker, suite: &Suite) {
    let gc = || said(&docker.seagull(suite, &["executor", "gc", "--images", "1KiB"]).output().unwrap(), 0);
    let is_here = || docker.ask("/images/json").to_string().contains(&format!("{PRIVATE}:1"));
    assert!(gc().contains("nothing on the Docker engine"), "it was used just now");
    let records = suite.path().join(".seagull/sandboxes/images");
    let record = std::fs::read_dir(&records).unwrap().next().unwrap().unwrap().path();
    let mut touch = Command::new("touch");
    assert!(touch.args(["-d", "1 hour ago"]).arg(&record).status().unwrap().success());
    assert!(is_here());
    assert!(gc().contains("1 object removed"));
    assert!(!is_here() && !record.exists());
    assert!(docker.ask("/images/json").to_string().contains(DECLARING), "what was there before stays");
}
