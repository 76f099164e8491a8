internal import CFuse3
internal import Ext4
internal import Glibc

// Requests about contents.
//
// A small read is copied twice: from the image into a buffer of the thread, from there into the
// kernel's reply. A large one is not copied by us: the reply names the pieces of the image and the
// kernel moves them through a pipe. Setting the pipe up costs about as much as copying
// `spliceThreshold` bytes does.

extension Session {
    /// From how many bytes on a reply is moved and not copied.
    private static let spliceThreshold = 64 * 1024

    func read(
        _ request: fuse_req_t, _ node: fuse_ino_t, size: Int, at offset: off_t
    ) throws(Ext4Error) {
        guard offset >= 0 else { throw .invalidArgument }
        let inode = try inode(ofNode: node)
        if size >= Self.spliceThreshold, let imageDescriptor {
            let runs = try volume.dataRuns(of: inode, at: UInt64(offset), count: size)
            unsafe ReplyPieces(runs, imageDescriptor: imageDescriptor).send(to: request)
            return
        }
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

/// The pieces of one reply, as libfuse takes them.
@safe
private struct ReplyPieces: ~Copyable {
    private let vector: UnsafeMutablePointer<fuse_bufvec>
    /// Owns what the pieces in memory point to.
    private let copies: UnsafeMutableRawBufferPointer

    init(_ runs: [DataRun], imageDescriptor: Int32) {
        let count = max(runs.count, 1)
        let size =
            unsafe MemoryLayout<fuse_bufvec>.size + (count - 1) * MemoryLayout<fuse_buf>.stride
        let memory = UnsafeMutableRawPointer.allocate(
            byteCount: size, alignment: MemoryLayout<fuse_bufvec>.alignment)
        unsafe memory.initializeMemory(as: UInt8.self, repeating: 0, count: size)
        unsafe vector = unsafe memory.bindMemory(to: fuse_bufvec.self, capacity: 1)

        // Zeros and bytes that stand in the inode come from memory: one allocation for all.
        var copied = 0
        for run in runs {
            if case .device = run.source { continue }
            copied += run.count
        }
        unsafe copies = .allocate(byteCount: copied, alignment: 16)

        let pieces = unsafe (memory + MemoryLayout<fuse_bufvec>.offset(of: \.buf).unsafelyUnwrapped)
            .bindMemory(to: fuse_buf.self, capacity: count)
        var used = 0
        for (i, run) in runs.enumerated() {
            unsafe pieces[i].size = run.count
            if case .device(let byteOffset) = run.source {
                unsafe pieces[i].flags = fuse_buf_flags(
                    rawValue: FUSE_BUF_IS_FD.rawValue | FUSE_BUF_FD_SEEK.rawValue
                        | FUSE_BUF_FD_RETRY.rawValue)
                unsafe pieces[i].fd = imageDescriptor
                unsafe pieces[i].pos = off_t(clamping: byteOffset)
                continue
            }
            let room = unsafe UnsafeMutableRawBufferPointer(
                rebasing: copies[used..<used + run.count])
            unsafe room.initializeMemory(as: UInt8.self, repeating: 0)
            if case .bytes(let bytes) = run.source {
                unsafe room.copyBytes(from: bytes.prefix(run.count))
            }
            unsafe pieces[i].mem = room.baseAddress
            used += run.count
        }
        unsafe vector.pointee.count = runs.count
    }

    func send(to request: fuse_req_t) {
        // With no piece there is nothing to read at that offset.
        if unsafe vector.pointee.count == 0 {
            unsafe fuse_reply_buf(request, nil, 0)
        } else {
            unsafe fuse_reply_data(request, vector, fuse_buf_copy_flags(0))
        }
    }

    deinit {
        unsafe copies.deallocate()
        unsafe UnsafeMutableRawPointer(vector).deallocate()
    }
}
