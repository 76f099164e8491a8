internal import Ext4
internal import Synchronization

/// All directories, on several threads: their entries, what the entries lead to, their indexes.
struct DirectoryPass {
    let state: CheckState
    let workers: Workers

    /// Directories that a thread takes at once.
    private static let portion = 64

    func run() throws(Ext4Error) {
        guard let directories = state.directories else { return }
        let state = state
        let count = directories.infos.count
        let tasks = (count + Self.portion - 1) / Self.portion
        let progress = ProgressCount(.directories, total: UInt64(tasks), state.options)
        let shares = try workers.run(tasks) { (tasks) throws(Ext4Error) -> [SecondName] in
            var scan = DirectoryScan(state, directories)
            while let task = tasks.take() {
                let first = task * Self.portion
                for index in first..<min(first + Self.portion, count) { try scan.scan(index) }
                progress.step()
            }
            return scan.secondNames
        }
        try judge(shares.flatMap { $0 }, directories)
    }

    /// A name for a directory that has one already.
    struct SecondName: Sendable {
        let child: Int
        let parent: InodeNumber
        let place: Corruption.Place
        let name: [UInt8]
    }

    /// Decides which of several names of a directory is the one: that in the directory that its
    /// `..` leads to, else the one in the lowest directory. So it does not matter which thread
    /// came first.
    private func judge(_ names: [SecondName], _ directories: Directories) throws(Ext4Error) {
        var byChild: [Int: [SecondName]] = [:]
        for name in names { byChild[name.child, default: []].append(name) }
        for (child, others) in byChild {
            let inode = directories.infos[child].inode
            let first = directories.parent(at: child)
            var all = others
            for parent in Set(others.map(\.parent)).union([first]) {
                guard parent == first, let index = directories.index(of: parent) else { continue }
                let known = Set(others.filter { $0.parent == parent }.map(\.place))
                var scan = DirectoryScan(state, directories, looksFor: inode)
                try scan.scan(index)
                for found in scan.secondNames where !known.contains(found.place) {
                    all.append(
                        SecondName(
                            child: child, parent: parent, place: found.place, name: found.name))
                }
            }
            let dotDot = directories.dotDot(at: child)
            all.sort { Self.order($0, dotDot) < Self.order($1, dotDot) }
            if let keeper = all.first { directories.replaceParent(keeper.parent, at: child) }
            for name in all.dropFirst() {
                state.report(
                    Finding(.directoryLink, at: name.place, other: inode, name: name.name))
            }
        }
    }

    private static func order(
        _ name: SecondName, _ dotDot: InodeNumber
    ) -> (UInt32, UInt32, UInt64, Int) {
        (
            name.parent == dotDot ? 0 : 1, name.parent.rawValue,
            name.place.logicalBlock?.rawValue ?? 0, name.place.byteOffset ?? 0
        )
    }
}

/// One thread's share of the directories.
struct DirectoryScan {
    let state: CheckState
    let volume: CheckedVolume
    let directories: Directories
    let format: DirectoryFormat
    var secondNames: [DirectoryPass.SecondName] = []
    /// When set, nothing is told or counted: only names that lead there are noted.
    let looksFor: InodeNumber?
    private let firstInode: InodeNumber
    /// Names of the block at hand.
    private var seen: NameTable

    init(_ state: CheckState, _ directories: Directories, looksFor: InodeNumber? = nil) {
        self.state = state
        volume = state.volume
        self.directories = directories
        self.looksFor = looksFor
        format = state.volume.directoryFormat
        seen = NameTable(blockSize: state.volume.blockSize)
        firstInode = state.volume.superblock.firstInode
    }

    func report(_ finding: @autoclosure () -> Finding) {
        if looksFor == nil { state.report(finding()) }
    }

    /// The directory at hand.
    struct Subject {
        let index: Int
        let info: DirectoryInfo
        let flags: InodeFlags
        let owner: BlockOwner
        /// Whether entries keep a hash behind their names.
        var hasHashes: Bool { flags.isSuperset(of: [.encrypted, .casefold]) }
        var inode: InodeNumber { info.inode }
    }

    mutating func scan(_ index: Int) throws(Ext4Error) {
        let info = directories.infos[index]
        let subject = Subject(
            index: index, info: info, flags: InodeFlags(rawValue: info.flags),
            owner: BlockOwner(
                inode: info.inode,
                checksumSeed: InodeRecord.checksumSeed(
                    info.inode, generation: info.generation,
                    seed: volume.superblock.checksumSeed)))
        if subject.flags.contains(.inlineData),
            volume.superblock.incompatible.contains(.inlineData)
        {
            try scanInline(subject)
        } else {
            try scanBlocks(subject)
        }
    }

