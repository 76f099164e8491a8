import Ext4

/// The contents of a quota file, read as far as they go and written anew: a header, a tree of four
/// levels by the bytes of the owner's number, and blocks of records.
struct QuotaFile {
    private static let blockSize = QuotaPass.blockSize

    /// The records by owner, as the disk has them.
    private(set) var records: [UInt32: Record] = [:]

    /// Reads what there is of records in a file's bytes: their limits are nowhere else.
    init(reading bytes: [UInt8]) {
        var visited: Set<UInt32> = []
        read(1, level: 0, bytes, &visited)
    }

    private mutating func read(
        _ number: UInt32, level: Int, _ bytes: [UInt8], _ visited: inout Set<UInt32>
    ) {
        let start = Int(number) * Self.blockSize
        guard start + Self.blockSize <= bytes.count, visited.insert(number).inserted else { return }
        let block = Record(Array(bytes[start..<start + Self.blockSize]))
        guard level == 4 else {
            for i in 0..<Self.blockSize / 4 {
                let child = block[Field<UInt32>.le(4 * i)]
                if child > 1 { read(child, level: level + 1, bytes, &visited) }
            }
            return
        }
        var offset = QuotaPass.recordsStart
        while offset + QuotaPass.Record.size <= Self.blockSize {
            let record = Record(block.part(offset..<offset + QuotaPass.Record.size))
            if !record.bytes.allSatisfy({ $0 == 0 }) {
                records[record[QuotaPass.Record.id]] = record
            }
            offset += QuotaPass.Record.size
        }
    }

    /// Sets what every owner uses.
    mutating func setUsage(_ usage: [UInt32: QuotaAmount]) {
        for id in Set(records.keys).union(usage.keys) {
            let empty = Record([UInt8](repeating: 0, count: QuotaPass.Record.size))
            var record = records[id] ?? empty
            let amount = usage[id] ?? QuotaAmount()
            record[QuotaPass.Record.id] = id
            record[QuotaPass.Record.currentInodes] = amount.inodes
            record[QuotaPass.Record.currentSpace] = amount.bytes
            // Who has neither limits nor files needs no record.
            let rest = record.bytes.dropFirst(8)
            records[id] = rest.allSatisfy { $0 == 0 } ? nil : record
        }
    }

    /// The bytes of a file with these records.
    func bytes(_ kind: QuotaKind) -> [UInt8] {
        QuotaTree.bytes(records.mapValues(\.bytes), kind: kind.rawValue)
    }
}
