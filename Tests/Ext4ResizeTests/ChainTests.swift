import Ext4
import Ext4Host
import Ext4Verify
import Synchronization
import Testing

/// Volumes that get one size after the other, drawn by a seed: borders of groups, a little more or
/// less, the smallest size twice, and resizes that are broken off.
@Suite struct ChainTests {
    static let kinds = [
        "-t ext4 -b 1024 -g 1024 -J size=1 -N 900 -O inline_data,ea_inode",
        "-t ext4 -b 1024 -g 2048 -J size=1,location=9M -O sparse_super2,orphan_file",
        "-t ext4 -b 1024 -g 1024 -O ^has_journal,meta_bg,^resize_inode -N 700",
        "-t ext3 -b 1024 -g 2048 -J size=1 -E resize=33000000",
        "-t ext2 -b 2048 -g 1024 -O ^resize_inode",
        "-t ext4 -b 4096 -g 512 -J size=4 -O ^metadata_csum,uninit_bg",
    ]

    @Test(arguments: kinds.indices)
    func aChainOfSizesLosesNothing(kind: Int) throws {
        let options = Self.kinds[kind]
        var random = Randomness(UInt64(kind) + 1)
        let volume = try TestVolume(options, megabytes: 13)
        try volume.fill(files: 60, bytes: 9000, ballast: 5)
        let before = try volume.manifest()
        var sizes: [String] = []
        for step in 0..<5 {
            let superblock = try Volume.open(volume.open()).superblock
            let least = try Resizer.minimumBlocks(of: volume.open())
            let perGroup = UInt64(superblock.blocksPerGroup)
            var goal = superblock.blocksCount
            var isCancelled = false
            switch random.below(5) {
            case 0: goal = UInt64(superblock.firstDataBlock) + (goal / perGroup + 1) * perGroup
            case 1: goal += UInt64(random.below(700))
            case 2: goal = least + UInt64(random.below(Int(goal - least) + 1))
            case 3:
                goal *= 2
                isCancelled = random.chance(50)
            default: goal = 0
            }
            if step > 2 { goal = 0 }
            sizes.append("\(superblock.blocksCount) to \(goal)")
            try Self.resize(volume, superblock, to: goal, cancelledAt: isCancelled ? step : nil)
            #expect(try volume.complaint() == nil, "\(options): \(sizes)")
        }
        let comparison = TreeComparison(
            expected: before, found: try volume.manifest(),
            aspects: [.tree, .times, .entryTypes, .creationTime])
        #expect(comparison.differences.isEmpty, "\(options): \(sizes)")
    }

    /// Resizes the volume, to the smallest size when that is 0.
    private static func resize(
        _ volume: TestVolume, _ superblock: Superblock, to goal: UInt64, cancelledAt call: Int?
    ) throws {
        let device = try volume.open()
        let log2 = UInt64(superblock.blockSizeLog2)
        var options = ResizeOptions()
        options.clock = { Timestamp(seconds: 1_700_000_100) }
        if goal << log2 > device.byteCount {
            options.zerosFrom = device.byteCount
            try device.setByteCount(goal << log2)
        }
        let calls = Calls()
        if let call { options.isCancelled = { calls.next() > call } }
        let report = try Resizer.resize(
            device, to: goal, isMinimum: goal == 0, options: options)
        if goal != 0, !report.isCancelled {
            #expect(report.newBlocks == Resizer.usableBlocks(goal, of: superblock))
        }
        try device.setByteCount(report.newBlocks << log2)
    }
}

/// Counts calls.
private final class Calls: Sendable {
    private let count = Mutex(0)

    func next() -> Int {
        count.withLock {
            $0 += 1
            return $0
        }
    }
}
