public import Ext4

/// A walk through everything that a volume shows: what an image that somebody else made, or
/// damaged, is held against.
///
/// Every error is counted and none ends the walk. All that is read goes into a digest, so that
/// two walks can be compared and no read is optimised away. The limits bound the work on images
/// that claim to hold more than they do.
public struct VolumeWalk: Sendable {
    /// How much of a volume is looked at.
    public struct Limits: Sendable {
        /// Inodes, by number from 1 on, and again those that names lead to.
        public var inodes: UInt32 = 1024
        /// Groups.
        public var groups: UInt32 = 1024
        /// Entries of one directory.
        public var entries = 4096
        /// Names of one directory that are looked up.
        public var lookups = 64
        /// Bytes of one file.
        public var fileBytes = 256 << 10
        /// Bytes of all files together.
        public var allBytes = 16 << 20
        /// Seeks for data and holes in one file.
        public var seeks = 32

        /// The defaults: everything of a volume of some MiB.
        public init() {}
    }

    /// A hash of all that was read.
    public private(set) var digest: UInt64 = 0xCBF2_9CE4_8422_2325
    /// How many calls failed.
    public private(set) var errorCount = 0
    /// The first hundred different errors, in the order in which they came.
    public private(set) var errors: [Ext4Error] = []
    /// How many inodes gave their fields.
    public private(set) var inodeCount = 0
    /// How many directory entries were listed.
    public private(set) var entryCount = 0
    /// How many bytes of contents were read.
    public private(set) var byteCount = 0

    private let limits: Limits
    private var buffer: [UInt8]

    private init(_ limits: Limits) {
        self.limits = limits
        buffer = [UInt8](repeating: 0, count: 64 << 10)
    }

    /// Opens the volume on `device` and reads all of it, within `limits`.
    public static func read(
        _ device: any BlockDevice, options: OpenOptions = .init(), limits: Limits = .init()
    ) -> VolumeWalk {
        var walk = VolumeWalk(limits)
        guard
            let volume = walk.attempt({ () throws(Ext4Error) in
                try Volume.open(device, options: options)
            })
        else { return walk }
        walk.readWhole(volume)
        let inodes = min(volume.superblock.inodesCount, limits.inodes)
        for number in 1...max(inodes, 1) {
            let number = InodeNumber(number)
            if let inode = walk.attempt({ () throws(Ext4Error) in try volume.inode(number) }) {
                walk.readInode(inode, of: volume)
            }
        }
        walk.readTree(volume)
        return walk
    }

    // MARK: The parts of a volume

    private mutating func readWhole(_ volume: Volume) {
        let superblock = volume.superblock
        absorb(superblock.label)
        absorb(superblock.uuid)
        for names in [
            superblock.compatible.names, superblock.incompatible.names,
            superblock.readOnlyCompatible.names,
        ] {
            for name in names { absorb(Array(name.utf8)) }
        }
        absorb(superblock.blocksCount)
        for group in 0..<min(superblock.groupCount, limits.groups) {
            let number = GroupNumber(group)
            let found = attempt { () throws(Ext4Error) in try volume.groupDescriptor(number) }
            guard let found else { continue }
            absorb(found.inodeTable.rawValue)
            absorb(UInt64(found.freeBlocksCount) &+ UInt64(found.unusedInodesCount))
            absorb(superblock.hasSuperblock(number) ? 1 : 0)
        }
        // It loops over all groups, as it must; a volume of millions is not for this walk.
        if superblock.groupCount <= limits.groups {
            let statistics = volume.statistics()
            absorb(statistics.blocks)
            absorb(statistics.freeBlocks)
            absorb(statistics.availableBlocks)
            absorb(statistics.freeInodes)
        }
        if let recovery = volume.recovery { absorb(Array(recovery.description.utf8)) }
    }

