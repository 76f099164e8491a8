internal import Ext4

/// What a crash at some moment may leave.
struct CrashWindow: Hashable {
    /// The first moment that can be found: what was promised last.
    var floor = 0
    /// The last one: the end of the operation that was under way.
    var last = 0
    /// Of files whose contents were promised, from when on.
    var contents: [InodeNumber: Int] = [:]
}

/// Judges what is found after a crash by what the volume showed at each moment of its life.
///
/// The prefix oracle: transactions become durable in their order, so everything but the contents
/// of files must be exactly what it was after some operation, and not before the last promise.
/// Contents are on the device before the change that makes them part of a file; so each sector
/// holds what it held at that moment, or what a later operation that had begun wrote in place.
struct CrashOracle {
    /// What the volume showed: at the start, and after each operation.
    var moments: [TreeSnapshot] = []
    /// Whether the operation that led to a moment may take several transactions; and the last
    /// inode it was about.
    var steps: [Bool] = []
    /// Whether that operation moves contents to other places of the file.
    var moves: [Bool] = []
    /// Whether contents go through the journal: nothing but the moment's own are right then.
    var journalsContents = false

    /// What free blocks are filled with before the workload starts.
    static let poison: [UInt8] = Array("stale data! ".utf8) + [0xDB, 0xEF, 0xA5, 0x5A]

    /// What is wrong with `found`; nil for nothing.
    func complaint(about found: TreeSnapshot, _ window: CrashWindow) -> String? {
        let range = window.floor...max(window.last, window.floor)
        var reason: String?
        for moment in range where found.hasSameNodes(as: moments[moment]) {
            guard let words = complaint(aboutContents: found, at: moment, window) else {
                return nil
            }
            reason = "as after operation \(moment), but \(words)"
        }
        for moment in range.dropFirst() where steps[moment] {
            if isBetween(found, moment, window) { return nil }
        }
        if let stale = staleFile(found) { return "inode \(stale) shows stale data" }
        if let reason { return reason }
        return "not what the volume was at any moment from \(window.floor) to \(window.last): "
            + found.differences(from: moments[range.upperBound])
    }

    /// A file that shows what nobody wrote to it.
    private func staleFile(_ found: TreeSnapshot) -> InodeNumber? {
        found.contents.first { _, bytes in
            stride(from: 0, to: bytes.count, by: 512).contains {
                bytes[$0...].starts(with: Self.poison)
            }
        }?.key
    }

    // MARK: Contents

    private func complaint(
        aboutContents found: TreeSnapshot, at moment: Int, _ window: CrashWindow
    ) -> String? {
        for (number, bytes) in found.contents {
            let first = max(moment, window.contents[number] ?? 0)
            let last = journalsContents ? moment : window.last
            if first == moment, moments[moment].contents[number] == bytes { continue }
            let candidates = moments[min(first, last)...last].compactMap { $0.contents[number] }
            if let place = firstStranger(bytes, candidates) {
                let isStale = bytes[place...].starts(with: Self.poison)
                return "inode \(number) has \(isStale ? "stale" : "wrong") data at byte \(place)"
            }
        }
        return nil
    }

    /// The first sector of `bytes` that is in none of `candidates`. What is behind a candidate's
    /// end counts as zeros.
    private func firstStranger(_ bytes: [UInt8], _ candidates: [[UInt8]]) -> Int? {
        stride(from: 0, to: bytes.count, by: 512).first { start in
            let end = min(start + 512, bytes.count)
            return !candidates.contains { candidate in
                let known = min(max(candidate.count, start), end)
                return bytes[start..<known] == candidate.dropFirst(start).prefix(known - start)
                    && bytes[known..<end].allSatisfy { $0 == 0 }
            }
        }
    }

    // MARK: Operations of several transactions

    /// Whether `found` is something between the moments before and after an operation that takes
    /// several transactions: as either, but for the file that it is about.
    private func isBetween(_ found: TreeSnapshot, _ moment: Int, _ window: CrashWindow) -> Bool {
        let (before, after) = (moments[moment - 1], moments[moment])
        guard Set(found.nodes.keys) == Set(before.nodes.keys) else { return false }
        var touched: InodeNumber?
        for (number, node) in found.nodes {
            if node == before.nodes[number] { continue }
            guard let old = before.nodes[number], let new = after.nodes[number],
                touched == nil, isBetween(node, old, new)
            else { return false }
            touched = number
        }
        for (number, bytes) in found.contents {
            let first = max(moment - 1, window.contents[number] ?? 0)
            var candidates = moments[min(first, window.last)...window.last].compactMap {
                $0.contents[number]
            }
            if number == touched {
                candidates += [[], before.contents[number] ?? []]
                // Blocks that move show other parts of the same file.
                if moves[moment], staleFile(found) == nil { continue }
            }
            if firstStranger(bytes, candidates) != nil { return false }
        }
        return true
    }

    private func isBetween(
        _ node: TreeSnapshot.Node, _ old: TreeSnapshot.Node, _ new: TreeSnapshot.Node
    ) -> Bool {
        var (plain, oldPlain, newPlain) = (node, old, new)
        let sizes = min(old.size, new.size)...max(old.size, new.size)
        func clear(_ node: inout TreeSnapshot.Node) {
            node.size = 0
            node.blocks512 = 0
            node.times[1] = nil
            node.times[2] = nil
        }
        clear(&plain)
        clear(&oldPlain)
        clear(&newPlain)
        return node.type == .regular && sizes.contains(node.size)
            && (plain == oldPlain || plain == newPlain)
    }
}
