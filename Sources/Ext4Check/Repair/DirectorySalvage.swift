import Ext4

/// A name in a directory under repair.
struct SalvagedEntry {
    var name: [UInt8]
    var inode: UInt32
    var type: UInt8
}

/// The names that can still be read of a directory, in the order of its blocks, without `.` and
/// `..`, and who its parent says to be.
struct DirectorySalvage {
    private(set) var entries: [SalvagedEntry] = []
    /// What `..` leads to.
    private(set) var parent: UInt32?
    private let volume: RepairVolume

    /// Reads the blocks behind `runs`.
    init(_ runs: [BlockRun], in volume: RepairVolume) {
        self.volume = volume
        for run in runs {
            guard case .mapped(let start) = run.state else { continue }
            for i in 0..<run.count {
                guard let block = volume.block(start.rawValue &+ i) else { continue }
                read(block.bytes, from: 0)
            }
        }
    }

    /// Reads the entries of an inline directory: its part in `i_block`, and that in the attribute.
    init(inlineMap map: [UInt8], more: [UInt8], in volume: RepairVolume) {
        self.volume = volume
        let parent = Record(map)[DirectoryRecord.inlineParent]
        self.parent = parent
        read(Array(map.dropFirst(4)), from: 0)
        read(more, from: 0)
    }

    private typealias Layout = DirectoryRecord.Layout

    private mutating func read(_ bytes: [UInt8], from start: Int) {
        let record = Record(bytes)
        var offset = start
        while offset + DirectoryRecord.headerSize <= bytes.count {
            if let end = end(of: record, at: offset) {
                take(record, at: offset)
                offset = end
            } else if let next = resume(record, behind: offset) {
                if isWhole(record, at: offset) { take(record, at: offset) }
                offset = next
            } else {
                if isWhole(record, at: offset) { take(record, at: offset) }
                return
            }
        }
    }

    /// Where a sound entry ends; nil when it is not sound.
    private func end(of record: Record, at offset: Int) -> Int? {
        let room = record.bytes.count - offset
        guard room >= 12 else { return nil }
        let length = DirectoryRecord.recordLength(
            record[Layout.recordLength.at(offset)], blockSize: volume.blockSize)
        let nameLength = Int(record[Layout.nameLength.at(offset)])
        guard length % 4 == 0, length >= 12, length <= room,
            DirectoryRecord.size(nameLength: nameLength, hasHash: false) <= length
        else { return nil }
        return offset + length
    }

    /// Whether the entry's name can be told though its length is wrong.
    private func isWhole(_ record: Record, at offset: Int) -> Bool {
        let nameLength = Int(record[Layout.nameLength.at(offset)])
        let first = offset + DirectoryRecord.headerSize
        guard nameLength > 0, first + nameLength <= record.bytes.count else { return false }
        let inode = record[Layout.inode.at(offset)]
        guard inode > 0, inode <= volume.superblock.inodesCount else { return false }
        return record.bytes[first..<first + nameLength].allSatisfy { $0 != 0 && $0 != 0x2F }
    }

    /// The next place behind a broken entry from which sound ones follow each other to the end.
    private func resume(_ record: Record, behind offset: Int) -> Int? {
        let named = DirectoryRecord.size(
            nameLength: Int(record[Layout.nameLength.at(offset)]), hasHash: false)
        var candidates = [offset + max(named, 12)]
        candidates += Array(stride(from: offset + 12, to: record.bytes.count - 11, by: 4))
        for start in candidates where start + 12 <= record.bytes.count {
            var position = start
            var isSound = isWhole(record, at: start)
            while isSound, position < record.bytes.count {
                guard let end = end(of: record, at: position) else {
                    isSound = false
                    break
                }
                position = end
            }
            if isSound, position == record.bytes.count { return start }
        }
        return nil
    }

    private mutating func take(_ record: Record, at offset: Int) {
        let inode = record[Layout.inode.at(offset)]
        let nameLength = Int(record[Layout.nameLength.at(offset)])
        let first = offset + DirectoryRecord.headerSize
        guard inode != 0, nameLength > 0, first + nameLength <= record.bytes.count else { return }
        let name = Array(record.bytes[first..<first + nameLength])
        switch name {
        case [0x2E]: return
        case [0x2E, 0x2E]:
            if parent == nil { parent = inode }
        default:
            guard inode <= volume.superblock.inodesCount else { return }
            entries.append(
                SalvagedEntry(name: name, inode: inode, type: record[Layout.fileType.at(offset)]))
        }
    }
}
