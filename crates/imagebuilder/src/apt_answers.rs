//! A cache of apt's last result for each recipe: running it takes a second, and the result changes only with its lists.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::package::Candidate;

#[derive(Serialize, Deserialize)]
struct Answer {
    question: String,
    candidates: Vec<Candidate>,
}

/// The last answer for one recipe, in the cache folder.
pub(crate) struct AptAnswers {
    path: PathBuf,
}

impl AptAnswers {
    pub(crate) fn new(cache: &Path, recipe: &str) -> Self {
        Self { path: cache.join("resolved").join(format!("{}.json", recipe.replace('/', "_"))) }
    }

    /// The cached result for this request, if there is one that can be read.
    pub(crate) fn recall(&self, question: &str) -> Option<Vec<Candidate>> {
        let answer: Answer = serde_json::from_slice(&fs::read(&self.path).ok()?).ok()?;
        (answer.question == question).then_some(answer.candidates)
    }

    /// Replaces the cached result.
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
        let answers = AptAnswers::new(folder.path(), "diagnostics/loopback");
        assert_eq!(answers.recall("a"), None);
        answers.keep("a", &[]).unwrap();
        assert_eq!(answers.recall("a"), Some(Vec::new()));
        answers.keep("b", &[]).unwrap();
        assert_eq!(answers.recall("a"), None);
        fs::write(&answers.path, "{").unwrap();
        assert_eq!(answers.recall("b"), None);
    }
}
