@testable import Ext4

// What is done to a damaged volume besides reading it. Whatever it says is right, also that it
// cannot be done; what is not right is a trap, a hang, or memory without an end.

/// What the fuzzer does to a volume.
enum FuzzDeed: UInt8, CaseIterable {
    case change = 1
    case trim
    case grow
    case shrink
    case tuneSeed
    case tuneFeatures
    case tuneJournal

    /// Does it to a volume of those bytes.
    func run(_ image: [UInt8], _ options: OpenOptions) {
        let device = MemoryDevice(image)
        switch self {
        case .change:
            guard let volume = Self.open(device, options) else { return }
            var changes = FuzzChanges(volume)
            changes.run()
        case .trim:
            guard let volume = Self.open(device, options) else { return }
            _ = try? volume.trim()
            try? volume.close()
        case .grow:
            let room = [UInt8](repeating: 0, count: 3 << 20)
            let log2 = image.count > 1048 ? UInt64(image[1048] & 7) : 0  // s_log_block_size
            resize(MemoryDevice(image + room), to: UInt64(image.count + room.count) >> (10 + log2))
        case .shrink: resize(device, to: nil)
        case .tuneSeed:
            var changes = TuneChanges()
            changes.uuid = Array(1...16)
            changes.hashSeed = Array(17...32)
            tune(device, changes)
        case .tuneFeatures:
            var changes = TuneChanges()
            changes.featuresOff = FeatureMask([.dirIndex], [], [.metadataCsum, .gdtCsum])
            tune(device, changes)
            changes.featuresOff = FeatureMask()
            changes.featuresOn = FeatureMask([.dirIndex], [], [.metadataCsum])
            tune(device, changes)
        case .tuneJournal:
            var changes = TuneChanges()
            changes.featuresOff = FeatureMask([.hasJournal, .orphanFile], [], [])
            tune(device, changes)
            changes.featuresOff = FeatureMask()
            changes.featuresOn = FeatureMask([.hasJournal], [], [])
            changes.journalMebibytes = 1
            tune(device, changes)
        }
    }

    private static func open(_ device: MemoryDevice, _ options: OpenOptions) -> Volume? {
        var options = options
        options.access = .readWrite
        options.journal = .replayInMemory
        options.superblock = .primary
        options.clock = { Timestamp(seconds: 1_700_000_000) }
        return try? Volume.open(device, options: options)
    }

    private func resize(_ device: MemoryDevice, to blocks: UInt64?) {
        var options = ResizeOptions()
        options.cacheBytes = 1 << 20
        options.isForced = true
        guard let least = try? Resizer.minimumBlocks(of: device, options: options) else { return }
        _ = try? Resizer.resize(
            device, to: blocks ?? least, isMinimum: blocks == nil, options: options)
    }

    private func tune(_ device: MemoryDevice, _ changes: TuneChanges) {
        var options = TuneOptions()
        options.isForced = true
        _ = try? Tuner.tune(device, changes, options: options)
    }
}

/// Changes of every kind to what there is in a volume.
struct FuzzChanges {
    private let volume: Volume
    /// How many inodes are changed.
    private var left = 40

    init(_ volume: Volume) { self.volume = volume }

    mutating func run() {
        if let root = try? volume.root() { changeDirectory(root, depth: 0) }
        try? volume.sync()
        try? volume.close()
    }

    private mutating func changeDirectory(_ directory: Inode, depth: Int) {
        let entries = (try? volume.entries(of: directory)) ?? []
        for entry in entries.prefix(16) where left > 0 {
            guard !entry.name.bytes.starts(with: [0x2E]) else { continue }
            left -= 1
            guard let inode = try? volume.lookup(entry.name, in: directory) else { continue }
            switch inode.type {
            case .directory:
                if depth < 3 { changeDirectory(inode, depth: depth + 1) }
                try? volume.removeDirectory(entry.name, in: directory)
            case .regular: changeFile(inode)
            default: break
            }
            changeAttributes(inode)
            changeName(entry.name, inode, in: directory)
        }
        for number in 0..<12 {
            let name = FileName(Array("a name that is long enough to fill blocks \(number)".utf8))
            let mode: UInt16 = [0o100644, 0o040755, 0o010600][number % 3]
            guard
                let made = try? volume.create(
                    name, in: directory, NewInode(mode: FileMode(rawValue: mode)))
            else { continue }
            if number == 0 { changeFile(made) }
            if number == 6 { try? volume.unlink(name, in: directory) }
        }
    }

    private func changeFile(_ file: Inode) {
        let bytes = [UInt8](repeating: 0x61, count: 5000)
        let size = min(file.size, 1 << 40)
        func write(_ count: Int, at offset: UInt64) {
            _ = try? volume.write(
                unsafe bytes.span.bytes.extracting(0..<count), to: file, at: offset)
        }
        write(10, at: 0)
        write(5000, at: size)
        write(1, at: size + 200_000)
        _ = try? volume.contents(of: file).count
        let changes: [RangeChange] = [
            .punchHole, .allocate(keepsSize: true), .zero(keepsSize: false), .collapse, .insert,
        ]
        for (index, change) in changes.enumerated() {
            try? volume.change(
                change, of: file, at: UInt64(index) * 4096, count: 4096 * UInt64(index + 1))
        }
        for size in [size / 2, 100, 0, 70_000] {
            var changes = AttributeChanges()
            changes.size = size
            try? volume.setAttributes(changes, of: file)
        }
    }

    private func changeAttributes(_ inode: Inode) {
        for (name, count) in [("user.a", 20), ("user.b", 900), ("trusted.c", 3000)] {
            try? volume.setExtendedAttribute(
                FileName(Array(name.utf8)), to: [UInt8](repeating: 7, count: count), of: inode)
        }
        for name in (try? volume.extendedAttributeNames(of: inode)) ?? [] {
            try? volume.removeExtendedAttribute(name, of: inode)
        }
        var changes = AttributeChanges()
        changes.permissions = 0o640
        changes.userID = 70_000
        try? volume.setAttributes(changes, of: inode)
    }

    private func changeName(_ name: FileName, _ inode: Inode, in directory: Inode) {
        let (link, other) = (FileName(Array("a link".utf8)), FileName(Array("other".utf8)))
        try? volume.link(inode, as: link, in: directory)
        try? volume.rename(name, in: directory, to: other, in: directory)
        try? volume.rename(other, in: directory, to: link, in: directory, .exchange)
        try? volume.unlink(other, in: directory)
        try? volume.unlink(link, in: directory)
    }
}
