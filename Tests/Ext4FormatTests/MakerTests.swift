import Ext4
import Ext4Check
import Testing

/// Notes where writes go, and keeps what they write.
private final class OrderedDevice: BlockDevice {
    private let memory: MemoryDevice
    private let order: Guarded<[(UInt64, Int)]> = Guarded([])

    init(_ bytes: [UInt8]) { memory = MemoryDevice(bytes) }

    var byteCount: UInt64 { memory.byteCount }
    var isReadOnly: Bool { false }
    /// What was written, in order; a flush is (0, 0).
    var requests: [(UInt64, Int)] { order.withLock { $0 } }

    func read(at byteOffset: UInt64, into bytes: inout MutableRawSpan) throws(Ext4Error) {
        try memory.read(at: byteOffset, into: &bytes)
    }

    func write(_ bytes: RawSpan, at byteOffset: UInt64) throws(Ext4Error) {
        let count = bytes.byteCount
        order.withLock { $0.append((byteOffset, count)) }
        try memory.write(bytes, at: byteOffset)
    }

    func flush() throws(Ext4Error) { order.withLock { $0.append((0, 0)) } }
}

@Suite struct MakerTests {
    private func make(
        _ options: FormatOptions, on device: any BlockDevice, isZeroed: Bool = true
    ) throws {
        try options.make(on: device, isZeroed: isZeroed)
        let superblock = try options.superblock(byteCount: device.byteCount)
        let made = try Volume.open(device).superblock
        #expect(superblock.blocksCount == made.blocksCount)
        #expect(superblock.incompatible == made.incompatible)
    }

    private func findings(_ device: any BlockDevice) throws -> [String] {
        var options = CheckOptions()
        options.threads = 1
        return try Check.run(device, options: options).report.findings.map { "\($0.rule) \($0)" }
    }

    @Test(arguments: [
        (FormatOptions.Kind.ext2, ""), (.ext3, ""), (.ext4, ""), (.ext4, "^flex_bg,uninit_bg"),
        (.ext4, "bigalloc"), (.ext4, "meta_bg,^resize_inode"), (.ext4, "quota,project,orphan_file"),
        (.ext4, "inline_data,metadata_csum_seed"), (.ext4, "sparse_super2"), (.ext2, "none"),
    ])
    func volumesAreSound(_ kind: FormatOptions.Kind, _ features: String) throws {
        let device = MemoryDevice([UInt8](repeating: 0, count: 4 << 20))
        try make(try someOptions(kind, features), on: device)
        #expect(try findings(device) == [])
        let volume = try Volume.open(device)
        let names = try volume.entries(of: volume.root()).map { "\($0.name)" }
        #expect(names.contains("lost+found"))
        #expect(volume.superblock.uuid == Array(1...16))
    }

    /// A device with something else on it, of which nothing may be left where it would be read.
    @Test(arguments: [true, false])
    func usedDevicesAreCleared(_ isLazy: Bool) throws {
        let device = MemoryDevice([UInt8](repeating: 0xA5, count: 3 << 20))
        var options = try someOptions()
        options.leavesInodeTables = isLazy
        try make(options, on: device, isZeroed: false)
        #expect(try findings(device) == [])
        #expect(device.bytes[0..<1024].allSatisfy { $0 == 0 })
        #expect(device.bytes.suffix(4096).allSatisfy { $0 == 0 })
    }

    @Test func sameOptionsMakeTheSameBytes() throws {
        let one = MemoryDevice([UInt8](repeating: 0, count: 4 << 20))
        let other = MemoryDevice([UInt8](repeating: 0, count: 4 << 20))
        try make(try someOptions(), on: one)
        try make(try someOptions(), on: other)
        let isSame = one.bytes == other.bytes
        #expect(isSame)
    }

    /// Cut off before its last request, it is no volume.
    @Test func theSuperblockComesLast() throws {
        let device = OrderedDevice([UInt8](repeating: 0, count: 4 << 20))
        try make(try someOptions(), on: device)
        let requests = device.requests
        let last = requests.lastIndex { $0.0 <= 1024 && $0.1 > 0 }
        #expect(last == requests.count - 2)
        #expect(!requests.dropLast(2).contains { $0.0 <= 1024 && $0.0 + UInt64($0.1) > 1024 })
        // What came before is durable by then.
        #expect(requests.dropLast(2).contains { $0.1 == 0 })
    }

    @Test func whatIsTooSmallIsRefused() throws {
        let device = MemoryDevice([UInt8](repeating: 0, count: 1 << 20))
        let layout = try VolumeLayout(try someOptions(), byteCount: 2 << 20)
        #expect(throws: Ext4Error.noSpace) { try VolumeMaker(device, layout, isZeroed: true) }
    }

    /// The size comes last: what was written lies before the tables, and the volume ends soon.
    @Test(arguments: ["", "^has_journal,orphan_file,^orphan_file", "bigalloc,^has_journal"])
    func growingVolumesAreSound(_ features: String) throws {
        let device = MemoryDevice([UInt8](repeating: 0, count: 20 << 20))
        var options = try someOptions(.ext4, features)
        options.blockSize = 1024
        let maker = try VolumeMaker(growingOn: device, options, descriptorRoom: 16)
        // A file over the copies of the superblock in group 1.
        var runs: [Range<UInt64>] = []
        for _ in 0..<9 { runs += try maker.allocate(1000) }
        let total = runs.reduce(0) { $0 + UInt64($1.count) }
        #expect(total >= 9000)
        for run in runs { maker.free(run) }
        try maker.settle(inodeCount: 100, freeBlocks: 128)
        try maker.makeEmptyRoot()
        try maker.makeOwnFiles(hasContents: true)
        try maker.finish()
        #expect(try findings(device) == [])
        // Root and lost+found took some of what was to be left.
        let superblock = try Volume.open(device).superblock
        #expect(superblock.freeBlocksCount >= 64)
        #expect(superblock.inodesCount >= 100)
    }
}
