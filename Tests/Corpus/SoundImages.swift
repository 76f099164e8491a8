import CHostTree
import Glibc

/// What ends a run of the corpus.
struct CorpusError: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// The sound images that all damage starts from: made by `mke2fs` with a tree of files, since their
/// features are more than the engine writes.
enum SoundImages {
    /// The arguments of `mke2fs` after those that all have, the size in KiB, and what is done to
    /// the image afterwards.
    struct Recipe {
        let name: String
        let kibibytes: Int
        let arguments: String
        var afterwards = ""
        var tree = "tree"
    }

    /// The recipes by name.
    static let recipes: [Recipe] = [
        Recipe(
            name: "ext4", kibibytes: 6144,
            arguments: "-t ext4 -b 1024 -g 1024 -N 768 -J size=1"),
        Recipe(name: "ext2", kibibytes: 5120, arguments: "-t ext2 -b 1024 -I 128 -g 1024 -N 640"),
        Recipe(
            name: "ext3", kibibytes: 5120,
            arguments: "-t ext3 -b 1024 -I 256 -g 1024 -N 640 -J size=1"),
        Recipe(
            name: "nocsum", kibibytes: 5120,
            arguments: "-t ext4 -O ^metadata_csum,uninit_bg -b 1024 -g 1024 -N 640 -J size=1"),
        Recipe(
            name: "inode128", kibibytes: 5120,
            arguments: "-t ext4 -I 128 -b 1024 -g 1024 -N 640 -J size=1"),
        Recipe(
            name: "pointers", kibibytes: 5120,
            arguments: "-t ext4 -O ^extents,^64bit -b 1024 -g 1024 -N 640 -J size=1"),
        Recipe(
            name: "blocks4k", kibibytes: 8192, arguments: "-t ext4 -O ^has_journal -b 4096 -N 512"),
        Recipe(
            name: "inline", kibibytes: 5120,
            arguments: "-t ext4 -O inline_data -b 1024 -g 1024 -N 640 -J size=1"),
        Recipe(
            name: "eainode", kibibytes: 5120,
            arguments: "-t ext4 -O ea_inode -b 1024 -g 1024 -N 640 -J size=1", tree: "huge"),
        Recipe(
            name: "bigalloc", kibibytes: 8192,
            arguments: "-t ext4 -O bigalloc -C 4096 -b 1024 -g 1024 -N 512 -J size=1"),
        Recipe(
            name: "quota", kibibytes: 5120,
            arguments:
                "-t ext4 -O quota,project -E quotatype=usrquota:grpquota:prjquota -b 1024 -g 1024 -N 640 -J size=1"
        ),
        Recipe(
            name: "mmp", kibibytes: 5120,
            arguments: "-t ext4 -O mmp -b 1024 -g 1024 -N 640 -J size=1"),
        Recipe(
            name: "casefold", kibibytes: 5120,
            arguments: "-t ext4 -O casefold -E encoding=utf8 -b 1024 -g 1024 -N 640 -J size=1",
            afterwards: "debugfs -w -R 'set_inode_field /index flags 0x40081000' IMAGE"),
        Recipe(
            name: "orphan", kibibytes: 5120,
            arguments: "-t ext4 -O orphan_file -b 1024 -g 1024 -N 640 -J size=1"),
        Recipe(
            name: "metabg", kibibytes: 5120,
            arguments: "-t ext4 -O meta_bg,^resize_inode -b 1024 -g 1024 -N 640 -J size=1"),
        Recipe(
            name: "sparse2", kibibytes: 5120,
            arguments: "-t ext4 -O sparse_super2 -b 1024 -g 1024 -N 640 -J size=1"),
        Recipe(
            name: "notype", kibibytes: 5120,
            arguments: "-t ext2 -O ^filetype -b 1024 -g 1024 -N 640"),
        Recipe(
            name: "encrypt", kibibytes: 5120,
            arguments: "-t ext4 -O encrypt -b 1024 -g 1024 -N 640 -J size=1"),
        Recipe(
            name: "verity", kibibytes: 5120,
            arguments: "-t ext4 -O verity -b 1024 -g 1024 -N 640 -J size=1"),
        Recipe(
            name: "large", kibibytes: 5120,
            arguments: "-t ext4 -b 1024 -g 1024 -N 640 -J size=1", tree: "large"),
        Recipe(
            name: "htree", kibibytes: 5120,
            arguments: "-t ext4 -b 1024 -g 1024 -N 1280 -J size=1", tree: "many"),
        Recipe(
            name: "dirty", kibibytes: 5120, arguments: "-t ext4 -b 1024 -g 1024 -N 640 -J size=1",
            afterwards: """
                printf 'jo -c\\njw -b 5117,5118 IMAGE.block\\njc\\n' > IMAGE.journal
                dd if=/dev/zero of=IMAGE.block bs=1024 count=2 status=none
                debugfs -w -f IMAGE.journal IMAGE
                """),
    ]

