internal import CArchive
internal import CLinux
internal import Glibc

// The writing end of libarchive, in the PAX format.
//
// libarchive takes names through the locale of the thread. It gets UTF-8 here, whatever the
// environment says: names that are UTF-8 then stand in the archive as such, byte for byte, and
// all others with PAX's own mark for names of another encoding (`hdrcharset=BINARY`).

/// A tar archive that is being written.
@safe final class TarArchive {
    /// What libarchive could not do.
    struct Failure: Error, CustomStringConvertible {
        /// Its words.
        let description: String
        /// Whether the archive cannot be gone on with.
        let isFatal: Bool
    }

    /// How the archive is compressed.
    enum Filter {
        case none
        case gzip
        case xz
        case zstandard
    }

    private let archive: OpaquePointer

    /// Begins an archive on an open descriptor, which stays the caller's.
    init(descriptor: Int32, filter: Filter) throws(Failure) {
        guard let archive = unsafe archive_write_new() else {
            throw Failure(description: "out of memory", isFatal: true)
        }
        unsafe self.archive = archive
        try check(unsafe archive_write_set_format_pax(archive))
        // Attributes in the form that GNU tar, star and bsdtar read.
        try check(unsafe archive_write_set_options(archive, "pax:xattrheader=SCHILY"))
        switch filter {
        case .none: break
        case .gzip: try check(unsafe archive_write_add_filter_gzip(archive))
        case .xz: try check(unsafe archive_write_add_filter_xz(archive))
        case .zstandard: try check(unsafe archive_write_add_filter_zstd(archive))
        }
        // Written in large pieces; its length is a multiple of tar's usual record all the same.
        try check(unsafe archive_write_set_bytes_per_block(archive, 100 * 10_240))
        if case .none = filter {
            try check(unsafe archive_write_set_bytes_in_last_block(archive, 10_240))
        } else {
            try check(unsafe archive_write_set_bytes_in_last_block(archive, 1))
        }
        try check(unsafe archive_write_open_fd(archive, descriptor))
    }

    deinit { unsafe archive_write_free(archive) }

    /// Writes the header of an entry.
    func begin(_ entry: TarEntry) throws(Failure) {
        let previous = unsafe linux_locale_utf8()
        defer { unsafe linux_locale_restore(previous) }
        let result = unsafe archive_write_header(archive, entry.pointer)
        // A warning is about a name that is not UTF-8, which is then written as it is.
        guard result != ARCHIVE_WARN else { return }
        try check(result)
    }

    /// Writes the next bytes of the entry's contents, also those in its holes.
    func write(_ bytes: UnsafeRawBufferPointer) throws(Failure) {
        var done = 0
        while done < bytes.count {
            let part = unsafe UnsafeRawBufferPointer(rebasing: bytes[done...])
            let count = unsafe archive_write_data(archive, part.baseAddress, part.count)
            guard count > 0 else { throw failure(Int32(truncatingIfNeeded: count)) }
            done += count
        }
    }

    /// Ends the entry: what is missing of its contents is filled up with zeros.
    func end() throws(Failure) { try check(unsafe archive_write_finish_entry(archive)) }

    /// Ends the archive.
    func close() throws(Failure) { try check(unsafe archive_write_close(archive)) }

    private func check(_ result: Int32) throws(Failure) {
        guard result == ARCHIVE_OK || result == ARCHIVE_WARN else { throw failure(result) }
    }

    private func failure(_ result: Int32) -> Failure {
        var words = "unknown error"
        if let text = unsafe archive_error_string(archive) { words = unsafe String(cString: text) }
        let number = unsafe archive_errno(archive)
        // Its own errors have numbers below zero or of no meaning to a person.
        if number > 0, number < 200 { words += ": \(SystemFailure.words(for: number))" }
        return Failure(description: words, isFatal: result != ARCHIVE_FAILED)
    }
}

/// The header of an entry of an archive.
@safe final class TarEntry {
    fileprivate let pointer: OpaquePointer

    init?(path: CPath) {
        guard let pointer = unsafe archive_entry_new() else { return nil }
        unsafe self.pointer = pointer
        unsafe archive_entry_copy_pathname(pointer, path.bytes)
    }

    deinit { unsafe archive_entry_free(pointer) }

    func setMode(_ mode: UInt16, owner: UInt32, group: UInt32) {
        unsafe archive_entry_set_mode(pointer, mode_t(mode))
        unsafe archive_entry_set_uid(pointer, Int64(owner))
        unsafe archive_entry_set_gid(pointer, Int64(group))
    }

    func setTimes(modification: (Int64, UInt32), access: (Int64, UInt32)) {
        let (modified, accessed) = (Self.parts(of: modification), Self.parts(of: access))
        unsafe archive_entry_set_mtime(pointer, modified.0, modified.1)
        unsafe archive_entry_set_atime(pointer, accessed.0, accessed.1)
    }

    /// A time as the two numbers around the point of its decimal, which libarchive writes as they
    /// are: half a second before -3 is -3.5, and not the -4 and a half that a `timespec` holds.
    /// The second before 1970 has no such form; there the fraction is left out.
    private static func parts(of time: (seconds: Int64, nanoseconds: UInt32)) -> (Int, Int) {
        let (seconds, nanoseconds) = (Int(time.seconds), Int(time.nanoseconds))
        guard seconds < 0, nanoseconds > 0 else { return (seconds, nanoseconds) }
        return seconds == -1 ? (-1, 0) : (seconds + 1, 1_000_000_000 - nanoseconds)
    }

    func setSize(_ size: Int64) { unsafe archive_entry_set_size(pointer, size) }

    func setLink(to path: CPath) { unsafe archive_entry_copy_hardlink(pointer, path.bytes) }

    func setSymlink(to target: CPath) {
        unsafe archive_entry_copy_symlink(pointer, target.bytes)
    }

    func setDevice(major: UInt32, minor: UInt32) {
        unsafe archive_entry_set_rdevmajor(pointer, dev_t(major))
        unsafe archive_entry_set_rdevminor(pointer, dev_t(minor))
    }

    /// Says where the file holds data; everything else is holes.
    func addData(at offset: Int64, count: Int64) {
        unsafe archive_entry_sparse_add_entry(pointer, offset, count)
    }

    func addAttribute(_ name: CPath, _ value: [UInt8]) {
        unsafe archive_entry_xattr_add_entry(pointer, name.bytes, value, value.count)
    }
}
