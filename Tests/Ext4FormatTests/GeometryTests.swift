import Ext4
import Testing

/// Options of which nothing is random.
func someOptions(_ kind: FormatOptions.Kind = .ext4, _ features: String = "") throws
    -> FormatOptions
{
    var options = FormatOptions(
        uuid: Array(1...16), hashSeed: Array(17...32), time: Timestamp(seconds: 1_700_000_000))
    options.kind = kind
    options.features = try FeatureChange.list(features)
    return options
}

/// What mke2fs 1.47.0 makes of sizes, by its own word.
@Suite struct GeometryTests {
    private struct Known {
        let kind: FormatOptions.Kind
        let bytes: UInt64
        let blockSize: Int
        let blocks: UInt64
        let inodes: UInt32
        let reservedDescriptors: UInt16
        let journal: UInt32
    }

    private static let known = [
        Known(
            kind: .ext4, bytes: 1 << 20, blockSize: 1024, blocks: 1024, inodes: 128,
            reservedDescriptors: 7, journal: 0),
        Known(
            kind: .ext4, bytes: 2 << 30, blockSize: 4096, blocks: 524_288, inodes: 131_072,
            reservedDescriptors: 255, journal: 16384),
        Known(
            kind: .ext2, bytes: 8 << 20, blockSize: 1024, blocks: 8192, inodes: 2048,
            reservedDescriptors: 31, journal: 0),
        Known(
            kind: .ext4, bytes: 16 << 40, blockSize: 4096, blocks: 1 << 32,
            inodes: 268_435_456, reservedDescriptors: 0, journal: 262_144),
    ]

    @Test func sizesAreThoseOfMke2fs() throws {
        for known in Self.known {
            let layout = try VolumeLayout(try someOptions(known.kind), byteCount: known.bytes)
            let superblock = layout.superblock
            #expect(superblock.blockSize == known.blockSize)
            #expect(superblock.blocksCount == known.blocks)
            #expect(superblock.inodesCount == known.inodes)
            #expect(superblock.reservedDescriptorBlocks == known.reservedDescriptors)
            #expect(layout.journalBlocks == known.journal)
        }
    }

    @Test func tablesOfAFlexibleGroupLieTogether() throws {
        let layout = try VolumeLayout(try someOptions(), byteCount: 3 << 30)
        let unit = try layout.unit(0)
        #expect(unit.places.count == 16)
        for (one, next) in zip(unit.places, unit.places.dropFirst()) {
            #expect(next.blockBitmap.rawValue == one.blockBitmap.rawValue + 1)
            #expect(next.inodeBitmap.rawValue == one.inodeBitmap.rawValue + 1)
            #expect(
                next.inodeTable.rawValue
                    == one.inodeTable.rawValue + UInt64(layout.superblock.inodeTableBlocks))
        }
    }

    /// Sixteen tebibytes are a matter of one flexible group.
    @Test func aGroupOfAHugeVolumeIsWorkedOutAlone() throws {
        let layout = try VolumeLayout(try someOptions(), byteCount: 16 << 40)
        let unit = try layout.unit(layout.unitCount - 1)
        #expect(unit.groups.upperBound == layout.superblock.groupCount)
        for place in unit.places {
            #expect(unit.blocks.contains(place.blockBitmap.rawValue))
            #expect(unit.blocks.contains(place.inodeTable.rawValue))
        }
    }

    @Test(arguments: [
        "64bit,^extent", "meta_bg", "^sparse_super", "metadata_csum_seed,^metadata_csum",
        "orphan_file,^has_journal", "bigalloc,^extent,^64bit",
    ])
    func featuresThatDoNotGoTogetherAreRefused(_ features: String) throws {
        let options = try someOptions(.ext4, features)
        #expect(throws: FormatProblem.self) { try VolumeLayout(options, byteCount: 1 << 30) }
    }

    @Test func sizesThatCannotBeAreRefused() throws {
        func check(_ change: (inout FormatOptions) -> Void, _ bytes: UInt64 = 1 << 30) throws {
            var options = try someOptions()
            change(&options)
            let refused = options
            #expect(throws: FormatProblem.self) { try VolumeLayout(refused, byteCount: bytes) }
        }
        try check { $0.blockSize = 512 }
        try check { $0.blockSize = 3000 }
        try check { $0.blockSize = 131_072 }
        try check { $0.inodeSize = 64 }
        try check { $0.inodeSize = 8192 }
        try check { $0.clusterSize = 65536 }
        try check { $0.inodeCount = 5_000_000_000 }
        try check { $0.inodeRatio = 1 }
        try check { $0.inodeCount = 10_000_000 }
        try check { $0.blocksPerGroup = 100 }
        try check { $0.blocksPerGroup = 257 }
        try check { $0.flexGroupSize = 3 }
        try check { $0.reservedPercentage = 51 }
        try check { $0.reservedPercentage = .nan }
        try check { $0.descriptorSize = 96 }
        try check { $0.journalMebibytes = 1 }
        try check { $0.journalMebibytes = .max }
        try check { $0.resizeLimit = .blocks(5) }
        try check { $0.orphanFileSize = .blocks(4) }
        try check { $0.label = Array(repeating: 0x61, count: 17) }
        try check { $0.uuid = [] }
        try check({ _ in }, 0)
        try check({ _ in }, 4096)
        try check({ $0.blockSize = 1024 }, .max)
    }

    @Test func namesOfFeaturesAreChecked() throws {
        #expect(throws: FormatProblem.self) { try FeatureChange.list("journal") }
        #expect(throws: FormatProblem.self) { try FeatureChange.list("needs_recovery") }
        #expect(
            try FeatureChange.list("none,^extents,quota") == [
                .clearAll, .clear(FeatureMask([], [.extents])),
                .set(FeatureMask([], [], [.quota])),
            ])
    }
}
