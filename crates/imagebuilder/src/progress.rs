//! Progress of a build.

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

/// A progress report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// Name of the image.
    pub image: &'a str,
    /// The current step.
    pub phase: Phase,
    /// How much of the step is done.
    pub done: u64,
    /// The total of the step; 0 if it is not known.
    pub total: u64,
}

/// Sends the reports of one image.
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
