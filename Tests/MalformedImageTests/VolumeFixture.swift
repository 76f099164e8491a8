import Testing

@testable import Ext4
import Ext4Verify

/// A sound volume to damage, by the names of its structures and fields.
///
/// Places are found while the volume is sound, before the first change.
struct VolumeFixture {
    /// The bytes, as they are after the changes.
    var image: [UInt8]
    /// The volume as it was.
    let sound: Volume

    init(_ name: String = "full") throws {
        image = try PackedImage.bytes(name)
        var options = OpenOptions()
        options.journal = .ignore
        sound = try Volume.open(MemoryDevice(image), options: options)
    }

    // MARK: Places

    var blockSize: Int { sound.blockSize }

    /// The inode at `path` of the sound volume.
    func inode(_ path: String) throws -> Inode {
        try sound.inode(atPath: path, followingSymlinks: false)
    }

    /// Where inode `number` starts.
    func start(of number: InodeNumber) throws -> Int {
        let perGroup = sound.superblock.inodesPerGroup
        let index = number.rawValue - 1
        let group = try sound.groupDescriptor(GroupNumber(index / perGroup))
        return start(of: group.inodeTable) + Int(index % perGroup) * sound.superblock.inodeSize
    }

    /// Where a block of the volume starts.
    func start(of block: BlockNumber) -> Int { Int(block.rawValue) * blockSize }

    /// The block of the volume behind block `logical` of an inode.
    func block(_ logical: UInt64, of inode: Inode) throws -> BlockNumber {
        let block = LogicalBlock(logical)
        guard
            case .mapped(let found) = try sound.mapping(of: inode, at: block).suffix(from: block)
                .state
        else { throw Ext4Error.notFound }
        return found
    }

    /// The first byte of `i_block` of an inode.
    func map(of number: InodeNumber) throws -> Int {
        try start(of: number) + InodeRecord.Layout.block.lowerBound
    }

    /// The block that entry `index` of an inode's root of extents leads to.
    func child(_ index: Int = 0, of inode: Inode) -> BlockNumber {
        inode.record.withBlock { ExtentNode.child($0, index) }
    }

    /// Where the directory entry of that name starts in a block.
    func entry(_ name: String, in directory: Inode, block: UInt64 = 0) throws -> Int {
        let base = start(of: try self.block(block, of: directory))
        var offset = 0
        while offset < blockSize {
            let record = try DirectoryRecord(
                parsing: unsafe image.span.bytes.extracting(base..<base + blockSize), at: offset,
                end: blockSize, format: DirectoryFormat(sound.superblock), hasHash: false,
                place: .init())
            let found = image[(base + record.name.lowerBound)..<(base + record.name.upperBound)]
            if found.elementsEqual(name.utf8) { return base + offset }
            offset = record.end
        }
        throw Ext4Error.notFound
    }

    // MARK: Changes

    func get<Value>(_ field: Field<Value>, at base: Int) -> Value {
        ChecksumSeal.get(image, field, base: base)
    }

    mutating func set<Value>(_ field: Field<Value>, at base: Int, _ value: Value) {
        ChecksumSeal.set(&image, field, base: base, value)
    }

    mutating func setSuperblock<Value>(_ field: Field<Value>, _ value: Value) {
        set(field, at: Int(Superblock.byteOffset), value)
    }

    mutating func setInode<Value>(
        _ number: InodeNumber, _ field: Field<Value>, _ value: Value
    ) throws {
        set(field, at: try start(of: number), value)
    }

    mutating func setDescriptor<Value>(
        _ group: UInt32, _ field: Field<Value>, _ value: Value
    ) {
        let perBlock = sound.superblock.descriptorsPerBlock
        let block = sound.groups.location(ofDescriptorBlock: group / perBlock)
        let base = start(of: block) + Int(group % perBlock) * sound.superblock.descriptorSize
        set(field, at: base, value)
    }

    // MARK: What comes of it

    /// The bytes with their checksums made right.
    var sealed: [UInt8] {
        var copy = image
        ChecksumSeal.seal(&copy)
        return copy
    }

    /// Opens the volume with its checksums made right, and verified.
    func open(_ options: OpenOptions = .init()) throws(Ext4Error) -> Volume {
        var options = options
        options.superblock = .primary
        return try Volume.open(MemoryDevice(sealed), options: options)
    }

    /// Reads everything there is, with its checksums made right and with wrong ones ignored, and
    /// expects to be back in time.
    @discardableResult
    func walk(
        journal: OpenOptions.JournalPolicy = .replayInMemory,
        sourceLocation: SourceLocation = #_sourceLocation
    ) -> VolumeWalk {
        var options = OpenOptions()
        options.journal = journal
        options.verifiesChecksums = false
        _ = timed(sourceLocation) { VolumeWalk.read(MemoryDevice(image), options: options) }
        options.verifiesChecksums = true
        return timed(sourceLocation) {
            VolumeWalk.read(MemoryDevice(sealed), options: options)
        }
    }

    /// What the first of `body`'s errors says is corrupt.
    func corruption(
        sourceLocation: SourceLocation = #_sourceLocation,
        _ body: (Volume) throws(Ext4Error) -> Void
    ) -> Corruption? {
        do throws(Ext4Error) {
            try body(try open())
            Issue.record("there was no error", sourceLocation: sourceLocation)
        } catch .corrupt(let corruption) {
            return corruption
        } catch {
            Issue.record("another error: \(error)", sourceLocation: sourceLocation)
        }
        return nil
    }
}

/// Runs `body` and holds it to a time that no small volume may take: 20 seconds even on a busy
/// machine and in a debug build. Memory is the fuzzer's to watch: here other tests run beside.
@discardableResult
func timed<Value>(_ sourceLocation: SourceLocation, _ body: () -> Value) -> Value {
    let start = ContinuousClock.now
    let value = body()
    let duration = ContinuousClock.now - start
    if duration > .seconds(20) {
        Issue.record("reading it took \(duration)", sourceLocation: sourceLocation)
    }
    return value
}

extension Corruption {
    /// The field that the rule is about.
    var field: String? {
        if case .field(let name, _, _) = rule { name } else { nil }
    }

    /// The value that it has.
    var value: UInt64? {
        if case .field(_, let value, _) = rule { value } else { nil }
    }
}
