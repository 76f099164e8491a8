import Testing

@testable import Ext4
@testable import Ext4Verify

/// The quick check finds what the explorer relies on it to find.
@Suite struct VolumeAuditTests {
    private func image() throws -> DeviceImage {
        HostProgram.fixTime()
        return try #require(CrashVolume.named("ordered")).makeImage()
    }

    private var options: OpenOptions { OpenOptions() }

    /// Flips a bit of the device, with checksums ignored.
    private func complaints(
        _ image: DeviceImage, flipping bit: (Volume) throws -> (block: BlockNumber, bit: Int)
    ) throws -> [String] {
        var options = options
        options.verifiesChecksums = false
        let own = VolumeAudit(of: LayeredDevice(image), options: options).ownClusters
        let device = LayeredDevice(image)
        let (block, index) = try bit(Volume.open(device, options: options))
        let place = Int(block.rawValue) * 1024 + index / 8
        let byte = device.bytes(place..<place + 1)[0] ^ UInt8(1 << (index % 8))
        device.put([byte][...], at: place)
        return VolumeAudit(of: device, options: options, ownClusters: own).complaints
    }

    @Test func aSoundVolumeIsSound() throws {
        let image = try image()
        let audit = VolumeAudit(of: LayeredDevice(image), options: options)
        #expect(audit.complaints == [])
        let own = try #require(audit.ownClusters)
        #expect(own > 1024)
        #expect(
            VolumeAudit(of: LayeredDevice(image), options: options, ownClusters: own).complaints
                == [])
        #expect(
            VolumeAudit(of: LayeredDevice(image), options: options, ownClusters: own - 1).complaints
                != [])
    }

    @Test func wrongBitsAreFound() throws {
        let image = try image()
        // A block of a file that is marked as free.
        let block = try complaints(image) { volume in
            let file = try volume.inode(atPath: "foo")
            let run = try #require(try volume.mappings(of: file).first)
            guard case .mapped(let block) = run.state else { throw Ext4Error.notFound }
            return (try volume.groupDescriptor(GroupNumber(0)).blockBitmap, Int(block.rawValue) - 1)
        }
        #expect(block.contains { $0.contains("is in use and marked as free") })
        // The last block, which nobody has.
        let lost = try complaints(image) { volume in
            let last = Int(volume.superblock.blocksCount) - 2
            return (try volume.groupDescriptor(GroupNumber(0)).blockBitmap, last)
        }
        #expect(lost.contains { $0.contains("are marked as used") })
        // An inode that nobody has.
        let inode = try complaints(image) { volume in
            (try volume.groupDescriptor(GroupNumber(0)).inodeBitmap, 63)
        }
        #expect(inode.contains("inode 64 is marked as used"))
    }

    @Test func wrongLinkCountsAreFound() throws {
        let image = try image()
        let found = try complaints(image) { volume in
            let number = try volume.inode(atPath: "foo").number.rawValue
            let group = try volume.groupDescriptor(GroupNumber(0))
            let place = Int(number - 1) * 256 + InodeRecord.Layout.linkCount.offset
            return (
                BlockNumber(group.inodeTable.rawValue + UInt64(place / 1024)), place % 1024 * 8 + 1
            )
        }
        #expect(found.contains { $0.contains("3 links, not 1") })
    }

    @Test func openVolumesAreFound() throws {
        let image = try image()
        let device = LayeredDevice(image)
        let kind = try #require(CrashVolume.named("ordered"))
        let volume = try Volume.open(device, options: kind.openOptions(CrashClock()))
        _ = try volume.create(
            "x", in: volume.root(), NewInode(mode: FileMode(rawValue: 0o100644)))
        try volume.sync()
        #expect(VolumeAudit(of: device, options: options).complaints != [])
        try volume.close()
        #expect(VolumeAudit(of: device, options: options).complaints == [])
    }
}
