import Ext4

// The inode tables, record by record.

extension VolumeDiff {
    mutating func compareInodes() throws(Ext4Error) {
        var tables = (InodeRecords(a), InodeRecords(b))
        let last = max(a.superblock.inodesCount, b.superblock.inodesCount)
        var number: UInt32 = 1
        while number <= last {
            // Where neither has ever used an inode there is nothing to look at.
            let skip = min(tables.0.unused(from: number), tables.1.unused(from: number))
            if skip > 0 {
                guard skip <= last - number else { return }
                number += skip
                continue
            }
            compareInode(InodeNumber(number), &tables)
            guard number < .max else { return }
            number += 1
        }
    }

    private mutating func compareInode(
        _ number: InodeNumber, _ tables: inout (InodeRecords, InodeRecords)
    ) {
        let first = tables.0.record(number)
        let second = tables.1.record(number)
        guard case .success(let x) = first, case .success(let y) = second else {
            if case .failure(let e) = first, case .failure(let f) = second, e == f {
                summary.unreadable += 1
                return
            }
            func words(_ result: Result<[UInt8]?, Ext4Error>) -> String {
                if case .failure(let error) = result { "unreadable: \(error)" } else { "readable" }
            }
            var difference = Difference(.inode, "record", a: words(first), b: words(second))
                .of(number)
            difference.isDamage = true
            return note(difference)
        }
        let states = (InodeState(x), InodeState(y))
        if states.0.isUsed || states.1.isUsed { summary.inodes += 1 }
        guard states.0.isUsed == states.1.isUsed else {
            return note(
                Difference(
                    .inode, "in use", a: states.0.isUsed ? states.0.words : nil,
                    b: states.1.isUsed ? states.1.words : nil
                ).of(number))
        }
        guard let x, let y else { return }
        let before = summary.differences
        let isSame = x == y
        if !isSame {
            compareFields(
                InodeRecord.namedFields, .inode, x[...], y[...],
                ends: (states.0.fieldsEnd, states.1.fieldsEnd),
                // `i_block` and what stands behind the fields are told by what they mean.
                besides: [InodeRecord.Layout.block, states.0.spare(x), states.1.spare(y)],
                inode: number)
        }
        guard states.0.isUsed else {
            if !isSame, summary.differences == before { noteBytes(number, x, y) }
            return
        }
        let told = summary.differences
        compareFile(number, isSame: isSame)
        if !isSame, summary.differences == told { noteBytes(number, x, y) }
    }

    /// What differs in a record and in nothing that it means.
    private mutating func noteBytes(_ number: InodeNumber, _ x: [UInt8], _ y: [UInt8]) {
        let block = InodeRecord.Layout.block
        if x[block] != y[block] {
            check(
                .inode, "i_block", "0x" + Quoting.hexadecimal(x[block]),
                "0x" + Quoting.hexadecimal(y[block]), inode: number)
        }
        let end = min(x.count, y.count)
        guard end > InodeRecord.goodOldSize else { return }
        let (p, q) = (x[InodeRecord.goodOldSize..<end], y[InodeRecord.goodOldSize..<end])
        let fields = InodeRecord.namedFields.flatMap(\.ranges)
        let others = p.indices.filter { at in
            p[at] != q[at] && !fields.contains { $0.contains(at) }
        }
        if let first = others.first, let last = others.last {
            check(
                .inode, "bytes \(first)-\(last)", "0x" + Quoting.hexadecimal(x[first...last]),
                "0x" + Quoting.hexadecimal(y[first...last]), inode: number)
        }
    }
}

/// What a record says of the inode's state.
private struct InodeState {
    let isUsed: Bool
    let words: String
    /// Where the fixed fields end.
    let fieldsEnd: Int

