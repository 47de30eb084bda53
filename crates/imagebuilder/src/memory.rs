//! What apt answered last time for each recipe: asking it takes a second, the answer changes with its lists.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::apt::Candidate;

#[derive(Serialize, Deserialize)]
struct Answer {
    question: String,
    candidates: Vec<Candidate>,
}

/// The last answer for one recipe, in the cache folder.
pub(crate) struct Memory {
    path: PathBuf,
}

impl Memory {
    pub(crate) fn new(cache: &Path, recipe: &str) -> Self {
        Self { path: cache.join("resolved").join(format!("{}.json", recipe.replace('/', "_"))) }
    }

    /// The answer to this very question. One that cannot be read is none.
    pub(crate) fn recall(&self, question: &str) -> Option<Vec<Candidate>> {
        let answer: Answer = serde_json::from_slice(&fs::read(&self.path).ok()?).ok()?;
        (answer.question == question).then_some(answer.candidates)
    }

    /// Replaces the last answer.
    pub(crate) fn keep(&self, question: &str, candidates: &[Candidate]) -> Result<(), Error> {
        let answer = Answer { question: question.to_owned(), candidates: candidates.to_vec() };
        let attempt = || {
            let folder = self.path.parent().unwrap_or(Path::new("."));
            fs::create_dir_all(folder)?;
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            file.write_all(&serde_json::to_vec(&answer)?)?;
            file.persist(&self.path).map_err(|error| error.error)?;
            Ok(())
        };
        attempt().map_err(Error::write(&self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_only_the_last_question() {
        let folder = tempfile::tempdir().unwrap();
        let memory = Memory::new(folder.path(), "diagnostics/loopback");
        assert_eq!(memory.recall("a"), None);
        memory.keep("a", &[]).unwrap();
        assert_eq!(memory.recall("a"), Some(Vec::new()));
        memory.keep("b", &[]).unwrap();
        assert_eq!(memory.recall("a"), None);
        fs::write(&memory.path, "{").unwrap();
        assert_eq!(memory.recall("b"), None);
    }
}
