extension InodeAllocator {
    /// A free inode for something new in the directory `parent`. When the handle fails it is free
    /// again.
    ///
    /// - Throws: `.noSpace`; `.corrupt`, `.io`.
    func allocate(
        isDirectory: Bool, parent: Inode, in handle: inout Handle
    ) throws(Ext4Error) -> InodeNumber {
        try allocate(
            isDirectory: isDirectory, parent: parent.number,
            isTopLevel: parent.number == .root || parent.flags.contains(.topDirectory), in: &handle)
    }
}
