//! How far a build is.

/// A step of a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Finding the packages.
    Resolve,
    /// Fetching them; the unit is bytes.
    Download,
    /// Reading them; the unit is packages.
    Unpack,
    /// Writing the layer; the unit is bytes before compression.
    Write,
    /// Done: written, or found in the catalog.
    Done,
}

/// A report, made at every change worth showing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// Name of the image.
    pub image: &'a str,
    /// What is being done.
    pub phase: Phase,
    /// How much of it is done.
    pub done: u64,
    /// How much there is; 0 when that is not known.
    pub total: u64,
}

/// Takes reports on behalf of one image.
pub(crate) struct Reporter<'a> {
    image: String,
    sink: &'a mut dyn FnMut(Progress<'_>),
}

impl<'a> Reporter<'a> {
    pub(crate) fn new(image: &str, sink: &'a mut dyn FnMut(Progress<'_>)) -> Self {
        Self { image: image.to_owned(), sink }
    }

    pub(crate) fn report(&mut self, phase: Phase, done: u64, total: u64) {
        (self.sink)(Progress { image: &self.image, phase, done, total });
    }
}
