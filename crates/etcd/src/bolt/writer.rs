//! From sorted records to a file.

use std::io::{self, BufWriter, Seek, SeekFrom, Write};

use super::page::{self, Elements, FIRST_PAGE, PAGE_BYTES, PageId, ROOT_PAGE};

/// Bytes gathered before they are written.
const BUFFER_BYTES: usize = 1024 * 1024;

/// A file being written.
#[derive(Debug)]
pub(crate) struct Writer<W: Write + Seek> {
    out: BufWriter<W>,
    next: PageId,
    root: Elements,
}

/// A bucket being written. Records must come in order of their keys.
#[derive(Debug)]
pub(crate) struct Bucket<'w, W: Write + Seek> {
    writer: &'w mut Writer<W>,
    name: &'static str,
    leaf: Elements,
    /// First key and page of each leaf.
    leaves: Vec<(Vec<u8>, PageId)>,
}

impl<W: Write + Seek> Writer<W> {
    /// Begins a file.
    pub(crate) fn new(out: W) -> io::Result<Self> {
        let mut out = BufWriter::with_capacity(BUFFER_BYTES, out);
        out.seek(SeekFrom::Start(FIRST_PAGE * PAGE_BYTES as u64))?;
        Ok(Writer { out, next: FIRST_PAGE, root: Elements::default() })
    }

    /// Begins the next bucket; buckets come in order of their names.
    pub(crate) fn bucket(&mut self, name: &'static str) -> Bucket<'_, W> {
        Bucket { writer: self, name, leaf: Elements::default(), leaves: Vec::new() }
    }

    /// A bucket of a few records.
    pub(crate) fn small(&mut self, name: &'static str, records: &[(&[u8], Vec<u8>)]) -> io::Result<()> {
        let mut bucket = self.bucket(name);
        for (key, value) in records {
            bucket.put(key, value)?;
        }
        bucket.finish()
    }

    /// Ends the file; its content and its size.
    pub(crate) fn finish(mut self) -> io::Result<(W, u64)> {
        let root = self.root.take_leaf(ROOT_PAGE);
        if root.len() > PAGE_BYTES {
            return Err(io::Error::other("too many buckets for one page"));
        }
        self.out.seek(SeekFrom::Start(0))?;
        for page in [page::meta(0, self.next), page::meta(1, self.next), page::free_list(), root] {
            self.out.write_all(&page)?;
        }
        let file = self.out.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok((file, self.next * PAGE_BYTES as u64))
    }

    fn write(&mut self, page: &[u8]) -> io::Result<()> {
        self.out.write_all(page)?;
        self.next += (page.len() / PAGE_BYTES) as u64;
        Ok(())
    }
}

impl<W: Write + Seek> Bucket<'_, W> {
    /// Adds a record.
    pub(crate) fn put(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        if !self.leaf.fits(key.len() + value.len()) {
            self.end_leaf()?;
        }
        self.leaf.record(key, value);
        Ok(())
    }

    fn end_leaf(&mut self) -> io::Result<()> {
        let id = self.writer.next;
        self.leaves.push((self.leaf.first_key().to_vec(), id));
        let page = self.leaf.take_leaf(id);
        self.writer.write(&page)
    }

    /// Ends the bucket: branches over the leaves, and branches over those, up to one root.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        if !self.leaf.is_empty() || self.leaves.is_empty() {
            self.end_leaf()?;
        }
        let mut level = std::mem::take(&mut self.leaves);
        while level.len() > 1 {
            level = self.branches(&level)?;
        }
        let root = level.first().map_or(0, |(_, id)| *id);
        self.writer.root.bucket(self.name.as_bytes(), root);
        Ok(())
    }

    fn branches(&mut self, children: &[(Vec<u8>, PageId)]) -> io::Result<Vec<(Vec<u8>, PageId)>> {
        let (mut above, mut branch) = (Vec::new(), Elements::default());
        for (number, (first_key, child)) in children.iter().enumerate() {
            branch.child(first_key, *child);
            let next = children.get(number + 1);
            if next.is_none_or(|(key, _)| !branch.fits(key.len())) {
                let id = self.writer.next;
                above.push((branch.first_key().to_vec(), id));
                let page = branch.take_branch(id);
                self.writer.write(&page)?;
            }
        }
        Ok(above)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn number<const N: usize>(file: &[u8], at: usize) -> u64 {
        let mut bytes = [0; 8];
        bytes[..N].copy_from_slice(&file[at..at + N]);
        u64::from_le_bytes(bytes)
    }

    /// All records below a page, in order.
    fn records(file: &[u8], id: u64) -> Vec<(Vec<u8>, Vec<u8>)> {
        let begin = id as usize * PAGE_BYTES;
        assert_eq!(number::<8>(file, begin), id, "a page says which it is");
        let (flags, count) = (number::<2>(file, begin + 8), number::<2>(file, begin + 10) as usize);
        let elements = (0..count).map(|n| begin + 16 + n * 16);
        if flags == 1 {
            return elements.flat_map(|at| records(file, number::<8>(file, at + 8))).collect();
        }
        assert_eq!(flags, 2);
        let record = |at: usize| {
            let key = at + number::<4>(file, at + 4) as usize;
            let value = key + number::<4>(file, at + 8) as usize;
            (file[key..value].to_vec(), file[value..value + number::<4>(file, at + 12) as usize].to_vec())
        };
        elements.map(record).collect()
    }

    #[test]
    fn what_was_written_is_found_from_the_root() {
        let mut writer = Writer::new(Cursor::new(Vec::new())).expect("memory does not fail");
        writer.small("empty", &[]).expect("memory does not fail");
        let written: Vec<_> = (0..50_000u64)
            .map(|n| (n.to_be_bytes().to_vec(), vec![b'v'; if n % 1000 == 0 { 9_000 } else { (n % 300) as usize }]))
            .collect();
        let mut bucket = writer.bucket("many");
        for (key, value) in &written {
            bucket.put(key, value).expect("memory does not fail");
        }
        bucket.finish().expect("memory does not fail");
        let (file, bytes) = writer.finish().expect("memory does not fail");
        let file = file.into_inner();
        assert_eq!((file.len() as u64, file.len() % PAGE_BYTES), (bytes, 0));
        let buckets = records(&file, ROOT_PAGE);
        assert_eq!(buckets.iter().map(|(name, _)| &name[..]).collect::<Vec<_>>(), [&b"empty"[..], b"many"]);
        let root = |bucket: usize| number::<8>(&buckets[bucket].1, 0);
        assert!(records(&file, root(0)).is_empty());
        assert!(records(&file, root(1)) == written, "records differ");
    }
}