    // MARK: - Blocks

    private mutating func scanBlocks(_ subject: Subject) throws(Ext4Error) {
        let index: IndexScan?
        if subject.flags.contains(.index), volume.superblock.compatible.contains(.dirIndex) {
            var scan = IndexScan(state, subject, directories, isSilent: looksFor != nil)
            try scan.run()
            index = scan
        } else {
            index = nil
        }
        var next: UInt64 = 0
        var block = [UInt8](repeating: 0, count: volume.blockSize)
        for run in directories.runs(of: subject.info) {
            reportHole(subject, from: next, to: UInt64(run.logical))
            for offset in 0..<UInt64(run.count) {
                let number = BlockNumber(run.block + offset)
                try volume.read(number, into: &block)
                scanBlock(
                    unsafe block.span.bytes, subject,
                    Corruption.Place(
                        inode: subject.inode,
                        logicalBlock: LogicalBlock(UInt64(run.logical) + offset),
                        block: number), index)
            }
            next = UInt64(run.logical) + UInt64(run.count)
        }
        reportHole(subject, from: next, to: max(UInt64(subject.info.blockCount), 1))
    }

    private func reportHole(_ subject: Subject, from start: UInt64, to end: UInt64) {
        guard start < end else { return }
        report(
            Finding(
                .directoryHole,
                at: .init(inode: subject.inode, logicalBlock: LogicalBlock(start)),
                count: end - start))
    }

    private mutating func scanBlock(
        _ bytes: RawSpan, _ subject: Subject, _ place: Corruption.Place, _ index: IndexScan?
    ) {
        let logical = place.logicalBlock?.rawValue ?? 0
        let role = index?.role(of: logical)
        if case .node = role { return }
        // The index's root has its checksum elsewhere, however bad the index is.
        let isRoot = index != nil && logical == 0
        var end = bytes.byteCount
        if volume.hasChecksums, !isRoot {
            if index?.isFramed(bytes) == true, index?.isSound == false { return }
            if DirectoryRecord.hasTail(bytes) {
                end -= DirectoryRecord.tailSize
                checkTail(bytes, subject, place)
            } else {
                report(Finding(.directoryTail, at: place))
            }
        }
        scanEntries(
            bytes, 0..<end, subject, place, isFirst: logical == 0,
            range: isRoot ? nil : role?.range, hash: index?.hash)
    }

    private func checkTail(_ bytes: RawSpan, _ subject: Subject, _ place: Corruption.Place) {
        let base = bytes.byteCount - DirectoryRecord.tailSize
        var crc = CRC32C(subject.owner.checksumSeed)
        crc.update(bytes.extracting(0..<base))
        let stored = bytes[DirectoryRecord.TailLayout.checksum.at(base)]
        guard stored != crc.value else { return }
        report(
            Finding(
                .directoryChecksum, at: place, found: UInt64(stored),
                expected: UInt64(crc.value)))
    }

    // MARK: - Entries

    /// Looks at the entries of a block, or of one of the two areas in an inode.
    mutating func scanEntries(
        _ bytes: RawSpan, _ area: Range<Int>, _ subject: Subject, _ place: Corruption.Place,
        isFirst: Bool, range: ClosedRange<UInt32>?, hash: DirectoryHash?
    ) {
        typealias Layout = DirectoryRecord.Layout
        var offset = area.lowerBound
        var number = isFirst ? 0 : 2
        let rule = place.block == nil ? CheckRule.directoryInline : .directoryRecord
        seen.removeAll()
        while offset < area.upperBound {
            var place = place
            place.byteOffset = offset
            let room = area.upperBound - offset
            guard room >= DirectoryRecord.headerSize else {
                report(Finding(rule, at: place, found: UInt64(room)))
                return
            }
            let length = DirectoryRecord.recordLength(
                bytes[Layout.recordLength.at(offset)], blockSize: volume.blockSize)
            let nameLength = Int(bytes[Layout.nameLength.at(offset)])
            guard length & 3 == 0, length >= 12, length <= room,
                DirectoryRecord.headerSize + nameLength <= length
            else {
                report(Finding(rule, at: place, found: UInt64(length)))
                return
            }
            let start = offset + DirectoryRecord.headerSize
            let entry = Entry(
                inode: InodeNumber(bytes[Layout.inode.at(offset)]),
                type: bytes[Layout.fileType.at(offset)], name: start..<start + nameLength,
                place: place)
            switch number {
            case 0: checkDot(entry, bytes, subject)
            case 1: checkDotDot(entry, bytes, subject)
            default:
                if entry.inode.rawValue != 0 {
                    check(entry, bytes, subject)
                    if let range {
                        checkHash(entry, bytes, subject, range, hash, length: length)
                    }
                }
            }
            number += 1
            offset += length
        }
    }

