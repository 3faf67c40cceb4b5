//! Images as an earlier sandbox had them: still here, kept by their registry, or gone.

use std::collections::BTreeMap;

use seagull_domain::ImageUsed;

use super::engine::{Engine, Image};
use super::error::Error;
use super::site::Site;

/// What becomes of an image that a sandbox is to have as an earlier one had it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// It is what is called so here.
    Same,
    /// It is used by this name of its own; what is called so here is another, if there is one.
    Kept { by: String, now: Option<String> },
    /// It is nowhere: what is called so here is another, with this digest.
    Gone { why: String, now: String },
}

impl Site {
    /// Looks for an image here, and where it came from.
    pub async fn origin(&self, engine: &Engine, used: &ImageUsed) -> Result<Origin, Error> {
        let now = engine.image(&used.image).await?.map(|image| image.id);
        if now.as_ref() == Some(&used.id) {
            return Ok(Origin::Same);
        }
        let why = match self.bring(engine, used).await? {
            Ok(by) => return Ok(Origin::Kept { by, now }),
            Err(why) => why,
        };
        if now.is_none() {
            engine.pull(&used.image, |_, _| ()).await?;
        }
        let image = engine.image(&used.image).await?;
        image.iter().filter(|_| now.is_none()).for_each(|image| self.fetched(&used.image, &image.id));
        match image.map(|image| image.id).unwrap_or_default() {
            id if id == used.id => Ok(Origin::Same),
            now => Ok(Origin::Gone { why, now }),
        }
    }

    /// By what the image itself is had here; or why it is not.
    async fn bring(&self, engine: &Engine, used: &ImageUsed) -> Result<Result<String, String>, Error> {
        if engine.image(&used.id).await?.is_some() {
            return Ok(Ok(used.id.clone()));
        }
        if used.digest.is_empty() {
            return Ok(Err("it was from no registry".to_owned()));
        }
        let by = used.digest.clone();
        if engine.image(&by).await?.is_some() {
            return Ok(Ok(by));
        }
        if let Err(error) = engine.pull(&by, |_, _| ()).await {
            return Ok(Err(error.to_string()));
        }
        if let Some(image) = engine.image(&by).await? {
            self.fetched(&by, &image.id);
        }
        Ok(Ok(by))
    }
}

/// Images as they are told of. Of several names that an image has in registries, the one that it is written by counts.
pub fn used(images: &BTreeMap<String, Image>) -> Vec<ImageUsed> {
    let told = |(name, image): (&String, &Image)| {
        let own = repository(name);
        let mut digests = image.digests.iter();
        let digest = digests.find(|digest| repository(digest) == own).cloned().unwrap_or_default();
        ImageUsed { image: name.clone(), id: image.id.clone(), digest }
    };
    images.iter().map(told).collect()
}

/// Without tag and digest.
fn repository(image: &str) -> &str {
    let image = image.split('@').next().unwrap_or(image);
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => image,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_that_of_the_registry_that_an_image_is_named_by() {
        let digests = ["mirror:5000/redis@sha256:1a", "redis@sha256:2b"].map(str::to_owned);
        let image = Image { id: "sha256:3c".into(), volumes: Vec::new(), bytes: 1, digests: digests.into() };
        let names =
            ["redis", "redis:7", "redis:7@sha256:2b", "mirror:5000/redis:7", "other:5000/redis", "mirror"];
        let images = names.map(|name| (name.to_owned(), image.clone())).into();
        let found: BTreeMap<String, String> =
            used(&images).into_iter().map(|used| (used.image, used.digest)).collect();
        let [mirror, own] = ["mirror:5000/redis@sha256:1a", "redis@sha256:2b"];
        assert_eq!(names.map(|name| found[name].as_str()), [own, own, own, mirror, "", ""]);
    }
}
