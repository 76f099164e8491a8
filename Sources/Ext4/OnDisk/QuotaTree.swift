// A quota file: blocks of 1 KiB, whatever the volume's are. A header, then a tree of four levels of
// block numbers, one byte of the owner's number a level, then blocks of records.

/// The contents of a quota file.
package enum QuotaTree {
    package enum Header {  // struct v2_disk_dqheader
        package static let magic = Field<UInt32>.le(0)  // dqh_magic
        package static let version = Field<UInt32>.le(4)  // dqh_version
    }

    package enum Info {  // struct v2_disk_dqinfo_behind_header
        package static let blockGrace = Field<UInt32>.le(8)  // dqi_bgrace
        package static let inodeGrace = Field<UInt32>.le(12)  // dqi_igrace
        package static let blocks = Field<UInt32>.le(20)  // dqi_blocks
        package static let freeEntry = Field<UInt32>.le(28)  // dqi_free_entry
    }

    package enum Record {  // struct v2r1_disk_dqblk
        package static let id = Field<UInt32>.le(0)  // dqb_id
        package static let currentInodes = Field<UInt64>.le(24)  // dqb_curinodes
        package static let currentSpace = Field<UInt64>.le(48)  // dqb_curspace
        package static let size = 72
    }

    /// `dqdh_entries` of a block of records.
    private static let entryCount = Field<UInt16>.le(8)
    /// The magic numbers of the files by user, by group and by project.
    package static let magics: [UInt32] = [0xD9C0_1F11, 0xD9C0_1927, 0xD9C0_3F14]
    /// The size of a block of the tree.
    package static let blockSize = 1024
    /// Bytes before the records of a block.
    package static let recordsStart = 16
    /// The levels of the tree.
    package static let depth = 4
    /// A week, in seconds.
    private static let grace: UInt32 = 604_800

    /// What is kept free for a file of which the owners are not known yet: that is some hundred.
    package static let roomyFile = 64 * blockSize

    /// A record of what an owner uses, without limits.
    package static func record(id: UInt32, inodes: UInt64, bytes used: UInt64) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: Record.size)
        var span = bytes.mutableSpan
        var raw = unsafe span.mutableBytes
        raw[Record.id] = id
        raw[Record.currentInodes] = inodes
        raw[Record.currentSpace] = used
        return bytes
    }

    /// How many bytes a file with records of these owners has.
    package static func byteCount(of owners: Set<UInt32>) -> Int {
        var records: [UInt32: [UInt8]] = [:]
        for id in owners { records[id] = record(id: id, inodes: 0, bytes: 0) }
        return bytes(records, kind: 0).count
    }

    /// The bytes of a file with `records`, each `Record.size` bytes, by their owners.
    ///
    /// - Parameter kind: 0 for users, 1 for groups, 2 for projects.
    package static func bytes(_ records: [UInt32: [UInt8]], kind: Int) -> [UInt8] {
        var file = Blocks()
        // Tables by the bytes of the number above them.
        var tables: [UInt64: UInt32] = [0: 1]
        let perBlock = (blockSize - recordsStart) / Record.size
        var data: UInt32 = 0
        var used = perBlock
        for id in records.keys.sorted() {
            guard let record = records[id] else { continue }
            if used == perBlock {
                data = file.append()
                used = 0
            }
            file.put(record, at: recordsStart + used * Record.size, of: data)
            used += 1
            file.set(entryCount, to: UInt16(used), of: data)
            var table: UInt32 = 1
            for level in 0..<depth {
                let shift = UInt32(24 - 8 * level)
                let slot = Field<UInt32>.le(4 * Int(id >> shift & 0xFF))
                guard level < depth - 1 else {
                    file.set(slot, to: data, of: table)
                    break
                }
                let key = UInt64(level + 1) << 32 | UInt64(id >> shift)
                if let known = tables[key] {
                    table = known
                    continue
                }
                let next = file.append()
                file.set(slot, to: next, of: table)
                tables[key] = next
                table = next
            }
        }
        file.set(Header.magic, to: magics[min(max(kind, 0), magics.count - 1)], of: 0)
        file.set(Header.version, to: 1, of: 0)
        file.set(Info.blockGrace, to: grace, of: 0)
        file.set(Info.inodeGrace, to: grace, of: 0)
        file.set(Info.blocks, to: UInt32(file.bytes.count / blockSize), of: 0)
        file.set(Info.freeEntry, to: used < perBlock ? data : 0, of: 0)
        return file.bytes
    }

    /// A file that grows by blocks; the first two are there from the start.
    private struct Blocks {
        var bytes = [UInt8](repeating: 0, count: 2 * blockSize)

        mutating func append() -> UInt32 {
            bytes += [UInt8](repeating: 0, count: blockSize)
            return UInt32(bytes.count / blockSize - 1)
        }

        mutating func set<Value>(_ field: Field<Value>, to value: Value, of block: UInt32) {
            var span = bytes.mutableSpan
            var raw = unsafe span.mutableBytes
            raw[field.at(Int(block) * blockSize)] = value
        }

        mutating func put(_ part: [UInt8], at offset: Int, of block: UInt32) {
            let start = Int(block) * blockSize + offset
            bytes.replaceSubrange(start..<start + part.count, with: part)
        }
    }
}
