package import Ext4

/// A POSIX file system in memory, made of nothing but dictionaries: what a volume is held against.
///
/// Its rules say what an operation must fail with, in the order in which Linux finds out; its
/// changes are those of an operation that succeeded. Inodes have the numbers that the volume gave
/// them, since which those are is the volume's affair.
package final class ReferenceModel {
    /// What a file, directory or other object should be.
    package final class Node {
        package let number: InodeNumber
        package var mode: FileMode
        package var userID: UInt32
        package var groupID: UInt32
        package var flags: InodeFlags = []
        package var attributes: [FileName: [UInt8]] = [:]
        package var contents = SparseContents()
        package let target: [UInt8]
        package let device: DeviceNumber?
        package let creationTime: Timestamp?
        package var modificationTime: Timestamp
        package var changeTime: Timestamp
        /// How many names lead here; of a directory, none are counted.
        package var names = 0
        /// References that somebody has taken, as an open file is one.
        package var references: UInt64 = 0

        // Of directories.
        package private(set) var entries: [FileName: Node] = [:]
        /// Their names, in an order that a seed repeats.
        package private(set) var list: [FileName] = []
        package weak var parent: Node?
        /// How many of the entries are directories.
        package private(set) var subdirectories: UInt32 = 0

        init(number: InodeNumber, new: NewInode, time: Timestamp, creation: Timestamp?) {
            self.number = number
            mode = new.mode
            userID = new.userID
            groupID = new.groupID
            target = new.target
            device = new.device
            creationTime = creation
            modificationTime = time
            changeTime = time
        }

        package var type: FileType { mode.type }
        package var isDirectory: Bool { type == .directory }

        package var linkCount: UInt32 { isDirectory ? 2 + subdirectories : UInt32(names) }

        /// Whether this is `other` or somewhere below it.
        package func isBelow(_ other: Node) -> Bool {
            var current: Node? = self
            while let node = current {
                if node === other { return true }
                current = node.parent
            }
            return false
        }

        /// Notes a change of the contents, or of a directory's entries.
        package func touch(at time: Timestamp) {
            modificationTime = time
            changeTime = time
        }

        fileprivate subscript(name: FileName) -> Node? {
            get { entries[name] }
            set {
                if entries[name]?.isDirectory == true { subdirectories -= 1 }
                if newValue?.isDirectory == true { subdirectories += 1 }
                let old = entries[name]
                entries[name] = newValue
                if old == nil, newValue != nil {
                    list.append(name)
                } else if old != nil, newValue == nil,
                    let index = list.firstIndex(of: name)
                {
                    list.swapAt(index, list.count - 1)
                    list.removeLast()
                }
            }
        }
    }

    /// Flags that the model knows.
    package static let flags: InodeFlags = [.noDump, .noAccessTime, .immutable, .appendOnly]

    package let root: Node
    package private(set) var directories: [Node]
    /// Everything else that has a name.
    package private(set) var files: [Node] = []
    /// What has no name and is held by a reference.
    package private(set) var orphans: [Node] = []
    /// Whether inodes have room for the time of their creation.
    private let hasCreationTimes: Bool

    /// An empty file system, whose root is `top` of `volume`.
    package init(_ top: Inode, of volume: Volume) {
        hasCreationTimes = volume.superblock.inodeSize > 128
        root = Node(
            number: top.number, new: NewInode(mode: top.mode), time: top.modificationTime,
            creation: top.creationTime)
        root.changeTime = top.changeTime
        directories = [root]
    }

    // MARK: Rules

    /// What making `name` in `directory` fails with; nil for nothing.
    package func failure(ofMaking name: FileName, in directory: Node) -> Ext4Error? {
        name.bytes.count > 255 ? .nameTooLong : directory.entries[name] != nil ? .exists : nil
    }

    package func failure(ofUnlinking name: FileName, in directory: Node) -> Ext4Error? {
        guard let node = directory.entries[name] else { return .notFound }
        return node.isDirectory ? .isDirectory : nil
    }

    package func failure(ofRemovingDirectory name: FileName, in directory: Node) -> Ext4Error? {
        guard let node = directory.entries[name] else { return .notFound }
        guard node.isDirectory else { return .notDirectory }
        return node.entries.isEmpty ? nil : .notEmpty
    }

    package func failure(
        ofRenaming name: FileName, in directory: Node, to newName: FileName,
        in newDirectory: Node, _ flags: RenameFlags
    ) -> Ext4Error? {
        let target = newDirectory.entries[newName]
        guard let source = directory.entries[name] else { return .notFound }
        if flags.contains(.exchange), target == nil { return .notFound }
        if flags.contains(.noReplace), target != nil { return .exists }
        if newDirectory.isBelow(source) { return .invalidArgument }
        guard let target else { return nil }
        if directory.isBelow(target) {
            return flags.contains(.exchange) ? .invalidArgument : .notEmpty
        }
        if source === target || flags.contains(.exchange) { return nil }
        if source.isDirectory {
            guard target.isDirectory else { return .notDirectory }
            return target.entries.isEmpty ? nil : .notEmpty
        }
        return target.isDirectory ? .isDirectory : nil
    }

    // MARK: Changes of names

    /// Makes something that has no name yet, below `directory` as to what it inherits.
    private func node(
        _ new: NewInode, number: InodeNumber, for directory: Node, at time: Timestamp
    ) -> Node {
        let node = Node(
            number: number, new: new, time: time, creation: hasCreationTimes ? time : nil)
        if directory.mode.rawValue & 0o2000 != 0 {
            node.groupID = directory.groupID
            if node.isDirectory { node.mode = FileMode(rawValue: node.mode.rawValue | 0o2000) }
        }
        node.flags = directory.flags.intersection([.noDump, .noAccessTime])
        return node
    }

    @discardableResult
    package func make(
        _ new: NewInode, number: InodeNumber, as name: FileName, in directory: Node,
        at time: Timestamp
    ) -> Node {
        let node = node(new, number: number, for: directory, at: time)
        directory[name] = node
        directory.touch(at: time)
        if node.isDirectory {
            node.parent = directory
            directories.append(node)
        } else {
            node.names = 1
            files.append(node)
        }
        return node
    }

    /// Makes a file that has no name and one reference.
    package func makeUnnamed(
        _ new: NewInode, number: InodeNumber, for directory: Node, at time: Timestamp
    ) -> Node {
        let node = node(new, number: number, for: directory, at: time)
        node.references = 1
        orphans.append(node)
        return node
    }

    package func link(
        _ node: Node, as name: FileName, in directory: Node, at time: Timestamp
    ) {
        if node.names == 0 {
            orphans.removeAll { $0 === node }
            files.append(node)
        }
        directory[name] = node
        directory.touch(at: time)
        node.names += 1
        node.changeTime = time
    }

    /// Removes a name of a file, or of an empty directory.
    package func remove(_ name: FileName, in directory: Node, at time: Timestamp) {
        guard let node = directory.entries[name] else { return }
        directory[name] = nil
        directory.touch(at: time)
        drop(node, at: time)
    }

    /// One name less.
    private func drop(_ node: Node, at time: Timestamp) {
        if node.isDirectory {
            directories.removeAll { $0 === node }
            return
        }
        node.names -= 1
        node.changeTime = time
        guard node.names == 0 else { return }
        if let index = files.firstIndex(where: { $0 === node }) {
            files.swapAt(index, files.count - 1)
            files.removeLast()
        }
        if node.references > 0 { orphans.append(node) }
    }

    /// Moves a name, when `failure(ofRenaming:)` has nothing against it.
    ///
    /// - Parameter whiteout: the number of what is left at the old name, with that flag.
    package func rename(
        _ name: FileName, in directory: Node, to newName: FileName, in newDirectory: Node,
        _ flags: RenameFlags, whiteout: InodeNumber?, at time: Timestamp
    ) {
        let target = newDirectory.entries[newName]
        guard let source = directory.entries[name], source !== target else { return }
        directory.touch(at: time)
        newDirectory.touch(at: time)
        source.changeTime = time
        newDirectory[newName] = source
        if source.isDirectory { source.parent = newDirectory }
        if flags.contains(.exchange), let target {
            directory[name] = target
            target.changeTime = time
            if target.isDirectory { target.parent = directory }
            return
        }
        directory[name] = nil
        if let target { drop(target, at: time) }
        if let whiteout {
            let new = NewInode(
                mode: FileMode(rawValue: 0o020000), device: DeviceNumber(major: 0, minor: 0))
            make(new, number: whiteout, as: name, in: directory, at: time)
        }
    }

    /// Gives references back.
    package func release(_ node: Node, count: UInt64) {
        node.references -= min(count, node.references)
        if node.references == 0 { orphans.removeAll { $0 === node } }
    }

    // MARK: Changes of contents

    package func write(_ bytes: [UInt8], to node: Node, at offset: UInt64, time: Timestamp) {
        node.contents.write(bytes, at: offset)
        node.touch(at: time)
    }

    /// Cuts a file off, or lets it grow by zeros.
    package func resize(_ node: Node, to size: UInt64, at time: Timestamp) {
        node.contents.resize(to: size)
        node.touch(at: time)
    }

    /// What a change of a range fails with; nil for nothing.
    package func failure(
        of change: RangeChange, _ range: Range<UInt64>, of node: Node, blockSize: UInt64,
        usesExtents: Bool
    ) -> Ext4Error? {
        if !usesExtents, change != .punchHole { return .notSupported }
        let isWhole = range.lowerBound % blockSize == 0 && range.upperBound % blockSize == 0
        let size = node.contents.size
        return switch change {
        case .collapse: !isWhole || range.upperBound >= size ? .invalidArgument : nil
        case .insert: !isWhole || range.lowerBound >= size ? .invalidArgument : nil
        default: nil
        }
    }

    package func apply(
        _ change: RangeChange, _ range: Range<UInt64>, to node: Node, at time: Timestamp
    ) {
        let grown = max(node.contents.size, range.upperBound)
        let count = Int64(range.upperBound - range.lowerBound)
        switch change {
        case .allocate(let keepsSize):
            if !keepsSize { node.contents.resize(to: grown) }
        case .punchHole: node.contents.clear(range.lowerBound, range.upperBound)
        case .zero(let keepsSize):
            node.contents.clear(range.lowerBound, range.upperBound)
            if !keepsSize { node.contents.resize(to: grown) }
        case .collapse: node.contents.shift(from: range.upperBound, by: -count)
        case .insert: node.contents.shift(from: range.lowerBound, by: count)
        }
        node.touch(at: time)
    }

    // MARK: Changes of attributes

    package func set(_ name: FileName, to value: [UInt8]?, of node: Node, at time: Timestamp) {
        // Nothing happens to an inode whose attribute has that value already.
        if node.attributes[name] != value { node.changeTime = time }
        node.attributes[name] = value
    }

    /// The bits that a change of the owner, or a write by somebody, takes away.
    package func dropSetID(of node: Node) {
        var mode = node.mode.rawValue & ~0o4000
        if mode & 0o010 != 0 { mode &= ~0o2000 }
        node.mode = FileMode(rawValue: mode)
    }
}