    /// An entry that lies where it may.
    struct Entry {
        let inode: InodeNumber
        let type: UInt8
        let name: Range<Int>
        let place: Corruption.Place
    }

    private func isDots(_ bytes: RawSpan, _ name: Range<Int>, _ count: Int) -> Bool {
        guard name.count == count else { return false }
        for index in name where bytes.byte(at: index) != UInt8(ascii: ".") { return false }
        return true
    }

    private mutating func checkDot(_ entry: Entry, _ bytes: RawSpan, _ subject: Subject) {
        guard isDots(bytes, entry.name, 1), entry.inode == subject.inode,
            bytes.byte(at: entry.name.upperBound) == 0
        else {
            report(
                Finding(
                    .directoryDot, at: entry.place, found: UInt64(entry.inode.rawValue),
                    expected: UInt64(subject.inode.rawValue), name: bytes.copy(entry.name)))
            return
        }
        guard looksFor == nil else { return }
        checkType(entry, .directory, bytes)
        state.inodes.addLink(subject.inode)
    }

    private mutating func checkDotDot(_ entry: Entry, _ bytes: RawSpan, _ subject: Subject) {
        guard isDots(bytes, entry.name, 2), bytes.byte(at: entry.name.upperBound) == 0 else {
            report(
                Finding(
                    .directoryDotDot, at: entry.place, found: UInt64(entry.inode.rawValue),
                    name: bytes.copy(entry.name)))
            return
        }
        noteDotDot(entry, subject)
        if looksFor == nil { checkType(entry, .directory, bytes) }
    }

    /// Notes where `..` leads; whether that is right shows when all names are known.
    func noteDotDot(_ entry: Entry, _ subject: Subject) {
        guard looksFor == nil else { return }
        let target = entry.inode
        guard target.rawValue > 0, target.rawValue <= format.inodesCount else {
            report(
                Finding(.directoryDotDot, at: entry.place, found: UInt64(target.rawValue)))
            return
        }
        directories.setDotDot(target, at: subject.index)
        state.inodes.addLink(target)
    }

    private mutating func check(_ entry: Entry, _ bytes: RawSpan, _ subject: Subject) {
        let target = entry.inode
        if let looksFor {
            guard target == looksFor, let index = directories.index(of: target) else { return }
            secondNames.append(
                DirectoryPass.SecondName(
                    child: index, parent: subject.inode, place: entry.place,
                    name: bytes.copy(entry.name)))
            return
        }
        func tell(_ rule: CheckRule) {
            report(
                Finding(
                    rule, at: entry.place, found: UInt64(target.rawValue), other: target,
                    name: bytes.copy(entry.name)))
        }
        guard target.rawValue <= format.inodesCount,
            target == .root || target >= firstInode
        else { return tell(.directoryInode) }
        guard !entry.name.isEmpty else { return tell(.directoryName) }
        if isDots(bytes, entry.name, 1) || isDots(bytes, entry.name, 2) {
            return tell(.directoryExtraDot)
        }
        guard target != subject.inode else { return tell(.directorySelf) }
        guard target != .root else { return tell(.directoryRoot) }
        guard state.inodes.isUsed(target) else {
            return tell(isUninitialised(target) ? .directoryUninitialised : .directoryUnusedInode)
        }
        checkName(entry, bytes, subject)
        let type = state.inodes.type(of: target)
        checkType(entry, type, bytes)
        if subject.inode == .root { noteLostAndFound(entry, bytes, type) }
        state.inodes.addName(target)
        guard type == .directory, let index = directories.index(of: target) else { return }
        if !directories.setParent(subject.inode, at: index) {
            secondNames.append(
                DirectoryPass.SecondName(
                    child: index, parent: subject.inode, place: entry.place,
                    name: bytes.copy(entry.name)))
        }
    }

    private func noteLostAndFound(_ entry: Entry, _ bytes: RawSpan, _ type: FileType) {
        let name = Array("lost+found".utf8)
        guard entry.name.count == name.count, bytes.copy(entry.name) == name else { return }
        state.gathered.withLock { $0.lostAndFound = (entry.inode, type, entry.place) }
    }

