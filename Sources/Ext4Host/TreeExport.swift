public import Ext4
internal import Glibc

// Writes trees of an image to a tar archive (PAX), as a stream: nothing is held but the table of
// files with several names, and for a sparse file the map of its parts.

/// An export of a file or a tree of an image as a tar archive.
public final class TreeExport {
    /// How the archive is compressed.
    public enum Compression: String, CaseIterable, Sendable {
        /// Not at all.
        case none
        /// As by `gzip`.
        case gzip
        /// As by `xz`.
        case xz
        /// As by `zstd`.
        case zstd

        /// The compression that a file's name says it has.
        public init(fileName: String) {
            self =
                if fileName.hasSuffix(".gz") || fileName.hasSuffix(".tgz") {
                    .gzip
                } else if fileName.hasSuffix(".xz") || fileName.hasSuffix(".txz") {
                    .xz
                } else if fileName.hasSuffix(".zst") || fileName.hasSuffix(".tzst") {
                    .zstd
                } else {
                    .none
                }
        }
    }

    /// An archive that cannot be written on.
    public struct Failure: Error, CustomStringConvertible {
        /// Why, in words.
        public let description: String
    }

    private let volume: Volume
    private let tell: (TransferEvent) -> Void
    private let archive: TarArchive
    private let zeros: ZeroPages
    private var buffer = [UInt8](repeating: 0, count: 1 << 20)
    private var files: UInt64 = 0
    private var bytes: UInt64 = 0
    private var remarks: Set<String> = []
    private var links: [InodeNumber: Link] = [:]

    private struct Link {
        let path: CPath
        var remaining: UInt32
    }

    /// How many problems were told.
    public private(set) var problems: UInt64 = 0

    /// Begins an archive on an open descriptor, which stays the caller's.
    ///
    /// - Throws: When the archive cannot be begun.
    public init(
        _ volume: Volume, to descriptor: Int32, compression: Compression,
        tell: @escaping (TransferEvent) -> Void
    ) throws(Failure) {
        self.volume = volume
        self.tell = tell
        guard let zeros = ZeroPages() else { throw Failure(description: "out of memory") }
        self.zeros = zeros
        let filter: TarArchive.Filter =
            switch compression {
            case .none: .none
            case .gzip: .gzip
            case .xz: .xz
            case .zstd: .zstandard
            }
        do throws(TarArchive.Failure) {
            archive = try TarArchive(descriptor: descriptor, filter: filter)
        } catch {
            throw Failure(description: error.description)
        }
    }

    /// Writes the file or tree at `inode` to the archive and ends the archive. What is in a
    /// directory stands there by its path from that directory, which itself is `./`; a file
    /// stands there as `name`.
    ///
    /// - Throws: When the archive cannot be written on. What fails with one file only is told as
    ///   a problem.
    public func export(_ inode: Inode, as name: [UInt8]) throws(Failure) {
        do throws(TarArchive.Failure) {
            var walk = TreeWalk(volume, from: inode, named: name)
            while let step = walk.next() {
                switch step {
                case .enter(let entry), .file(let entry): try add(entry)
                case .leave: continue
                case .problem(let found): problem(found.path, found.description)
                }
            }
            try archive.close()
        } catch {
            throw Failure(description: error.description)
        }
    }
}

extension TreeExport {
    private func problem(_ path: [UInt8], _ words: String) {
        problems += 1
        tell(.problem(path: path, words))
    }

    private func report(_ entry: TreeEntry, _ count: UInt64, isNew: Bool = true) {
        if isNew { files += 1 }
        bytes += count
        tell(.progress(path: entry.path, files: files, bytes: bytes))
    }

    /// Adds an entry; only what concerns the whole archive is thrown.
    private func add(_ entry: TreeEntry) throws(TarArchive.Failure) {
        let inode = entry.inode
        let isDirectory = inode.type == .directory
        let place = entry.depth == 0 ? (isDirectory ? [0x2E] : entry.name) : entry.path
        guard let path = CPath(isDirectory ? place + [0x2F] : place),
            let header = TarEntry(path: path)
        else { return problem(entry.path, "it cannot be named in an archive: skipped") }
        header.setMode(inode.mode.rawValue, owner: inode.userID, group: inode.groupID)
        let (modified, accessed) = (inode.modificationTime, inode.accessTime)
        header.setTimes(
            modification: (modified.seconds, modified.nanoseconds),
            access: (accessed.seconds, accessed.nanoseconds))

        if inode.linkCount > 1, !isDirectory, var link = links[inode.number] {
            link.remaining -= 1
            links[inode.number] = link.remaining == 0 ? nil : link
            header.setLink(to: link.path)
            try write(header, entry)
            return
        }
        var ranges: [Range<UInt64>] = []
        do throws(Ext4Error) {
            guard try describe(entry, in: header, &ranges) else { return }
        } catch {
            return problem(entry.path, "\(error): skipped")
        }
        addAttributes(of: entry, to: header)
        guard try write(header, entry) else { return }
        if inode.linkCount > 1, !isDirectory {
            links[inode.number] = Link(path: path, remaining: inode.linkCount - 1)
        }
        if inode.type == .regular {
            try writeContents(of: entry, ranges)
            try archive.end()
        }
    }

