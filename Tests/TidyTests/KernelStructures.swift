import Foundation

/// What the C compiler says of the members of the format's structures.
enum KernelStructures {
    /// The kernel's name of a structure, and what e2fsprogs' headers call it.
    static let fromHeaders = [
        "ext4_super_block": "ext2_super_block",
        "ext4_group_desc": "ext4_group_desc",
        "ext4_inode": "ext2_inode_large",
        "ext4_extent_header": "ext3_extent_header",
        "ext4_extent": "ext3_extent",
        "ext4_extent_idx": "ext3_extent_idx",
        "ext4_extent_tail": "ext3_extent_tail",
        "ext4_dir_entry": "ext2_dir_entry",
        "ext4_dir_entry_2": "ext2_dir_entry_2",
        "ext4_dir_entry_hash": "ext2_dir_entry_hash",
        "dx_root_info": "ext2_dx_root_info",
        "dx_entry": "ext2_dx_entry",
        "dx_countlimit": "ext2_dx_countlimit",
        "dx_tail": "ext2_dx_tail",
        "ext4_xattr_header": "ext2_ext_attr_header",
        "ext4_xattr_entry": "ext2_ext_attr_entry",
        "ext4_orphan_block_tail": "ext4_orphan_block_tail",
        "mmp_struct": "mmp_struct",
    ]

    /// Members that the headers call by a name of their own; a `_lo` at the end needs no line.
    static let renamedMembers = [
        "s_free_blocks_count_hi": "s_free_blocks_hi",
        "i_obso_faddr": "i_faddr",
        "osd2.linux2.l_i_blocks_high": "osd2.linux2.l_i_blocks_hi",
    ]

    /// Structures that no installed header has, by order and width of their members as the
    /// format's documentation gives them; the compiler computes the offsets.
    static let declarations = """
        typedef uint8_t u8; typedef uint16_t u16; typedef uint32_t u32; typedef uint64_t u64;
        struct journal_header_t { u32 h_magic, h_blocktype, h_sequence; };
        struct journal_superblock_t {
            struct journal_header_t s_header;
            u32 s_blocksize, s_maxlen, s_first, s_sequence, s_start, s_errno;
            u32 s_feature_compat, s_feature_incompat, s_feature_ro_compat;
            u8 s_uuid[16];
            u32 s_nr_users, s_dynsuper, s_max_transaction, s_max_trans_data;
            u8 s_checksum_type, s_padding2[3];
            u32 s_num_fc_blks, s_head, s_padding[40], s_checksum;
            u8 s_users[48][16];
        };
        struct journal_block_tag_t { u32 t_blocknr; u16 t_checksum, t_flags; u32 t_blocknr_high; };
        struct journal_block_tag3_t { u32 t_blocknr, t_flags, t_blocknr_high, t_checksum; };
        struct jbd2_journal_block_tail { u32 t_checksum; };
        struct jbd2_journal_revoke_header_t { struct journal_header_t r_header; u32 r_count; };
        struct commit_header {
            u32 h_magic, h_blocktype, h_sequence;
            u8 h_chksum_type, h_chksum_size, h_padding[2];
            u32 h_chksum[8];
            u64 h_commit_sec;
            u32 h_commit_nsec;
        };
        struct ext4_fc_tl { u16 fc_tag, fc_len; };
        struct ext4_fc_head { u32 fc_features, fc_tid; };
        struct ext4_fc_tail { u32 fc_tid, fc_crc; };
        struct ext4_fc_add_range { u32 fc_ino; u8 fc_ex[12]; };
        struct ext4_fc_del_range { u32 fc_ino, fc_lblk, fc_len; };
        struct ext4_fc_dentry_info { u32 fc_parent_ino, fc_ino; u8 fc_dname[]; };
        struct ext4_fc_inode { u32 fc_ino; u8 fc_raw_inode[]; };
        struct v2_disk_dqheader { u32 dqh_magic, dqh_version; };
        struct v2_disk_dqinfo_behind_header {
            struct v2_disk_dqheader header;
            u32 dqi_bgrace, dqi_igrace, dqi_flags, dqi_blocks, dqi_free_blk, dqi_free_entry;
        };
        struct v2r1_disk_dqblk {
            u32 dqb_id, dqb_pad;
            u64 dqb_ihardlimit, dqb_isoftlimit, dqb_curinodes, dqb_bhardlimit, dqb_bsoftlimit;
            u64 dqb_curspace, dqb_btime, dqb_itime;
        };
        struct ext4_xattr_ibody_header { u32 h_magic; };
        struct ext4_acl_header { u32 a_version; };
        struct ext4_acl_entry { u16 e_tag, e_perm; u32 e_id; };
        struct ext4_acl_entry_short { u16 e_tag, e_perm; };
        struct posix_acl_xattr_header { u32 a_version; };
        struct posix_acl_xattr_entry { u16 e_tag, e_perm; u32 e_id; };
        struct ext4_dir_entry_tail {
            u32 det_reserved_zero1; u16 det_rec_len;
            u8 det_reserved_zero2, det_reserved_ft; u32 det_checksum;
        };
        struct fake_dirent { u32 inode; u16 rec_len; u8 name_len, file_type; };
        struct dx_entry_in_root { u32 hash, block; };
        struct dx_node { struct fake_dirent fake; struct dx_entry_in_root entries[]; };
        struct dx_root {
            struct fake_dirent dot; u8 dot_name[4];
            struct fake_dirent dotdot; u8 dotdot_name[4];
            struct { u32 reserved_zero; u8 hash_version, info_length, indirect_levels, unused_flags; }
                info;
            struct dx_entry_in_root entries[];
        };
        struct fscrypt_nokey_name { u32 dirhash[2]; u8 bytes[149], sha256[32]; };
        struct fscrypt_symlink_data { u16 len; u8 encrypted_path[]; };
        """

