//! Checkpoints of several models that train in alternation, each in its own folder.

use super::{Checkpoint, CheckpointError, all_named, folder, half_written};
use std::path::{Path, PathBuf};

impl Checkpoint {
    /// The newest complete checkpoint that all of these folders have, for models that train in alternation and are
    /// saved after the same epochs, for example the two of a GAN. `None` if nothing was saved yet.
    ///
    /// ```no_run
    /// use burn_anneal::Checkpoint;
    /// # fn builders() -> Result<(), burn_anneal::CheckpointError> {
    /// if let Some([generator, critic]) = Checkpoint::newest_of_all(["runs/gan/generator", "runs/gan/critic"])? {
    ///     println!("both go on after {generator}");
    ///     // the builder of each: .resume_from(&generator), .resume_from(&critic)
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`CheckpointError::NoneOfAll`] if checkpoints exist, but the folders have no epoch in common: a folder is the
    /// wrong one, or a process was killed during its first save;
    /// [`CheckpointError::NoneWhole`] as in [`newest`](Self::newest).
    pub fn newest_of_all<P: AsRef<Path>, const N: usize>(
        directories: [P; N],
    ) -> Result<Option<[Self; N]>, CheckpointError> {
        let folders = directories.each_ref().map(|directory| directory.as_ref().to_path_buf());
        let newest = Self::newest_of_each(&folders)?;
        Ok(newest.map(|all| all.try_into().expect("one for each folder")))
    }

    /// The same for any number of folders.
    pub(crate) fn newest_of_each(
        directories: &[PathBuf],
    ) -> Result<Option<Vec<Self>>, CheckpointError> {
        let mut saved = vec![];
        for directory in directories {
            saved.push(whole(directory)?);
        }
        let Some((first, others)) = saved.split_first() else { return Ok(None) };
        let mut common: Vec<_> = first.iter().map(|saved| saved.place).collect();
        let has = |all: &Vec<Self>, place| all.iter().any(|saved| saved.place == place);
        common.retain(|place| others.iter().all(|all| has(all, *place)));
        let at = |place| {
            directories.iter().map(move |directory| Self { directory: directory.clone(), place })
        };
        match common.into_iter().next_back() {
            Some(place) => Ok(Some(at(place).collect())),
            None if saved.iter().all(Vec::is_empty) => Ok(None),
            None => Err(CheckpointError::NoneOfAll { directories: directories.to_vec() }),
        }
    }
}

/// The readable checkpoints at the ends of epochs, in the order in which they were saved.
fn whole(directory: &Path) -> Result<Vec<Checkpoint>, CheckpointError> {
    if Checkpoint::newest(directory)?.is_none() {
        return Ok(vec![]);
    }
    let left = half_written(&folder(directory))?;
    let at = |place| Checkpoint { directory: directory.to_path_buf(), place };
    let mut all: Vec<Checkpoint> = all_named(&folder(directory))?.into_iter().map(at).collect();
    all.retain(|saved| saved.batches() == 0 && !left.contains(&saved.place));
    all.retain(|saved| saved.read().is_ok());
    let generation = |saved: &Checkpoint| {
        let run = saved.saved_run().ok();
        run.and_then(|run| run.state).map_or(0, |state| state.generation)
    };
    all.sort_by_cached_key(|saved| (generation(saved), saved.place));
    Ok(all)
}