    private mutating func readTree(_ volume: Volume) {
        guard let root = attempt({ () throws(Ext4Error) in try volume.root() }) else { return }
        var seen: Set<InodeNumber> = [root.number]
        var waiting = [root]
        while let directory = waiting.popLast() {
            for entry in list(directory, of: volume, from: 0) {
                guard seen.count < Int(limits.inodes) else { return }
                let inode = attempt { () throws(Ext4Error) in
                    try volume.lookup(entry.name, in: directory)
                }
                guard let inode, seen.insert(inode.number).inserted else { continue }
                absorb(UInt64(inode.number.rawValue))
                if inode.isDirectory { waiting.append(inode) }
            }
        }
        for path in ["/", "/sub/deep/er/leaf", "here/here/fast", "loop", "absolute/er", "slow"] {
            for follows in [false, true] {
                let inode = attempt { () throws(Ext4Error) in
                    try volume.inode(atPath: path, followingSymlinks: follows)
                }
                absorb(UInt64(inode?.number.rawValue ?? 0))
            }
        }
    }

    // MARK: One inode

    private mutating func readInode(_ inode: Inode, of volume: Volume) {
        inodeCount += 1
        absorb(UInt64(inode.mode.rawValue) << 32 | UInt64(inode.flags.rawValue))
        absorb(inode.size)
        absorb(inode.blocks512 &+ UInt64(inode.linkCount) &+ inode.version)
        absorb(UInt64(inode.userID) << 32 | UInt64(inode.groupID))
        for time in [
            inode.accessTime, inode.modificationTime, inode.changeTime,
            inode.creationTime ?? inode.changeTime,
        ] {
            absorb(UInt64(bitPattern: time.seconds))
            absorb(UInt64(time.nanoseconds))
        }
        if let device = inode.device { absorb(UInt64(device.major) << 32 | UInt64(device.minor)) }
        readMap(of: inode, volume)
        readAttributes(of: inode, volume)
        switch inode.type {
        case .directory: readDirectory(inode, of: volume)
        case .symlink:
            if let target = attempt({ () throws(Ext4Error) in
                try volume.symlinkTarget(of: inode)
            }) {
                absorb(target)
            }
        default: readContents(of: inode, volume)
        }
    }

    private mutating func readMap(of inode: Inode, _ volume: Volume) {
        let last = inode.size >> UInt64(volume.superblock.blockSizeLog2)
        let blocks: [UInt64] = [
            0, 1, 11, 12, 13, 300, last, last &+ 1, 70_000, 1 << 20, (1 << 32) - 1,
        ]
        for block in blocks {
            if let run = attempt({ () throws(Ext4Error) in
                try volume.mapping(of: inode, at: LogicalBlock(block))
            }) {
                absorb(run)
            }
        }
        if let runs = attempt({ () throws(Ext4Error) in try volume.mappings(of: inode) }) {
            for run in runs { absorb(run) }
        }
    }

    private mutating func readAttributes(of inode: Inode, _ volume: Volume) {
        let names = attempt { () throws(Ext4Error) in
            try volume.extendedAttributeNames(of: inode)
        }
        for name in (names ?? []).prefix(limits.lookups) {
            absorb(name.bytes)
            if let value = attempt({ () throws(Ext4Error) in
                try volume.extendedAttribute(name, of: inode)
            }) {
                absorb(value)
            }
        }
        if let all = attempt({ () throws(Ext4Error) in
            try volume.extendedAttributes(of: inode)
        }) {
            for attribute in all { absorb(attribute.value) }
        }
        for kind in [AccessControlList.Kind.access, .default] {
            let list = attempt { () throws(Ext4Error) in
                try volume.accessControlList(kind, of: inode)
            }
            if let list = list ?? nil { absorb(Array(list.description.utf8)) }
        }
    }

    private mutating func readDirectory(_ directory: Inode, of volume: Volume) {
        let entries = list(directory, of: volume, from: 0)
        for entry in entries.prefix(limits.lookups) {
            if let inode = attempt({ () throws(Ext4Error) in
                try volume.lookup(entry.name, in: directory)
            }) {
                absorb(UInt64(inode.number.rawValue))
            }
        }
        for name in ["", ".", "..", "hello", "no such name", String(repeating: "x", count: 255)] {
            let inode = attempt { () throws(Ext4Error) in
                try volume.lookup(FileName(name), in: directory)
            }
            absorb(UInt64(inode?.number.rawValue ?? 0))
        }
        // Going on from the middle, from where no entry starts, and from behind the end.
        let middle = entries.isEmpty ? 0 : entries[entries.count / 2].next
        for position in [middle, middle | 3, directory.size, .max] {
            _ = list(directory, of: volume, from: position)
        }
    }

