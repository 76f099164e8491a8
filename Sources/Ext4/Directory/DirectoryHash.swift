// The hashes by which an indexed directory orders its names: the format's old one, and two made
// from the first part of a well-known function, MD4 cut in half and TEA.
//
// Each comes in two versions, because the name's bytes were once taken as `char`: signed on x86,
// unsigned on ARM. A volume says in its flags which of them its directories use. The index keeps
// the low bit of the major hash for "this block continues the chain", so it is never part of it.

/// The hash of the names of indexed directories.
package struct DirectoryHash: Sendable {
    /// `dx_root_info.hash_version`, `s_def_hash_version`.
    package struct Version: RawRepresentable, Hashable, Sendable {
        package let rawValue: UInt8

        /// Makes it from its number.
        package init(rawValue: UInt8) { self.rawValue = rawValue }

        package static let legacy = Version(rawValue: 0)  // DX_HASH_LEGACY
        package static let halfMD4 = Version(rawValue: 1)  // DX_HASH_HALF_MD4
        package static let tea = Version(rawValue: 2)  // DX_HASH_TEA
        package static let legacyUnsigned = Version(rawValue: 3)  // DX_HASH_LEGACY_UNSIGNED
        package static let halfMD4Unsigned = Version(rawValue: 4)  // DX_HASH_HALF_MD4_UNSIGNED
        package static let teaUnsigned = Version(rawValue: 5)  // DX_HASH_TEA_UNSIGNED
        package static let sipHash = Version(rawValue: 6)  // DX_HASH_SIPHASH

        /// The version by which names are really hashed, of a version on disk and the volume's
        /// flag `EXT2_FLAGS_UNSIGNED_HASH`: the disk has 0 to 2 for either way.
        package func resolved(isUnsigned: Bool) -> Version {
            rawValue <= Version.tea.rawValue && isUnsigned
                ? Version(rawValue: rawValue &+ 3) : self
        }

        /// Whether this is a version that the format knows.
        package var isKnown: Bool { rawValue <= Version.sipHash.rawValue }

        /// Whether the bytes of a name are taken as unsigned.
        package var isUnsigned: Bool { rawValue >= Version.legacyUnsigned.rawValue }
    }

    /// The two parts of a hash; the second orders names whose first parts are equal.
    package struct Value: Hashable, Comparable, Sendable {
        package let major: UInt32
        package let minor: UInt32

        package static func < (a: Self, b: Self) -> Bool {
            a.major != b.major ? a.major < b.major : a.minor < b.minor
        }
    }

    /// Which hash.
    package let version: Version
    private let seed: (UInt32, UInt32, UInt32, UInt32)
    private let key: SipHash.Key?

    /// The hash of a volume.
    ///
    /// - Parameters:
    ///   - seed: `s_hash_seed`.
    ///   - key: the directory's key, which `sipHash` cannot do without.
    package init(
        _ version: Version, seed: (UInt32, UInt32, UInt32, UInt32), key: SipHash.Key? = nil
    ) {
        self.version = version
        // All zeros stand for the start of MD4.
        let isDefault = seed == (0, 0, 0, 0)
        self.seed = isDefault ? (0x6745_2301, 0xEFCD_AB89, 0x98BA_DCFE, 0x1032_5476) : seed
        self.key = key
    }

    /// The hash of a name.
    ///
    /// - Returns: nil for a version that is unknown, or that needs a key which is not here.
    package func hash(of name: RawSpan) -> Value? {
        let isUnsigned = version.isUnsigned
        let (hash, minor): (UInt32, UInt32)
        switch version {
        case .legacy, .legacyUnsigned:
            (hash, minor) = (Self.legacy(name, isUnsigned: isUnsigned), 0)
        case .halfMD4, .halfMD4Unsigned:
            (hash, minor) = halfMD4(name, isUnsigned: isUnsigned)
        case .tea, .teaUnsigned:
            (hash, minor) = tea(name, isUnsigned: isUnsigned)
        case .sipHash:
            guard let key else { return nil }
            let both = SipHash.hash(name, key: key)
            (hash, minor) = (
                UInt32(truncatingIfNeeded: both >> 32), UInt32(truncatingIfNeeded: both)
            )
        default: return nil
        }
        return Value(major: Self.limited(hash), minor: minor)
    }

    /// Without the low bit, and never the value that stands for a directory's end.
    package static func limited(_ hash: UInt32) -> UInt32 {
        let end: UInt32 = 0x7FFF_FFFF  // EXT4_HTREE_EOF_32BIT
        let hash = hash & ~1
        return hash == end << 1 ? (end &- 1) << 1 : hash
    }

    // MARK: - The old hash

    private static func legacy(_ name: RawSpan, isUnsigned: Bool) -> UInt32 {
        var hash: UInt32 = 0x12A3_FE2D
        var before: UInt32 = 0x37AB_E8F9
        for i in 0..<name.byteCount {
            let byte = widened(name.byte(at: i), isUnsigned: isUnsigned)
            var next = before &+ (hash ^ (byte &* 7_152_373))
            if next & 0x8000_0000 != 0 { next &-= 0x7FFF_FFFF }
            before = hash
            hash = next
        }
        return hash << 1
    }

    private static func widened(_ byte: UInt8, isUnsigned: Bool) -> UInt32 {
        isUnsigned ? UInt32(byte) : UInt32(bitPattern: Int32(Int8(bitPattern: byte)))
    }

    /// Packs the part of a name that starts at `start` into words; what is left of them holds the
    /// part's length in each byte.
    private static func words<let count: Int>(
        of name: RawSpan, from start: Int, isUnsigned: Bool
    ) -> [count of UInt32] {
        let length = name.byteCount &- start
        var pad = UInt32(truncatingIfNeeded: length)
        pad |= pad << 8
        pad |= pad << 16
        var words: [count of UInt32] = .init(repeating: pad)
        let used = min(length, count &* 4)
        var word = pad
        for i in 0..<used {
            let byte = widened(name.byte(at: start &+ i), isUnsigned: isUnsigned)
            word = byte &+ (word << 8)
            if i % 4 == 3 {
                words[i / 4] = word
                word = pad
            }
        }
        if used % 4 != 0 { words[used / 4] = word }
        return words
    }

    // MARK: - MD4, half

    private func halfMD4(_ name: RawSpan, isUnsigned: Bool) -> (UInt32, UInt32) {
        var state = seed
        var start = 0
        while start < name.byteCount {
            Self.halfMD4(
                &state, Self.words(of: name, from: start, isUnsigned: isUnsigned))
            start &+= 32
        }
        return (state.1, state.2)
    }

    private static func halfMD4(
        _ state: inout (UInt32, UInt32, UInt32, UInt32), _ words: [8 of UInt32]
    ) {
        var (a, b, c, d) = state
        func turn(_ sum: UInt32, _ shift: UInt32) {
            (a, b, c, d) = (d, (sum << shift) | (sum >> (32 &- shift)), b, c)
        }
        // Each round takes the words in its own order and adds its own constant: 0, √2, √3.
        let shifts: [3 of [4 of UInt32]] = [[3, 7, 11, 19], [3, 5, 9, 13], [3, 9, 11, 15]]
        let second: [8 of Int] = [1, 3, 5, 7, 0, 2, 4, 6]
        let third: [8 of Int] = [3, 7, 2, 6, 1, 5, 0, 4]
        for i in 0..<8 {
            turn(a &+ (d ^ (b & (c ^ d))) &+ words[i], shifts[0][i & 3])
        }
        for i in 0..<8 {
            let both = (b & c) &+ ((b ^ c) & d)
            turn(a &+ both &+ words[second[i]] &+ 0x5A82_7999, shifts[1][i & 3])
        }
        for i in 0..<8 {
            turn(a &+ (b ^ c ^ d) &+ words[third[i]] &+ 0x6ED9_EBA1, shifts[2][i & 3])
        }
        state = (state.0 &+ a, state.1 &+ b, state.2 &+ c, state.3 &+ d)
    }

    // MARK: - TEA

    private func tea(_ name: RawSpan, isUnsigned: Bool) -> (UInt32, UInt32) {
        var state = seed
        var start = 0
        while start < name.byteCount {
            Self.tea(&state, Self.words(of: name, from: start, isUnsigned: isUnsigned))
            start &+= 16
        }
        return (state.0, state.1)
    }

    private static func tea(
        _ state: inout (UInt32, UInt32, UInt32, UInt32), _ key: [4 of UInt32]
    ) {
        var sum: UInt32 = 0
        var (first, second) = (state.0, state.1)
        for _ in 0..<16 {
            sum &+= 0x9E37_79B9
            first &+=
                ((second << 4) &+ key[0]) ^ (second &+ sum) ^ ((second >> 5) &+ key[1])
            second &+= ((first << 4) &+ key[2]) ^ (first &+ sum) ^ ((first >> 5) &+ key[3])
        }
        state.0 &+= first
        state.1 &+= second
    }
}
