internal import Ext4

// What of an inode is wrong whatever its map says: old fields, extra fields, flags, and what stands
// in the inode itself.

extension InodeScan {
    /// Flags that `InodeFlags` has no name for, since nothing uses them.
    private static let compressedBlocks: UInt32 = 0x200  // EXT4_COMPRBLK_FL
    private static let imagic: UInt32 = 0x2000  // EXT4_IMAGIC_FL

    func checkOldFields(_ fields: InodeFields, _ bytes: RawSpan) {
        let number = fields.number
        let fragment = UInt64(bytes[Layout.fragmentBlock])
        if fragment != 0 { report(.inodeFragment, number, found: fragment, expected: 0) }
        if !superblock.readOnlyCompatible.contains(.hugeFile), bytes[Layout.blocksHigh] != 0 {
            report(
                .inodeBlocksHigh, number, found: UInt64(bytes[Layout.blocksHigh]), expected: 0)
        }
    }

    func checkExtra(_ fields: InodeFields, _ bytes: RawSpan) {
        guard bytes.byteCount > InodeRecord.goodOldSize else { return }
        let number = fields.number
        guard fields.hasSoundExtraSize else {
            report(
                .inodeExtraSize, number, found: UInt64(bytes[Layout.extraSize]),
                expected: UInt64(
                    max(superblock.wantedExtraInodeSize, superblock.minimumExtraInodeSize)))
            return
        }
        for (low, extra) in [
            (Layout.accessTime, Layout.accessTimeExtra),
            (Layout.changeTime, Layout.changeTimeExtra),
            (Layout.modificationTime, Layout.modificationTimeExtra),
            (Layout.creationTime, Layout.creationTimeExtra),
        ] where fields.has(extra) {
            // What an old kernel wrote for times before 1970.
            let epochs: UInt32 = 3
            guard bytes[low] >> 31 == 1, bytes[extra] & epochs == epochs else { continue }
            state.report(
                Finding(
                    .inodeExtraTime, at: .init(inode: number, byteOffset: extra.offset),
                    found: UInt64(bytes[extra]), expected: UInt64(bytes[extra] & ~epochs)))
        }
    }

    func checkFlags(_ fields: InodeFields) {
        let flags = fields.flags
        let incompatible = superblock.incompatible
        let isDirectory = fields.type == .directory
        func drop(_ rule: CheckRule, _ flag: InodeFlags, if isWrong: Bool) {
            guard isWrong, flags.contains(flag) else { return }
            report(
                rule, fields.number, found: UInt64(flags.rawValue),
                expected: UInt64(flags.subtracting(flag).rawValue))
        }
        drop(.inodeExtentsFlag, .extents, if: !incompatible.contains(.extents))
        drop(
            .inodeIndexFlag, .index,
            if: !isDirectory || flags.contains(.inlineData)
                || !superblock.compatible.contains(.dirIndex))
        drop(
            .inodeInlineFlag, .inlineData,
            if: !incompatible.contains(.inlineData) || flags.contains(.extents))
        drop(.inodeEncryptFlag, .encrypted, if: !incompatible.contains(.encrypt))
        drop(
            .inodeCasefoldFlag, .casefold,
            if: !isDirectory || !incompatible.contains(.casefold))
        drop(
            .inodeVerityFlag, .verity,
            if: fields.type != .regular || !superblock.readOnlyCompatible.contains(.verity))
        drop(.inodeAttributeFlag, .attributeInode, if: !incompatible.contains(.eaInode))
        for flag in [Self.compressedBlocks, Self.imagic] {
            let isKnown =
                flag == Self.imagic && superblock.compatible.contains(.imagicInodes)
            drop(.inodeObsoleteFlag, InodeFlags(rawValue: flag), if: !isKnown)
        }
    }

