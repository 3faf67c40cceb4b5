//! The images that a sandbox was made of.

use seagull_domain::ImageUsed;

use super::Invalid;
use super::scalar::{self, Checked};
use super::service::filled;
use crate::{limits, v1};

impl From<ImageUsed> for v1::ImageUsed {
    fn from(used: ImageUsed) -> Self {
        let (id, digest) = (scalar::fitted(used.id, limits::WORD_BYTES), used.digest);
        // A digest that is cut is none.
        let digest = if digest.len() <= limits::PATH_BYTES { digest } else { String::new() };
        Self { image: used.image, id, digest }
    }
}

impl TryFrom<v1::ImageUsed> for ImageUsed {
    type Error = Invalid;

    fn try_from(message: v1::ImageUsed) -> Checked<Self> {
        Ok(Self {
            image: filled(message.image, "ImageUsed.image")?,
            id: scalar::without_nul(message.id, limits::WORD_BYTES, "ImageUsed.id")?,
            digest: scalar::without_nul(message.digest, limits::PATH_BYTES, "ImageUsed.digest")?,
        })
    }
}

pub(super) fn told(images: Vec<ImageUsed>) -> Vec<v1::ImageUsed> {
    images.into_iter().map(Into::into).collect()
}

pub(super) fn heard(messages: Vec<v1::ImageUsed>, field: &'static str) -> Checked<Vec<ImageUsed>> {
    scalar::list(messages, limits::IMAGES, field, ImageUsed::try_from)
}
