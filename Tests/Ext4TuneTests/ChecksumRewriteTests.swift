import Ext4Check
import Ext4Host
import Ext4Verify
import Testing

@testable import Ext4

/// Every checksum of a volume under another seed, switched off, and switched on.
@Suite struct ChecksumRewriteTests {
    static let kinds = [
        "-t ext4 -b 1024",
        "-t ext4",
        "-t ext4 -b 1024 -I 128 -O ^64bit",
        "-t ext4 -b 1024 -g 2048 -O meta_bg,^resize_inode,^has_journal",
        "-t ext4 -b 2048 -O mmp,orphan_file",
        "-t ext4 -b 1024 -O bigalloc -C 8192",
        "-t ext4 -b 1024 -O inline_data",
        "-t ext4 -b 1024 -O ^extent,^64bit",
        "-t ext4 -b 65536",
    ]

    @Test(arguments: kinds.indices)
    func checksumsFollowTheSuperblock(kind: Int) throws {
        let options = Self.kinds[kind]
        let volume = try TunedVolume.filled(options, names: kind == 0 ? 1200 : 250)
        let before = try volume.manifest()
        try volume.change(uuid: 1)
        #expect(try volume.complaint() == nil, "\(options): another UUID")
        if kind < 2 {
            try volume.change(checksums: .gdtCsum)
            #expect(try volume.complaint() == nil, "\(options): switched off")
            try volume.change(uuid: 2)
            #expect(try volume.complaint(isDeep: false) == nil, "\(options): UUID of groups")
            try volume.change(checksums: .metadataCsum)
            #expect(try volume.complaint() == nil, "\(options): switched on")
        }
        try volume.change(checksums: [])
        #expect(try volume.complaint() == nil, "\(options): all switched off")
        if kind < 2 {
            try volume.change(checksums: .gdtCsum)
            #expect(try volume.complaint(isDeep: false) == nil, "\(options): those of groups")
            try volume.change(checksums: [])
            #expect(try volume.complaint(isDeep: false) == nil, "\(options): none at all")
        }
        #expect(try volume.change(checksums: .metadataCsum) == [])
        #expect(try volume.complaint() == nil, "\(options): switched on from nothing")
        let comparison = TreeComparison(expected: before, found: try volume.manifest())
        #expect(comparison.differences.isEmpty, "\(options)")
    }

    /// Volumes that never had checksums get them.
    @Test(arguments: ["^uninit_bg", "uninit_bg"])
    func checksumsComeToAVolumeWithoutAny(groups: String) throws {
        let volume = try TunedVolume.filled(
            "-t ext4 -b 1024 -O ^metadata_csum,\(groups)", names: 300)
        let crowded = try volume.change(checksums: .metadataCsum)
        if !crowded.isEmpty { _ = try Repairer.repair(volume.open()) }
        #expect(try volume.complaint() == nil)
    }

    /// What was broken off anywhere is done by doing it again.
    @Test(arguments: [0, 1, 2, 3, 4])
    func aBrokenRewriteCanBeRunAgain(way: Int) throws {
        let base = way < 3 ? "metadata_csum" : "^metadata_csum,^uninit_bg"
        let volume = try TunedVolume.filled("-t ext4 -b 1024 -O \(base)", names: 60)
        var limit = 1
        var failures = 0
        while true {
            do {
                try run(way, volume, limit: limit)
                break
            } catch Ext4Error.io {
                failures += 1
            }
            limit += limit / 2 + 1
        }
        #expect(failures > 1)
        // What has no room for a checksum waits for a repair.
        if way == 3 { _ = try Repairer.repair(volume.open()) }
        #expect(try volume.complaint() == nil)
    }

    private func run(_ way: Int, _ volume: TunedVolume, limit: Int) throws {
        switch way {
        case 0: try volume.change(limit: limit, uuid: 9)
        case 1: try volume.change(limit: limit, checksums: .gdtCsum)
        case 2: try volume.change(limit: limit, checksums: [])
        case 3: try volume.change(limit: limit, checksums: .metadataCsum)
        default: try volume.change(limit: limit, checksums: .gdtCsum)
        }
    }

    // MARK: Room

    /// A block that is full to its last byte has no room for a checksum: a repair writes the
    /// directory anew.
    @Test func aFullBlockIsTold() throws {
        let volume = try TunedVolume(
            "-t ext4 -b 1024 -O ^metadata_csum", megabytes: 8,
            contents: """
                mkdir $1/full
                i=0; while [ $i -lt 40 ]; do : > $1/full/$(printf '%032d' $i); i=$((i+1)); done
                """)
        let before = try volume.manifest()
        let number = try Volume.open(volume.open()).inode(atPath: "/full").number
        #expect(try volume.change(checksums: .metadataCsum) == [number])
        let findings = try Check.run(volume.open()).report.findings
        #expect(findings.contains { $0.rule == .directoryTail })
        #expect(findings.allSatisfy { $0.place.inode == number })
        _ = try Repairer.repair(volume.open())
        #expect(try volume.complaint() == nil)
        try expectSameNames(before, volume)
    }

    /// A root of an index with as many entries as it can hold, likewise.
    @Test func aFullIndexIsTold() throws {
        let volume = try TunedVolume("-t ext4 -b 1024 -O ^metadata_csum", megabytes: 8)
        try fillIndex(of: volume)
        #expect(try volume.complaint() == nil)
        let before = try volume.manifest()
        let number = try Volume.open(volume.open()).inode(atPath: "/full").number
        #expect(try volume.change(checksums: .metadataCsum) == [number])
        #expect(try volume.complaint() != nil)
        _ = try Repairer.repair(volume.open())
        #expect(try volume.complaint() == nil)
        try expectSameNames(before, volume)
    }

