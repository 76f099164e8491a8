internal import CFuse3
internal import Ext4
internal import Glibc

// Files without a name (`O_TMPFILE`): FUSE_TMPFILE, a request that libfuse does not know.

extension Session {
    /// Makes a file without a name in the directory that `request` is about.
    ///
    /// Unless the answer is an error the kernel has one reference to the file.
    func createUnnamed(
        _ request: ext4_fuse_request, _ wanted: ext4_fuse_create
    ) -> ext4_fuse_created {
        var answer = ext4_fuse_created()
        answer.unique = request.unique
        do throws(Ext4Error) {
            let bits: mode_t = wanted.mode & 0o7777 | S_IFREG
            let mode = FileMode(rawValue: UInt16(truncatingIfNeeded: bits))
            let made = try volume.createUnnamed(
                in: try inode(ofNode: fuse_ino_t(request.node)),
                NewInode(
                    mode: mode, userID: request.uid, groupID: request.gid,
                    umask: UInt16(wanted.umask & 0o7777)),
                by: Credentials(userID: request.uid, groupID: request.gid))
            fill(&answer, from: made)
            answer.length = UInt32(MemoryLayout<ext4_fuse_created>.size)
        } catch {
            report(error)
            answer.error = -error.errorNumber
            answer.length = UInt32(Self.replyHeadSize)
        }
        return answer
    }

    private func fill(_ answer: inout ext4_fuse_created, from file: Inode) {
        var attributes = stat()
        fill(&attributes, from: file)
        answer.node = UInt64(Self.node(of: file.number))
        answer.generation = UInt64(file.generation)
        answer.entry_seconds = UInt64(Self.forEver)
        answer.valid_seconds = UInt64(Self.forEver)
        answer.inode = UInt64(attributes.st_ino)
        answer.size = UInt64(bitPattern: Int64(attributes.st_size))
        answer.blocks = UInt64(bitPattern: Int64(attributes.st_blocks))
        answer.access_seconds = UInt64(bitPattern: Int64(attributes.st_atim.tv_sec))
        answer.modification_seconds = UInt64(bitPattern: Int64(attributes.st_mtim.tv_sec))
        answer.change_seconds = UInt64(bitPattern: Int64(attributes.st_ctim.tv_sec))
        answer.access_nanoseconds = UInt32(clamping: attributes.st_atim.tv_nsec)
        answer.modification_nanoseconds = UInt32(clamping: attributes.st_mtim.tv_nsec)
        answer.change_nanoseconds = UInt32(clamping: attributes.st_ctim.tv_nsec)
        answer.mode = attributes.st_mode
        answer.link_count = UInt32(clamping: attributes.st_nlink)
        answer.uid = attributes.st_uid
        answer.gid = attributes.st_gid
        answer.block_size = UInt32(clamping: attributes.st_blksize)
        answer.open_flags = EXT4_FUSE_KEEP_CACHE.rawValue
        if !options.cachesWrites { answer.open_flags |= EXT4_FUSE_NO_FLUSH.rawValue }
    }
}
