/// The contents of a file as the model has them: pieces of 1 KiB, of which those that are missing
/// are zeros.
package struct SparseContents: Sendable {
    /// How many bytes are kept together; a part of every block size.
    package static let pieceSize: UInt64 = 1024

    /// The size in bytes.
    package private(set) var size: UInt64 = 0
    /// The pieces that are not all zeros, by their place.
    package private(set) var pieces: [UInt64: [UInt8]] = [:]

    /// Of an empty file.
    package init() {}

    /// The memory it takes, about.
    package var weight: Int { pieces.count * Int(Self.pieceSize) }

    /// Writes bytes; the file grows with them.
    package mutating func write(_ bytes: [UInt8], at offset: UInt64) {
        var done = 0
        while done < bytes.count {
            let position = offset + UInt64(done)
            let within = Int(position % Self.pieceSize)
            let count = min(bytes.count - done, Int(Self.pieceSize) - within)
            let index = position / Self.pieceSize
            if count == Int(Self.pieceSize) {
                pieces[index] = Array(bytes[done..<done + count])
            } else {
                pieces[index, default: [UInt8](repeating: 0, count: Int(Self.pieceSize))]
                    .replaceSubrange(within..<within + count, with: bytes[done..<done + count])
            }
            done += count
        }
        if !bytes.isEmpty { size = max(size, offset + UInt64(bytes.count)) }
    }

    /// Makes a range zeros; the size stays.
    package mutating func clear(_ start: UInt64, _ end: UInt64) {
        guard start < end else { return }
        let first = start / Self.pieceSize
        let last = (end - 1) / Self.pieceSize
        if last - first < UInt64(pieces.count) {
            for index in first...last { clear(piece: index, start, end) }
        } else {
            for index in Array(pieces.keys) { clear(piece: index, start, end) }
        }
    }

    private mutating func clear(piece index: UInt64, _ start: UInt64, _ end: UInt64) {
        let base = index * Self.pieceSize
        let low = max(base, start)
        let high = min(base + Self.pieceSize, end)
        guard low < high else { return }
        if high - low == Self.pieceSize {
            pieces[index] = nil
        } else if pieces[index] != nil {
            for at in Int(low - base)..<Int(high - base) { pieces[index]?[at] = 0 }
        }
    }

    /// Cuts off, or adds zeros.
    package mutating func resize(to newSize: UInt64) {
        if newSize < size { clear(newSize, .max) }
        size = newSize
    }

    /// Takes a range of whole pieces out, or makes room for one.
    package mutating func shift(from start: UInt64, by count: Int64) {
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

    /// What reading a range gives: nothing behind the end.
    package func bytes(at offset: UInt64, count: Int) -> [UInt8] {
        guard offset < size else { return [] }
        let end = min(offset + UInt64(count), size)
        var result = [UInt8](repeating: 0, count: Int(end - offset))
        var position = offset
        while position < end {
            let within = position % Self.pieceSize
            let part = min(Self.pieceSize - within, end - position)
            if let piece = pieces[position / Self.pieceSize] {
                let target = Int(position - offset)
                unsafe result.withUnsafeMutableBytes { result in
                    unsafe piece.withUnsafeBytes { piece in
                        unsafe UnsafeMutableRawBufferPointer(
                            rebasing: result[target..<target + Int(part)]
                        ).copyMemory(
                            from: UnsafeRawBufferPointer(
                                rebasing: piece[Int(within)..<Int(within + part)]))
                    }
                }
            }
            position += part
        }
        return result
    }
}