    init(_ record: [UInt8]?) {
        guard let record, record.count >= InodeRecord.goodOldSize else {
            (isUsed, words, fieldsEnd) = (false, "", 0)
            return
        }
        let bytes = unsafe record.span.bytes
        let mode = FileMode(rawValue: bytes[InodeRecord.Layout.mode])
        let links = bytes[InodeRecord.Layout.linkCount]
        let deleted = bytes[InodeRecord.Layout.deletionTime]
        isUsed = links > 0 || (mode.rawValue != 0 && deleted == 0)
        let size =
            UInt64(bytes[InodeRecord.Layout.sizeLow])
            | UInt64(bytes[InodeRecord.Layout.sizeHigh]) << 32
        words =
            "\(mode.type), mode 0\(String(mode.rawValue, radix: 8)), \(size) bytes, "
            + "\(links) \(links == 1 ? "link" : "links")"
        var end = InodeRecord.goodOldSize
        if record.count > end { end += Int(bytes[InodeRecord.Layout.extraSize]) }
        fieldsEnd = min(end, record.count)
    }

    /// Behind the fields: attributes, and inline contents.
    func spare(_ record: [UInt8]) -> Range<Int> {
        max(fieldsEnd, min(InodeRecord.goodOldSize, record.count))..<record.count
    }
}

/// The inode tables of one volume, read a piece at a time.
private struct InodeRecords {
    private let side: VolumeDiff.Side
    private var group: (number: UInt32, table: BlockNumber, used: UInt32)?
    private var failure: (group: UInt32, error: Ext4Error)?
    private var piece: (first: UInt32, bytes: [UInt8]) = (0, [])

    /// How much is read in one request.
    private static let pieceSize = 64 << 10

    init(_ side: VolumeDiff.Side) { self.side = side }

    /// How many inodes from `number` on were never used, to the end of their group at most.
    mutating func unused(from number: UInt32) -> UInt32 {
        let superblock = side.superblock
        guard number <= superblock.inodesCount else { return .max }
        let slot = (number - 1) % superblock.inodesPerGroup
        guard let group = enter(number), slot >= group.used else { return 0 }
        return superblock.inodesPerGroup - slot
    }

    /// The record; nil for an inode that the volume does not have, or that was never used.
    mutating func record(_ number: InodeNumber) -> Result<[UInt8]?, Ext4Error> {
        let superblock = side.superblock
        guard number.rawValue <= superblock.inodesCount else { return .success(nil) }
        let slot = (number.rawValue - 1) % superblock.inodesPerGroup
        guard let group = enter(number.rawValue) else {
            return .failure(failure?.error ?? .notFound)
        }
        guard slot < group.used else { return .success(nil) }
        let size = superblock.inodeSize
        let perPiece = UInt32(max(Self.pieceSize / size, 1))
        let first = number.rawValue - slot % perPiece
        if piece.first != first || piece.bytes.isEmpty {
            let start = slot - slot % perPiece
            let count = min(perPiece, superblock.inodesPerGroup - start)
            do throws(Ext4Error) {
                piece = (
                    first,
                    try side.device.read(
                        at: group.table.rawValue << UInt64(superblock.blockSizeLog2)
                            + UInt64(start) * UInt64(size), count: Int(count) * size)
                )
            } catch {
                return .failure(error)
            }
        }
        let offset = Int(number.rawValue - first) * size
        return .success(Array(piece.bytes[offset..<offset + size]))
    }

    /// Goes to the group of `number`; nil when its descriptor is bad.
    private mutating func enter(
        _ number: UInt32
    ) -> (number: UInt32, table: BlockNumber, used: UInt32)? {
        let superblock = side.superblock
        let index = (number - 1) / superblock.inodesPerGroup
        if let group, group.number == index { return group }
        if failure?.group == index { return nil }
        piece = (0, [])
        do throws(Ext4Error) {
            let descriptor = try side.volume.groupDescriptor(GroupNumber(index))
            var used = superblock.inodesPerGroup
            if superblock.hasDescriptorChecksums {
                used =
                    descriptor.flags.contains(.inodeUninit)
                    ? 0 : used - min(used, descriptor.unusedInodesCount)
            }
            group = (index, descriptor.inodeTable, used)
            return group
        } catch {
            failure = (index, error)
            group = nil
            return nil
        }
    }
}
