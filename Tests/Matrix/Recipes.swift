// The table of all option sets.

/// An image that the kernel writes, of `mke2fs -t TYPE -b BLOCK -I INODE` and further options.
private func image(
    _ name: String, _ type: String, block: UInt64, inode: Int = 256, _ features: String = "",
    _ extra: String = "", _ change: (inout Recipe) -> Void = { _ in }
) -> Recipe {
    var options = "-t \(type) -b \(block) -I \(inode)"
    if !features.isEmpty { options += " -O \(features)" }
    if !extra.isEmpty { options += " \(extra)" }
    return Recipe(name: name, options: options, blockSize: block, inodeSize: inode).with(change)
}

private func quick(_ recipe: inout Recipe) { recipe.isQuick = true }
private func crash(_ recipe: inout Recipe) { recipe.trial = .crash }
/// Without an index every new name is a walk through all of the directory.
private func linear(_ recipe: inout Recipe) { recipe.bigDirectory = 8000 }

enum Recipes {
    static let all =
        ext2And3 + blocksAndInodes + descriptors + checksums + allocation + names + attributes
        + journals + unmountable + largeBlocks

    private static let ext2And3: [Recipe] = [
        image("ext2-1k", "ext2", block: 1024, inode: 128, "", "", quick),
        image("ext2-2k", "ext2", block: 2048),
        image("ext2-4k-i128", "ext2", block: 4096, inode: 128),
        image("ext2-no-filetype", "ext2", block: 1024, inode: 128, "^filetype"),
        image("ext2-no-index", "ext2", block: 4096, "^dir_index", "", linear),
        image("ext2-no-sparse-super", "ext2", block: 1024, "^sparse_super,^resize_inode"),
        image("ext2-bare", "ext2", block: 1024, inode: 128, "none,ext_attr", "", linear),
        image("ext2-revision-0", "ext2", block: 1024, inode: 128, "none", "-r 0", linear),
        image("ext3-1k", "ext3", block: 1024, inode: 128, "", "-J size=4") {
            crash(&$0)
            quick(&$0)
        },
        image("ext3-2k-i512", "ext3", block: 2048, inode: 512),
        image("ext3-4k", "ext3", block: 4096),
    ]

    private static let blocksAndInodes: [Recipe] = [
        image("ext4-1k", "ext4", block: 1024, "", "", quick),
        image("ext4-2k", "ext4", block: 2048),
        image("ext4-4k", "ext4", block: 4096) {
            $0.trial = .guarding
            quick(&$0)
        },
        image("ext4-1k-i128", "ext4", block: 1024, inode: 128),
        image("ext4-4k-i128", "ext4", block: 4096, inode: 128, "^metadata_csum"),
        image("ext4-1k-i512", "ext4", block: 1024, inode: 512),
        image("ext4-1k-i1024", "ext4", block: 1024, inode: 1024),
        image("ext4-4k-i1024", "ext4", block: 4096, inode: 1024),
        image("ext4-no-extra-isize", "ext4", block: 4096, "^extra_isize"),
        image("ext4-no-dir-nlink", "ext4", block: 2048, "^dir_nlink"),
        image("ext4-no-huge-file", "ext4", block: 4096, "^huge_file"),
        image("ext4-no-extents", "ext4", block: 1024, "^extents,^64bit", "", quick),
        image("ext4-no-extents-4k", "ext4", block: 4096, "^extents,^64bit"),
        image("ext4-inline", "ext4", block: 4096, "inline_data", "", quick),
        image("ext4-inline-1k-i512", "ext4", block: 1024, inode: 512, "inline_data"),
        image("ext4-inline-i1024", "ext4", block: 4096, inode: 1024, "inline_data"),
        image("ext4-inline-ext3", "ext3", block: 2048, "inline_data"),
        image("ext4-subdirectories", "ext4", block: 1024, "inline_data", "-N 120000") {
            $0.subdirectories = 66_000
            $0.bigDirectory = 1000
        },
    ]

