// The checksum of a superblock.
//
// The superblock is two sectors long, and a device writes only a sector as a whole. What changes
// in the life of a volume stands in the first one, the checksum in the second: a crash between the
// two would leave a superblock that nobody accepts, and small volumes have no other one. So the
// checksum stays what it is, and a field of the first sector that has no meaning gets the value
// that makes it right.

extension Superblock {
    /// Makes the checksum of `bytes`, which were changed, right: what stands in the second sector
    /// stays.
    package static func seal(_ bytes: inout MutableRawSpan) {
        // The field counts only where there is a snapshot, which no kernel has ever made.
        guard bytes[Layout.snapshotInode] == 0 else {
            bytes[Layout.checksum] = checksum(of: bytes.bytes)
            return
        }
        // A CRC is linear: what each bit of the field changes adds up.
        var change = checksum(of: bytes.bytes) ^ bytes[Layout.checksum]
        var bits = bytes[Layout.snapshotID]
        while change != 0 {
            let row = filler[31 - change.leadingZeroBitCount]
            guard row.change != 0 else {
                // Not to be reached; see `filler`.
                bytes[Layout.checksum] = checksum(of: bytes.bytes)
                return
            }
            change ^= row.change
            bits ^= row.bits
        }
        bytes[Layout.snapshotID] = bits
    }

    /// For each bit of the checksum, bits of `s_snapshot_id` and what they change: that bit, and
    /// others below it. There are always some, as 32 bits of data in a row can give a CRC of 32
    /// bits any value.
    private static let filler: [(change: UInt32, bits: UInt32)] = {
        var bytes = [UInt8](repeating: 0, count: byteCount)
        var span = bytes.mutableSpan
        var raw = unsafe span.mutableBytes
        let zero = checksum(of: raw.bytes)
        var rows = [(change: UInt32, bits: UInt32)](repeating: (0, 0), count: 32)
        for bit in 0..<UInt32(32) {
            raw[Layout.snapshotID] = 1 << bit
            var row = (change: checksum(of: raw.bytes) ^ zero, bits: UInt32(1) << bit)
            // Gaussian elimination.
            while row.change != 0 {
                let highest = 31 - row.change.leadingZeroBitCount
                guard rows[highest].change != 0 else {
                    rows[highest] = row
                    break
                }
                row = (row.change ^ rows[highest].change, row.bits ^ rows[highest].bits)
            }
        }
        return rows
    }()
}