    private mutating func list(
        _ directory: Inode, of volume: Volume, from position: UInt64
    ) -> [DirectoryEntry] {
        var entries: [DirectoryEntry] = []
        let most = limits.entries
        _ = attempt { () throws(Ext4Error) in
            try volume.readDirectory(directory, from: position) { entry in
                entries.append(entry)
                return entries.count < most
            }
        }
        for entry in entries {
            absorb(entry.name.bytes)
            absorb(UInt64(entry.inode.rawValue) ^ entry.next << 8 ^ UInt64(entry.type.rawValue))
        }
        entryCount += entries.count
        return entries
    }

    private mutating func readContents(of inode: Inode, _ volume: Volume) {
        let size = inode.size
        let most = limits.fileBytes
        readBytes(of: inode, volume, from: 0, to: UInt64(limits.fileBytes))
        if size > UInt64(limits.fileBytes) {
            readBytes(of: inode, volume, from: size - 4096, to: size)
            readBytes(of: inode, volume, from: size / 2, to: size / 2 + 4096)
        }
        if size <= UInt64(limits.fileBytes),
            let contents = attempt({ () throws(Ext4Error) in try volume.contents(of: inode) })
        {
            absorb(contents)
        }
        let pieces = attempt { () throws(Ext4Error) in
            try volume.dataRuns(of: inode, at: min(size, 10), count: most)
        }
        for piece in pieces ?? [] { absorb(UInt64(piece.count)) }
        var position: UInt64 = 0
        for step in 0..<limits.seeks {
            let target: SeekTarget = step % 2 == 0 ? .data : .hole
            let from = position
            guard
                let found = attempt({ () throws(Ext4Error) in
                    try volume.offset(of: target, in: inode, from: from)
                })
            else { break }
            absorb(found)
            position = found
        }
    }

    private mutating func readBytes(
        of inode: Inode, _ volume: Volume, from start: UInt64, to end: UInt64
    ) {
        var position = start
        while position < end, byteCount < limits.allBytes {
            let count = Int(min(UInt64(buffer.count), end - position))
            var done = 0
            do throws(Ext4Error) {
                var span = buffer.mutableSpan
                var raw = unsafe span.mutableBytes
                var part = raw._mutatingExtracting(0..<count)
                done = try volume.read(inode, at: position, into: &part)
            } catch {
                note(error)
                return
            }
            guard done > 0 else { return }
            absorb(buffer[0..<done])
            byteCount += done
            position += UInt64(done)
        }
    }

    // MARK: Errors and the digest

    private mutating func attempt<Value>(_ body: () throws(Ext4Error) -> Value) -> Value? {
        do throws(Ext4Error) {
            return try body()
        } catch {
            note(error)
            return nil
        }
    }

    private mutating func note(_ error: Ext4Error) {
        errorCount += 1
        absorb(Array("\(error)".utf8))
        if errors.count < 100, !errors.contains(error) { errors.append(error) }
    }

    /// FNV-1a over the words of a value.
    private mutating func absorb(_ value: UInt64) {
        digest = (digest ^ value) &* 0x100_0000_01B3
        digest ^= digest >> 32
    }

    private mutating func absorb(_ bytes: some Collection<UInt8>) {
        absorb(UInt64(bytes.count))
        for byte in bytes { absorb(UInt64(byte)) }
    }

    private mutating func absorb(_ run: BlockRun) {
        absorb(run.logical.rawValue)
        absorb(run.count)
        switch run.state {
        case .mapped(let block): absorb(block.rawValue)
        case .unwritten(let block): absorb(~block.rawValue)
        case .hole: absorb(1 << 63)
        }
    }
}
