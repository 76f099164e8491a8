// Changing groups: descriptors through a handle, and the checksums of bitmaps when a transaction
// ends.

extension GroupTable {
    /// `group` as it may be changed. Keeps the descriptor's block in memory from then on.
    func group(_ number: GroupNumber) throws(Ext4Error) -> BlockGroup {
        if number.rawValue < geometry.groupCount,
            let found = groups.find(Int(number.rawValue))
        {
            return found
        }
        let descriptor = try descriptor(of: number)
        guard let page = pages.find(Int(number.rawValue / geometry.descriptorsPerBlock)) else {
            throw .corrupt(
                .groupDescriptor, at: .init(group: number),
                .broken("a descriptor in the same block is corrupt"))
        }
        let buffer = try reader.buffer(
            of: page.block, for: .groupDescriptor, at: .init(group: number))
        return groups.insert(
            BlockGroup(
                number, descriptor, page: page, buffer: buffer, geometry),
            at: Int(number.rawValue))
    }

    /// Changes the descriptor of `group`, whose lock is held.
    func change(
        _ group: BlockGroup, _ state: inout BlockGroup.State, in handle: inout Handle,
        _ edit: (inout GroupDescriptor) -> Void
    ) {
        edit(&state.descriptor)
        handle.modify(group.descriptorBuffer) { bytes in
            write(&state.descriptor, of: group, to: &bytes)
        }
        group.page[group.slot] = state.descriptor
    }

    private func write(
        _ descriptor: inout GroupDescriptor, of group: BlockGroup, to bytes: inout MutableRawSpan
    ) {
        let size = geometry.descriptor.size
        var part = bytes._mutatingExtracting(group.slot &* size..<(group.slot &+ 1) &* size)
        descriptor.write(to: &part, group: group.number, geometry.descriptor)
    }

    // MARK: Checksums of bitmaps

    /// Notes that the running transaction changed a bitmap of `group`, whose lock is held and
    /// whose state says which.
    func noteUnsealed(_ group: BlockGroup, _ state: inout BlockGroup.State) {
        guard geometry.hasMetadataChecksums, !state.isUnsealed else { return }
        state.isUnsealed = true
        unsealed.withLock { $0.append(group) }
    }

    /// Brings the checksums of the bitmaps that the running transaction changed into their
    /// descriptors, which are part of it too: the counts changed with the bitmaps.
    ///
    /// The journal calls this before it freezes the transaction, when no handle is open.
    func sealBitmaps() {
        let changed = unsealed.withLock { list in
            let all = list
            list = []
            return all
        }
        for group in changed {
            group.state.withLock { state in
                state.isUnsealed = false
                if let bitmap = state.blocks.unsealed,
                    let checksum = bitmap.withBytes({
                        GroupDescriptor.blockBitmapChecksum(of: $0, superblock: reader.superblock)
                    })
                {
                    state.descriptor.blockBitmapChecksum = checksum
                }
                if let bitmap = state.inodes.unsealed,
                    let checksum = bitmap.withBytes({
                        GroupDescriptor.inodeBitmapChecksum(of: $0, superblock: reader.superblock)
                    })
                {
                    state.descriptor.inodeBitmapChecksum = checksum
                }
                state.blocks.unsealed = nil
                state.inodes.unsealed = nil
                group.descriptorBuffer.withMutableBytes { bytes in
                    write(&state.descriptor, of: group, to: &bytes)
                }
                group.page[group.slot] = state.descriptor
            }
        }
    }

    // MARK: Maps in memory

    /// Notes that `group`, whose lock is held, has a map in memory.
    func noteLoaded(_ group: BlockGroup, _ state: inout BlockGroup.State) {
        guard !state.isCounted else { return }
        state.isCounted = true
        loaded.withLock { $0.append(group) }
    }

    /// Drops maps until they are no more than their budget, oldest first; no lock is held.
    func dropMaps() {
        // A few at a time: those in use stay, and are asked again when the others had their turn.
        for _ in 0..<8 {
            let oldest = loaded.withLock { list -> BlockGroup? in
                list.count > mapBudget ? list.popFirst() : nil
            }
            guard let oldest else { return }
            oldest.state.withLock { state in
                if state.blocks.isDroppable {
                    state.blocks.drop()
                    state.inodes.drop()
                    state.isCounted = false
                } else {
                    loaded.withLock { $0.append(oldest) }
                }
            }
        }
    }
}

/// Groups in the order in which they came.
struct GroupQueue {
    private var items: [BlockGroup] = []
    private var head = 0

    var count: Int { items.count &- head }

    mutating func append(_ group: BlockGroup) { items.append(group) }

    mutating func popFirst() -> BlockGroup? {
        guard head < items.count else { return nil }
        let first = items[head]
        head &+= 1
        if head > 64, head > items.count / 2 {
            items.removeSubrange(0..<head)
            head = 0
        }
        return first
    }
}
