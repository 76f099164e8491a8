import Foundation
import Testing

@testable import Ext4

/// Modes and access control lists come out as on the kernel's ext4, whatever is done to them.
@Suite(.serialized, .enabled(if: isRoot, "mounting needs root"))
struct AccessControlTests {
    private typealias List = AccessControlList

    /// Something done to a file or directory below the root.
    private enum Step {
        case make(String, mode: UInt16, umask: UInt16)
        case makeDirectory(String, mode: UInt16, umask: UInt16)
        case chmod(String, UInt16)
        case set(String, List.Kind, List)
        case drop(String, List.Kind)
    }

    private static func list(_ bits: UInt16, _ further: List.Entry...) -> List {
        List(permissionsOf: FileMode(rawValue: bits)).with(further)
    }

    private static let lists: [List] = [
        list(0o640), list(0o777), list(0o000),
        list(0o750, .init(.mask, .execute)),
        list(0o700, .init(.user(1000), [.read, .write]), .init(.mask, [.read])),
        list(
            0o564, .init(.user(1), []), .init(.user(70_000), [.read, .write, .execute]),
            .init(.group(7), [.execute]), .init(.mask, [.read, .write, .execute])),
        list(0o777, .init(.group(0), [.write]), .init(.mask, [])),
        List(
            [.init(.userObject, [.read, .write])]
                + (0..<20).map { .init(.user(2000 + $0), .read) }
                + [.init(.groupObject, .read), .init(.mask, .read), .init(.other, [])]),
    ]

    /// Every list on files and directories, as access and as default list; what is made below
    /// directories with such a list, with several modes; and what `chmod` does to all that.
    private static var table: [Step] {
        var steps: [Step] = []
        let modes: [UInt16] = [0o666, 0o777, 0o600, 0o4711, 0o000, 0o1742]
        for (index, mode) in modes.enumerated() {
            steps.append(.make("plain\(index)", mode: mode, umask: [0o022, 0, 0o777][index % 3]))
        }
        for (number, list) in lists.enumerated() {
            let (file, directory) = ("f\(number)", "d\(number)")
            steps += [
                .make(file, mode: 0o2644, umask: 0), .set(file, .access, list),
                .makeDirectory(directory, mode: 0o2755, umask: 0o022),
                .set(directory, .access, list), .set(directory, .default, list),
                .makeDirectory("plain-\(directory)", mode: 0o755, umask: 0),
                .set("plain-\(directory)", .default, list),
            ]
            for parent in [directory, "plain-\(directory)"] {
                for (index, mode) in modes.enumerated() {
                    steps += [
                        .make("\(parent)/f\(index)", mode: mode, umask: 0o077),
                        .makeDirectory("\(parent)/d\(index)", mode: mode, umask: 0o077),
                        .make("\(parent)/d\(index)/below", mode: 0o664, umask: 0o077),
                        .chmod("\(parent)/f\(index)", modes[(index + number) % modes.count]),
                        .chmod("\(parent)/d\(index)", modes[(index + number + 1) % modes.count]),
                    ]
                }
            }
            // Set over another, dropped, and dropped where there is none.
            steps += [
                .make("twice\(number)", mode: 0o644, umask: 0),
                .set("twice\(number)", .access, list),
                .set("twice\(number)", .access, lists[(number + 3) % lists.count]),
                .make("dropped\(number)", mode: 0o644, umask: 0),
                .set("dropped\(number)", .access, list), .chmod("dropped\(number)", 0o753),
                .drop("dropped\(number)", .access), .drop("dropped\(number)", .access),
                .drop("dropped\(number)", .default),
                .drop("plain-\(directory)", .default),
                .make("plain-\(directory)/after", mode: 0o666, umask: 0o027),
            ]
        }
        return steps
    }