    /// The same tree, but for the sizes of directories.
    private func expectSameNames(_ before: TreeManifest, _ volume: TunedVolume) throws {
        let comparison = TreeComparison(
            expected: before, found: try volume.manifest(), aspects: [.tree, .inodeNumbers])
        let differences = comparison.differences.filter { $0.path != "/full" || $0.field != "size" }
        #expect(differences.isEmpty)
    }

    /// Fills a directory until its root leads to as many blocks as it can.
    private func fillIndex(of volume: TunedVolume) throws {
        var options = OpenOptions()
        options.access = .readWrite
        options.clock = { Timestamp(seconds: 1_700_000_000) }
        let opened = try Volume.open(volume.open(), options: options)
        let parent = try opened.create(
            FileName(Array("full".utf8)), in: opened.root(),
            NewInode(mode: FileMode(rawValue: 0o040755)))
        let file = try opened.create(
            FileName(Array("file".utf8)), in: parent, NewInode(mode: FileMode(rawValue: 0o100644)))
        let capacity: UInt64 = (1024 - 32) / 8
        var number = 0
        while parent.size < (capacity + 1) * 1024, number < 2000 {
            let digits = Array(String(number).utf8)
            try opened.link(
                file, as: FileName(digits + [UInt8](repeating: 0x78, count: 230 - digits.count)),
                in: parent)
            number += 1
        }
        try opened.close()
    }

    /// Entries move together where their block has room in all, but none at its end.
    @Test func entriesMoveForATail() throws {
        let format = DirectoryFormat(try TunedVolume("-t ext4 -b 1024", megabytes: 4).superblock())
        var block = [UInt8](repeating: 0, count: 1024)
        let place = Corruption.Place()
        do {
            var span = block.mutableSpan
            var raw = unsafe span.mutableBytes
            let first = Array("first".utf8)
            let last = [UInt8](repeating: 0x6C, count: 200)
            let target = DirectoryRecord.Target(inode: InodeNumber(12), type: .regular)
            unsafe DirectoryRecord.write(
                target, name: first.span.bytes, length: 816, at: 0, in: &raw, format: format)
            unsafe DirectoryRecord.write(
                target, name: last.span.bytes, length: 208, at: 816, in: &raw, format: format)
            let isMade = try makeTail(&raw, format)
            #expect(isMade)
            let hasTail = DirectoryRecord.hasTail(raw.bytes)
            #expect(hasTail)
            let moved = try DirectoryRecord(
                parsing: raw.bytes, at: 16, end: 1012, format: format, hasHash: false, place: place)
            #expect(moved.end == 1012)
            let name = raw.bytes.copy(moved.name)
            #expect(name == last)
            // Twice changes nothing; what a tail was becomes room again.
            let once = raw.bytes.copy()
            let isMadeAgain = try makeTail(&raw, format)
            #expect(isMadeAgain)
            let twice = raw.bytes.copy()
            #expect(twice == once)
            try DirectoryRecord.removeTail(in: &raw, format: format, hasHash: false, place: place)
            let freed = try DirectoryRecord(
                parsing: raw.bytes, at: 16, end: 1024, format: format, hasHash: false, place: place)
            #expect(freed.end == 1024)
            // No room: nothing changes.
            let full = [UInt8](repeating: 0x66, count: 248)
            for index in 0..<4 {
                unsafe DirectoryRecord.write(
                    target, name: full.span.bytes, length: 256, at: index * 256, in: &raw,
                    format: format)
            }
            let before = raw.bytes.copy()
            let isMadeOfNone = try makeTail(&raw, format)
            #expect(!isMadeOfNone)
            let after = raw.bytes.copy()
            #expect(after == before)
        }
    }

    private func makeTail(
        _ bytes: inout MutableRawSpan, _ format: DirectoryFormat
    ) throws -> Bool {
        try DirectoryRecord.makeTail(in: &bytes, format: format, hasHash: false, place: .init())
    }

    // MARK: What is wrong

    /// A structure that is not right stops the rewrite; superblocks that differ in size, too.
    @Test func damageIsToldAndNotSealed() throws {
        let volume = try TunedVolume.filled("-t ext4 -b 1024", names: 60)
        let (some, start) = try place(of: "/some", in: volume)
        do {
            let device = try volume.open()
            var block = try device.read(at: start.rawValue << 10, count: 1024)
            block[30] ^= 1
            try unsafe device.write(block.span.bytes, at: start.rawValue << 10)
        }
        #expect {
            try volume.change(uuid: 3)
        } throws: { error in
            guard case .corrupt(let corruption) = error as? Ext4Error else { return false }
            return corruption.place.inode == some
        }
        let superblock = try volume.superblock()
        let other = try TunedVolume("-t ext4 -b 1024", megabytes: 8).superblock()
        #expect(throws: Ext4Error.invalidArgument) {
            _ = try ChecksumRewrite(device: volume.open(), from: superblock, to: other).run()
        }
    }

    /// The number of a directory, and its first block.
    private func place(
        of path: String, in volume: TunedVolume
    ) throws -> (InodeNumber, BlockNumber) {
        let opened = try Volume.open(volume.open())
        let inode = try opened.inode(atPath: path)
        let start = try opened.mapping(of: inode, at: LogicalBlock(0)).start
        return (inode.number, try #require(start))
    }
}
