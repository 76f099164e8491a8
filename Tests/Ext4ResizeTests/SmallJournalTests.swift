import Ext4
import Ext4Verify
import TestShell
import Testing

/// Files of which a step is more than a small journal takes.
@Suite struct SmallJournalTests {
    private func shrink(_ volume: TestVolume, to megabytes: UInt64) throws {
        let before = try volume.manifest()
        let report = try volume.resize(to: megabytes << 20)
        #expect(report.newBlocks == megabytes << 10)
        #expect(report.movedBlocks > 0)
        #expect(try volume.complaint() == nil)
        let comparison = TreeComparison(
            expected: before, found: try volume.manifest(),
            aspects: [.tree, .times, .entryTypes])
        #expect(comparison.differences.isEmpty)
    }

    /// Blocks of the map in each of very many groups.
    @Test func aMapInManyGroupsMoves() throws {
        let volume = try TestVolume(
            "-t ext3 -b 1024 -g 256 -N 1200 -J size=1 -O ^resize_inode", megabytes: 290)
        try shell(
            """
            yes first | head -c 8M > $2/first
            yes second | head -c 265M > $2/second
            debugfs -w -R "write $2/first first" $1 2>&1
            debugfs -w -R "write $2/second second" $1 2>&1
            debugfs -w -R "rm first" $1 2>&1
            """, volume.path, volume.root)
        let report = try volume.resize(to: 278 << 20)
        #expect(report.movedBlocks > 0)
        #expect(try volume.complaint() == nil)
        try shell(
            "debugfs -R 'cat second' $1 2>$2/words | cmp - $2/second", volume.path, volume.root)
    }

    /// Blocks that are freed one entry of the log each.
    @Test func aFileWithContentsInTheLogMoves() throws {
        let volume = try TestVolume("-t ext4 -b 1024 -N 64 -J size=1", megabytes: 400)
        do {
            let opened = try Volume.open(volume.open(), options: TestVolume.writing)
            let root = try opened.root()
            for (name, size) in [("first", UInt64(180) << 20), ("second", UInt64(150) << 20)] {
                let file = try opened.create(
                    FileName(Array(name.utf8)), in: root,
                    NewInode(mode: FileMode(rawValue: 0o100600)))
                try opened.change(.allocate(keepsSize: true), of: file, at: 0, count: size)
                guard name == "second" else { continue }
                try opened.setFlags(file.flags.union(.journalData), of: file)
            }
            try opened.unlink(FileName(Array("first".utf8)), in: root)
            try opened.close()
        }
        try shrink(volume, to: 220)
    }
}
