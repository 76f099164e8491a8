#if os(Linux)
    import CHostTree
    import Ext4

    // The system calls that looking at a mounted tree and filling one take, with names as bytes and
    // failures as errors.

    /// A system call that failed.
    public struct HostFailure: Error, Hashable, Sendable, CustomStringConvertible {
        /// What was asked.
        public let call: String
        /// The name it was asked of.
        public let name: [UInt8]
        /// The operating system's error number.
        public let errno: Int32

        /// Makes the description of a failed call.
        public init(_ call: String, _ name: [UInt8], errno: Int32) {
            self.call = call
            self.name = name
            self.errno = errno
        }

        /// The failure in words.
        public var description: String {
            "\(call) of \(quoted(name)): error \(errno)"
        }
    }

    /// An open file or directory, closed with its last reference.
    public final class HostFile: Sendable {
        /// The descriptor, for calls that take names relative to it.
        public let descriptor: Int32

        init(_ descriptor: Int32) { self.descriptor = descriptor }

        deinit { _ = linux_close(descriptor) }

        /// Opens a directory by its path.
        public static func directory(path: String) throws(HostFailure) -> HostFile {
            try directory([UInt8](path.utf8), descriptor: -100)
        }

        /// Opens a directory by its name in this one.
        public func directory(_ name: [UInt8]) throws(HostFailure) -> HostFile {
            try HostFile.directory(name, descriptor: descriptor)
        }

        private static func directory(
            _ name: [UInt8], descriptor: Int32
        ) throws(HostFailure) -> HostFile {
            let result = unsafe linux_open_directory(descriptor, name.terminated)
            return HostFile(try checked(result, "opening", name))
        }

        /// Opens a file or a directory in this one for reading.
        public func open(_ name: [UInt8]) throws(HostFailure) -> HostFile {
            let result = unsafe linux_open_for_reading(descriptor, name.terminated)
            return HostFile(try checked(result, "opening", name))
        }

        /// Opens a file in this directory for reading and writing, making it where it is not there.
        public func create(
            _ name: [UInt8], mode: UInt32 = 0o644
        ) throws(HostFailure) -> HostFile {
            let result = unsafe linux_create(descriptor, name.terminated, mode)
            return HostFile(try checked(result, "creating", name))
        }

        /// What the kernel tells about a name in this directory; the empty name is the directory.
        func status(_ name: [UInt8]) throws(HostFailure) -> linux_status {
            var status = linux_status()
            try checked(
                unsafe linux_status(descriptor, name.terminated, &status), "looking at", name)
            return status
        }

        /// The number of the inode that a name leads to.
        public func inodeNumber(of name: [UInt8]) throws(HostFailure) -> UInt64 {
            try status(name).inode
        }

        /// Reads where a symbolic link leads.
        func symlinkTarget(_ name: [UInt8]) throws(HostFailure) -> [UInt8] {
            var buffer = [UInt8](repeating: 0, count: 65_536)
            let count = try checked(
                unsafe linux_read_symlink(
                    descriptor, name.terminated, &buffer, buffer.count),
                "reading the link", name)
            return [UInt8](buffer[..<count])
        }

        /// The names and values of a name's extended attributes.
        func attributes(_ name: [UInt8]) throws(HostFailure) -> [FileName: [UInt8]] {
            var buffer = [UInt8](repeating: 0, count: 65_536)
            let count = try checked(
                unsafe linux_attribute_names(
                    descriptor, name.terminated, &buffer, buffer.count),
                "listing the attributes", name)
            guard count > 0 else { return [:] }
            var result: [FileName: [UInt8]] = [:]
            for attribute in [UInt8](buffer[..<count]).split(separator: 0) {
                let key = [UInt8](attribute)
                let length = try checked(
                    unsafe linux_attribute(
                        descriptor, name.terminated, key.terminated, &buffer, buffer.count),
                    "reading an attribute", name)
                result[FileName(key)] = [UInt8](buffer[..<length])
            }
            return result
        }

        /// The entries of this directory from where the last call ended; empty at its end.
        func nextEntries(into buffer: inout [UInt8]) throws(HostFailure) -> ArraySlice<UInt8> {
            let count = unsafe linux_entries(descriptor, &buffer, buffer.count)
            return buffer[..<(try checked(count, "listing", []))]
        }

        /// Reads at most `buffer.count` bytes; 0 at the end.
        public func read(
            at offset: UInt64, into buffer: inout [UInt8], count: Int
        ) throws(HostFailure) -> Int {
            try checked(
                unsafe linux_read_at(descriptor, &buffer, min(count, buffer.count), offset),
                "reading", [])
        }

        /// Writes all of the bytes.
        public func write(_ bytes: [UInt8], at offset: UInt64) throws(HostFailure) {
            let count = try checked(
                unsafe linux_write_at(descriptor, bytes, bytes.count, offset), "writing", [])
            guard count == bytes.count else { throw HostFailure("writing", [], errno: 28) }
        }

        /// Where the next data begins, or nil when there is no more.
        func data(from offset: UInt64) throws(HostFailure) -> UInt64? {
            let result = linux_seek_data(descriptor, Int64(clamping: offset))
            if result == -6 { return nil }  // ENXIO
            return UInt64(try checked(result, "seeking data in", []))
        }

        /// Where the next hole begins.
        func hole(from offset: UInt64) throws(HostFailure) -> UInt64 {
            UInt64(
                try checked(
                    linux_seek_hole(descriptor, Int64(clamping: offset)), "seeking a hole in", []))
        }

        /// The map of this file as the kernel gives it.
        func map() throws(HostFailure) -> [linux_extent] {
            var result: [linux_extent] = []
            var start: UInt64 = 0
            // Most maps have few runs; the large buffer is for those that have more.
            var buffer = [linux_extent](repeating: linux_extent(), count: 16)
            while true {
                let count = try checked(
                    unsafe linux_map(descriptor, start, &buffer, UInt32(buffer.count)),
                    "mapping", [])
                guard count > 0 else { return result }
                let extents = buffer[..<count]
                result += extents
                guard let last = extents.last, last.flags & LINUX_EXTENT_LAST == 0 else {
                    return result
                }
                start = last.logical + last.length
                if buffer.count == 16 {
                    buffer = [linux_extent](repeating: linux_extent(), count: 4096)
                }
            }
        }

        /// The flags of `lsattr`.
        public func flags() throws(HostFailure) -> UInt32 {
            var flags: UInt32 = 0
            try checked(unsafe linux_flags(descriptor, &flags), "reading the flags", [])
            return flags
        }

        /// Sets the flags of `chattr`.
        public func setFlags(_ flags: UInt32) throws(HostFailure) {
            try checked(linux_set_flags(descriptor, flags), "setting the flags", [])
        }

        /// The project that this file counts for.
        func project() throws(HostFailure) -> UInt32 {
            var project: UInt32 = 0
            try checked(unsafe linux_project(descriptor, &project), "reading the project", [])
            return project
        }
    }

    /// Passes a result on, or throws the error that it stands for.
    @discardableResult
    func checked<Number: SignedInteger & FixedWidthInteger>(
        _ result: Number, _ call: @autoclosure () -> String, _ name: [UInt8]
    ) throws(HostFailure) -> Number {
        guard result < 0 else { return result }
        throw HostFailure(call(), name, errno: Int32(truncatingIfNeeded: -result))
    }

    extension [UInt8] {
        /// The bytes with a NUL behind them, as C wants its strings.
        var terminated: [UInt8] { self + [0] }
    }
#endif
