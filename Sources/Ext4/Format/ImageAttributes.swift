// The extended attributes of an image that is being built. Most files have the same ones, or none:
// each set is kept, placed and encoded once, and its block is shared by those that have it.

/// The sets of attributes of an image, each once.
struct ImageAttributes {
    /// A set of attributes, where each of them stands.
    struct Placed {
        /// What stands behind the fields of an inode.
        let inInode: AttributeSet
        /// What stands in a block; nothing for no block.
        let inBlock: AttributeSet
        /// Blocks of the volume that values in inodes of their own fill, in whole clusters.
        let valueBlocks: UInt64
        /// The permissions that an access list gives, if there is one that the mode follows.
        let permissions: UInt16?
        /// The set as it was given, of one with such a list.
        let given: [ExtendedAttribute]
        /// How many values have inodes of their own.
        var valueCount: UInt64 {
            UInt64(inInode.valueInodes.count &+ inBlock.valueInodes.count)
        }
        /// How many inodes have the set; known at the end.
        var useCount: UInt64 = 0
    }

    /// A value that has an inode of its own.
    struct Value {
        let bytes: [UInt8]
        let hash: UInt32
        /// How many entries name it; known at the end.
        var referenceCount: UInt64 = 0
    }

    private(set) var sets: [Placed] = []
    private(set) var values: [Value] = []
    private var known: [[UInt8]: Int32] = [:]
    private var knownValues: [[UInt8]: Int] = [:]
    private let superblock: Superblock
    private let inodeRoom: Int

    /// Values in inodes are named by their place in `values` until those have numbers: from this
    /// number down.
    private static let provisional = UInt32.max &- 1

    init(_ superblock: Superblock) {
        self.superblock = superblock
        let record = InodeRecord(zeroedFor: superblock)
        inodeRoom =
            record.extraSize > 0
            ? superblock.inodeSize &- InodeRecord.goodOldSize &- record.extraSize : 0
    }

    /// The index of a set.
    ///
    /// - Returns: -1 for a set that needs no place.
    /// - Throws: `.attributeTooLarge` when the set does not fit; as
    ///   `Volume.setExtendedAttribute` for names and lists that no volume takes.
    mutating func index(
        of attributes: [ExtendedAttribute], for type: FileType
    ) throws(Ext4Error) -> Int32 {
        guard !attributes.isEmpty else { return -1 }
        let key = Self.key(attributes, type)
        if let index = known[key] { return index }
        var items: [(name: AttributeName, value: [UInt8])] = []
        var permissions: UInt16?
        for attribute in attributes {
            guard let item = try Self.item(attribute, for: type, &permissions) else { continue }
            items.removeAll { $0.name == item.name }
            items.append(item)
        }
        var index: Int32 = -1
        if !items.isEmpty || permissions != nil {
            let placed = try place(items, permissions, permissions == nil ? [] : attributes)
            index = Int32(truncatingIfNeeded: sets.count)
            sets.append(placed)
        }
        known[key] = index
        return index
    }

    /// The index of the set that a node with `set` has after `chmod`: the access list follows.
    mutating func index(of set: Int32, changedTo mode: FileMode) throws(Ext4Error) -> Int32 {
        guard set >= 0 else { return set }
        let given = sets[Int(set)].given
        guard !given.isEmpty else { return set }
        return try index(
            of: AccessControlList.changing(given, to: mode), for: mode.type)
    }

    private static func key(_ attributes: [ExtendedAttribute], _ type: FileType) -> [UInt8] {
        var key = [type.rawValue]
        for attribute in attributes {
            for bytes in [attribute.name.bytes, attribute.value] {
                for shift in 0..<4 {
                    key.append(UInt8(truncatingIfNeeded: bytes.count >> (8 &* shift)))
                }
                key += bytes
            }
        }
        return key
    }

    /// An attribute as the disk has it; nil for a list that says what the mode says.
    private static func item(
        _ attribute: ExtendedAttribute, for type: FileType, _ permissions: inout UInt16?
    ) throws(Ext4Error) -> (name: AttributeName, value: [UInt8])? {
        let bytes = attribute.name.bytes
        guard !bytes.isEmpty, bytes.count <= Volume.maximumAttributeNameLength else {
            throw .attributeNameTooLong
        }
        guard attribute.value.count <= Volume.maximumAttributeSize else {
            throw .attributeTooLarge
        }
        let name = try AttributeName(userSpace: bytes)
        guard !name.rest.contains(0) else { throw .invalidArgument }
        guard name.prefix != .hurd else { throw .notSupported }
        if name.prefix == .user, type != .regular, type != .directory { throw .notPermitted }
        guard name == .accessACL || name == .defaultACL else { return (name, attribute.value) }
        guard type != .symlink else { throw .notSupported }
        guard let list = try Volume.accessControlList(fromAttribute: attribute.value) else {
            return nil
        }
        guard list.brokenRule == nil else { throw .invalidArgument }
        if name == .defaultACL {
            guard type == .directory else { throw .accessDenied }
            return (name, list.onDisk)
        }
        permissions = list.permissionBits
        return list.isMinimal ? nil : (name, list.onDisk)
    }

