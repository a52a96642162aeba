//! The transcripts of a filter as it keeps them: a folder of files.

use std::path::{Path, PathBuf};

use super::transcript::Transcript;
use crate::filter::Filter;
use crate::native::start;

/// The transcripts in a folder, by path: the files whose names end in `.yaml`, `.yml` or `.json`.
///
/// # Errors
/// What cannot be read or is not a transcript, with its path and the place in it.
pub fn transcripts(folder: impl AsRef<Path>) -> Result<Vec<(PathBuf, Transcript)>, String> {
    let folder = folder.as_ref();
    let unreadable = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|error| unreadable(folder, error))? {
        let path = entry.map_err(|error| unreadable(folder, error))?.path();
        let is_one = |extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known);
        if path.extension().is_some_and(is_one) {
            paths.push(path);
        }
    }
    paths.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).map_err(|error| unreadable(&path, error))?;
        let transcript = serde_saphyr::from_str(&text)
            .map_err(|error| format!("{} is not a transcript: {error}", path.display()))?;
        Ok((path, transcript))
    };
    paths.into_iter().map(read).collect()
}

/// Runs every transcript of a folder on the native build of `F`. `folder` is below the package's, where `cargo test`
/// runs tests: `transcripts`, most likely. The Wasm builds follow in `leno test`.
///
/// # Panics
/// The filter does something else, or there are no transcripts.
#[track_caller]
pub fn follows_transcripts<F: Filter>(folder: impl AsRef<Path>) {
    if let Err(reason) = follow::<F>(folder.as_ref()) {
        panic!("{reason}");
    }
}

fn follow<F: Filter>(folder: &Path) -> Result<(), String> {
    let found = transcripts(folder)?;
    if found.is_empty() {
        return Err(format!("there is no transcript in {}", folder.display()));
    }
    let differences: Vec<String> = found
        .iter()
        .filter_map(|(path, transcript)| {
            let found = transcript.run(start::<F>).err()?;
            Some(format!("{}:\n  {}", path.display(), found.join("\n  ")))
        })
        .collect();
    match differences.is_empty() {
        true => Ok(()),
        false => Err(differences.join("\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::{follow, transcripts};
    use crate::{ConfigError, Context, Filter, Interest, NoConfig};

    struct Nothing;

    impl Filter for Nothing {
        type Config = NoConfig;
        type Exchange = ();
        const INTEREST: Interest = Interest::NONE;

        fn configure(_: NoConfig, _: &Context) -> Result<Self, ConfigError> {
            Ok(Self)
        }
    }

    fn folder(name: &str, text: &str) -> std::path::PathBuf {
        let folder = std::env::temp_dir().join(format!("leno-sdk-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("one.yaml"), text).unwrap();
        std::fs::write(folder.join("README.md"), "not a transcript").unwrap();
        folder
    }

    #[test]
    fn a_folder_is_followed() {
        let right = folder("right", "exchanges: [{ expect: { status: 200 } }]");
        let wrong = folder("wrong", "exchanges: [{ expect: { status: 201 } }]");
        assert_eq!(transcripts(&right).unwrap().len(), 1);
        assert_eq!(follow::<Nothing>(&right), Ok(()));
        let reason = follow::<Nothing>(&wrong).unwrap_err();
        assert!(
            reason.ends_with("one.yaml:\n  exchanges[0]: status is Some(200), not Some(201)"),
            "{reason}"
        );
        for folder in [right, wrong] {
            std::fs::remove_dir_all(folder).unwrap();
        }
    }

    #[test]
    fn nothing_to_follow_is_a_failure() {
        let empty = folder("empty", "");
        std::fs::remove_file(empty.join("one.yaml")).unwrap();
        assert!(
            follow::<Nothing>(&empty)
                .unwrap_err()
                .contains("there is no transcript in")
        );
        std::fs::remove_dir_all(&empty).unwrap();
        assert!(follow::<Nothing>(&empty).unwrap_err().contains("No such file"));
    }

    #[test]
    fn what_is_not_a_transcript_is_named() {
        let folder = folder("bad", "exchanges:\n- expects: {}\n");
        let error = transcripts(&folder).unwrap_err();
        std::fs::remove_dir_all(folder).unwrap();
        assert!(error.contains("one.yaml is not a transcript"), "{error}");
        assert!(error.contains("expects") && error.contains("line 2"), "{error}");
    }
}
