import Ext4

/// An input of the fuzzer: which volume, how it is opened, and what is changed in it.
///
///     0      which of the volumes
///     1      how it is opened: see `Opening`
///     2-     changes, each of: 4 bytes of position, a byte that says what and how much, and
///            for `copy` 4 bytes of another position, for the others the bytes themselves
///
/// Positions count through the volume's metadata only, modulo its size: a change always meets a
/// structure. Numbers are little endian. Any bytes are an input.
struct FuzzInput {
    /// How the volume is opened, from the bits of the second byte.
    struct Opening: OptionSet {
        let rawValue: UInt8
        /// The journal is left alone.
        static let ignoresJournal = Opening(rawValue: 1)
        /// Backups of the superblock are tried.
        static let triesBackups = Opening(rawValue: 2)
        /// Positions count through all bytes and not through the metadata.
        static let countsEverything = Opening(rawValue: 4)
        /// The last part of the volume is cut off, as much as the first position says.
        static let isCutOff = Opening(rawValue: 8)
        /// The journal is also replayed to a copy of the volume.
        static let replays = Opening(rawValue: 16)
    }

    /// A volume as it was before the changes, and where its metadata is.
    struct Base {
        let image: [UInt8]
        let metadata: [Range<Int>]
        let metadataSize: Int

        init(_ image: [UInt8]) {
            self.image = image
            var copy = image
            metadata = ChecksumSeal.seal(&copy)
            metadataSize = metadata.reduce(0) { $0 + $1.count }
        }

        /// The byte of the image that `position` of the metadata stands for.
        func offset(of position: UInt32, countingEverything: Bool) -> Int {
            guard !countingEverything, metadataSize > 0 else {
                return Int(position) % max(image.count, 1)
            }
            var rest = Int(position) % metadataSize
            for range in metadata {
                if rest < range.count { return range.lowerBound + rest }
                rest -= range.count
            }
            return 0
        }
    }

    let opening: Opening
    /// What is done to a copy besides, from the bits of the second byte that are left.
    let deed: FuzzDeed?
    /// The changed volume, its checksums as the changes left them.
    let image: [UInt8]

    /// Makes the volume that the bytes of an input describe.
    init?(_ input: [UInt8], bases: [Base]) {
        guard input.count >= 2, !bases.isEmpty else { return nil }
        let base = bases[Int(input[0]) % bases.count]
        opening = Opening(rawValue: input[1])
        deed = FuzzDeed(rawValue: input[1] >> 5)
        let everything = opening.contains(.countsEverything)
        var image = base.image
        var position = 2
        var cut: UInt32?
        func word() -> UInt32? {
            guard input.count - position >= 4 else { return nil }
            defer { position += 4 }
            return (0..<4).reduce(0) { $0 | UInt32(input[position + $1]) << UInt32(8 * $1) }
        }
        while let place = word(), position < input.count {
            let start = base.offset(of: place, countingEverything: everything)
            let what = input[position]
            position += 1
            if cut == nil { cut = place }
            let count = Int(what & 0x3F) + 1
            switch what >> 6 {
            case 0, 1:  // The bytes that follow.
                for i in 0..<min(count & 0x1F, input.count - position, image.count - start) {
                    image[start + i] = input[position + i]
                }
                position += min(count & 0x1F, input.count - position)
            case 2:  // Many times the byte that follows.
                guard position < input.count else { break }
                let end = min(start + count * 16, image.count)
                for i in start..<end { image[i] = input[position] }
                position += 1
            default:  // Bytes from elsewhere, 4 at least.
                guard let place = word() else { break }
                let source = base.offset(of: place, countingEverything: everything)
                let end = min(count * 4, image.count - max(start, source))
                for i in 0..<max(end, 0) { image[start + i] = image[source + i] }
            }
        }
        if opening.contains(.isCutOff), let cut {
            image.removeLast(Int(cut) % max(image.count, 1))
        }
        self.image = image
    }
}
