internal import CFuse3
internal import Ext4
internal import Glibc

// Requests about contents.
//
// A read is copied twice: from the image into a buffer of the thread, from there into the kernel's
// reply. Letting the kernel move the pages through a pipe (splice) saves one of the copies and was
// measured: it takes as long for 1 GiB in requests of 1 MiB, and more processor time.

extension Session {
    /// From how many bytes on a read is taken to last: others shall be served meanwhile.
    private static let longRead = 64 * 1024

    func read(
        _ request: fuse_req_t, _ node: fuse_ino_t, size: Int, at offset: off_t
    ) throws(Ext4Error) {
        guard offset >= 0 else { throw .invalidArgument }
        let inode = try inode(ofNode: node)
        if size >= Self.longRead { Worker.current?.handOver() }
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
}
