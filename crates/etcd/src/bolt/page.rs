//! How single pages look. Pure.

/// Bytes of a page.
pub(super) const PAGE_BYTES: usize = 4096;

const HEADER_BYTES: usize = 16;
const ELEMENT_BYTES: usize = 16;
const BRANCH: u16 = 0x01;
const LEAF: u16 = 0x02;
const META: u16 = 0x04;
const FREE_LIST: u16 = 0x10;
/// Flag of a leaf element whose value is a bucket.
const BUCKET: u32 = 0x01;
const MAGIC: u32 = 0xED0C_DAED;
const VERSION: u32 = 2;

/// Number of a page.
pub(super) type PageId = u64;

/// Page of the free list.
pub(super) const FREE_LIST_PAGE: PageId = 2;
/// Page of the names of buckets.
pub(super) const ROOT_PAGE: PageId = 3;
/// First page of the buckets' trees.
pub(super) const FIRST_PAGE: PageId = 4;

/// Records of a leaf or children of a branch, until they fill a page.
#[derive(Debug, Default)]
pub(super) struct Elements {
    heads: Vec<Head>,
    data: Vec<u8>,
}

#[derive(Debug)]
struct Head {
    key_bytes: u32,
    value_bytes: u32,
    /// Flags of a leaf's record, or the child of a branch.
    extra: u64,
    at: usize,
}

impl Elements {
    /// Whether one more of this size still fits into a page. The first one always does, on more than one if need be.
    pub(super) fn fits(&self, bytes: usize) -> bool {
        self.heads.is_empty() || self.bytes() + ELEMENT_BYTES + bytes <= PAGE_BYTES
    }

    pub(super) fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    /// The first key.
    pub(super) fn first_key(&self) -> &[u8] {
        let bytes = self.heads.first().map_or(0, |head| head.key_bytes as usize);
        &self.data[..bytes]
    }

    fn bytes(&self) -> usize {
        HEADER_BYTES + self.heads.len() * ELEMENT_BYTES + self.data.len()
    }

    /// Adds a record of a leaf.
    pub(super) fn record(&mut self, key: &[u8], value: &[u8]) {
        self.push(key, value, 0);
    }

    /// Adds a bucket, whose tree begins at `root`.
    pub(super) fn bucket(&mut self, name: &[u8], root: PageId) {
        // Root, and a sequence that etcd does not use.
        let value = [root.to_le_bytes(), 0u64.to_le_bytes()].concat();
        self.push(name, &value, u64::from(BUCKET));
    }

    /// Adds a child of a branch.
    pub(super) fn child(&mut self, first_key: &[u8], page: PageId) {
        self.push(first_key, &[], page);
    }

    fn push(&mut self, key: &[u8], value: &[u8], extra: u64) {
        let bytes = |part: &[u8]| u32::try_from(part.len()).unwrap_or(u32::MAX);
        self.heads.push(Head { key_bytes: bytes(key), value_bytes: bytes(value), extra, at: self.data.len() });
        self.data.extend_from_slice(key);
        self.data.extend_from_slice(value);
    }

    /// The leaf with these records, and emptied for the next.
    pub(super) fn take_leaf(&mut self, id: PageId) -> Vec<u8> {
        self.take(id, LEAF, |head, offset| {
            let flags = u32::try_from(head.extra).unwrap_or(0);
            [flags, offset, head.key_bytes, head.value_bytes].map(u32::to_le_bytes).concat()
        })
    }

    /// The branch with these children, and emptied for the next.
    pub(super) fn take_branch(&mut self, id: PageId) -> Vec<u8> {
        self.take(id, BRANCH, |head, offset| {
            [&offset.to_le_bytes()[..], &head.key_bytes.to_le_bytes(), &head.extra.to_le_bytes()].concat()
        })
    }

    fn take(&mut self, id: PageId, flags: u16, element: impl Fn(&Head, u32) -> Vec<u8>) -> Vec<u8> {
        let pages = self.bytes().div_ceil(PAGE_BYTES);
        let mut page = header(id, flags, self.heads.len(), pages - 1);
        page.reserve(pages * PAGE_BYTES);
        let table = self.heads.len() * ELEMENT_BYTES;
        for (number, head) in self.heads.iter().enumerate() {
            // Offsets count from the element itself.
            let offset = table + head.at - number * ELEMENT_BYTES;
            page.extend(element(head, u32::try_from(offset).unwrap_or(u32::MAX)));
        }
        page.append(&mut self.data);
        page.resize(pages * PAGE_BYTES, 0);
        self.heads.clear();
        page
    }
}

fn header(id: PageId, flags: u16, count: usize, overflow: usize) -> Vec<u8> {
    let mut page = Vec::with_capacity(PAGE_BYTES);
    page.extend(id.to_le_bytes());
    page.extend(flags.to_le_bytes());
    page.extend(u16::try_from(count).unwrap_or(u16::MAX).to_le_bytes());
    page.extend(u32::try_from(overflow).unwrap_or(u32::MAX).to_le_bytes());
    page
}

/// The free list of a file without free pages.
pub(super) fn free_list() -> Vec<u8> {
    let mut page = header(FREE_LIST_PAGE, FREE_LIST, 0, 0);
    page.resize(PAGE_BYTES, 0);
    page
}

/// Meta page 0 or 1 of a file of so many pages.
pub(super) fn meta(id: PageId, pages: u64) -> Vec<u8> {
    let mut page = header(id, META, 0, 0);
    let begin = page.len();
    for number in [MAGIC, VERSION, PAGE_BYTES as u32, 0] {
        page.extend(number.to_le_bytes());
    }
    // Root and its sequence, free list, number of pages; of the two meta pages the one with the newer transaction holds.
    for number in [ROOT_PAGE, 0, FREE_LIST_PAGE, pages, id] {
        page.extend(number.to_le_bytes());
    }
    let checksum = fnv64a(&page[begin..]);
    page.extend(checksum.to_le_bytes());
    page.resize(PAGE_BYTES, 0);
    page
}

/// FNV-1a of 64 bits.
fn fnv64a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_fnv_1a() {
        assert_eq!(fnv64a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv64a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn a_record_longer_than_a_page_takes_more_pages() {
        let mut elements = Elements::default();
        elements.record(b"key", &[b'v'; 5000]);
        assert!(!elements.fits(1));
        let page = elements.take_leaf(9);
        assert_eq!(page.len(), 2 * PAGE_BYTES);
        assert_eq!(page[12..16], 1u32.to_le_bytes(), "one page of overflow");
        assert_eq!(&page[32..35], b"key");
        assert!(elements.is_empty());
    }
}
