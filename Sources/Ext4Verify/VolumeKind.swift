package import Ext4

/// A set of features to try, as options of mke2fs.
package struct VolumeKind: Sendable, CustomStringConvertible {
    package let name: String
    package let options: String
    package var megabytes: Int
    package var dataMode: OpenOptions.DataMode
    /// Whether the kernel here can mount it: blocks up to a page, no quota.
    package var isMountable: Bool

    /// Describes a kind.
    package init(
        name: String, options: String, megabytes: Int = 96,
        dataMode: OpenOptions.DataMode = .ordered, isMountable: Bool = true
    ) {
        self.name = name
        self.options = options
        self.megabytes = megabytes
        self.dataMode = dataMode
        self.isMountable = isMountable
    }

    package var description: String { name }
    /// Whether its inodes have no room for nanoseconds.
    package var hasWholeSeconds: Bool { options.contains("-I 128") }

    /// The kinds that random workloads are run on.
    package static let all: [VolumeKind] = [
        VolumeKind(name: "default", options: "-t ext4 -b 4096"),
        VolumeKind(name: "1K blocks", options: "-t ext4 -b 1024"),
        VolumeKind(name: "inline data", options: "-t ext4 -b 4096 -O inline_data"),
        VolumeKind(name: "ext3", options: "-t ext3 -b 4096"),
        VolumeKind(name: "ext2", options: "-t ext2 -b 1024"),
        VolumeKind(name: "no journal", options: "-t ext4 -O ^has_journal"),
        VolumeKind(name: "uninit_bg", options: "-t ext4 -b 4096 -O ^metadata_csum,uninit_bg"),
        VolumeKind(name: "no 64bit", options: "-t ext4 -b 2048 -O ^64bit"),
        VolumeKind(name: "orphan file", options: "-t ext4 -O orphan_file"),
        VolumeKind(name: "values in inodes", options: "-t ext4 -O ea_inode"),
        VolumeKind(
            name: "small groups", options: "-t ext4 -b 1024 -O ^flex_bg,^resize_inode -g 1024"),
        VolumeKind(
            name: "meta_bg", options: "-t ext4 -b 1024 -O meta_bg,^resize_inode -g 1024"),
        VolumeKind(name: "large_dir", options: "-t ext4 -b 1024 -O large_dir"),
        VolumeKind(
            name: "64K blocks", options: "-t ext4 -b 65536", megabytes: 256, isMountable: false),
        VolumeKind(name: "data=journal", options: "-t ext4 -b 1024", dataMode: .journal),
        VolumeKind(name: "128-byte inodes", options: "-t ext4 -b 1024 -I 128"),
        VolumeKind(
            name: "512-byte inodes", options: "-t ext4 -b 1024 -O inline_data,ea_inode -I 512"),
    ]
}
