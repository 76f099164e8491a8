public import Ext4
internal import Glibc
internal import Synchronization

// A volume in an image file or on a block device.
//
// Who may open what, at the same time:
//
//   - Any number of readers. Each holds a shared `flock`.
//   - One writer and nobody else. It holds an exclusive `flock`, and on a block device the
//     kernel's own claim (`O_EXCL`), which no mounted, swapped or mapped device gives away.
//   - A volume that the kernel has mounted, on the device itself or through a loop device over
//     the image, is refused to writers. Readers may look at it, as with `dumpe2fs`; what they see
//     is what reached the device.
//
// The lock belongs to the open file: it lasts until the device is freed, also in a process that
// was forked after opening. It is `flock` and not `fcntl` because that is what udev and the
// e2fsprogs agree on for block devices.

/// An image file or a block device, opened by its path.
@safe public final class FileDevice: BlockDevice {
    /// What a device is opened for.
    public enum Access: Hashable, Sendable {
        /// Reading only.
        case readOnly
        /// Reading and writing.
        case readWrite
    }

    /// Whether others are kept away while the device is open.
    public enum Claim: Hashable, Sendable {
        /// Readers keep writers away, a writer keeps everybody away.
        case locked
        /// Nobody is kept away and nobody's lock is heeded: for a look at a superblock. Writers
        /// cannot have it.
        case none
    }

    /// The file descriptor, owned by the device.
    public let fileDescriptor: Int32
    /// The size in bytes when it was opened, or as it was set since.
    public var byteCount: UInt64 { size.load(ordering: .relaxed) }
    private let size: Atomic<UInt64>
    /// Whether writing is refused.
    public let isReadOnly: Bool
    /// Whether this is a block device and not an image file.
    public let isBlockDevice: Bool
    /// The path that it was opened by.
    public let path: String

    /// Opens the image file or block device at `path`.
    ///
    /// - Throws: `Ext4Error.busy` when the lock is another's or, for writing, when the volume is
    ///   mounted; `DeviceUse.find` then says by whom. `Ext4Error.isDirectory` and
    ///   `Ext4Error.notSupported` for what is neither a file nor a block device.
    ///   `Ext4Error.io` with the error number when the system refuses.
    public init(path: String, access: Access = .readOnly, claim: Claim = .locked)
        throws(Ext4Error)
    {
        let writes = access == .readWrite
        guard !writes || claim == .locked else { throw .invalidArgument }
        let kind = try FileStatus.of(path: path).kind
        switch kind {
        case .regular, .blockDevice: break
        case .directory: throw .isDirectory
        case .other: throw .notSupported
        }

        var flags = O_CLOEXEC | (writes ? O_RDWR : O_RDONLY)
        if writes, kind == .blockDevice { flags |= O_EXCL }
        let descriptor = Self.retrying { unsafe open(path, flags) }
        guard descriptor >= 0 else { throw Self.failure(.open, errno: errno) }
        do throws(Ext4Error) {
            let status = try FileStatus.of(descriptor: descriptor)
            guard status.kind == kind else { throw .busy }
            if claim == .locked {
                try Self.lock(descriptor, exclusively: writes)
            }
            if writes, DeviceUse.find(status) != nil { throw .busy }
            size = Atomic(try Self.size(descriptor))
        } catch {
            close(descriptor)
            throw error
        }
        fileDescriptor = descriptor
        isReadOnly = !writes
        isBlockDevice = kind == .blockDevice
        self.path = path
    }

    deinit { close(fileDescriptor) }

    /// Makes an image file longer, by a hole that reads as zeros, or cuts it off.
    ///
    /// - Throws: `Ext4Error.notSupported` for a block device, `Ext4Error.readOnlyVolume`,
    ///   `Ext4Error.io`.
    public func setByteCount(_ count: UInt64) throws(Ext4Error) {
        guard !isBlockDevice else { throw .notSupported }
        guard !isReadOnly else { throw .readOnlyVolume }
        guard let length = off_t(exactly: count) else { throw .fileTooLarge }
        let descriptor = fileDescriptor
        guard Self.retrying({ ftruncate(descriptor, length) }) == 0 else {
            throw .io(IOFailure(.write, at: count, count: 0, errno: errno))
        }
        size.store(count, ordering: .relaxed)
    }

