import Ext4Verify
import Testing

@testable import Ext4

// The negative corpus, its part about extended attributes and what stands in inodes.

extension VolumeFixture {
    /// Where the attributes in an inode start.
    fileprivate func attributes(of number: InodeNumber) throws -> Int {
        let start = try start(of: number)
        return start + 128 + Int(get(InodeRecord.Layout.extraSize, at: start)) + 4
    }

    /// Where the entry of that name starts, in the area that starts at `start`.
    fileprivate func attribute(_ name: String, from start: Int) throws -> Int {
        var offset = start
        while get(Field<UInt32>.le(0), at: offset) != 0 {
            let record = unsafe XAttrEntryRecord(parsing: image.span.bytes, at: offset)
            let first = offset + XAttrEntryRecord.Layout.name
            if image[first..<first + record.nameLength].elementsEqual(name.utf8) { return offset }
            offset += record.paddedSize
        }
        throw Ext4Error.noAttribute
    }
}

@Suite struct AttributeCorpusTests {
    private typealias Layout = XAttrEntryRecord.Layout

    /// Entries whose values lie before, behind or across the end of the area in the inode
    /// (CVE-2018-10879, CVE-2018-10880, CVE-2019-19319 wrote there).
    @Test func valueLeavesTheInode() throws {
        let sound = try VolumeFixture()
        let file = try sound.inode("/hello")
        let start = try sound.start(of: file.number)
        let entry = try sound.attribute("small", from: try sound.attributes(of: file.number))
        func expect(
            _ field: String, sourceLocation: SourceLocation = #_sourceLocation,
            _ change: (inout VolumeFixture) -> Void
        ) {
            var volume = sound
            change(&volume)
            let found = volume.corruption(sourceLocation: sourceLocation) {
                (volume) throws(Ext4Error) in
                _ = try volume.extendedAttributes(of: try volume.inode(file.number))
            }
            #expect(found?.structure == .extendedAttribute, sourceLocation: sourceLocation)
            #expect(
                found?.place == .init(inode: file.number, byteOffset: entry - start),
                sourceLocation: sourceLocation)
            #expect(found?.field == field, sourceLocation: sourceLocation)
            volume.walk(sourceLocation: sourceLocation)
        }
        for offset: UInt16 in [0, 4, 96, 200, 0x7FFF, 0xFFFF] {
            expect("e_value_offs") { $0.set(Layout.valueOffset, at: entry, offset) }
        }
        for size: UInt32 in [96, 128, 0x1_0000, 1 << 24] {
            expect("e_value_size") { $0.set(Layout.valueSize, at: entry, size) }
        }
        for size: UInt32 in [1 << 24 + 1, 0x7FFF_FFFF, .max] {
            expect("e_value_size") { $0.set(Layout.valueSize, at: entry, size) }
        }
        expect("e_value_inum") { $0.set(Layout.valueInode, at: entry, 12) }
    }

    /// A name that ends behind the area.
    @Test func nameLeavesTheInode() throws {
        var volume = try VolumeFixture()
        let file = try volume.inode("/hello")
        let start = try volume.start(of: file.number)
        let entry = try volume.attributes(of: file.number)
        volume.set(Layout.nameLength, at: entry, 255)
        let found = volume.corruption { (volume) throws(Ext4Error) in
            _ = try volume.extendedAttributeNames(of: try volume.inode(file.number))
        }
        #expect(found?.structure == .extendedAttribute)
        #expect(found?.place == .init(inode: file.number, byteOffset: entry - start))
        #expect(found?.field == "e_name_len")
        volume.walk()
    }

    /// `i_extra_isize` behind the inode's end, so that fields and attributes would be read there.
    @Test func extraSizeIsTooLarge() throws {
        for value: UInt16 in [1, 2, 33, 129, 132, 0x7FFC, 0xFFFF] {
            var volume = try VolumeFixture()
            let file = try volume.inode("/hello")
            try volume.setInode(file.number, InodeRecord.Layout.extraSize, value)
            let found = volume.corruption { (volume) throws(Ext4Error) in
                _ = try volume.inode(file.number)
            }
            #expect(found?.structure == .inode)
            #expect(found?.place == .init(inode: file.number))
            #expect(found?.field == "i_extra_isize" && found?.value == UInt64(value))
            volume.walk()
        }
        // Sizes that are possible, but move the attributes to where there are none.
        for value: UInt16 in stride(from: 0, through: 128, by: 4) {
            var volume = try VolumeFixture()
            try volume.setInode(
                try volume.inode("/hello").number, InodeRecord.Layout.extraSize, value)
            volume.walk()
        }
    }

    /// A block of attributes with a wrong magic number, counts, or values outside of it.
    @Test func blockBreaksItsRules() throws {
        typealias Header = XAttrBlockHeader.Layout
        let sound = try VolumeFixture()
        let file = try sound.inode("/sub/deep/er/leaf")
        let block = file.attributeBlock
        let base = sound.start(of: block)
        func expect(
            _ field: String?, sourceLocation: SourceLocation = #_sourceLocation,
            _ change: (inout VolumeFixture) -> Void
        ) {
            var volume = sound
            change(&volume)
            let found = volume.corruption(sourceLocation: sourceLocation) {
                (volume) throws(Ext4Error) in
                _ = try volume.extendedAttributes(of: try volume.inode(file.number))
            }
            #expect(found?.structure == .extendedAttribute, sourceLocation: sourceLocation)
            #expect(found?.place.block == block, sourceLocation: sourceLocation)
            #expect(found?.field == field, sourceLocation: sourceLocation)
            volume.walk(sourceLocation: sourceLocation)
        }
        expect(nil) { $0.set(Header.magic, at: base, 0xEA01_0000) }
        expect("h_blocks") { $0.set(Header.blockCount, at: base, 2) }
        expect("h_refcount") { $0.set(Header.referenceCount, at: base, 0) }
        expect("h_refcount") { $0.set(Header.referenceCount, at: base, 1025) }
        expect("e_value_offs") { $0.set(Layout.valueOffset, at: base + 32, 0xFFFC) }
        expect("e_value_size") { $0.set(Layout.valueSize, at: base + 32, 1020) }
        // No zero bytes that end the list.
        expect(nil) { volume in
            for i in 32..<1024 { volume.image[base + i] = 1 }
        }
        // Entries of 16 bytes up to the end, all with the value of all.
        expect("e_value_offs") { volume in
            for i in 1008..<1024 { volume.image[base + i] = 0 }
            for i in stride(from: 32, to: 1008, by: 16) {
                for j in 0..<16 { volume.image[base + i + j] = 0 }
                volume.set(Layout.nameIndex, at: base + i, 1)
                volume.set(Layout.valueSize, at: base + i, 900)
                volume.set(Layout.valueOffset, at: base + i, 100)
            }
        }
    }

    /// A block of attributes outside the volume.
    @Test func blockIsOutsideTheVolume() throws {
        var volume = try VolumeFixture()
        let file = try volume.inode("/sub/deep/er/leaf")
        try volume.setInode(file.number, InodeRecord.Layout.fileACLHigh, 0xFFFF)
        let found = volume.corruption { (volume) throws(Ext4Error) in
            _ = try volume.extendedAttributes(of: try volume.inode(file.number))
        }
        #expect(found?.structure == .extendedAttribute)
        #expect(found?.place == .init(inode: file.number))
        #expect(found?.field == "block number")
        volume.walk()
    }

    /// Values in inodes of their own: not marked as such, the owner itself, one that is none, one
    /// whose contents are the attributes of the owner.
    @Test func valueInodes() throws {
        let sound = try VolumeFixture("inline")
        let file = try sound.inode("/old")
        let start = try sound.start(of: file.number)
        let entry = try sound.attribute("huge", from: try sound.attributes(of: file.number))
        let value = InodeNumber(sound.get(Layout.valueInode, at: entry))
        try #require(value.rawValue > 0)
        func corruption(
            _ volume: VolumeFixture, sourceLocation: SourceLocation = #_sourceLocation
        ) -> Corruption? {
            volume.walk(sourceLocation: sourceLocation)
            return volume.corruption(sourceLocation: sourceLocation) {
                (volume) throws(Ext4Error) in
                _ = try volume.extendedAttributes(of: try volume.inode(file.number))
            }
        }
        let place = Corruption.Place(inode: file.number, byteOffset: entry - start)

        var volume = sound
        let flags = volume.get(InodeRecord.Layout.flags, at: try volume.start(of: value))
        try volume.setInode(
            value, InodeRecord.Layout.flags,
            flags & ~InodeFlags.attributeInode.rawValue)
        var found = corruption(volume)
        #expect(found?.structure == .attributeInode && found?.field == "i_flags")
        #expect(found?.place == .init(inode: value))

        volume = sound
        volume.set(Layout.valueInode, at: entry, file.number.rawValue)
        found = corruption(volume)
        #expect(found == Corruption(.extendedAttribute, at: place, .cycle))

        for number: UInt32 in [1, 8, 65, .max] {
            volume = sound
            volume.set(Layout.valueInode, at: entry, number)
            found = corruption(volume)
            #expect(found?.structure == .extendedAttribute && found?.place == place)
            #expect(found?.field == "e_value_inum" && found?.value == UInt64(number))
        }

        volume = sound
        try volume.setInode(value, InodeRecord.Layout.sizeLow, .max)
        found = corruption(volume)
        #expect(found?.structure == .attributeInode && found?.field == "i_size")
        #expect(found?.place == .init(inode: value))

        // The inode of the value has attributes itself, which lead back.
        volume = sound
        try volume.setInode(value, InodeRecord.Layout.fileACLLow, 100)
        found = corruption(volume)
        #expect(found?.structure == .attributeInode && found?.field == "i_file_acl")
        #expect(found?.place == .init(inode: value))

        volume = sound
        try volume.setInode(value, InodeRecord.Layout.linkCount, 0)
        try volume.setInode(value, InodeRecord.Layout.deletionTime, 1)
        found = corruption(volume)
        #expect(found?.structure == .attributeInode && found?.place == .init(inode: value))
    }

    /// A name that leads to an inode which holds an attribute (b3e6bcb).
    @Test func nameLeadsToAValue() throws {
        var volume = try VolumeFixture("inline")
        let file = try volume.inode("/hello")
        let flags = volume.get(InodeRecord.Layout.flags, at: try volume.start(of: file.number))
        try volume.setInode(
            file.number, InodeRecord.Layout.flags,
            flags | InodeFlags.attributeInode.rawValue)
        let found = volume.corruption { (volume) throws(Ext4Error) in
            _ = try volume.inode(atPath: "/hello")
        }
        #expect(found?.structure == .directoryBlock)
        #expect(found?.place == .init(inode: .root))
        volume.walk()
    }

    // MARK: Inline data

    /// More inline contents than there is room for (CVE-2018-11412 read behind them): what is not
    /// there reads as zeros, never as what stands behind it.
    @Test func inlineContentsAreTooLong() throws {
        for size: UInt32 in [161, 200, 0x10000] {
            var volume = try VolumeFixture("inline")
            let file = try volume.inode("/hello")
            try volume.setInode(file.number, InodeRecord.Layout.sizeLow, size)
            let opened = try volume.open()
            let contents = try opened.contents(of: try opened.inode(file.number))
            #expect(contents.count == Int(size))
            #expect(contents.starts(with: "hello, world\n".utf8))
            #expect(contents.dropFirst(13).allSatisfy { $0 == 0 })
            volume.walk()
        }
    }

    /// The rest of inline contents in an inode of its own, as no kernel writes it.
    @Test func inlineRestIsElsewhere() throws {
        var volume = try VolumeFixture("inline")
        let file = try volume.inode("/inline")
        let entry = try volume.attribute("data", from: try volume.attributes(of: file.number))
        volume.set(Layout.valueInode, at: entry, 13)
        let found = volume.corruption { (volume) throws(Ext4Error) in
            _ = try volume.contents(of: try volume.inode(file.number))
        }
        #expect(found?.structure == .inlineData)
        #expect(found?.place == .init(inode: file.number))
        #expect(found?.field == "e_value_inum" && found?.value == 13)
        volume.walk()
    }

    /// Inline data and extents at once, and inline data on a volume that has none (CVE-2018-10883
    /// journalled such a file).
    @Test func inlineAndExtents() throws {
        let flag = InodeFlags.inlineData.rawValue
        for name in ["full", "inline"] {
            for path in ["/hello", "/sub", "/sparse", "/slow", "/fast"] {
                for set in [flag, flag | InodeFlags.extents.rawValue, InodeFlags.index.rawValue] {
                    var volume = try VolumeFixture(name)
                    let number = try volume.inode(path).number
                    let flags = volume.get(
                        InodeRecord.Layout.flags, at: try volume.start(of: number))
                    try volume.setInode(number, InodeRecord.Layout.flags, flags ^ set)
                    volume.walk()
                }
            }
        }
        var volume = try VolumeFixture()
        let directory = try volume.inode("/sub")
        try volume.setInode(directory.number, InodeRecord.Layout.flags, flag)
        let found = volume.corruption { (volume) throws(Ext4Error) in
            _ = try volume.entries(of: try volume.inode(directory.number))
        }
        #expect(found?.structure == .inode)
        #expect(found?.place == .init(inode: directory.number))
        #expect(found?.field == "i_flags")
    }

    /// Entries of an inline directory that leave its two areas.
    @Test(arguments: [0, 1, 3, 4, 8, 11, 13, 60, 0xFFFC, 0xFFFF] as [UInt16])
    func inlineDirectoryEntry(_ length: UInt16) throws {
        var volume = try VolumeFixture("inline")
        let directory = try volume.inode("/sub/deep/er")
        try #require(directory.usesInlineData)
        let first = try volume.map(of: directory.number) + 4
        volume.set(DirectoryRecord.Layout.recordLength, at: first, length)
        let found = volume.corruption { (volume) throws(Ext4Error) in
            _ = try volume.entries(of: try volume.inode(directory.number))
        }
        #expect(found?.structure == .directoryBlock)
        #expect(found?.place == .init(inode: directory.number, byteOffset: 0))
        #expect(found?.field == "rec_len" && found?.value == UInt64(length))
        volume.walk()
    }

    // MARK: Symbolic links

    /// Targets of sizes that no link has, and with bytes that none can hold.
    @Test func symlinkTargets() throws {
        for (path, size) in [
            ("/fast", 0), ("/fast", 60), ("/fast", 0x1000), ("/slow", 0), ("/slow", 1025),
            ("/slow", Int(UInt32.max)),
        ] as [(String, Int)] {
            var volume = try VolumeFixture()
            let link = try volume.inode(path)
            try volume.setInode(link.number, InodeRecord.Layout.sizeLow, UInt32(size))
            let found = volume.corruption { (volume) throws(Ext4Error) in
                _ = try volume.symlinkTarget(of: try volume.inode(link.number))
            }
            #expect(found?.structure == .symlink)
            #expect(found?.place == .init(inode: link.number))
            #expect(found?.field == "i_size" && found?.value == UInt64(size))
            volume.walk()
        }
        var volume = try VolumeFixture()
        let link = try volume.inode("/fast")
        volume.image[try volume.map(of: link.number) + 2] = 0
        let found = volume.corruption { (volume) throws(Ext4Error) in
            _ = try volume.symlinkTarget(of: try volume.inode(link.number))
        }
        #expect(found?.structure == .symlink)
        #expect(found?.place == .init(inode: link.number))
    }
}