    private static let descriptors: [Recipe] = [
        image("ext4-32bit", "ext4", block: 4096, "^64bit"),
        image("ext4-32bit-1k", "ext4", block: 1024, "^64bit,^metadata_csum"),
        image("ext4-no-flex-bg", "ext4", block: 1024, "^flex_bg"),
        image("ext4-flex-bg-64", "ext4", block: 1024, "", "-G 64 -E packed_meta_blocks=1"),
        image("ext4-meta-bg", "ext4", block: 1024, "meta_bg,^resize_inode", "", quick),
        image("ext4-meta-bg-32bit", "ext4", block: 1024, "meta_bg,^resize_inode,^64bit,^flex_bg"),
        image("ext4-meta-bg-bigalloc", "ext4", block: 1024, "meta_bg,^resize_inode,bigalloc") {
            $0.clusterBlocks = 16
        },
        image("ext4-sparse-super2", "ext4", block: 1024, "sparse_super2,^resize_inode"),
        image(
            "ext4-sparse-super2-none", "ext4", block: 4096, "sparse_super2,^resize_inode",
            "-E num_backup_sb=0"),
        image("ext4-small-groups", "ext4", block: 1024, "", "-g 512"),
        image("ext4-desc-128", "ext4", block: 2048, "", "-E desc_size=128"),
    ]

    private static let checksums: [Recipe] = [
        image("ext4-gdt-csum", "ext4", block: 4096, "^metadata_csum,uninit_bg"),
        image("ext4-gdt-csum-1k-i128", "ext4", block: 1024, inode: 128, "^metadata_csum,uninit_bg"),
        image("ext4-no-csum", "ext4", block: 1024, "^metadata_csum,^uninit_bg"),
        image("ext4-csum-seed", "ext4", block: 1024, "metadata_csum_seed") {
            // The seed stays when the identifier changes.
            $0.changes = ["tune2fs -U 00112233-4455-6677-8899-aabbccddeeff IMAGE"]
        },
        image("ext4-rewritten-uuid", "ext4", block: 4096) {
            $0.changes = [
                "e2fsck -fy IMAGE", "tune2fs -f -U 00112233-4455-6677-8899-aabbccddeeff IMAGE",
            ]
        },
    ]

    private static let allocation: [Recipe] = [
        image("ext4-bigalloc-1k", "ext4", block: 1024, "bigalloc", "-C 16384") {
            $0.clusterBlocks = 16
        },
        image("ext4-bigalloc-4k", "ext4", block: 4096, "bigalloc", "", quick).with {
            $0.clusterBlocks = 16
            $0.mebibytes = 2048
        },
        image("ext4-bigalloc-inline", "ext4", block: 2048, "bigalloc,inline_data", "-C 8192") {
            $0.clusterBlocks = 4
        },
        image("ext4-17t-bigalloc", "ext4", block: 4096, "bigalloc", "-C 1048576 -N 200000") {
            $0.clusterBlocks = 256
            $0.mebibytes = 17 << 20
        },
        image("ext4-17t-meta-bg", "ext4", block: 4096, "meta_bg,^resize_inode", "-N 200000") {
            $0.mebibytes = 17 << 20
        },
    ]

    private static let names: [Recipe] = [
        image("hash-legacy", "ext4", block: 4096, "", "") { hashed("legacy", &$0) },
        image("hash-half-md4-ext3", "ext3", block: 1024, "", "") { hashed("half_md4", &$0) },
        image("hash-tea", "ext4", block: 1024, "", "") { hashed("tea", &$0) },
        image("hash-legacy-unsigned", "ext4", block: 1024, "", "") {
            hashed("legacy", isUnsigned: true, &$0)
        },
        image("hash-half-md4-unsigned", "ext4", block: 4096, "", "") {
            hashed("half_md4", isUnsigned: true, &$0)
        },
        image("hash-tea-unsigned", "ext4", block: 4096, "", "") {
            hashed("tea", isUnsigned: true, &$0)
            quick(&$0)
        },
        image("large-dir-3-levels", "ext4", block: 1024, "large_dir") { $0.hasLongNames = true },
        image("large-dir-4k", "ext4", block: 4096, "large_dir,ea_inode,inline_data"),
        image("encrypt", "ext4", block: 4096, "encrypt") {
            $0.isEncrypted = true
            quick(&$0)
        },
        image("encrypt-inline-ea", "ext4", block: 4096, "encrypt,inline_data,ea_inode") {
            $0.isEncrypted = true
        },
    ]

    /// Sets the hash of the index, and whether it takes the bytes of names as unsigned ones, as
    /// `mke2fs` on ARM sets it.
    private static func hashed(
        _ hash: String, isUnsigned: Bool = false, _ recipe: inout Recipe
    ) {
        recipe.before = ["ssv def_hash_version \(hash)", "ssv flags \(isUnsigned ? 2 : 1)"]
    }

