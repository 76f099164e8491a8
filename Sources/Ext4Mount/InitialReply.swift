internal import CFuse3
internal import Glibc
internal import Synchronization

// The reply to the kernel's first request, FUSE_INIT, says what the file system can do. libfuse
// makes it, and does not know all that the kernel can be told: what is missing is added on its way
// out.

enum InitialReply {
    private static let isSent = Atomic(false)

    /// Lets the replies of `fuse`, which is mounted, pass by here.
    static func extend(_ fuse: OpaquePointer) {
        var io = fuse_custom_io()
        unsafe io.read = { descriptor, buffer, count, _ in
            unsafe read(descriptor, buffer, count)
        }
        unsafe io.writev = { descriptor, parts, count, _ in
            if !InitialReply.isSent.exchange(true, ordering: .relaxed) {
                unsafe InitialReply.addFlags(parts, count: Int(count))
            }
            return unsafe writev(descriptor, parts, count)
        }
        _ = unsafe fuse_session_custom_io(fuse, &io, fuse_session_fd(fuse))
    }

    /// Adds to `flags` of `struct fuse_init_out`, which stands behind three words in the second
    /// part of the reply.
    private static func addFlags(_ parts: UnsafeMutablePointer<iovec>?, count: Int) {
        guard count >= 2, let parts = unsafe parts, let answer = unsafe parts[1].iov_base,
            unsafe parts[1].iov_len >= 16
        else { return }
        let flags = unsafe answer.loadUnaligned(fromByteOffset: 12, as: UInt32.self)
        unsafe answer.storeBytes(
            of: flags | UInt32(EXT4_FUSE_HANDLE_KILLPRIV_V2.rawValue), toByteOffset: 12,
            as: UInt32.self)
    }
}
