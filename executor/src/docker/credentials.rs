//! Credentials of registries, from where `docker login` keeps them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bollard::auth::DockerCredentials;
use serde::Deserialize;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// What images are of that name no registry, as it is written in the configuration.
const HUB: &str = "https://index.docker.io/v1/";
/// The user's name that says that the secret is a token.
const TOKEN: &str = "<token>";

/// Docker's configuration, as far as it is about credentials.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Config {
    auths: BTreeMap<String, Auth>,
    #[serde(rename = "credsStore")]
    store: Option<String>,
    #[serde(rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Auth {
    /// `user:password` in base 64.
    auth: String,
    #[serde(rename = "identitytoken")]
    token: Option<String>,
}

/// What a helper answers.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Helped {
    username: String,
    secret: String,
}

/// For the registry that an image is of; None where there are none for it. The error is a sentence.
pub(super) async fn of(image: &str) -> Result<Option<DockerCredentials>, String> {
    let Some(path) = configuration() else { return Ok(None) };
    let text = match std::fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        text => text.map_err(|error| format!("{}: {error}", path.display()))?,
    };
    let config: Config =
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    let registry = registry(image);
    match config.helper(registry) {
        Some(helper) => ask(helper, registry).await,
        None => config.kept(registry).map_err(|why| format!("{}: {registry}: {why}", path.display())),
    }
}

fn configuration() -> Option<PathBuf> {
    let of = |variable: &str| std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    let directory = of("DOCKER_CONFIG").or_else(|| Some(of("HOME")?.join(".docker")))?;
    Some(directory.join("config.json"))
}

/// The registry of an image: what stands before its first slash, if it can be a host.
fn registry(image: &str) -> &str {
    let host = image.split_once('/').map(|(host, _)| host);
    host.filter(|host| host.contains(['.', ':']) || *host == "localhost").unwrap_or(HUB)
}

/// Without scheme and path, with which older clients wrote it.
fn host(server: &str) -> &str {
    let server = server.split_once("://").map_or(server, |(_, rest)| rest);
    server.split('/').next().unwrap_or(server)
}

impl Config {
    fn helper(&self, registry: &str) -> Option<&str> {
        self.helpers.get(registry).or(self.store.as_ref()).map(String::as_str)
    }

    fn kept(&self, registry: &str) -> Result<Option<DockerCredentials>, &'static str> {
        let other = || self.auths.iter().find(|(server, _)| host(server) == host(registry)).map(|of| of.1);
        let Some(auth) = self.auths.get(registry).or_else(other) else { return Ok(None) };
        let said = BASE64_STANDARD.decode(&auth.auth).ok().and_then(|said| String::from_utf8(said).ok());
        let said = said.ok_or("its auth is not in base 64")?;
        let (username, password) = said.split_once(':').unwrap_or((&said, ""));
        Ok(Some(credentials(registry, username, password.trim_end_matches('\0'), auth.token.clone())))
    }
}

fn credentials(registry: &str, username: &str, password: &str, token: Option<String>) -> DockerCredentials {
    DockerCredentials {
        username: Some(username.to_owned()),
        password: Some(password.to_owned()),
        identitytoken: token,
        serveraddress: Some(registry.to_owned()),
        ..Default::default()
    }
}

/// A program that keeps them, as the configuration names it.
async fn ask(helper: &str, registry: &str) -> Result<Option<DockerCredentials>, String> {
    let program = format!("docker-credential-{helper}");
    let failed = |error: std::io::Error| format!("{program}: {error}");
    let mut command = Command::new(&program);
    command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let mut child = command.spawn().map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that knows without reading has ended by now.
        let _ = stdin.write_all(registry.as_bytes()).await;
    }
    let output = child.wait_with_output().await.map_err(failed)?;
    let said = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let none = said.contains("credentials not found");
        return if none { Ok(None) } else { Err(format!("{program} get: {}", said.trim())) };
    }
    let helped: Helped =
        serde_json::from_str(&said).map_err(|_| format!("{program} get answers something else than JSON"))?;
    let token = (helped.username == TOKEN).then(|| helped.secret.clone());
    Ok(Some(credentials(registry, &helped.username, &helped.secret, token)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_is_told_from_a_part_of_the_name() {
        let table = [
            ("postgres:16", HUB),
            ("library/postgres", HUB),
            ("localhost/a", "localhost"),
            ("host:5000/a/b:1", "host:5000"),
            ("ghcr.io/a@sha256:00", "ghcr.io"),
        ];
        for (image, expected) in table {
            assert_eq!(registry(image), expected, "{image}");
        }
    }

    #[test]
    fn what_is_kept_is_found_however_its_server_is_written() {
        let config = r#"{"auths": {
            "https://old.example.org/v1/": {"auth": "dXNlcjpzZWNyZXQ6"},
            "token.example.org": {"auth": "dXNlcjo=", "identitytoken": "t"},
            "bad.example.org": {"auth": "?"}
        }, "credHelpers": {"kept.example.org": "vault"}, "other": 1}"#;
        let config: Config = serde_json::from_str(config).unwrap();
        let found =
            |server: &str| config.kept(server).map(|found| found.map(|c| (c.password, c.identitytoken)));
        assert_eq!(found("old.example.org"), Ok(Some((Some("secret:".to_owned()), None))));
        assert_eq!(found("token.example.org"), Ok(Some((Some(String::new()), Some("t".to_owned())))));
        assert!(found("bad.example.org").is_err());
        assert_eq!(found(HUB), Ok(None));
        assert_eq!((config.helper("kept.example.org"), config.helper(HUB)), (Some("vault"), None));
    }
}