    @Test(arguments: ["-t ext4 -b 4096", "-t ext4 -b 1024 -I 128", "-t ext4 -O inline_data"])
    func everythingIsAsTheKernelDoesIt(_ options: String) throws {
        let ours = try KernelImage(options.split(separator: " ").map(String.init))
        let kernels = try KernelImage(options.split(separator: " ").map(String.init))
        try kernels.mounted { root in
            let script = kernels.directory + "/script"
            let lines = ["import os", "os.chdir('\(root)')"] + Self.table.map(Self.script)
            try Data(lines.joined(separator: "\n").utf8).write(to: URL(fileURLWithPath: script))
            try KernelImage.run(["python3", script])
        }
        try ours.written { volume in
            for step in Self.table { try perform(step, on: volume) }
        }
        let expected = try kernels.mounted(readOnly: true) { try view($0) }
        let found = try ours.mounted(readOnly: true) { try view($0) }
        #expect(expected.modes.count > 300)
        #expect(expected.attributes.files.count > 100)
        #expect(found.modes == expected.modes)
        #expect(found.attributes.differences(from: expected.attributes) == [])
        #expect(
            try AttributeListing.engine(ours.volume()).differences(from: expected.attributes)
                == [])
    }

    private struct View {
        let modes: [String]
        let attributes: AttributeListing
    }

    private func view(_ root: String) throws -> View {
        let text = try KernelImage.shell("cd \"$1\"; find . -printf '%p %M %U %G\\n' | sort", root)
        return View(
            modes: String(decoding: text, as: UTF8.self).split(separator: "\n").map(String.init),
            attributes: try AttributeListing.kernel(root))
    }

    /// The step as system calls to the kernel. The shell's tools make their own of modes.
    private static func script(_ step: Step) -> String {
        func octal(_ bits: UInt16) -> String { "0o" + String(bits, radix: 8) }
        switch step {
        case .make(let path, let mode, let umask):
            return "os.umask(\(octal(umask))); os.mknod('\(path)', 0o100000 | \(octal(mode)))"
        case .makeDirectory(let path, let mode, let umask):
            return "os.umask(\(octal(umask))); os.mkdir('\(path)', \(octal(mode)))"
        case .chmod(let path, let mode):
            return "os.chmod('\(path)', \(octal(mode)))"
        case .set(let path, let kind, let list):
            return "os.setxattr('\(path)', '\(name(kind))', bytes(\(list.attributeValue)))"
        case .drop(let path, let kind):
            return "os.removexattr('\(path)', '\(name(kind))')"
        }
    }

    private static func name(_ kind: List.Kind) -> String {
        kind == .access ? "system.posix_acl_access" : "system.posix_acl_default"
    }

    private func perform(_ step: Step, on volume: Volume) throws {
        switch step {
        case .make(let path, let mode, let umask):
            try make(path, 0o100000 | mode, umask, on: volume)
        case .makeDirectory(let path, let mode, let umask):
            // A directory has no other bits by mkdir(2) than these.
            try make(path, 0o040000 | mode & 0o1777, umask, on: volume)
        case .chmod(let path, let mode):
            var changes = AttributeChanges()
            changes.permissions = mode
            try volume.setAttributes(changes, of: volume.inode(atPath: path))
        case .set(let path, let kind, let list):
            try volume.setExtendedAttribute(
                FileName(Self.name(kind)), to: list.attributeValue, of: volume.inode(atPath: path))
        case .drop(let path, let kind):
            try volume.removeExtendedAttribute(
                FileName(Self.name(kind)), of: volume.inode(atPath: path))
        }
    }

    private func make(
        _ path: String, _ mode: UInt16, _ umask: UInt16, on volume: Volume
    ) throws {
        let parts = path.split(separator: "/").map(String.init)
        let parent = parts.dropLast().joined(separator: "/")
        let directory =
            parent.isEmpty ? try volume.root() : try volume.inode(atPath: parent)
        _ = try volume.create(
            FileName(parts.last ?? ""), in: directory,
            NewInode(mode: FileMode(rawValue: mode), umask: umask))
    }

    @Test func whoIsNotOfTheGroupLosesItsBit() throws {
        let image = try KernelImage(["-t", "ext4"])
        try image.written { volume in
            let file = try volume.create(
                "file", in: volume.root(),
                NewInode(mode: FileMode(rawValue: 0o102755), userID: 5, groupID: 7))
            let list = AccessControlList(permissionsOf: FileMode(rawValue: 0o711))
            try volume.setAccessControlList(
                .access, to: list, of: file, by: Credentials(userID: 5, groupID: 7))
            #expect(file.mode.rawValue == 0o102711)
            try volume.setAccessControlList(
                .access, to: list, of: file, by: Credentials(userID: 5, groupID: 8))
            #expect(file.mode.rawValue == 0o100711)
        }
    }

    @Test func badListsAreRefused() throws {
        let image = try KernelImage(["-t", "ext4"])
        try image.written { volume in
            let root = try volume.root()
            let good = AccessControlList(permissionsOf: root.mode).attributeValue
            func error(_ value: [UInt8]) -> Ext4Error? {
                do {
                    try volume.setExtendedAttribute(
                        "system.posix_acl_access", to: value, of: root)
                    return nil
                } catch {
                    return error
                }
            }
            #expect(error(good) == nil)
            #expect(error([]) == nil)
            #expect(error([2, 0, 0, 0]) == nil)
            #expect(error([1, 0, 0, 0] + good.dropFirst(4)) == .notSupported)
            #expect(error(good.dropLast()) == .invalidArgument)
            #expect(error(good.dropLast(8)) == .invalidArgument)
            #expect(error([2, 0]) == .invalidArgument)
            #expect(error(good + good.suffix(8)) == .invalidArgument)
            // A user without an id, then one with permissions that there are not.
            #expect(
                error(good + [2, 0, 7, 0, 255, 255, 255, 255]) == .invalidArgument)
            var odd = good
            odd[6] = 8
            #expect(error(odd) == .invalidArgument)
        }
    }
}

extension AccessControlList {
    /// The list with further entries, in order.
    fileprivate func with(_ further: [Entry]) -> AccessControlList {
        func rank(_ tag: Tag) -> Int {
            switch tag {
            case .userObject: 0
            case .user: 1
            case .groupObject: 2
            case .group: 3
            case .mask: 4
            case .other: 5
            }
        }
        return AccessControlList((entries + further).sorted { rank($0.tag) < rank($1.tag) })
    }
}
