// What is known of a node already, changed.

extension ImageBuilder {
    /// Changes the owner, and with `permissions` the mode, and leaves all else.
    ///
    /// - Throws: `.notFound`.
    public func change(
        _ node: ImageNode, userID: UInt32, groupID: UInt32, permissions: UInt16? = nil
    ) throws(Ext4Error) {
        guard tree.contains(node) else { throw .notFound }
        if let permissions, tree[node].type != .symlink {
            let mode = FileMode(rawValue: tree[node].mode & 0o170000 | permissions & 0o7777)
            tree[node].attributes = try attributes.index(
                of: tree[node].attributes, changedTo: mode)
            tree[node].mode = mode.rawValue
        }
        tree[node].userID = userID
        tree[node].groupID = groupID
    }
}

extension AccessControlList {
    /// Attributes after `chmod`: an access list among them takes the bits of `mode`. One that is not
    /// sound is left to whoever looks at it next.
    package static func changing(
        _ attributes: [ExtendedAttribute], to mode: FileMode
    ) -> [ExtendedAttribute] {
        attributes.map { attribute in
            guard (try? AttributeName(userSpace: attribute.name.bytes)) == .accessACL,
                let list = try? AccessControlList(attributeValue: attribute.value)
            else { return attribute }
            return ExtendedAttribute(
                name: attribute.name, value: list.changed(to: mode).attributeValue)
        }
    }
}
