internal import Ext4
internal import Synchronization

/// The quota files: whether each is a sound tree of records, and whether the records have what
/// their owners use.
///
/// A quota file is made of blocks of 1 KiB, whatever the volume's are: a header, then a tree of
/// four levels of block numbers, one byte of the owner's number a level, then blocks of records.
struct QuotaPass {
    let state: CheckState

    typealias Header = QuotaTree.Header
    typealias Record = QuotaTree.Record

    /// The size of a block of the tree.
    static let blockSize = QuotaTree.blockSize
    /// Bytes before the records of a block.
    static let recordsStart = QuotaTree.recordsStart
    private static let depth = QuotaTree.depth
    private static let magics = QuotaTree.magics

    func run() throws(Ext4Error) {
        let superblock = state.volume.superblock
        guard superblock.readOnlyCompatible.contains(.quota) else { return }
        for (kind, inode) in [
            (QuotaKind.user, superblock.userQuotaInode),
            (.group, superblock.groupQuotaInode), (.project, superblock.projectQuotaInode),
        ] where inode.rawValue != 0 && inode.rawValue <= superblock.inodesCount {
            try check(kind, inode)
        }
    }

    private func check(_ kind: QuotaKind, _ inode: InodeNumber) throws(Ext4Error) {
        guard let file = try JournalPass(state).file(inode, .quotaInode) else { return }
        func broken(_ words: String) {
            state.report(
                Finding(
                    .quotaFile, at: .init(inode: inode), count: UInt64(kind.rawValue),
                    detail: words))
        }
        var reader = QuotaReader(volume: state.volume, file: file)
        let header = try reader.block(0)
        let start = unsafe header.span.bytes
        guard start[Header.magic] == Self.magics[kind.rawValue], start[Header.version] <= 1 else {
            return broken("the header's magic number or version")
        }
        guard start[Header.version] == 1 else { return broken("an old version") }
        var records: [UInt32: QuotaAmount] = [:]
        var passed: Set<UInt32> = []
        guard try walk(1, level: 0, &reader, &passed, &records) else {
            return broken("a block of the tree is not in the file, or is there twice")
        }
        compare(kind, inode, records)
    }

    private func walk(
        _ number: UInt32, level: Int, _ reader: inout QuotaReader, _ passed: inout Set<UInt32>,
        _ records: inout [UInt32: QuotaAmount]
    ) throws(Ext4Error) -> Bool {
        guard number < reader.blockCount else { return false }
        let bytes = try reader.block(number)
        let span = unsafe bytes.span.bytes
        guard level < Self.depth else {
            // Records of several owners share a block, which their branches all lead to.
            guard passed.insert(number).inserted else { return true }
            var offset = Self.recordsStart
            while offset + Record.size <= Self.blockSize {
                let record = span.extracting(offset..<offset + Record.size)
                if !record.isZero {
                    records[record[Record.id]] = QuotaAmount(
                        bytes: record[Record.currentSpace], inodes: record[Record.currentInodes])
                }
                offset += Record.size
            }
            return true
        }
        if level > 0 || passed.isEmpty {
            guard passed.insert(number).inserted else { return false }
        }
        for index in 0..<Self.blockSize / 4 {
            let child = span[Field<UInt32>.le(4 * index)]
            guard child != 0 else { continue }
            guard child > 1 else { return false }
            guard try walk(child, level: level + 1, &reader, &passed, &records) else {
                return false
            }
        }
        return true
    }

    private func compare(
        _ kind: QuotaKind, _ inode: InodeNumber, _ records: [UInt32: QuotaAmount]
    ) {
        let usage = state.quota(kind)
        for id in Set(records.keys).union(usage.keys) {
            let found = records[id] ?? QuotaAmount()
            let expected = usage[id] ?? QuotaAmount()
            guard found != expected else { continue }
            let isSpace = found.bytes != expected.bytes
            state.report(
                Finding(
                    .quotaUsage, at: .init(inode: inode),
                    found: isSpace ? found.bytes : found.inodes,
                    expected: isSpace ? expected.bytes : expected.inodes,
                    count: UInt64(kind.rawValue),
                    detail: "\(kind) \(id): \(isSpace ? "bytes" : "inodes")"))
        }
    }
}

/// Reads the blocks of 1 KiB of a quota file.
private struct QuotaReader {
    let volume: CheckedVolume
    let file: JournalPass.OwnFile

    /// How many there are.
    var blockCount: UInt64 { file.fields.size / UInt64(QuotaPass.blockSize) }

    mutating func block(_ number: UInt32) throws(Ext4Error) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: QuotaPass.blockSize)
        let offset = UInt64(number) * UInt64(QuotaPass.blockSize)
        let logical = offset >> volume.blockSizeLog2
        for run in file.runs
        where logical >= UInt64(run.logical) && logical - UInt64(run.logical) < UInt64(run.count) {
            let place =
                (run.block + logical - UInt64(run.logical)) << volume.blockSizeLog2
                + offset & (UInt64(volume.blockSize) - 1)
            try volume.device.readOrZeros(at: place, into: &bytes)
        }
        return bytes
    }
}
