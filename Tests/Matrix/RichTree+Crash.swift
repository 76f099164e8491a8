import Ext4Verify

extension RichTree {
    /// Changes the tree in several transactions, so that a copy of the mounted image has a journal
    /// with all that recovery knows: blocks logged more than once, blocks that were freed and used
    /// again for something else (revokes), blocks that begin with the journal's own magic number
    /// (escapes).
    mutating func leaveWorkForRecovery() throws(HostFailure) {
        let directory = try root.makeDirectory("crash".bytes)
        for round in 0..<6 {
            let victim = try directory.makeDirectory("round\(round)".bytes)
            for index in 0..<200 { _ = try victim.create("file \(index)".bytes) }
            for index in 0..<10 { try victim.makeDirectory("d\(index)".bytes) }
            try victim.setAttribute(
                "user.large", to: randomBytes(600), of: "file \(round)".bytes)
            try root.syncFileSystem()
            for index in 0..<10 { try victim.removeDirectory("d\(index)".bytes) }
            for index in 0..<150 { try victim.unlink("file \(index)".bytes) }
            // Blocks of the directories that went come back as data.
            let data = try directory.create("data\(round)".bytes)
            try data.write(randomBytes(200_000), at: 0)
            try data.sync()
        }
        let escaped = try directory.create("escaped".bytes)
        try escaped.write(
            [0xC0, 0x3B, 0x39, 0x98] + randomBytes(Int(scale.blockSize) - 4), at: 0)
        try escaped.write(
            [0xC0, 0x3B, 0x39, 0x98, 0, 0, 0, 1] + randomBytes(5000), at: 4 * scale.blockSize)
        try escaped.sync()
        let grown = try directory.create("grown".bytes)
        for index in 0..<50 as Range<UInt64> {
            try grown.write("x".bytes, at: index * 3 * scale.blockSize)
        }
        try grown.sync()
        // Gone but open: an orphan.
        let orphan = try directory.create("orphan".bytes)
        try orphan.write(randomBytes(100_000), at: 0)
        try directory.unlink("orphan".bytes)
        _ = try directory.create("last".bytes)
        try directory.create("last".bytes).sync()
        // Not synced: it may be there or not, for both sides alike.
        _ = try directory.create("unsynced".bytes)
        _ = orphan.descriptor
    }
}
