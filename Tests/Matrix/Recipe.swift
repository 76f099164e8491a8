/// A set of `mke2fs` options, with what is done to the image besides filling it.
struct Recipe {
    /// Who writes the tree, and who is asked what is in it.
    enum Way {
        /// The kernel writes and shows it.
        case kernel
        /// The kernel writes it and shows it; then the image is changed by commands to what the
        /// kernel does not mount, in ways that the tree shows only where the recipe says so.
        case kernelThenChange
        /// The kernel writes it to an image with other options, `mke2fs -d` copies it, `e2fsck -D`
        /// indexes its directories; `debugfs` says what the copy holds. For blocks larger than a
        /// page.
        case copy
    }

    /// What else is tried with an image.
    enum Trial {
        /// Nothing.
        case none
        /// The image is copied while mounted, and must be the same after the kernel's recovery as
        /// after ours, in memory.
        case crash
        /// Small changes to a copy must show as the differences that they are.
        case guarding
    }

    /// How the image is called.
    let name: String
    /// What `mke2fs` is told, besides the name and the size.
    let options: String
    /// The bytes of a block.
    var blockSize: UInt64 = 4096
    /// The size of the image in MiB.
    var mebibytes: UInt64 = 512
    /// The blocks of a cluster.
    var clusterBlocks: UInt64 = 1
    /// The size of an inode.
    var inodeSize = 256
    /// Who writes and who is asked.
    var way = Way.kernel
    /// What else is tried.
    var trial = Trial.none
    /// Options of the mount that fills.
    var mountOptions = ""
    /// Names in the big directory.
    var bigDirectory = 100_000
    /// Whether those have 240 bytes.
    var hasLongNames = false
    /// Subdirectories of one directory.
    var subdirectories = 0
    /// Whether directories are encrypted.
    var isEncrypted = false
    /// `debugfs` commands on the empty image.
    var before: [String] = []
    /// `debugfs` commands on the filled one.
    var edits: [String] = []
    /// Commands on the filled image, `IMAGE` standing for its name.
    var changes: [String] = []
    /// Flags that the changes add, by path: what the tree shows of them.
    var addedFlags: [String: UInt32] = [:]
    /// Whether a quick run includes it.
    var isQuick = false

    func with(_ change: (inout Recipe) -> Void) -> Recipe {
        var copy = self
        change(&copy)
        return copy
    }
}
