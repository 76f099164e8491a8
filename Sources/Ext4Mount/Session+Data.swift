internal import CFuse3
internal import Ext4
internal import Glibc

// Requests about contents.
//
// A read is copied twice: from the image into a buffer of the thread, from there into the kernel's
// reply. Letting the kernel move the pages through a pipe (splice) saves one of the copies and was
// measured: it takes as long for 1 GiB in requests of 1 MiB, and more processor time.

extension Session {
    func read(
        _ request: fuse_req_t, _ node: fuse_ino_t, size: Int, at offset: off_t
    ) throws(Ext4Error) {
        guard offset >= 0 else { throw .invalidArgument }
        let inode = try inode(ofNode: node)
        let buffer = try unsafe Worker.buffer(of: size)
        var bytes = unsafe buffer.mutableBytes
        let count = try volume.read(inode, at: UInt64(offset), into: &bytes)
        unsafe fuse_reply_buf(
            request, buffer.baseAddress?.assumingMemoryBound(to: CChar.self), count)
    }

    func seek(
        _ request: fuse_req_t, _ node: fuse_ino_t, from offset: off_t, whence: Int32
    ) throws(Ext4Error) {
        let kind: SeekTarget
        switch whence {
        case Self.seekData: kind = .data
        case Self.seekHole: kind = .hole
        default: throw .invalidArgument
        }
        guard offset >= 0 else { throw .endOfFile }
        let found = try volume.offset(
            of: kind, in: try inode(ofNode: node), from: UInt64(offset))
        unsafe fuse_reply_lseek(request, off_t(clamping: found))
    }

    // `SEEK_DATA` and `SEEK_HOLE`, which glibc shows to GNU C only.
    private static let seekData: Int32 = 3
    private static let seekHole: Int32 = 4

    // MARK: - Changes

    static func addDataChanges(to operations: inout fuse_lowlevel_ops) {
        unsafe operations.write = { request, node, data, size, offset, _ in
            unsafe Session.answer(request) { session, request throws(Ext4Error) in
                let bytes = unsafe UnsafeRawBufferPointer(start: data, count: size)
                try unsafe session.write(request, node, bytes, at: offset)
            }
        }
        unsafe operations.fallocate = { request, node, mode, offset, length, _ in
            unsafe Session.answer(request) { session, request throws(Ext4Error) in
                try unsafe session.allocate(
                    request, node, mode: mode, at: offset, count: length)
            }
        }
        unsafe operations.fsync = { request, node, dataOnly, _ in
            unsafe Session.answer(request) { session, request throws(Ext4Error) in
                try unsafe session.sync(request, node, dataOnly: dataOnly != 0)
            }
        }
        unsafe operations.fsyncdir = { request, node, dataOnly, _ in
            unsafe Session.answer(request) { session, request throws(Ext4Error) in
                try unsafe session.sync(request, node, dataOnly: dataOnly != 0)
            }
        }
        unsafe operations.release = { request, node, _ in
            unsafe Session.answer(request) { session, request throws(Ext4Error) in
                session.volume.endGrowth(of: try session.inode(ofNode: node))
                unsafe fuse_reply_err(request, 0)
            }
        }
    }

    private func write(
        _ request: fuse_req_t, _ node: fuse_ino_t, _ bytes: UnsafeRawBufferPointer,
        at offset: off_t
    ) throws(Ext4Error) {
        guard offset >= 0 else { throw .invalidArgument }
        let inode = try inode(ofNode: node)
        try volume.write(
            unsafe bytes.bytes, to: inode, at: UInt64(offset),
            dropsPrivileges: Worker.current?.dropsPrivileges ?? false,
            by: unsafe Self.credentials(of: request))
        unsafe fuse_reply_write(request, bytes.count)
    }

    private func allocate(
        _ request: fuse_req_t, _ node: fuse_ino_t, mode: Int32, at offset: off_t, count: off_t
    ) throws(Ext4Error) {
        guard offset >= 0, count > 0 else { throw .invalidArgument }
        let keepsSize = mode & 0x01 != 0
        let change: RangeChange =
            switch mode & ~0x01 {
            case 0x00: .allocate(keepsSize: keepsSize)
            case 0x02 where keepsSize: .punchHole  // FALLOC_FL_PUNCH_HOLE
            case 0x08 where !keepsSize: .collapse  // FALLOC_FL_COLLAPSE_RANGE
            case 0x10: .zero(keepsSize: keepsSize)  // FALLOC_FL_ZERO_RANGE
            case 0x20 where !keepsSize: .insert  // FALLOC_FL_INSERT_RANGE
            default: throw .notSupported
            }
        try volume.change(
            change, of: try inode(ofNode: node), at: UInt64(offset), count: UInt64(count),
            by: unsafe Self.credentials(of: request))
        unsafe fuse_reply_err(request, 0)
    }

    /// Makes a file durable.
    private func sync(
        _ request: fuse_req_t, _ node: fuse_ino_t, dataOnly: Bool
    ) throws(Ext4Error) {
        let inode = try inode(ofNode: node)
        try volume.sync(inode, dataOnly: dataOnly)
        unsafe fuse_reply_err(request, 0)
    }
}