    /// Writes a header; false when the archive cannot hold this entry.
    @discardableResult
    private func write(_ header: TarEntry, _ entry: TreeEntry) throws(TarArchive.Failure) -> Bool {
        do throws(TarArchive.Failure) {
            try archive.begin(header)
        } catch {
            guard !error.isFatal else { throw error }
            problem(entry.path, "\(error): skipped")
            return false
        }
        report(entry, 0)
        return true
    }

    /// Puts into the header what depends on the type; false when there is nothing to write.
    private func describe(
        _ entry: TreeEntry, in header: TarEntry, _ ranges: inout [Range<UInt64>]
    ) throws(Ext4Error) -> Bool {
        let inode = entry.inode
        switch inode.type {
        case .regular:
            guard !inode.isEncrypted else { throw .noKey }
            guard let size = Int64(exactly: inode.size) else { throw .fileTooLarge }
            header.setSize(size)
            ranges = try dataRanges(of: inode)
            if ranges != [0..<inode.size], size > 0 {
                // One part without bytes says that there is nothing but holes.
                if ranges.isEmpty { header.addData(at: 0, count: 0) }
                for range in ranges {
                    header.addData(
                        at: Int64(clamping: range.lowerBound), count: Int64(clamping: range.count))
                }
            }
        case .symlink:
            guard let target = CPath(try volume.symlinkTarget(of: inode)) else {
                problem(entry.path, "the symbolic link's target holds a NUL: skipped")
                return false
            }
            header.setSymlink(to: target)
        case .characterDevice, .blockDevice:
            header.setDevice(major: inode.device?.major ?? 0, minor: inode.device?.minor ?? 0)
        case .socket:
            tell(.remark(path: entry.path, "sockets cannot stand in an archive: skipped"))
            return false
        case .unknown:
            problem(entry.path, "its type is unknown: skipped")
            return false
        case .directory, .fifo: break
        }
        return true
    }

    /// Where a file holds data. A file in very many parts gets a coarser map, in which small holes
    /// count as data, so that the map stays small.
    private func dataRanges(of inode: Inode) throws(Ext4Error) -> [Range<UInt64>] {
        var merged: [Range<UInt64>] = []
        var leastHole: UInt64 = 1
        func append(_ range: Range<UInt64>) {
            if let last = merged.last, range.lowerBound - last.upperBound < leastHole {
                merged[merged.count - 1] = last.lowerBound..<range.upperBound
            } else {
                merged.append(range)
            }
        }
        var ranges = DataRanges(volume, inode)
        while let range = try ranges.next() {
            append(range)
            if merged.count > 16_384 {
                leastHole = max(leastHole &* 4, 65_536)
                let all = merged
                merged = []
                for range in all { append(range) }
            }
        }
        return merged
    }

    private func addAttributes(of entry: TreeEntry, to header: TarEntry) {
        do throws(Ext4Error) {
            for attribute in try volume.extendedAttributes(of: entry.inode) {
                // What would end the name in a PAX record, libarchive escapes and GNU tar restores.
                guard let name = CPath(attribute.name.bytes) else {
                    problem(entry.path, "an extended attribute's name holds a NUL: left out")
                    continue
                }
                header.addAttribute(name, attribute.value)
            }
        } catch {
            problem(entry.path, "its extended attributes cannot be read: \(error)")
        }
    }

    private func writeContents(
        of entry: TreeEntry, _ ranges: [Range<UInt64>]
    ) throws(TarArchive.Failure) {
        var position: UInt64 = 0
        for range in ranges {
            try writeZeros(range.lowerBound - position)
            position = range.lowerBound
            while position < range.upperBound {
                let wanted = Int(min(UInt64(buffer.count), range.upperBound - position))
                var count = 0
                do throws(Ext4Error) {
                    count = try volume.read(
                        entry.inode, at: position, count: wanted, into: &buffer)
                    guard count > 0 else { throw .endOfFile }
                } catch {
                    // The rest is filled with zeros: the header has promised the size.
                    return problem(entry.path, "exported in part only: \(error)")
                }
                let part = buffer[..<count]
                let failure = unsafe part.withUnsafeBytes { bytes -> TarArchive.Failure? in
                    do throws(TarArchive.Failure) {
                        try unsafe archive.write(bytes)
                        return nil
                    } catch { return error }
                }
                if let failure { throw failure }
                position += UInt64(count)
                report(entry, UInt64(count), isNew: false)
            }
        }
        if !ranges.isEmpty || entry.inode.size > 0 { try writeZeros(entry.inode.size - position) }
    }

    /// Passes over a hole: libarchive counts its bytes and does not look at them.
    private func writeZeros(_ count: UInt64) throws(TarArchive.Failure) {
        var rest = count
        while rest > 0 {
            let part = unsafe zeros.bytes(atMost: rest)
            try unsafe archive.write(part)
            rest -= UInt64(part.count)
        }
    }
}

/// A long stretch of zeros that takes no memory: pages that are never written to are one page.
@safe private final class ZeroPages {
    private let base: UnsafeMutableRawPointer
    private let byteCount = 1 << 30

    init?() {
        guard
            let pages = unsafe mmap(
                nil, byteCount, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
            unsafe pages != MAP_FAILED
        else { return nil }
        unsafe base = pages
    }

    deinit { unsafe munmap(base, byteCount) }

    /// Up to `count` of them.
    func bytes(atMost count: UInt64) -> UnsafeRawBufferPointer {
        unsafe UnsafeRawBufferPointer(
            start: base, count: Int(min(count, UInt64(byteCount))))
    }
}
