#if os(Linux)
    import CHostTree
    public import Ext4

    // What changes a directory tree of the host: the calls that fill a mounted volume.

    extension HostFile {
        /// Sets an extended attribute of a name in this directory.
        public func setAttribute(
            _ attribute: String, to value: [UInt8], of name: [UInt8]
        ) throws(HostFailure) {
            try checked(
                unsafe linux_set_attribute(
                    descriptor, name.terminated, [UInt8](attribute.utf8).terminated, value,
                    value.count),
                "setting \(attribute)", name)
        }

        /// Makes a directory in this one and opens it.
        @discardableResult
        public func makeDirectory(
            _ name: [UInt8], mode: UInt32 = 0o755
        ) throws(HostFailure) -> HostFile {
            try checked(
                unsafe linux_make_directory(descriptor, name.terminated, mode),
                "making the directory", name)
            return try directory(name)
        }

        /// Makes a fifo, a socket or a device; `mode` holds the type.
        public func makeNode(
            _ name: [UInt8], mode: UInt32, major: UInt32 = 0, minor: UInt32 = 0
        ) throws(HostFailure) {
            try checked(
                unsafe linux_make_node(descriptor, name.terminated, mode, major, minor),
                "making the node", name)
        }

        /// Gives a file of this directory a further name in another.
        public func link(
            _ name: [UInt8], to directory: HostFile, as newName: [UInt8]
        ) throws(HostFailure) {
            try checked(
                unsafe linux_link(
                    descriptor, name.terminated, directory.descriptor, newName.terminated),
                "linking", newName)
        }

        /// Makes a symbolic link.
        public func makeSymlink(_ name: [UInt8], to target: [UInt8]) throws(HostFailure) {
            try checked(
                unsafe linux_make_symlink(descriptor, name.terminated, target.terminated),
                "making the link", name)
        }

        /// Takes a name of a file away.
        public func unlink(_ name: [UInt8]) throws(HostFailure) {
            try checked(unsafe linux_unlink(descriptor, name.terminated), "unlinking", name)
        }

        /// Takes an empty directory away.
        public func removeDirectory(_ name: [UInt8]) throws(HostFailure) {
            try checked(
                unsafe linux_remove_directory(descriptor, name.terminated), "removing", name)
        }

        /// Sets a name's owner.
        public func setOwner(
            _ name: [UInt8], user: UInt32, group: UInt32
        ) throws(HostFailure) {
            try checked(
                unsafe linux_set_owner(descriptor, name.terminated, user, group),
                "setting the owner", name)
        }

        /// Sets a name's permissions.
        public func setMode(_ name: [UInt8], _ mode: UInt32) throws(HostFailure) {
            try checked(
                unsafe linux_set_mode(descriptor, name.terminated, mode), "setting the mode", name)
        }

        /// Sets a name's times of access and modification.
        public func setTimes(
            _ name: [UInt8], access: Timestamp, modification: Timestamp
        ) throws(HostFailure) {
            try checked(
                unsafe linux_set_times(
                    descriptor, name.terminated, linux_time(access), linux_time(modification)),
                "setting the times", name)
        }

        /// Sets this file's size.
        public func truncate(to size: UInt64) throws(HostFailure) {
            try checked(linux_truncate(descriptor, size), "truncating", [])
        }

        /// The kinds of `fallocate`.
        public enum Allocation: Int32, Sendable {
            /// Allocates, and makes the file longer where it must.
            case growing = 0
            /// Allocates, also behind the file's end.
            case keepingSize = 1
            /// Takes blocks out.
            case punching = 3
            /// Takes a range out and moves what is behind it.
            case collapsing = 8
            /// Makes a range zero.
            case zeroing = 16
            /// Puts a hole in and moves what is behind it.
            case inserting = 32
        }

        /// Allocates or takes away blocks of this file.
        public func allocate(
            _ kind: Allocation, at offset: UInt64, count: UInt64
        ) throws(HostFailure) {
            try checked(
                linux_allocate(descriptor, kind.rawValue, offset, count), "allocating", [])
        }

        /// Makes this file durable.
        public func sync() throws(HostFailure) {
            try checked(linux_sync(descriptor), "syncing", [])
        }

        /// Makes the file system of this file durable.
        public func syncFileSystem() throws(HostFailure) {
            try checked(linux_sync_file_system(descriptor), "syncing the file system", [])
        }

        /// Gives the kernel an encryption key for the file system of this directory.
        ///
        /// - Returns: The key's identifier.
        public func addEncryptionKey(_ key: [UInt8]) throws(HostFailure) -> [UInt8] {
            guard key.count == 64 else { throw HostFailure("adding a key", [], errno: 22) }
            var identifier = [UInt8](repeating: 0, count: 16)
            try checked(unsafe linux_add_key(descriptor, key, &identifier), "adding a key", [])
            return identifier
        }

        /// Makes this empty directory an encrypted one.
        public func encrypt(withKey identifier: [UInt8]) throws(HostFailure) {
            guard identifier.count == 16 else { throw HostFailure("encrypting", [], errno: 22) }
            try checked(unsafe linux_encrypt(descriptor, identifier), "encrypting", [])
        }
    }

    extension linux_time {
        init(_ time: Timestamp) {
            self.init(seconds: time.seconds, nanoseconds: time.nanoseconds)
        }
    }
#endif
