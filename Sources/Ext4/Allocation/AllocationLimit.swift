/// Where a volume ends that is to be made smaller: blocks and inodes behind that are not given to
/// anybody, and those that are freed there stay out of use.
struct AllocationLimit: Hashable, Sendable {
    /// The first block that is not given away.
    let block: BlockNumber
    /// The first group of which no inode is given away.
    let group: GroupNumber
}
