//! Addresses of indices: a URL that says where and how, and names secrets only by where they are. Pure but for reading
//! them.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use elasticsearch::http::Url;
use seagull_domain::SecretSource;

use super::Error;

const FORMS: &str = "an index is sqlite:PATH, es+https://HOST:PORT/PREFIX or es+http://HOST:PORT/PREFIX";
const DEFAULT_PREFIX: &str = "seagull";
/// The most nodes' worth of shards or copies that anybody means.
const MOST_SHARDS: u32 = 100;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    Sqlite(PathBuf),
    Elastic(ElasticAddress),
}

/// Where an Elasticsearch is, and what is ours in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ElasticAddress {
    /// Without path, user or password.
    pub url: Url,
    /// How the names of all our indices and templates begin.
    pub prefix: String,
    pub login: Login,
    /// A PEM file of authorities that are trusted besides the usual ones.
    pub ca: Option<PathBuf>,
    pub period: Period,
    pub shards: u32,
    /// Copies of each shard; as many as there is a node for, up to one, if None.
    pub replicas: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    None,
    Password { user: String, password: Secret },
    ApiKey(Secret),
}

/// How much time an index is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    Month,
    Day,
}

impl Period {
    /// The end of the name of the index for a moment in Unix milliseconds, by UTC.
    pub fn of(self, at: u64) -> String {
        let (year, month, day) = civil(at / (24 * 3600 * 1000));
        match self {
            Period::Month => format!("{year:04}.{month:02}"),
            Period::Day => format!("{year:04}.{month:02}.{day:02}"),
        }
    }
}

/// The date of a day since the epoch (H. Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let of_era = shifted % 146_097;
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (year + era * 400 + next, month, day)
}

/// A secret by where it is. It is read when it is needed, so that a new one is found, and never shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret(SecretSource);

impl Secret {
    /// The error names where it should be.
    pub fn read(&self) -> Result<String, String> {
        let value = match &self.0 {
            SecretSource::Variable(name) => std::env::var(name).map_err(|error| error.to_string()),
            SecretSource::File(path) => std::fs::read_to_string(path).map_err(|error| error.to_string()),
        };
        let value = value.map_err(|error| format!("{}: {error}", self.0))?;
        let value = value.strip_suffix('\n').unwrap_or(&value).to_owned();
        // Headers hold nothing else.
        let is_plain = !value.is_empty() && value.bytes().all(|byte| (0x20..0x7f).contains(&byte));
        if is_plain {
            Ok(value)
        } else {
            Err(format!("{}: it is empty, or not on one line of ASCII", self.0))
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Address::Elastic(address) => address.fmt(f),
        }
    }
}

impl fmt::Display for ElasticAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "es+{}{}", self.url, self.prefix)
    }
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Address, Error> {
        if let Some(path) = text.strip_prefix("sqlite:").filter(|path| !path.is_empty()) {
            return Ok(Address::Sqlite(PathBuf::from(path)));
        }
        // What is wrong is said without the text: there may be a password in it.
        let url = text.strip_prefix("es+").ok_or_else(|| invalid(FORMS))?;
        let url: Url = url.parse().map_err(|error| invalid(&format!("{error}\nhint: {FORMS}")))?;
        elastic(url).map(Address::Elastic)
    }
}

fn invalid(why: &str) -> Error {
    Error::Address(format!("the index's address cannot be used: {why}"))
}

fn elastic(mut url: Url) -> Result<ElasticAddress, Error> {
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(invalid(FORMS));
    }
    if url.password().is_some() || !url.username().is_empty() {
        return Err(invalid(
            "no user and password stand in it\nhint: ?user=NAME&password=env:NAME or ?password=file:/PATH",
        ));
    }
    let prefix = prefix(url.path().trim_matches('/'))?;
    let mut address = ElasticAddress {
        url: url.clone(),
        prefix,
        login: Login::None,
        ca: None,
        period: Period::Month,
        shards: 1,
        replicas: None,
    };
    let (mut user, mut password, mut key) = (None, None, None);
    let mut insecure = false;
    for (name, value) in url.query_pairs() {
        match &*name {
            "user" => user = Some(value.into_owned()),
            "password" => password = Some(secret("password", &value)?),
            "api-key" => key = Some(secret("api-key", &value)?),
            "insecure" if value == "true" => insecure = true,
            "insecure" => return Err(invalid(&format!("insecure={value}: expected true"))),
            "ca" => address.ca = Some(PathBuf::from(&*value)),
            "period" => address.period = period(&value)?,
            "shards" => address.shards = number("shards", &value, 1)?,
            "replicas" => address.replicas = Some(number("replicas", &value, 0)?),
            _ => {
                return Err(invalid(&format!(
                    "{name} is no option of it\nhint: user, password, api-key, insecure, ca, period, shards, replicas"
                )));
            }
        }
    }
    address.login = match (user, password, key) {
        (None, None, None) => Login::None,
        (Some(user), Some(password), None) => Login::Password { user, password },
        (None, None, Some(key)) => Login::ApiKey(key),
        _ => return Err(invalid("it takes user and password, or api-key")),
    };
    if address.login != Login::None && url.scheme() == "http" && !is_this_machine(&url) && !insecure {
        return Err(invalid(
            "what it logs in with would cross the network for all to read\n\
             hint: es+https://, or &insecure=true where nobody listens",
        ));
    }
    url.set_query(None);
    url.set_fragment(None);
    url.set_path("/");
    address.url = url;
    Ok(address)
}

