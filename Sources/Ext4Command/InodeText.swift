internal import Ext4

/// An inode for people and for programs.
enum InodeText {
    /// What `ls --json` and `stat --json` say of every file.
    static func members(of inode: Inode, in volume: Volume) -> [(String, JSONText)] {
        var members: [(String, JSONText)] = [
            ("inode", .number(inode.number.rawValue)),
            ("type", .string(inode.type.key)),
            ("mode", .string(inode.mode.octal)),
            ("uid", .number(inode.userID)),
            ("gid", .number(inode.groupID)),
            ("links", .number(inode.linkCount)),
            ("size", .number(volume.shownSize(of: inode))),
            ("blocks512", .number(inode.blocks512)),
            ("accessTime", .string(TimeText.iso(inode.accessTime))),
            ("modificationTime", .string(TimeText.iso(inode.modificationTime))),
            ("changeTime", .string(TimeText.iso(inode.changeTime))),
        ]
        if let time = inode.creationTime {
            members.append(("creationTime", .string(TimeText.iso(time))))
        }
        if let device = inode.device {
            members.append(
                (
                    "device",
                    .object([
                        ("major", .number(device.major)), ("minor", .number(device.minor)),
                    ])
                ))
        }
        return members
    }

    /// A run of blocks for programs.
    static func object(of run: BlockRun) -> JSONText {
        var members: [(String, JSONText)] = [
            ("logical", .number(run.logical.rawValue)), ("count", .number(run.count)),
        ]
        switch run.state {
        case .mapped(let block):
            members += [("physical", .number(block.rawValue)), ("state", .string("written"))]
        case .unwritten(let block):
            members += [("physical", .number(block.rawValue)), ("state", .string("unwritten"))]
        case .hole: members.append(("state", .string("hole")))
        }
        return .object(members)
    }

    /// A run of blocks as `debugfs` prints it: `(0-3):1024-1027`, with `[u]` when it is unwritten.
    static func text(of run: BlockRun) -> String {
        func range(_ first: UInt64) -> String {
            run.count == 1 ? "\(first)" : "\(first)-\(first &+ run.count &- 1)"
        }
        return switch run.state {
        case .mapped(let block): "(\(range(run.logical.rawValue))):\(range(block.rawValue))"
        case .unwritten(let block):
            "(\(range(run.logical.rawValue))[u]):\(range(block.rawValue))"
        case .hole: "(\(range(run.logical.rawValue))):hole"
        }
    }
}