    /// Whether an inode lies in a part of its table that is marked as never used.
    private func isUninitialised(_ inode: InodeNumber) -> Bool {
        guard volume.superblock.hasDescriptorChecksums else { return false }
        let descriptor = volume.descriptors[Int(volume.group(of: inode).rawValue)]
        let slot = (inode.rawValue - 1) % volume.inodesPerGroup
        return descriptor.flags.contains(.inodeUninit)
            || (descriptor.unusedInodesCount <= volume.inodesPerGroup
                && slot >= volume.inodesPerGroup - descriptor.unusedInodesCount)
    }

    private mutating func checkName(_ entry: Entry, _ bytes: RawSpan, _ subject: Subject) {
        if !subject.flags.contains(.encrypted) {
            for index in entry.name {
                let byte = bytes.byte(at: index)
                guard byte == 0 || byte == UInt8(ascii: "/") else { continue }
                report(
                    Finding(
                        .directoryName, at: entry.place, other: entry.inode,
                        name: bytes.copy(entry.name)))
                break
            }
        }
        guard !seen.insert(entry.name, of: bytes) else { return }
        report(
            Finding(
                .directoryDuplicate, at: entry.place, other: entry.inode,
                name: bytes.copy(entry.name)))
    }

    private func checkType(_ entry: Entry, _ type: FileType, _ bytes: RawSpan) {
        let expected = format.hasTypes ? type.rawValue : 0
        guard entry.type != expected else { return }
        report(
            Finding(
                entry.type == 0 ? .directoryTypeUnset : .directoryType, at: entry.place,
                found: UInt64(entry.type),
                expected: UInt64(expected), other: entry.inode, name: bytes.copy(entry.name)))
    }

    private func checkHash(
        _ entry: Entry, _ bytes: RawSpan, _ subject: Subject, _ range: ClosedRange<UInt32>,
        _ hash: DirectoryHash?, length: Int
    ) {
        let value: UInt32
        if subject.hasHashes {
            let offset = entry.name.lowerBound + (entry.name.count + 3) & ~3
            guard offset + DirectoryRecord.hashSize - (entry.place.byteOffset ?? 0) <= length
            else { return }
            value = bytes[Field<UInt32>.le(offset)] & ~1
        } else {
            // Without the tables of Unicode a name that ignores case has no hash here.
            guard !subject.flags.contains(.casefold), let hash,
                let computed = hash.hash(of: bytes.extracting(entry.name))
            else { return }
            value = computed.major
        }
        guard !range.contains(value) else { return }
        report(
            Finding(
                .htreeHash, at: entry.place, found: UInt64(value),
                expected: UInt64(range.lowerBound), other: entry.inode,
                name: bytes.copy(entry.name)))
    }

    // MARK: - In the inode

    private mutating func scanInline(_ subject: Subject) throws(Ext4Error) {
        let bytes = try volume.inodeBytes(subject.inode)
        let span = unsafe bytes.span.bytes
        let block = InodeRecord.Layout.block
        let place = Corruption.Place(inode: subject.inode)
        let parent = span[DirectoryRecord.inlineParent.at(block.lowerBound)]
        noteDotDot(
            Entry(
                inode: InodeNumber(parent), type: 0, name: 0..<0,
                place: .init(inode: subject.inode, byteOffset: 0)), subject)
        if looksFor == nil { state.inodes.addLink(subject.inode) }
        let area = span.extracting(block)
        scanEntries(
            area, 4..<area.byteCount, subject, place, isFirst: false, range: nil, hash: nil)
        let fields = InodeFields(span, number: subject.inode)
        let superblock = volume.superblock
        let context = AttributeList.Context(
            owner: subject.inode, inodeCount: superblock.inodesCount,
            firstInode: superblock.firstInode.rawValue,
            hasAttributeInodes: superblock.incompatible.contains(.eaInode), checksumSeed: nil)
        guard
            let list = try? AttributeList(
                parsingInode: span, extraSize: fields.extraSize, context),
            case .inArea(let range)? = list.entry(named: .inlineData)?.value, !range.isEmpty
        else { return }
        // Places in the rest count on from those in the inode's own 60 bytes.
        let rest = area.copy() + span.copy(range)
        scanEntries(
            unsafe rest.span.bytes, area.byteCount..<rest.count, subject, place, isFirst: false,
            range: nil, hash: nil)
    }
}
