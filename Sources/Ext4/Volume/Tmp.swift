extension Volume {
    func inheritedAccess(for new: NewInode, in directory: Inode) throws(Ext4Error)
        -> InheritedAccess
    { InheritedAccess(from: nil, mode: new.mode, umask: new.umask) }
    func store(_ access: InheritedAccess, of inode: Inode, in handle: inout Handle)
        throws(Ext4Error)
    {}
    func releaseAttributes(of inode: Inode, in handle: inout Handle) throws(Ext4Error) {}
    func updateAccessControlList(of inode: Inode, in handle: inout Handle) throws(Ext4Error) {}
}