fn is_this_machine(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

fn prefix(text: &str) -> Result<String, Error> {
    let prefix = if text.is_empty() { DEFAULT_PREFIX } else { text };
    let allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.');
    let is_name = prefix.len() <= 100 && prefix.starts_with(|c: char| c.is_ascii_lowercase());
    if is_name && prefix.bytes().all(allowed) {
        return Ok(prefix.to_owned());
    }
    Err(invalid(&format!(
        "the prefix {prefix:?} is not of a-z, 0-9, '-', '_' and '.', beginning with a letter"
    )))
}

fn secret(name: &str, text: &str) -> Result<Secret, Error> {
    // The text may be the secret itself.
    let source = text.parse().map_err(|_| invalid(&format!("{name} takes env:NAME or file:/PATH, no value")));
    source.map(Secret)
}

fn period(text: &str) -> Result<Period, Error> {
    match text {
        "month" => Ok(Period::Month),
        "day" => Ok(Period::Day),
        _ => Err(invalid(&format!("period={text}: expected month or day"))),
    }
}

fn number(name: &str, text: &str, least: u32) -> Result<u32, Error> {
    let number = text.parse().ok().filter(|number| (least..=MOST_SHARDS).contains(number));
    number.ok_or_else(|| invalid(&format!("{name}={text}: expected {least} to {MOST_SHARDS}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elastic(text: &str) -> ElasticAddress {
        match text.parse().unwrap() {
            Address::Elastic(address) => address,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn an_address_says_where_and_how() {
        let plain = elastic("es+http://127.0.0.1:9200");
        assert_eq!((plain.url.as_str(), plain.prefix.as_str()), ("http://127.0.0.1:9200/", "seagull"));
        assert_eq!((plain.login, plain.period, plain.shards), (Login::None, Period::Month, 1));
        let full = elastic(
            "es+https://es:9200/ci-results?user=u&password=env:ES&ca=/ca.pem&period=day&shards=3&replicas=0",
        );
        assert_eq!(full.to_string(), "es+https://es:9200/ci-results");
        assert_eq!((full.period, full.shards, full.replicas), (Period::Day, 3, Some(0)));
        assert!(matches!(full.login, Login::Password { user, .. } if user == "u"));
        assert_eq!(full.ca, Some("/ca.pem".into()));
        for here in ["localhost:9200", "127.0.0.1:9200", "[::1]:9200", "es:9200"] {
            let insecure = if here.starts_with("es") { "&insecure=true" } else { "" };
            assert!(elastic(&format!("es+http://{here}?api-key=env:KEY{insecure}")).login != Login::None);
        }
        let sqlite: Address = "sqlite:/var/lib/index.sqlite".parse().unwrap();
        assert_eq!(sqlite.to_string(), "sqlite:/var/lib/index.sqlite");
    }

    #[test]
    fn what_cannot_be_meant_is_refused_and_no_secret_is_told() {
        for text in [
            "",
            "sqlite:",
            "http://es:9200",
            "es+ftp://es",
            "es+http://",
            "es+http://u:hunter2@es:9200",
            "es+http://es:9200?password=hunter2&user=u",
            "es+http://es:9200?api-key=hunter2",
            "es+http://es:9200?user=u",
            "es+http://es:9200?user=u&password=env:A&api-key=env:B",
            "es+http://es:9200/Upper",
            "es+http://es:9200/a/b",
            "es+http://es:9200?shards=0",
            "es+http://es:9200?period=year",
            "es+http://es:9200?colour=blue",
            "es+http://es:9200?user=u&password=env:A",
            "es+http://es:9200?api-key=env:A&insecure=yes",
        ] {
            let refusal = text.parse::<Address>().unwrap_err().to_string();
            assert!(refusal.starts_with("the index's address cannot be used: "), "{text}: {refusal}");
            assert!(!refusal.contains("hunter2"), "{refusal}");
        }
    }

    #[test]
    fn secrets_are_read_where_they_are() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        let key = secret("api-key", &format!("file:{}", path.display())).unwrap();
        assert!(key.read().unwrap_err().contains("key: "));
        std::fs::write(&path, "s3cr3t\n").unwrap();
        assert_eq!(key.read().unwrap(), "s3cr3t");
        assert!(!format!("{key:?}").contains("s3cr3t"));
        std::fs::write(&path, "two\nlines").unwrap();
        let refusal = key.read().unwrap_err();
        assert!(!refusal.contains("lines\""), "{refusal}");
    }

    #[test]
    fn indices_are_named_by_months_or_days() {
        let at = 1_795_737_600_000; // 2026-11-27
        assert_eq!((Period::Month.of(at), Period::Day.of(at)), ("2026.11".into(), "2026.11.27".into()));
        assert_eq!(Period::Day.of(0), "1970.01.01");
        assert_eq!(Period::Day.of(951_782_400_000), "2000.02.29");
        assert_eq!(Period::Day.of(1_798_675_199_999), "2026.12.30");
    }
}
