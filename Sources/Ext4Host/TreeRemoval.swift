public import Ext4

/// Removes a directory of a volume with all that is in it.
///
/// However deep the tree is and however large its directories are, what is kept in memory is one
/// part of each directory on the way down. Nothing outside of the tree is touched: symbolic links
/// are removed and not followed.
public struct TreeRemoval {
    private struct Frame {
        let inode: Inode
        let place: VolumePlace
        let path: [UInt8]
        /// Entries that were read and are still there, in reverse.
        var batch: [DirectoryEntry] = []
        var position: UInt64 = 0
        var isAtEnd = false
        /// Whether something in it could not be removed, so that itself cannot be.
        var isKept = false
    }

    private let volume: Volume
    private let isInterrupted: () -> Bool
    private let tell: (TransferEvent) -> Void
    private var frames: [Frame] = []
    private var above: Set<InodeNumber> = []
    private var removed: UInt64 = 0

    /// Prepares a removal.
    ///
    /// - Parameters:
    ///   - isInterrupted: asked between any two files; with true the removal ends, and what was
    ///     not removed yet stays.
    ///   - tell: told what was removed and what could not be, by the path.
    public init(
        _ volume: Volume, isInterrupted: @escaping () -> Bool = { false },
        tell: @escaping (TransferEvent) -> Void
    ) {
        self.volume = volume
        self.isInterrupted = isInterrupted
        self.tell = tell
    }

    /// Removes the directory at `place`.
    ///
    /// - Parameter path: what it is called when something is told.
    public mutating func remove(_ directory: Inode, at place: VolumePlace, path: [UInt8]) {
        frames = [Frame(inode: directory, place: place, path: path)]
        above = [directory.number]
        while let top = frames.indices.last, !isInterrupted() {
            if let entry = frames[top].batch.popLast() {
                remove(entry, in: top)
            } else if !frames[top].isAtEnd {
                readOn(top)
            } else {
                leave(frames.removeLast())
            }
        }
    }

    private mutating func leave(_ frame: Frame) {
        above.remove(frame.inode.number)
        guard !frame.isKept else { return keepParent() }
        do throws(Ext4Error) {
            try volume.removeDirectory(frame.place.name, in: frame.place.directory)
            report(frame.path)
        } catch {
            fail(frame.path, error)
        }
    }

    private mutating func remove(_ entry: DirectoryEntry, in top: Int) {
        let frame = frames[top]
        let name = entry.name
        guard TreeWalk.isName(name.bytes) else { return }
        let path = frame.path + (frame.path.last == 0x2F ? [] : [0x2F]) + name.bytes
        do throws(Ext4Error) {
            let inode = try volume.lookup(name, in: frame.inode)
            if inode.isDirectory {
                // A directory above this one again: only a broken volume has that.
                guard above.insert(inode.number).inserted else { throw .tooManyLinks }
                frames.append(
                    Frame(inode: inode, place: VolumePlace(name, in: frame.inode), path: path))
            } else {
                try volume.unlink(name, in: frame.inode)
                report(path)
            }
        } catch {
            fail(path, error)
        }
    }

    private mutating func report(_ path: [UInt8]) {
        removed += 1
        tell(.progress(path: path, files: removed, bytes: 0))
    }

    private mutating func fail(_ path: [UInt8], _ error: Ext4Error) {
        tell(.problem(path: path, "\(error)"))
        keepParent()
    }

    private mutating func keepParent() {
        if let above = frames.indices.last { frames[above].isKept = true }
    }

    /// Reads the next entries of a directory. Positions stay good while what was read is removed.
    private mutating func readOn(_ top: Int) {
        let frame = frames[top]
        let limit = top < 64 ? 1_024 : 16
        var batch: [DirectoryEntry] = []
        var position = frame.position
        do throws(Ext4Error) {
            try volume.readDirectory(frame.inode, from: position) {
                (entry) throws(Ext4Error) -> Bool in
                batch.append(entry)
                position = entry.next
                return batch.count < limit
            }
            frames[top].isAtEnd = batch.count < limit
        } catch {
            frames[top].isAtEnd = true
            frames[top].isKept = true
            tell(.problem(path: frame.path, "\(error)"))
        }
        batch.reverse()
        frames[top].batch = batch
        frames[top].position = position
    }
}
