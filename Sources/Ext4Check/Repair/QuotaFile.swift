import Ext4

/// The contents of a quota file, read as far as they go and written anew: a header, a tree of four
/// levels by the bytes of the owner's number, and blocks of records.
struct QuotaFile {
    private enum Info {  // struct v2_disk_dqinfo, behind the header
        static let blockGrace = Field<UInt32>.le(8)  // dqi_bgrace
        static let inodeGrace = Field<UInt32>.le(12)  // dqi_igrace
        static let blocks = Field<UInt32>.le(20)  // dqi_blocks
        static let freeEntry = Field<UInt32>.le(28)  // dqi_free_entry
    }

    private static let entryCount = Field<UInt16>.le(8)  // dqdh_entries
    private static let magics: [UInt32] = [0xD9C0_1F11, 0xD9C0_1927, 0xD9C0_3F14]
    private static let blockSize = QuotaPass.blockSize
    /// A week, in seconds.
    private static let grace: UInt32 = 604_800

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
        var blocks: [Record] = [Self.empty, Self.empty]
        // Tables by the bytes of the number above them.
        var tables: [UInt64: UInt32] = [0: 1]
        let perBlock = (Self.blockSize - QuotaPass.recordsStart) / QuotaPass.Record.size
        var data: UInt32 = 0
        var used = perBlock
        for id in records.keys.sorted() {
            guard let record = records[id] else { continue }
            if used == perBlock {
                data = UInt32(blocks.count)
                blocks.append(Self.empty)
                used = 0
            }
            let start = QuotaPass.recordsStart + used * QuotaPass.Record.size
            blocks[Int(data)].bytes.replaceSubrange(
                start..<start + QuotaPass.Record.size, with: record.bytes)
            used += 1
            blocks[Int(data)][Self.entryCount] = UInt16(used)
            var table: UInt32 = 1
            for level in 0..<4 {
                let slot = Field<UInt32>.le(4 * Int(id >> UInt32(24 - 8 * level) & 0xFF))
                guard level < 3 else {
                    blocks[Int(table)][slot] = data
                    break
                }
                let key = UInt64(level + 1) << 32 | UInt64(id >> UInt32(24 - 8 * level))
                if let known = tables[key] {
                    table = known
                    continue
                }
                let next = UInt32(blocks.count)
                blocks.append(Self.empty)
                blocks[Int(table)][slot] = next
                tables[key] = next
                table = next
            }
        }
        blocks[0][QuotaPass.Header.magic] = Self.magics[kind.rawValue]
        blocks[0][QuotaPass.Header.version] = 1
        blocks[0][Info.blockGrace] = Self.grace
        blocks[0][Info.inodeGrace] = Self.grace
        blocks[0][Info.blocks] = UInt32(blocks.count)
        blocks[0][Info.freeEntry] = used < perBlock ? data : 0
        return Array(blocks.map(\.bytes).joined())
    }

    private static var empty: Record { Record([UInt8](repeating: 0, count: blockSize)) }
}