    /// Whether the map looks like a tree of extents though the flag is missing.
    func checkMissingExtentsFlag(_ fields: InodeFields, _ root: RawSpan) {
        guard hasExtents, !fields.flags.contains(.extents), fields.number != .resize,
            fields.type == .regular || fields.type == .directory,
            !fields.flags.contains(.inlineData)
        else { return }
        typealias Header = ExtentNode.Header
        let maximum = Int(root[Header.maximum])
        guard root[Header.magic] == ExtentNode.magic, maximum >= 2, maximum <= 4,
            Int(root[Header.entries]) <= maximum
        else { return }
        report(
            .inodeNoExtentsFlag, fields.number, found: UInt64(fields.flags.rawValue),
            expected: UInt64(fields.flags.union(.extents).rawValue))
    }

    func checkSpecial(_ fields: InodeFields, _ bytes: RawSpan) {
        let number = fields.number
        let wrong: InodeFlags = [.extents, .inlineData, .index]
        let isImmutable = fields.flags.contains(.immutable)
        if isImmutable {
            report(
                .inodeImmutable, number, found: UInt64(fields.flags.rawValue),
                expected: UInt64(fields.flags.subtracting(.immutable).rawValue))
        }
        if !fields.flags.isDisjoint(with: wrong) {
            report(
                .inodeSpecialFlags, number, found: UInt64(fields.flags.rawValue),
                expected: UInt64(fields.flags.subtracting(wrong).rawValue))
        }
        // The number of a device takes two words, in two encodings.
        let rest = (4..<15).contains {
            bytes[Field<UInt32>.le(Layout.block.lowerBound + 4 * $0)] != 0
        }
        // Such a device was once a file: what a stray write has left is nobody's but with the flag.
        if rest, isImmutable {
            report(
                .inodeSpecialFlags, number, found: UInt64(fields.flags.rawValue),
                expected: UInt64(fields.flags.subtracting(wrong).rawValue),
                detail: "there are blocks in its map")
        }
        if fields.size != 0 {
            report(.inodeSpecialSize, number, found: fields.size, expected: 0)
        }
    }

    /// Whether the contents in the inode are there, and a directory's as long as it says. A file may
    /// be longer: the rest are zeros, which mke2fs leaves out.
    func checkInline(_ fields: InodeFields, _ attributes: AttributeScan) {
        guard superblock.incompatible.contains(.inlineData) else { return }
        guard let rest = attributes.inlineCount else {
            report(.inlineData, fields.number, detail: "the attribute system.data is missing")
            return
        }
        let capacity = UInt64(Layout.block.count + rest)
        if fields.type == .directory, fields.size != capacity {
            report(.inlineData, fields.number, found: fields.size, expected: capacity)
        }
    }

    // MARK: - Symbolic links

    /// Whether a link has a target of the length that it says.
    func isSoundSymlink(
        _ fields: InodeFields, _ bytes: RawSpan, _ scan: MapScan?, _ attributes: AttributeScan
    ) throws(Ext4Error) -> Bool {
        let size = fields.size
        guard size > 0, size < 1 << 32, !fields.flags.contains(.index) else { return false }
        if fields.flags.contains(.inlineData) {
            return size == UInt64(Layout.block.count + (attributes.inlineCount ?? 0))
        }
        let isEncrypted = fields.flags.contains(.encrypted)
        if size < UInt64(Layout.block.count) {
            guard !fields.flags.contains(.extents) else { return false }
            let target = bytes.extracting(Layout.block)
            return isEncrypted || Self.length(of: target) == Int(size)
        }
        guard let scan, size <= UInt64(volume.blockSize), scan.lastBlock == 0,
            scan.clusters >= 1, !scan.isBroken, let block = scan.firstBlock
        else { return false }
        let contents = try volume.block(BlockNumber(block))
        let length = unsafe Self.length(of: contents.span.bytes)
        return isEncrypted || length == Int(size)
    }

    /// The bytes before the first zero.
    private static func length(of bytes: RawSpan) -> Int {
        for index in 0..<bytes.byteCount where bytes.byte(at: index) == 0 { return index }
        return bytes.byteCount
    }
}
