import Foundation

/// The small volumes in `Fuzz/Images`, which the fuzzer and these tests start from.
enum PackedImage {
    /// The project's folder of the fuzzer.
    static let folder = URL(filePath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent().appending(path: "Fuzz")

    /// Their names, in the order by which the fuzzer's inputs choose one.
    static let names = [
        "full", "ext2", "original", "inline", "bigalloc", "groups", "journal", "ext3", "fast",
        "large", "flags",
    ]

    /// The bytes of the volume of that name.
    static func bytes(_ name: String, in folder: URL = folder) throws -> [UInt8] {
        let path = folder.appending(path: "Images").appending(path: "\(name).packed")
        guard let image = unpack([UInt8](try Data(contentsOf: path))) else {
            throw CocoaError(.fileReadCorruptFile, userInfo: [NSFilePathErrorKey: path.path])
        }
        return image
    }

    /// Reads what `Fuzz/pack` wrote: the size, then pieces with their offset and their length, of
    /// which the highest bit says that one byte fills the piece.
    static func unpack(_ packed: [UInt8]) -> [UInt8]? {
        var position = 0
        func word() -> UInt32? {
            guard packed.count - position >= 4 else { return nil }
            defer { position += 4 }
            return (0..<4).reduce(0) { $0 | UInt32(packed[position + $1]) << UInt32(8 * $1) }
        }
        guard let size = word() else { return nil }
        var image = [UInt8](repeating: 0, count: Int(size))
        while position < packed.count {
            guard let start = word(), let length = word() else { return nil }
            let isFilled = length >> 31 == 1
            let count = Int(length & 0x7FFF_FFFF)
            let stored = isFilled ? 1 : count
            guard stored <= packed.count - position, Int(start) + count <= image.count else {
                return nil
            }
            for i in 0..<count { image[Int(start) + i] = packed[position + (isFilled ? 0 : i)] }
            position += stored
        }
        return image
    }
}