    /// Looks again how long the file or device is, which others may have changed.
    ///
    /// - Throws: `Ext4Error.io`.
    public func updateByteCount() throws(Ext4Error) {
        size.store(try Self.size(fileDescriptor), ordering: .relaxed)
    }

    /// Fills all of `bytes` from `byteOffset` on.
    ///
    /// - Throws: `Ext4Error.io`, also when the range lies beyond the end.
    public func read(at byteOffset: UInt64, into bytes: inout MutableRawSpan) throws(Ext4Error) {
        let count = bytes.byteCount
        try checkBounds(.read, at: byteOffset, count: count)
        let descriptor = fileDescriptor
        // Nothing here overflows: the bounds were checked and a file's size fits an Int64.
        let error = unsafe bytes.withUnsafeMutableBytes { target -> Int32? in
            var done = 0
            while done < count {
                let part = unsafe UnsafeMutableRawBufferPointer(rebasing: target[done...])
                let got = unsafe pread(
                    descriptor, part.baseAddress, part.count, off_t(byteOffset) + off_t(done))
                if got > 0 {
                    done += got
                } else if got == 0 {
                    return 0
                } else if errno != EINTR {
                    return errno
                }
            }
            return nil
        }
        if let error {
            throw .io(IOFailure(.read, at: byteOffset, count: count, errno: error))
        }
    }

    /// Writes all of `bytes` from `byteOffset` on.
    ///
    /// - Throws: `Ext4Error.readOnlyVolume`, `Ext4Error.io`.
    public func write(_ bytes: RawSpan, at byteOffset: UInt64) throws(Ext4Error) {
        guard !isReadOnly else { throw .readOnlyVolume }
        let count = bytes.byteCount
        try checkBounds(.write, at: byteOffset, count: count)
        let descriptor = fileDescriptor
        let error = unsafe bytes.withUnsafeBytes { source -> Int32? in
            var done = 0
            while done < count {
                let part = unsafe UnsafeRawBufferPointer(rebasing: source[done...])
                let put = unsafe pwrite(
                    descriptor, part.baseAddress, part.count, off_t(byteOffset) + off_t(done))
                if put > 0 {
                    done += put
                } else if put == 0 {
                    return ENOSPC
                } else if errno != EINTR {
                    return errno
                }
            }
            return nil
        }
        if let error {
            throw .io(IOFailure(.write, at: byteOffset, count: count, errno: error))
        }
    }

    /// Makes what was written durable (`fdatasync`).
    ///
    /// - Throws: `Ext4Error.io`.
    public func flush() throws(Ext4Error) {
        guard !isReadOnly else { return }
        let descriptor = fileDescriptor
        guard Self.retrying({ fdatasync(descriptor) }) == 0 else {
            throw Self.failure(.flush, errno: errno)
        }
    }
}

extension FileDevice {
    private static func retrying(_ call: () -> Int32) -> Int32 {
        while true {
            let result = call()
            if result >= 0 || errno != EINTR { return result }
        }
    }

    private static func failure(_ operation: IOFailure.Operation, errno: Int32) -> Ext4Error {
        errno == EBUSY
            ? .busy : .io(IOFailure(operation, at: 0, count: 0, errno: errno))
    }

    /// Where the file ends. For a block device that is its size, as `BLKGETSIZE64` has it.
    private static func size(_ descriptor: Int32) throws(Ext4Error) -> UInt64 {
        let end = lseek(descriptor, 0, SEEK_END)
        guard end >= 0 else { throw failure(.open, errno: errno) }
        return UInt64(end)
    }

    /// Takes the lock, after half a second at the most.
    ///
    /// What holds it for a moment is waited for: udev looks at a block device under a shared lock
    /// whenever somebody who wrote to it closes it; and when a program starts another, the new
    /// process holds what the old one had open until it is that other program.
    private static func lock(_ descriptor: Int32, exclusively: Bool) throws(Ext4Error) {
        var attempts = 50
        while true {
            let operation = exclusively ? LOCK_EX : LOCK_SH
            if retrying({ flock(descriptor, operation | LOCK_NB) }) == 0 { return }
            guard errno == EWOULDBLOCK else { break }
            attempts -= 1
            guard attempts > 0 else { throw .busy }
            usleep(10_000)
        }
        // A file system without locks: a reader goes on, a writer would have no protection.
        if exclusively { throw failure(.open, errno: errno) }
    }
}
