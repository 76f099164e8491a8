#if os(Linux)
    import CHostTree
    import Ext4

    /// A directory of the host, most often a volume that the kernel has mounted, read into a
    /// manifest by the kernel's own calls.
    public struct HostTree {
        private var manifest: TreeManifest
        private var buffer = [UInt8](repeating: 0, count: 1 << 20)

        /// Reads the tree below `path`, without following symbolic links.
        ///
        /// - Throws: `HostFailure` for the first call that the kernel refused, except for what it
        ///   refuses by design: the contents of encrypted files whose key it does not have.
        public static func manifest(ofTreeAt path: String) throws(HostFailure) -> TreeManifest {
            let root = try HostFile.directory(path: path)
            let status = try root.status([])
            var tree = HostTree(root: status.inode)
            try tree.visit(status, as: [UInt8(ascii: ".")], in: root)
            return tree.manifest
        }

        private init(root: UInt64) {
            manifest = TreeManifest(root: root)
        }

        private mutating func visit(
            _ status: linux_status, as name: [UInt8], in directory: HostFile
        ) throws(HostFailure) {
            var node = TreeNode(status)
            node.attributes = try directory.attributes(name)
            var children: [(name: [UInt8], entry: TreeNode.Entry)] = []
            var opened: HostFile?
            switch node.type {
            case .directory:
                let file = try directory.open(name)
                opened = file
                try describe(file, &node)
                children = try entries(of: file)
                var entries: [FileName: TreeNode.Entry] = [:]
                for child in children { entries[FileName(child.name)] = child.entry }
                node.entries = entries
            case .regular:
                do throws(HostFailure) {
                    let file = try directory.open(name)
                    try describe(file, &node)
                    try readContents(of: file, &node)
                } catch  where error.errno == 126 {  // ENOKEY
                    node.contents = .refused
                }
            case .symlink:
                node.target = try directory.symlinkTarget(name)
            default:
                break
            }
            manifest.nodes[status.inode] = node
            guard let opened else { return }
            for child in children
            where manifest.nodes[child.entry.number] == nil
                && child.name != [0x2E] && child.name != [0x2E, 0x2E]
            {
                try visit(try opened.status(child.name), as: child.name, in: opened)
            }
        }

        /// What an open file tells of itself: flags, project, map.
        private func describe(_ file: HostFile, _ node: inout TreeNode) throws(HostFailure) {
            do throws(HostFailure) {
                node.flags = try file.flags() & TreeNode.visibleFlags
                node.projectID = try file.project()
            } catch  where error.errno == 25 || error.errno == 95 {
                // ENOTTY, EOPNOTSUPP: a file system without flags.
            }
            do throws(HostFailure) {
                var map: [TreeNode.Extent] = []
                for extent in try file.map()
                where extent.flags & (LINUX_EXTENT_INLINE | LINUX_EXTENT_UNKNOWN) == 0 {
                    map.append(
                        merging: TreeNode.Extent(
                            logical: extent.logical, physical: extent.physical,
                            count: extent.length,
                            isUnwritten: extent.flags & LINUX_EXTENT_UNWRITTEN != 0))
                }
                node.map = map
            } catch  where error.errno == 95 {
                // EOPNOTSUPP: a file system without FIEMAP.
            }
        }

        /// Parses `linux_dirent64` records: inode, offset, length, type, name.
        private mutating func entries(
            of file: HostFile
        ) throws(HostFailure) -> [(name: [UInt8], entry: TreeNode.Entry)] {
            var result: [(name: [UInt8], entry: TreeNode.Entry)] = []
            while true {
                let records = try file.nextEntries(into: &buffer)
                guard !records.isEmpty else { return result }
                var position = records.startIndex
                while position + 19 <= records.endIndex {
                    let length = Int(records[position + 16]) | Int(records[position + 17]) << 8
                    guard length >= 20, position + length <= records.endIndex else { break }
                    var number: UInt64 = 0
                    for index in 0..<8 {
                        number |= UInt64(records[position + index]) << UInt64(8 * index)
                    }
                    let name = records[(position + 19)..<(position + length)]
                    result.append(
                        (
                            [UInt8](name.prefix { $0 != 0 }),
                            TreeNode.Entry(
                                number: number,
                                type: FileType(directoryEntry: records[position + 18]))
                        ))
                    position += length
                }
            }
        }

        private mutating func readContents(
            of file: HostFile, _ node: inout TreeNode
        ) throws(HostFailure) {
            var digest = ContentDigest()
            var segments: [TreeNode.Segment] = []
            // All of them before the first read: what readahead puts into the page cache makes
            // the kernel call space data that was never written.
            var offset: UInt64 = 0
            while let start = try file.data(from: offset) {
                let end = try file.hole(from: start)
                guard end > start else { break }
                segments.append(TreeNode.Segment(offset: start, count: end - start))
                offset = end
            }
            for segment in segments {
                let end = segment.offset + segment.count
                var position = segment.offset / UInt64(ContentDigest.pieceSize)
                position *= UInt64(ContentDigest.pieceSize)
                while position < end {
                    let wanted = Int(min(UInt64(buffer.count), end - position))
                    let count = try file.read(at: position, into: &buffer, count: wanted)
                    guard count == wanted else { throw HostFailure("reading", [], errno: 5) }
                    unsafe digest.add(buffer.span.bytes.extracting(0..<count), at: position)
                    position += UInt64(count)
                }
            }
            node.contents = .digest(digest)
            node.segments = segments
        }
    }

    extension TreeNode {
        init(_ status: linux_status) {
            let mode = FileMode(rawValue: UInt16(truncatingIfNeeded: status.mode))
            let isDevice = mode.type == .characterDevice || mode.type == .blockDevice
            self.init(
                type: mode.type, permissions: mode.permissions, userID: status.user,
                groupID: status.group, size: status.size, linkCount: status.links,
                blocks512: status.blocks512, accessTime: Timestamp(status.access),
                modificationTime: Timestamp(status.modification),
                changeTime: Timestamp(status.change),
                creationTime: status.has_creation != 0 ? Timestamp(status.creation) : nil,
                device: isDevice
                    ? DeviceNumber(major: status.device_major, minor: status.device_minor) : nil,
                generation: status.has_generation != 0 ? status.generation : nil)
        }
    }

    extension Timestamp {
        init(_ time: linux_time) {
            self.init(seconds: time.seconds, nanoseconds: time.nanoseconds)
        }
    }

    extension FileType {
        /// The type that `d_type` of `getdents64` stands for: the type bits of a mode.
        init(directoryEntry type: UInt8) {
            self = FileMode(rawValue: UInt16(type) << 12).type
        }
    }
#endif