    /// A member as the compiler lays it out; `elementSize` is 0 unless it is an array of numbers.
    struct Member: Hashable {
        let offset: Int
        let size: Int
        let elementSize: Int
    }

    /// Asks the compiler for members, each a structure's and a member's name; nil where there is
    /// no such structure or member.
    static func members(_ wanted: [(structure: String, member: String)]) throws -> [Member?] {
        // A line a question; where the compiler complains of a line, the question has no answer.
        var questions: [(index: Int, line: String)] = []
        for (index, (structure, member)) in wanted.enumerated() {
            let name = fromHeaders[structure] ?? structure
            for candidate in candidates(for: member) {
                questions.append((index, "SHOW(\(index), \(name), \(candidate))"))
            }
        }
        var found = [Member?](repeating: nil, count: wanted.count)
        for line in try answers(to: questions.map(\.line)).split(separator: "\n") {
            let numbers = line.split(separator: " ").compactMap { Int($0) }
            guard numbers.count == 4, found[numbers[0]] == nil else { continue }
            found[numbers[0]] = Member(
                offset: numbers[1], size: numbers[2], elementSize: numbers[3])
        }
        return found
    }

    private static func candidates(for member: String) -> [String] {
        var names = [member]
        if let name = renamedMembers[member] { names.append(name) }
        if member.hasSuffix("_lo") { names.append(String(member.dropLast(3))) }
        return names
    }

    /// Runs a program of those lines, without the ones that do not compile.
    private static func answers(to questions: [String]) throws -> String {
        let prologue = """
            #include <stddef.h>
            #include <stdint.h>
            #include <stdio.h>
            #include <sys/types.h>
            #include <ext2fs/ext2_fs.h>
            #include <ext2fs/ext3_extents.h>
            #include <ext2fs/ext2_ext_attr.h>
            \(declarations)
            #define SHOW(i, S, m) printf("%d %zu %zu %d\\n", i, offsetof(struct S, m), \\
                sizeof(((struct S *)0)->m), _Generic(((struct S *)0)->m, \\
                uint8_t *: 1, char *: 1, uint16_t *: 2, uint32_t *: 4, default: 0));
            int main(void) {
            """
        let firstLine = prologue.split(separator: "\n").count + 1
        let folder = FileManager.default.temporaryDirectory
            .appending(path: "tidy-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let source = folder.appending(path: "offsets.c").path
        let binary = folder.appending(path: "offsets").path

        var lines = questions
        for _ in 0..<3 {
            let text = ([prologue] + lines + ["return 0; }", ""]).joined(separator: "\n")
            try text.write(toFile: source, atomically: false, encoding: .utf8)
            let result = try run("cc", "-w", "-o", binary, source)
            if result.status == 0 { return try run(binary).output }
            for match in result.complaints.matches(of: #/offsets\.c:(\d+):/#) {
                guard let line = Int(match.1), lines.indices.contains(line - firstLine)
                else { continue }
                lines[line - firstLine] = ""
            }
        }
        throw CocoaError(
            .executableLoad, userInfo: [NSLocalizedDescriptionKey: "cc does not compile \(lines)"])
    }

    private static func run(
        _ command: String...
    ) throws -> (status: Int32, output: String, complaints: String) {
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = command
        process.standardInput = FileHandle.nullDevice
        // One of the two is short: nothing that runs here prints both.
        let output = Pipe()
        let complaints = Pipe()
        process.standardOutput = output
        process.standardError = complaints
        try process.run()
        let words = try complaints.fileHandleForReading.readToEnd() ?? Data()
        let answer = try output.fileHandleForReading.readToEnd() ?? Data()
        process.waitUntilExit()
        return (
            process.terminationStatus, String(decoding: answer, as: UTF8.self),
            String(decoding: words, as: UTF8.self)
        )
    }
}
