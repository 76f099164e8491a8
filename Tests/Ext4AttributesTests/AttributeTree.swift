import Foundation

/// A tree of files with attributes of every kind, made on a mounted volume.
enum AttributeTree {
    /// Fills the tree at `root`.
    ///
    /// - Parameters:
    ///   - largest: the size of the largest value.
    ///   - shared: the size of a value that several files have.
    ///   - isPlain: without what `mke2fs -d` does not copy.
    static func fill(_ root: String, largest: Int, shared: Int = 400, isPlain: Bool = false) throws
    {
        var tree = AttributeTree.Script(root: root)
        // Every size of value around the paddings, and every prefix.
        for size in [0, 1, 2, 3, 4, 5, 7, 8, 15, 16, 31, 60, 61, 100, 255, 256, 500, 640] {
            tree.add("size\(size)", ["user.value": bytes(size), "user.other": bytes(3)])
        }
        for prefix in ["user", "trusted", "security"] {
            tree.add("prefix.\(prefix)", ["\(prefix).x": bytes(9), "\(prefix).y.z": bytes(1)])
        }
        // Names of every length class, with bytes that are no ASCII: their hash depends on signs.
        for length in [1, 2, 3, 4, 5, 50, 249, 250] {
            let name = String(repeating: "n", count: length)
            tree.add("name\(length)", ["user.\(name)": bytes(4)])
        }
        tree.add("höhe", ["user.größe": bytes(5), "user.\u{1F600}": bytes(12)])
        tree.add("höher", ["user.größe": bytes(300)])
        tree.add(
            "many",
            Dictionary(
                uniqueKeysWithValues: (0..<15).map {
                    ("user.attribute\($0)", bytes($0))
                }))
        tree.add("large", ["user.large": bytes(largest)])
        tree.add("large2", ["user.large": bytes(largest), "user.small": bytes(5)])
        tree.add("inline and large", ["user.a": bytes(40), "user.large": bytes(largest - 80)])
        for i in 0..<20 { tree.add("shared\(i)", ["user.same": bytes(shared)]) }
        for i in 0..<3 { tree.add("deep/directory/file\(i)", ["user.deep": bytes(20 + i)]) }
        tree.add("deep", ["user.of a directory": bytes(200)])
        try tree.run()
        try KernelImage.shell(
            """
            cd "$1"
            setfattr -n user.of.root -v root .
            touch acl; mkdir directory; touch directory/before; touch acl-large
            setfacl -m u:1000:rwx,u:1001:r--,g:50:r-x,m::r-x acl
            setfacl -m u:0:---,d:u:1000:rwx,d:g:7:r-x directory
            touch directory/after; mkdir directory/below
            i=2000; list=u:1:r
            while [ $i -lt 2020 ]; do list=$list,u:$i:rw; i=$((i + 1)); done
            setfacl -m $list acl-large
            printf %0100d 5 > contents; setfattr -n user.beside -v contents contents
            ln -s nowhere link; setfattr -h -n trusted.of.link -v there link
            """, root)
        if !isPlain {
            try KernelImage.shell(
                "cd \"$1\"; mkfifo fifo; mknod null c 1 3; "
                    + "setfattr -n trusted.pipe -v dream fifo; setfattr -n security.n -v 1 null",
                root)
        }
        // Values that grow, shrink and move between inode and block.
        try KernelImage.shell(
            """
            cd "$1"
            touch moved
            setfattr -n user.a -v 0x00 moved
            setfattr -n user.b -v "$(printf %0200d 1)" moved
            setfattr -n user.a -v "$(printf %0150d 2)" moved
            setfattr -n user.b -v small moved
            setfattr -n user.c -v "$(printf %060d 3)" moved
            setfattr -x user.a moved
            """, root)
    }

    /// Bytes of every value, zeros among them.
    private static func bytes(_ count: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 37 &+ count) }
    }

    /// What `setfattr --restore` reads; an argument could not hold 64 KiB in hexadecimal.
    private struct Script {
        let root: String
        var text = ""

        mutating func add(_ path: String, _ attributes: [String: [UInt8]]) {
            text += "# file: \(path)\n"
            for (name, value) in attributes.sorted(by: { $0.key < $1.key }) {
                let digits = value.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
                text += value.isEmpty ? "\(name)=\"\"\n" : "\(name)=0x\(digits)\n"
            }
            text += "\n"
        }

        func run() throws {
            for line in text.split(separator: "\n") where line.hasPrefix("# file: ") {
                let path = "\(root)/\(line.dropFirst(8))"
                try KernelImage.shell(
                    "mkdir -p \"$(dirname \"$1\")\"; test -e \"$1\" || touch \"$1\"", path)
            }
            let file = FileManager.default.temporaryDirectory
                .appendingPathComponent("swift-ext4-\(UUID().uuidString)").path
            try Data(text.utf8).write(to: URL(fileURLWithPath: file))
            defer { try? FileManager.default.removeItem(atPath: file) }
            try KernelImage.shell("cd \"$1\"; setfattr --restore=\"$2\"", root, file)
        }
    }
}
