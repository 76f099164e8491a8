import Ext4
import Ext4Check
import Ext4Host
import Foundation
import Testing

/// Volumes of all kinds, as `mke2fs` makes them, and damage by `debugfs`: the verdict is that of
/// `e2fsck -fn`, whatever the number of threads.
@Suite(.serialized) struct VerdictTests {
    static let kinds = [
        "-t ext4", "-t ext4 -b 1024", "-t ext2", "-t ext3", "-t ext2 -b 1024",
        "-t ext4 -O ^metadata_csum", "-t ext4 -O ^metadata_csum,uninit_bg",
        "-t ext4 -O ^64bit", "-t ext4 -O ^flex_bg", "-t ext4 -O ^resize_inode",
        "-t ext4 -O meta_bg,^resize_inode", "-t ext4 -O bigalloc -b 4096",
        "-t ext4 -O bigalloc -b 1024", "-t ext4 -O inline_data", "-t ext4 -O ea_inode",
        "-t ext4 -O quota", "-t ext4 -O casefold -E encoding=utf8", "-t ext4 -O mmp",
        "-t ext4 -O orphan_file", "-t ext4 -O large_dir", "-t ext4 -O sparse_super2",
        "-t ext4 -O ^has_journal", "-t ext4 -O ^dir_index", "-t ext4 -O ^filetype",
        "-t ext4 -O ^extents,^64bit", "-t ext4 -O metadata_csum_seed", "-t ext4 -I 128",
        "-t ext4 -I 1024", "-t ext4 -b 65536", "-t ext4 -g 8192 -b 4096",
    ]

    @Test(arguments: kinds) func freshVolumes(_ kind: String) throws {
        let scratch = try CheckScratch()
        let image = scratch.path("image")
        try scratch.run(
            "mkdir $2; i=0; while [ $i -lt 300 ]; do echo $i > $2/$i; i=$((i+1)); done;"
                + " ln -s a $2/short; ln -s \(String(repeating: "b", count: 200)) $2/long;"
                + " mkfifo $2/pipe; ln $2/1 $2/hard;"
                + " mke2fs -q -F \(kind) -d $2 $1 64M", image, scratch.path("tree"))
        try expectSameVerdict(image)
    }

    static let damages = [
        "set_inode_field file links_count 3", "set_inode_field file blocks 77",
        "set_inode_field file size 99999999", "set_inode_field file mode 0",
        "set_inode_field dir flags 0", "set_inode_field file dtime 1700000000",
        "set_inode_field pipe size 5", "clri file", "clri dir", "unlink file", "unlink dir",
        "ln file dir/other", "ln dir second", "freeb 2000 50", "setb 9000 10", "freei <12>",
        "seti <400>", "set_super_value free_blocks_count 1", "set_super_value free_inodes_count 1",
        "set_block_group 0 free_blocks_count 3", "set_block_group 0 used_dirs_count 44",
        "set_super_value journal_inum 50", "set_super_value last_orphan 12",
        "feature ^dir_index", "feature ^extents", "feature ^has_journal", "unlink lost+found",
    ]

    @Test(arguments: damages) func damagedVolumes(_ damage: String) throws {
        let scratch = try CheckScratch()
        let image = scratch.path("image")
        try scratch.run(
            "mkdir $2; mkdir $2/dir; head -c 100000 /dev/zero | tr '\\0' x > $2/file;"
                + " i=0; while [ $i -lt 400 ]; do echo $i > $2/dir/name-that-is-long-$i;"
                + " i=$((i+1)); done; mkfifo $2/pipe; mke2fs -q -F -t ext4 -d $2 $1 64M;"
                + " debugfs -w -R \"$3\" $1", image, scratch.path("tree"), damage)
        try expectSameVerdict(image)
    }

    /// A file in its inode may be longer than what is there: mke2fs leaves zeros out, and the kernel
    /// reads them.
    @Test func zerosThatAreLeftOut() throws {
        let scratch = try CheckScratch()
        let image = scratch.path("image")
        try scratch.run(
            """
            mkdir $2
            for size in 61 150 4000 70000; do truncate -s $size $2/$size; done
            mke2fs -q -F -t ext4 -O inline_data -d $2 $1 64M
            e2fsck -fn $1
            """, image, scratch.path("tree"))
        // Nor is it a note: what is noted is repaired, and that would cut the file off.
        let report = try Check.run(try FileDevice(path: image)).report
        #expect(report.findings.isEmpty, "\(report.findings)")
    }

    /// Our verdict against that of e2fsck, with one thread and with several.
    private func expectSameVerdict(_ image: String) throws {
        let scratch = try CheckScratch()
        let (status, words) = try scratch.tryRun("e2fsck -fn $1", image)
        var options = CheckOptions()
        options.threads = 1
        let one = try Check.run(try FileDevice(path: image), options: options).report
        options.threads = 4
        let four = try Check.run(try FileDevice(path: image), options: options).report
        #expect(one == four)
        let ours = one.findings.map(\.description).joined(separator: "\n")
        #expect(one.isClean == (status == 0), "\(words)\n\(ours)")
    }
}

/// A directory that goes away with its owner.
private final class CheckScratch {
    struct Failed: Error { let words: String }

    let root = "/tmp/swift-ext4-check-\(UUID().uuidString)"

    init() throws {
        try FileManager.default.createDirectory(atPath: root, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: root) }

    func path(_ name: String) -> String { "\(root)/\(name)" }

    func run(_ script: String, _ arguments: String...) throws {
        let (status, words) = try start(script, arguments)
        guard status == 0 else { throw Failed(words: words) }
    }

    func tryRun(_ script: String, _ arguments: String...) throws -> (Int32, String) {
        try start(script, arguments)
    }

    private func start(_ script: String, _ arguments: [String]) throws -> (Int32, String) {
        let process = Process()
        process.executableURL = URL(filePath: "/bin/sh")
        process.arguments = ["-eu", "-c", script, "sh"] + arguments
        process.environment = ["PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"]
        let pipe = Pipe()
        process.standardOutput = pipe
        process.standardError = pipe
        try process.run()
        let words = String(
            decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        return (process.terminationStatus, words)
    }
}