    private static let attributes: [Recipe] = [
        image("ea-inode", "ext4", block: 4096, "ea_inode", "", quick),
        image("ea-inode-1k-i128", "ext4", block: 1024, inode: 128, "ea_inode,^metadata_csum"),
        image("ea-inode-inline-i512", "ext4", block: 2048, inode: 512, "ea_inode,inline_data"),
        image("ea-inode-seed", "ext4", block: 1024, "ea_inode,metadata_csum_seed,project,quota") {
            // The kernel shows it read-only where it was built without quota.
            withoutQuota(&$0, "ea_inode,metadata_csum_seed")
        },
        image("quota-project", "ext4", block: 4096) {
            withoutQuota(&$0, "")
            $0.isQuick = true
        },
    ]

    /// Fills without quota and project and turns them on afterwards.
    private static func withoutQuota(_ recipe: inout Recipe, _ features: String) {
        recipe = image(recipe.name, "ext4", block: recipe.blockSize, features) {
            $0.changes = [
                "e2fsck -fy IMAGE", "tune2fs -O quota,project -Q usrquota,prjquota IMAGE",
            ]
            $0.edits = [
                "sif /types/small projid 4711", "sif /types projid 4294967294",
                "sif /types flags 0x20080000", "sif /types/large projid 1",
            ]
        }
    }

    private static let journals: [Recipe] = [
        image("no-journal", "ext4", block: 4096, "^has_journal"),
        image("no-journal-1k", "ext4", block: 1024, "^has_journal,inline_data,^metadata_csum"),
        image("orphan-file", "ext4", block: 1024, "orphan_file", "", crash),
        image("mmp", "ext4", block: 4096, "mmp", "-E mmp_update_interval=1") { $0.isQuick = false },
        image("fast-commit", "ext4", block: 4096, "fast_commit"),
        image("stable-inodes", "ext4", block: 4096, "stable_inodes,^resize_inode", "-J size=64"),
        image("crash-4k", "ext4", block: 4096) {
            crash(&$0)
            quick(&$0)
        },
        image("crash-data-journal", "ext4", block: 1024, "", "-J size=8") {
            crash(&$0)
            $0.mountOptions = "data=journal"
            $0.bigDirectory = 5000
        },
        image("crash-checksum-v2", "ext4", block: 4096, "^metadata_csum,^64bit") {
            crash(&$0)
            $0.mountOptions = "journal_checksum"
        },
        image("crash-async-commit", "ext4", block: 2048) {
            crash(&$0)
            $0.mountOptions = "journal_async_commit,data=writeback"
        },
        image("crash-bigalloc-inline", "ext4", block: 4096, "bigalloc,inline_data") {
            crash(&$0)
            $0.clusterBlocks = 16
            $0.mebibytes = 2048
        },
    ]

    /// What the kernel may have been built without, or knows and cannot make.
    private static let unmountable: [Recipe] = [
        image("casefold", "ext4", block: 4096) {
            $0.way = .kernelThenChange
            $0.changes = ["tune2fs -O casefold -E encoding=utf8-12.1 IMAGE"]
            $0.edits = [
                "sif /modes/d1777 flags 0x40080000", "sif /directories/level0 flags 0x40080000",
            ]
            $0.addedFlags = ["/modes/d1777": 0x4000_0000, "/directories/level0": 0x4000_0000]
        },
        image("verity", "ext4", block: 4096, "verity") {
            $0.way = .kernelThenChange
            $0.edits = ["sif /types/small flags 0x180000"]
            $0.addedFlags = ["/types/small": 0x10_0000]
        },
    ]

    /// Blocks larger than this machine's page.
    private static let largeBlocks: [Recipe] = [
        copied("ext4-8k", "ext4", block: 8192),
        copied("ext4-16k-inline-ea", "ext4", block: 16_384, "inline_data,ea_inode"),
        copied("ext4-32k-i512", "ext4", block: 32_768, inode: 512),
        copied("ext4-64k", "ext4", block: 65_536, "ea_inode").with(quick),
        copied("ext4-64k-i1024", "ext4", block: 65_536, inode: 1024, "^64bit,^metadata_csum"),
        copied("ext4-64k-groups", "ext4", block: 65_536, "^flex_bg", "-g 1024"),
        copied("ext3-8k", "ext3", block: 8192, inode: 128),
        copied("ext2-64k", "ext2", block: 65_536),
        copied("ext2-32k-i128", "ext2", block: 32_768, inode: 128),
        copied("ext4-16k-bigalloc", "ext4", block: 16_384, "bigalloc,^resize_inode", "-C 65536"),
    ]

    private static func copied(
        _ name: String, _ type: String, block: UInt64, inode: Int = 256, _ features: String = "",
        _ extra: String = ""
    ) -> Recipe {
        image(name, type, block: block, inode: inode, features, extra) {
            $0.way = .copy
            $0.mebibytes = 8192
            $0.bigDirectory = 12_000
        }
    }
}
