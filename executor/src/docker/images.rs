//! Images that were fetched here: which are kept, and how long. What was used longest ago goes, until they are within a bound;
//! never what was there before, has become another's since, or is in use.
#![expect(clippy::disallowed_methods, reason = "a shell: the time of use is kept")]

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use bollard::query_parameters::RemoveImageOptions;

use super::engine::{Engine, is_busy, is_missing, refused};
use super::error::Error;
use super::site::Site;

/// Bytes that those of an installation come to at most, if nobody says otherwise.
pub const IMAGE_BYTES: u64 = 20 << 30;
/// One that was used within so many seconds may be about to be used.
const RECENT: u64 = 600;
/// Hexadecimal digits of a record's name.
const NAME: usize = 24;

/// One that was fetched here and is there as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// As it is written.
    pub image: String,
    pub bytes: u64,
    /// When it was last used, in seconds since 1970.
    pub used: u64,
}

impl Site {
    /// The image was not there, and was fetched: it is this.
    pub(super) fn fetched(&self, image: &str, id: &str) {
        let path = self.record_of(image);
        let made = path.parent().map_or(Ok(()), fs::create_dir_all);
        // Without a record it stays.
        let _ = made.and_then(|()| fs::write(path, format!("{id}\n{image}\n")));
    }

    /// It is used now.
    pub(super) fn uses(&self, image: &str) {
        let file = File::options().append(true).open(self.record_of(image));
        let _ = file.and_then(|file| file.set_modified(SystemTime::now()));
    }

    /// Those that are too much: in the order in which they were used, the last one first, as many stay as come to `bound`
    /// bytes. `now`: in seconds since 1970.
    pub async fn spent_images(&self, engine: &Engine, now: u64, bound: u64) -> Result<Vec<Fetched>, Error> {
        let mut found = Vec::new();
        for (path, id, image, used) in self.records().unwrap_or_default() {
            match engine.image(&image).await? {
                Some(here) if here.id == id => found.push(Fetched { image, bytes: here.bytes, used }),
                // It is gone, or somebody has fetched or made another by its name, who keeps it.
                _ => drop(fs::remove_file(path)),
            }
        }
        Ok(spent(found, now, bound))
    }

    /// Whether it is gone: one that a container is of stays.
    pub async fn remove_image(&self, engine: &Engine, fetched: &Fetched) -> Result<bool, Error> {
        let removed = engine.docker.remove_image(&fetched.image, None::<RemoveImageOptions>, None).await;
        match removed {
            Err(error) if is_busy(&error) => return Ok(false),
            Err(error) if !is_missing(&error) => {
                return Err(refused(&format!("remove the image {}", fetched.image))(error));
            }
            _ => {}
        }
        let _ = fs::remove_file(self.record_of(&fetched.image));
        Ok(true)
    }

    fn record_of(&self, image: &str) -> PathBuf {
        let name = blake3::hash(image.as_bytes()).to_hex();
        self.directory.join("images").join(&name[..NAME])
    }

    fn records(&self) -> io::Result<Vec<(PathBuf, String, String, u64)>> {
        let mut records = Vec::new();
        for entry in fs::read_dir(self.directory.join("images"))? {
            let path = entry?.path();
            let text = fs::read_to_string(&path).unwrap_or_default();
            let used = fs::metadata(&path)?.modified()?;
            let used = used.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            if let Some((id, image)) = text.trim_end().split_once('\n') {
                records.push((path, id.to_owned(), image.to_owned(), used));
            }
        }
        Ok(records)
    }
}

fn spent(mut images: Vec<Fetched>, now: u64, bound: u64) -> Vec<Fetched> {
    images.sort_by_key(|image| std::cmp::Reverse(image.used));
    let mut kept: u64 = 0;
    images.retain(|image| {
        let is_recent = now.saturating_sub(image.used) < RECENT;
        let stays = is_recent || kept.saturating_add(image.bytes) <= bound;
        kept = kept.saturating_add(if stays { image.bytes } else { 0 });
        !stays
    });
    images
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_longest_ago_goes_and_what_was_used_just_now_never() {
        let image = |name: &str, bytes, used| Fetched { image: name.to_owned(), bytes, used };
        let images = vec![
            image("old", 30, 1000),
            image("older", 30, 900),
            image("small", 10, 800),
            image("now", 50, 10_000 - RECENT + 1),
        ];
        let names =
            |bound| spent(images.clone(), 10_000, bound).into_iter().map(|of| of.image).collect::<Vec<_>>();
        assert_eq!(names(120), [""; 0]);
        assert_eq!(names(100), ["older"], "what is smaller may still fit");
        assert_eq!(names(0), ["old", "older", "small"]);
    }
}
