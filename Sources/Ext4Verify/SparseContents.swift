/// The contents of a file as the model has them: pieces of 1 KiB, of which those that are missing
/// are zeros.
struct SparseContents {
    static let pieceSize: UInt64 = 1024

    private(set) var size: UInt64 = 0
    private(set) var pieces: [UInt64: [UInt8]] = [:]

    /// The memory it takes, about.
    var weight: Int { pieces.count * Int(Self.pieceSize) }

    mutating func write(_ bytes: [UInt8], at offset: UInt64) {
        var done = 0
        while done < bytes.count {
            let position = offset + UInt64(done)
            let within = Int(position % Self.pieceSize)
            let count = min(bytes.count - done, Int(Self.pieceSize) - within)
            var piece =
                pieces[position / Self.pieceSize]
                ?? [UInt8](repeating: 0, count: Int(Self.pieceSize))
            piece.replaceSubrange(within..<within + count, with: bytes[done..<done + count])
            pieces[position / Self.pieceSize] = piece
            done += count
        }
        if !bytes.isEmpty { size = max(size, offset + UInt64(bytes.count)) }
    }

    /// Makes a range zeros; the size stays.
    mutating func clear(_ start: UInt64, _ end: UInt64) {
        guard start < end else { return }
        for (index, piece) in pieces {
            let base = index * Self.pieceSize
            let low = max(base, start)
            let high = min(base + Self.pieceSize, end)
            guard low < high else { continue }
            if high - low == Self.pieceSize {
                pieces[index] = nil
            } else {
                var piece = piece
                for at in Int(low - base)..<Int(high - base) { piece[at] = 0 }
                pieces[index] = piece
            }
        }
    }

    mutating func resize(to newSize: UInt64) {
        if newSize < size { clear(newSize, .max) }
        size = newSize
    }

    /// Takes a range of whole pieces out, or makes room for one.
    mutating func shift(from start: UInt64, by count: Int64) {
        let first = start / Self.pieceSize
        let distance = count / Int64(Self.pieceSize)
        var moved: [UInt64: [UInt8]] = [:]
        for (index, piece) in pieces {
            if index >= first {
                moved[UInt64(Int64(index) + distance)] = piece
            } else if distance >= 0 || index < UInt64(Int64(first) + distance) {
                moved[index] = piece
            }
        }
        pieces = moved
        size = UInt64(Int64(size) + count)
    }

    func bytes(at offset: UInt64, count: Int) -> [UInt8] {
        guard offset < size else { return [] }
        let end = min(offset + UInt64(count), size)
        var result: [UInt8] = []
        result.reserveCapacity(Int(end - offset))
        var position = offset
        while position < end {
            let within = position % Self.pieceSize
            let part = min(Self.pieceSize - within, end - position)
            if let piece = pieces[position / Self.pieceSize] {
                result += piece[Int(within)..<Int(within + part)]
            } else {
                result += [UInt8](repeating: 0, count: Int(part))
            }
            position += part
        }
        return result
    }
}
