// The hashes of extended attributes. They are no checksums of the format's own kind: the kernel
// uses them to find equal blocks and values to share. A wrong one is damage all the same.
//
// Until Linux 6.2 the name's bytes were taken as `char`, which is signed on x86 and unsigned on
// ARM. So a name with a byte above 0x7F has two hashes, and both are right.

/// The hashes `e_hash`, `h_hash` and the one of a value in an inode of its own.
package enum XAttrHash {
    /// How the bytes of a name are widened.
    package enum Signedness: CaseIterable {
        /// As every kernel since 6.2, and ARM before.
        case unsigned
        /// As x86 before Linux 6.2.
        case signed
    }

    /// `e_hash` of an entry whose value stands next to it.
    package static func ofEntry(
        name: RawSpan, value: RawSpan, _ signedness: Signedness = .unsigned
    ) -> UInt32 {
        var hash = ofName(name, signedness)
        var offset = 0
        while value.byteCount &- offset >= 4 {
            hash = mix(hash, value[Field<UInt32>.le(offset)])
            offset &+= 4
        }
        if offset < value.byteCount {
            // The padding behind a value is zeros.
            var word: UInt32 = 0
            for i in offset..<value.byteCount {
                word |= UInt32(value.byte(at: i)) << UInt32(8 &* (i &- offset))
            }
            hash = mix(hash, word)
        }
        return hash
    }

    /// `e_hash` of an entry whose value has an inode of its own and `valueHash`.
    package static func ofEntry(
        name: RawSpan, valueHash: UInt32, _ signedness: Signedness = .unsigned
    ) -> UInt32 {
        mix(ofName(name, signedness), valueHash)
    }

    /// The hash of a value in an inode of its own, which that inode keeps in its access time.
    package static func ofInodeValue(_ value: RawSpan, seed: UInt32) -> UInt32 {
        var crc = CRC32C(seed)
        crc.update(value)
        return crc.value
    }

    /// `h_hash` of a block whose entries have `hashes`, in their order; 0, for "not to be shared",
    /// as soon as one of them is 0.
    package static func ofBlock(_ hashes: [UInt32]) -> UInt32 {
        var hash: UInt32 = 0
        for entryHash in hashes {
            guard entryHash != 0 else { return 0 }
            hash = mix(hash, entryHash)
        }
        return hash
    }

    private static func ofName(_ name: RawSpan, _ signedness: Signedness) -> UInt32 {
        var hash: UInt32 = 0
        for i in 0..<name.byteCount {
            let byte = name.byte(at: i)
            let wide =
                switch signedness {
                case .unsigned: UInt32(byte)
                case .signed: UInt32(bitPattern: Int32(Int8(bitPattern: byte)))
                }
            hash = (hash << 5) ^ (hash >> 27) ^ wide
        }
        return hash
    }

    private static func mix(_ hash: UInt32, _ word: UInt32) -> UInt32 {
        (hash << 16) ^ (hash >> 16) ^ word
    }
}