    /// Finds a place for each: the largest first, which leaves the least room over.
    private mutating func place(
        _ items: [(name: AttributeName, value: [UInt8])], _ permissions: UInt16?,
        _ given: [ExtendedAttribute]
    ) throws(Ext4Error) -> Placed {
        let hasInodes = superblock.incompatible.contains(.eaInode)
        var stored = StoredAttributes(
            inInode: AttributeSet(emptyIn: .inode(byteCount: inodeRoom)),
            inBlock: AttributeSet(emptyIn: .block(byteCount: superblock.blockSize)),
            hasAttributeInodes: hasInodes)
        var valueBlocks: UInt64 = 0
        let cluster = superblock.clusterSize
        let sorted = items.sorted { a, b in
            a.value.count != b.value.count
                ? a.value.count > b.value.count : a.name.precedes(b.name)
        }
        do throws(Ext4Error) {
            for (name, value) in sorted where try stored.set(name, to: value) == .needsInode {
                let index = self.value(value)
                try stored.set(
                    name, toValueIn: InodeNumber(Self.provisional &- UInt32(index)),
                    size: value.count, hash: values[index].hash)
                valueBlocks &+=
                    UInt64(
                        (value.count &+ cluster &- 1) / cluster * (cluster / superblock.blockSize))
            }
        } catch {
            throw error == .noSpace ? .attributeTooLarge : error
        }
        return Placed(
            inInode: stored.inInode, inBlock: stored.inBlock, valueBlocks: valueBlocks,
            permissions: permissions, given: given)
    }

    private mutating func value(_ bytes: [UInt8]) -> Int {
        if let index = knownValues[bytes] { return index }
        let hash = unsafe XAttrHash.ofInodeValue(bytes.span.bytes, seed: superblock.checksumSeed)
        values.append(Value(bytes: bytes, hash: hash))
        knownValues[bytes] = values.count - 1
        return values.count - 1
    }

    /// The room that a file with these attributes has for contents in its inode.
    func inlineCapacity(_ set: Int32) -> Int {
        let attributes =
            set >= 0
            ? sets[Int(set)].inInode : AttributeSet(emptyIn: .inode(byteCount: inodeRoom))
        guard inodeRoom > 0, let room = attributes.room(for: .inlineData) else { return 0 }
        return InodeRecord.Layout.block.count &+ room
    }

    // MARK: At the end

    /// Counts one more inode with a set.
    mutating func use(_ set: Int32) { sets[Int(set)].useCount &+= 1 }

    /// How many blocks the inodes with a set share, so many to a block as may.
    func blockCount(_ set: Placed) -> UInt64 {
        guard !set.inBlock.isEmpty else { return 0 }
        let most = UInt64(XAttrBlockHeader.maximumReferenceCount)
        return (set.useCount &+ most &- 1) / most
    }

    /// Gives the values that are in use inodes of their own, from `first` on, and counts who names
    /// them.
    ///
    /// - Returns: the numbers, 0 for a value that nobody names.
    mutating func numberValues(from first: UInt32) -> [UInt32] {
        for set in sets where set.useCount > 0 {
            for value in set.inInode.valueInodes {
                values[Self.index(value.inode)].referenceCount &+= set.useCount
            }
            for value in set.inBlock.valueInodes {
                values[Self.index(value.inode)].referenceCount &+= blockCount(set)
            }
        }
        var next = first
        var numbers: [UInt32] = []
        for value in values {
            numbers.append(value.referenceCount > 0 ? next : 0)
            if value.referenceCount > 0 { next &+= 1 }
        }
        return numbers
    }

    private static func index(_ number: InodeNumber) -> Int {
        Int(provisional &- number.rawValue)
    }

    /// A set with the numbers that its values have now.
    func numbered(_ set: AttributeSet, _ numbers: [UInt32]) -> AttributeSet {
        var result = set
        for item in set.items {
            guard case .inode(let provisional, let size) = item.value else { continue }
            let index = Self.index(provisional)
            _ = result.set(
                item.name, toValueIn: InodeNumber(numbers[index]), size: size,
                hash: values[index].hash)
        }
        return result
    }
}
