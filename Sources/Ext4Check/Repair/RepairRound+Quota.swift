import Ext4

// Quota files: written anew from what was counted, with the limits that they had.

extension RepairRound {
    private typealias Layout = InodeRecord.Layout
    private typealias Volume = Superblock.Layout

    private static func field(_ kind: QuotaKind) -> Field<UInt32> {
        switch kind {
        case .user: Volume.userQuotaInode
        case .group: Volume.groupQuotaInode
        case .project: Volume.projectQuotaInode
        }
    }

    func writeQuota(_ finding: Finding) throws(Ext4Error) {
        guard let kind = finding.count.flatMap({ QuotaKind(rawValue: Int(clamping: $0)) }) else {
            return
        }
        try writeQuota(kind)
    }

    /// Puts every quota file right that the superblock names with a number that cannot be, or whose
    /// inode is no file.
    func mendQuotaInodes(_ finding: Finding) throws(Ext4Error) {
        guard superblock.readOnlyCompatible.contains(.quota) else { return try forgetQuota() }
        let bytes = Record(state.volume.superblockBytes)
        for kind in QuotaKind.allCases {
            let number = bytes[Self.field(kind)]
            let isMeant =
                number != 0
                && (number > superblock.inodesCount || finding.place.inode?.rawValue == number)
            if isMeant { try writeQuota(kind) }
        }
    }

    /// Takes the names of quota files out of the superblock of a volume without quota.
    func forgetQuota() throws(Ext4Error) {
        try volume.changeSuperblock { record in
            for kind in QuotaKind.allCases { record[Self.field(kind)] = 0 }
        }
    }

    /// Writes a quota file.
    private func writeQuota(_ kind: QuotaKind) throws(Ext4Error) {
        guard settledQuotas.insert(kind).inserted else { return }
        let bytes = Record(state.volume.superblockBytes)
        var number = bytes[Self.field(kind)]
        switch kind {
        case .user: number = InodeNumber.userQuota.rawValue
        case .group: number = InodeNumber.groupQuota.rawValue
        case .project:
            let isTaken =
                number < superblock.firstInode.rawValue || number > superblock.inodesCount
                || state.inodes.isReferenced(InodeNumber(number))
            if isTaken {
                guard let free = allocateInode() else { return }
                number = free
            }
        }
        let old = volume.inode(number)
        var file = QuotaFile(reading: old.map(contents) ?? [])
        file.setUsage(state.quota(kind))
        let contents = file.bytes(kind)
        let blockSize = volume.blockSize
        let count = (contents.count + blockSize - 1) / blockSize
        guard let places = volume.allocate(count) else { return }
        var record = newInode(mode: 0o100600, links: 1)
        if let old { record[Layout.generation] = old[Layout.generation] }
        var runs: [BlockRun] = []
        for (i, place) in places.enumerated() {
            var block = volume.zeroes
            let part = contents[i * blockSize..<min((i + 1) * blockSize, contents.count)]
            block.bytes.replaceSubrange(0..<part.count, with: part)
            try volume.setBlock(place, block)
            let run = BlockRun(
                logical: LogicalBlock(UInt64(i)), count: 1, state: .mapped(BlockNumber(place)))
            if let last = runs.last, let merged = last.merged(with: run) {
                runs[runs.count - 1] = merged
            } else {
                runs.append(run)
            }
        }
        let owner = volume.owner(number, record)
        guard try volume.setMap(runs, in: &record, owner: owner) else { return }
        setSize(UInt64(contents.count), blocks: UInt64(count), in: &record)
        try volume.setInode(number, record)
        if bytes[Self.field(kind)] != number {
            try volume.changeSuperblock { $0[Self.field(kind)] = number }
        }
    }

    /// What can be read of a file of the volume's own.
    private func contents(_ record: Record) -> [UInt8] {
        guard FileMode(rawValue: record[Layout.mode]).type == .regular else { return [] }
        let limit = 64 << 20
        let size = min(Int(record[Layout.sizeLow]), limit)
        var bytes = [UInt8](repeating: 0, count: size)
        let map = MapSalvage(record, in: volume, isStructure: isStructure)
        for run in map.runs {
            guard case .mapped(let start) = run.state else { continue }
            for i in 0..<run.count {
                let (offset, overflow) = (run.logical.rawValue &+ i).multipliedReportingOverflow(
                    by: UInt64(volume.blockSize))
                guard !overflow, offset < UInt64(size),
                    let block = volume.block(start.rawValue &+ i)
                else { break }
                let count = min(volume.blockSize, size - Int(offset))
                bytes.replaceSubrange(
                    Int(offset)..<Int(offset) + count, with: block.bytes[..<count])
            }
        }
        return bytes
    }
}
