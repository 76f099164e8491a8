// The area behind an inode's fields: attributes, and as one of them the rest of inline contents,
// whose first 60 bytes stand where other inodes have their map.

extension InodeRecord {
    /// Where attributes may stand; empty without extra fields, as for the kernel.
    private var attributeRange: Range<Int> {
        let start = extraSize > 0 ? Self.goodOldSize + extraSize : bytes.count
        return min(start, bytes.count)..<bytes.count
    }

    /// The attributes that stand in the inode.
    ///
    /// - Throws: `.corrupt`.
    func attributeSet(_ context: AttributeList.Context) throws(Ext4Error) -> AttributeSet {
        let area = AttributeSet.Area.inode(byteCount: attributeRange.count)
        return try withBytes { (bytes) throws(Ext4Error) in
            guard
                let list = try AttributeList(
                    parsingInode: bytes, extraSize: extraSize, context)
            else { return AttributeSet(emptyIn: area) }
            return try AttributeSet(list, in: bytes, area)
        }
    }

    /// Stores attributes, for which the inode has room.
    mutating func store(_ attributes: AttributeSet) {
        let range = attributeRange
        guard range.count >= XAttrInodeHeader.Layout.size else { return }
        let area = attributes.inodeArea
        precondition(area.count == range.count, "the attributes are those of another area")
        withMutableBytes { bytes in
            for (i, byte) in area.enumerated() {
                bytes[Field<UInt8>.le(range.lowerBound &+ i)] = byte
            }
        }
    }

    // MARK: Inline contents

    /// The most bytes that inline contents can have, with all attributes where they are; 0 for an
    /// inode that cannot have such.
    ///
    /// - Throws: `.corrupt`.
    func inlineCapacity(_ context: AttributeList.Context) throws(Ext4Error) -> Int {
        guard let room = try attributeSet(context).room(for: .inlineData) else { return 0 }
        return Layout.block.count + room
    }

    /// The inline contents: the 60 bytes of `i_block`, then `system.data`.
    ///
    /// - Throws: `.corrupt`.
    func inlineContents(_ context: AttributeList.Context) throws(Ext4Error) -> [UInt8] {
        switch try attributeSet(context).value(of: .inlineData) {
        case .bytes(let rest): return block + rest
        case nil: return block
        case .inode(let number, _):
            // The kernel looks for them in the inode only.
            throw .corrupt(
                .inlineData, at: .init(inode: context.owner),
                .field(
                    "e_value_inum", value: UInt64(number.rawValue),
                    rule: "0 for the rest of inline contents"))
        }
    }

    /// Makes `contents` the inline contents; what of `i_block` they do not reach is zeros.
    ///
    /// `system.data` is as long as it must be, and is there even when it is empty: the kernel finds
    /// an inode's inline contents by it. Size and flags are the caller's to set.
    ///
    /// - Throws: `.noSpace` when they do not fit, and nothing is changed; `.corrupt`.
    package mutating func setInlineContents(
        _ contents: [UInt8], _ context: AttributeList.Context
    ) throws(Ext4Error) {
        var attributes = try attributeSet(context)
        let count = Layout.block.count
        guard attributes.set(.inlineData, to: Array(contents.dropFirst(count))) else {
            throw .noSpace
        }
        store(attributes)
        let first = contents.prefix(count)
        block = first + [UInt8](repeating: 0, count: count - first.count)
    }

    /// Takes the inline contents away, for a map to stand in `i_block`.
    ///
    /// - Throws: `.corrupt`.
    package mutating func removeInlineContents(_ context: AttributeList.Context) throws(Ext4Error) {
        var attributes = try attributeSet(context)
        attributes.remove(.inlineData)
        store(attributes)
        block = [UInt8](repeating: 0, count: Layout.block.count)
    }
}
