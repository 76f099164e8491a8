import Foundation
import Testing

@testable import Ext4

/// The multi-mount protection block and the orphan file, as mke2fs and the kernel write them.
@Suite(.serialized, .enabled(if: isRoot, "mounting needs root"))
struct SpecialBlockTests {
    private func protection(
        _ volume: Volume, checked: Bool, change: (inout [UInt8]) -> Void = { _ in }
    ) throws -> MultiMountProtection {
        let block = volume.superblock.mmpBlock
        var bytes = try volume.device.read(
            at: block.rawValue * UInt64(volume.blockSize), count: volume.blockSize)
        change(&bytes)
        return try unsafe MultiMountProtection(
            parsing: bytes.span.bytes, at: block,
            checksumSeed: checked ? volume.superblock.checksumSeed : nil)
    }

    @Test(arguments: [
        "-b 1024 -O mmp", "-b 4096 -O mmp,metadata_csum_seed", "-O mmp,^metadata_csum",
    ])
    func multiMountProtection(_ options: String) throws {
        let image = try KernelImage(
            ["-t", "ext4"] + options.split(separator: " ").map(String.init))
        let checked = !options.contains("^metadata_csum")
        #expect(try protection(image.volume(), checked: checked).state == .clean)
        // Mounted by the kernel, the block says by whom; the number grows from second to second.
        let (mounted, host) = try image.mounted { _ in
            let host = try KernelImage.run(["uname", "-n"])
            return (try protection(image.volume(), checked: checked), host)
        }
        guard case .inUse(let sequence) = mounted.state else {
            Issue.record("\(mounted)")
            return
        }
        #expect(sequence > 0 && sequence <= MultiMountProtection.maximumSequence)
        #expect(mounted.nodeName == host.filter { $0 != UInt8(ascii: "\n") })
        #expect(mounted.deviceName.starts(with: Array("loop".utf8)))
        #expect(mounted.time > 1_500_000_000)
        #expect(mounted.checkInterval > 0)
        let volume = try image.volume()
        #expect(try protection(volume, checked: checked).state == .clean)

        let place = Corruption.Place(block: volume.superblock.mmpBlock)
        #expect(
            throws: Ext4Error.corrupt(
                .init(.multiMountProtection, at: place, .magic(found: 0x004D_4D51)))
        ) {
            try protection(volume, checked: checked) { $0[0] = 0x51 }
        }
        #expect(throws: Ext4Error.self) {
            try protection(volume, checked: false) { $0.removeLast($0.count - 1023) }
        }
        #expect(
            try protection(volume, checked: false) { $0[7] = 0xE3 }.state
                == .unknown(0xE34D_4D50))
        #expect(try protection(volume, checked: false) { $0[7] = 0xE2 }.state == .beingChecked)
        guard checked else { return }
        for offset in [4, 8, 16, 112, 1019, 1020, 1023] {
            #expect(throws: Ext4Error.self, "byte \(offset)") {
                try protection(volume, checked: true) { $0[offset] ^= 1 }
            }
        }
    }

    /// Every block of the orphan file, with `change` made to the one with that index.
    private func orphans(
        _ volume: Volume, change: (index: Int, (inout [UInt8]) -> Void)? = nil
    ) throws -> [InodeNumber] {
        let superblock = volume.superblock
        let inode = try volume.inode(superblock.orphanFileInode)
        var found: [InodeNumber] = []
        for index in 0..<Int(inode.size) / volume.blockSize {
            let run = try volume.mapping(of: inode, at: LogicalBlock(UInt64(index)))
            guard case .mapped(let start) = run.state else { throw Ext4Error.notFound }
            let block = start.advanced(by: UInt64(index) - run.logical.rawValue)
            var bytes = try volume.device.read(
                at: block.rawValue * UInt64(volume.blockSize), count: volume.blockSize)
            if let change, change.index == index { change.1(&bytes) }
            found += try unsafe OrphanFileBlock(
                parsing: bytes.span.bytes, at: block, of: inode.number,
                checksumSeed: superblock.hasMetadataChecksums ? inode.checksumSeed : nil,
                inodeCount: superblock.inodesCount
            ).inodes
        }
        return found
    }

    @Test(arguments: ["-b 1024", "-b 4096 -O metadata_csum_seed", "-O ^metadata_csum"])
    func orphanFile(_ options: String) throws {
        let image = try KernelImage(
            ["-t", "ext4", "-O", "orphan_file"] + options.split(separator: " ").map(String.init))
        #expect(try orphans(image.volume()) == [])
        // A file that is open without a name is an orphan. The image is read while it is.
        let (volume, number) = try image.mounted { root in
            let number = try KernelImage.shell(
                """
                cd "$1"; exec 3>file; echo contents >&3; ls -i file | sed 's/ .*//'
                rm file; sync; cp ../image ../copy
                """, root)
            let copy = try Data(contentsOf: URL(fileURLWithPath: "\(image.directory)/copy"))
            return (try Volume.open(MemoryDevice([UInt8](copy))), number)
        }
        let text = String(decoding: number, as: UTF8.self)
        let orphan = InodeNumber(
            try #require(UInt32(text.trimmingCharacters(in: .whitespacesAndNewlines))))
        #expect(try orphans(volume) == [orphan])
        #expect(try orphans(image.volume()) == [])

        // An inode that the volume does not have, in place of nothing, is found either way.
        let changes: [(offset: Int, isChecksum: Bool)] = [(-8, false), (-4, true), (7, true)]
        for (offset, isChecksum) in changes
        where !isChecksum || volume.superblock.hasMetadataChecksums {
            #expect(throws: Ext4Error.self, "byte \(offset)") {
                try orphans(
                    volume, change: (0, { $0[offset < 0 ? $0.count + offset : offset] ^= 1 }))
            }
        }
        guard !volume.superblock.hasMetadataChecksums else { return }
        #expect(throws: Ext4Error.self) {
            try orphans(volume, change: (0, { $0[3] = 0x7F }))
        }
    }
}
