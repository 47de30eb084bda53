//! What both sides of SPDY/3 know before the first header: the dictionary of the compressor.
//!
//! Source: SPDY Protocol, Draft 3, section 2.6.10.1.

/// Words that come first, each after its length as four bytes.
const WORDS: &str = "options head post put delete trace accept accept-charset accept-encoding accept-language \
    accept-ranges age allow authorization cache-control connection content-base content-encoding content-language \
    content-length content-location content-md5 content-range content-type date etag expect expires from host if-match \
    if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma \
    proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade \
    user-agent vary via warning www-authenticate method get status 200_OK version HTTP/1.1 url public set-cookie \
    keep-alive origin";

/// Text that follows without lengths.
const TEXT: &str = "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505\
    203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden\
    404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable\
    Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT\
    chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,\
    publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";

/// The dictionary.
pub(super) fn dictionary() -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in WORDS.split(' ') {
        // The one word with a space in it.
        let word = word.replace('_', " ");
        bytes.extend([0, 0, 0, u8::try_from(word.len()).unwrap_or(u8::MAX)]);
        bytes.extend(word.as_bytes());
    }
    bytes.extend(TEXT.as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adler-32 of the draft's dictionary, which every compressed stream names.
    const DRAFT: (u32, u32) = (0xe3c6, 0xa7c2);

    #[test]
    fn it_is_the_dictionary_of_the_draft() {
        let bytes = dictionary();
        assert_eq!(bytes.len(), 1423);
        let sums = bytes.iter().fold((0_u32, 1_u32), |(high, low), byte| {
            let low = (low + u32::from(*byte)) % 65_521;
            ((high + low) % 65_521, low)
        });
        assert_eq!(sums, DRAFT);
    }
}