    /// Makes all images of `names` in `folder` and returns their bytes.
    static func make(_ names: Set<String>, in folder: String) throws -> [String: [UInt8]] {
        var images: [String: [UInt8]] = [:]
        try write(script, toFile: folder + "/trees.sh")
        try run(["bash", folder + "/trees.sh", folder], in: folder)
        for recipe in recipes where names.contains(recipe.name) {
            let image = "\(folder)/\(recipe.name).img"
            let commands = """
                set -e
                export E2FSPROGS_FAKE_TIME=1700000000
                truncate -s \(recipe.kibibytes)K \(image)
                mke2fs -q -F -m 1 -U 12345678-9abc-def0-1234-56789abcdef0 -L \(recipe.name) \
                    -E hash_seed=01234567-89ab-cdef-0123-456789abcdef,lazy_itable_init=0 \
                    \(recipe.arguments) -d \(folder)/\(recipe.tree) \(image)
                \(recipe.name == "casefold" ? recipe.afterwards : "")
                e2fsck -fyD \(image) || [ $? = 1 ]
                \(recipe.name == "casefold" ? "" : recipe.afterwards)
                """.replacing("IMAGE", with: image)
            try run(["bash", "-c", commands], in: folder)
            images[recipe.name] = try contents(ofFile: image)
        }
        return images
    }

    /// Makes the trees that the images are filled with.
    private static let script = #"""
        set -e
        umask 022
        cd "$1"
        mkdir tree
        cd tree
        echo 'hello, world' > hello
        : > empty
        seq 1 11000 | head -c 61000 > big
        head -c 100 big > medium
        piece() { seq $2 $(($2 + 400)) | head -c $3 | dd of=$1 bs=1024 seek=$2 conv=notrunc status=none; }
        for i in 0 8 16; do piece pieces $i 3000; done
        for i in 20 300 70000; do piece far $i 1024; done
        for ((i = 0; i < 800; i += 2)); do piece deep $i 1000; done
        mkdir -p dir/sub
        echo file > dir/file
        echo other > dir/other
        echo leaf > dir/sub/leaf
        ln hello dir/hard
        ln -s hello fast
        ln -s "$(printf 'long/%.0s' {1..30})end" slow
        mkfifo fifo
        mknod char c 4 64
        mknod block b 259 70000
        mkdir index
        for i in {1..90}; do : > index/a-rather-long-name-of-a-file-$i; done
        echo attributes > attributes
        setfattr -n user.small -v value attributes
        setfattr -n user.large -v "$(printf 'v%.0s' {1..600})" attributes
        cd ..
        cp -a tree huge
        echo huge > huge/huge
        setfattr -n user.huge -v "$(printf 'h%.0s' {1..5000})" huge/huge
        mkdir large
        echo hello > large/hello
        truncate -s 3G large/large
        echo end | dd of=large/large bs=1M seek=2500 conv=notrunc status=none
        mkdir -p many/many
        echo hello > many/hello
        long=$(printf 'n%.0s' {1..200})
        for i in {1..640}; do : > many/many/$long-$i; done
        find . -exec touch -h -d @1690000000 {} +
        """#

    // MARK: Programs and files

    /// Runs a program that must succeed.
    static func run(_ arguments: [String], in folder: String) throws {
        let (code, output) = execute(arguments, output: folder + "/output")
        guard code == 0 else { throw CorpusError("\(arguments): exit code \(code): \(output)") }
    }

    /// Runs a program and returns its exit code and its output.
    static func execute(_ arguments: [String], output: String) -> (code: Int32, output: String) {
        let joined = [UInt8](arguments.map { Array($0.utf8) + [0] }.joined())
        let process = unsafe linux_start(joined, arguments.count, output)
        guard process > 0 else { return (-1, "cannot start: \(process)") }
        let code = linux_wait(process, 1)
        let text = (try? contents(ofFile: output)) ?? []
        return (code, String(decoding: text, as: UTF8.self))
    }

    /// The bytes of a file.
    static func contents(ofFile path: String) throws -> [UInt8] {
        let file = unsafe open(path, O_RDONLY)
        guard file >= 0 else { throw CorpusError("cannot open \(path): error \(errno)") }
        defer { close(file) }
        let size = Int(lseek(file, 0, SEEK_END))
        var bytes = [UInt8](repeating: 0, count: size)
        var done = 0
        while done < size {
            let count = unsafe bytes.withUnsafeMutableBytes { buffer in
                guard let base = buffer.baseAddress else { return 0 }
                return unsafe pread(file, base + done, size - done, off_t(done))
            }
            guard count > 0 else { throw CorpusError("cannot read \(path)") }
            done += count
        }
        return bytes
    }

    /// Writes a file anew.
    static func write(_ bytes: [UInt8], toFile path: String) throws {
        let file = unsafe open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        guard file >= 0 else { throw CorpusError("cannot make \(path): error \(errno)") }
        defer { close(file) }
        var done = 0
        while done < bytes.count {
            let count = unsafe bytes.withUnsafeBytes { buffer in
                guard let base = buffer.baseAddress else { return 0 }
                return unsafe Glibc.write(file, base + done, buffer.count - done)
            }
            guard count > 0 else { throw CorpusError("cannot write \(path): error \(errno)") }
            done += count
        }
    }

    /// Writes text to a file anew.
    static func write(_ text: String, toFile path: String) throws {
        try write(Array(text.utf8), toFile: path)
    }
}
