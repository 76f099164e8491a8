internal import Synchronization

/// What the passes find, from several threads at once.
final class FindingLog: Sendable {
    private struct State {
        var findings: [Finding] = []
        var omitted: UInt64 = 0
    }

    private let limit: Int
    private let state = Mutex(State())

    /// Keeps at most `limit` findings and counts the others: a volume of noise must not fill the
    /// memory with words about it.
    init(limit: Int) { self.limit = limit }

    func add(_ finding: Finding) {
        state.withLock { state in
            if state.findings.count < limit {
                state.findings.append(finding)
            } else {
                state.omitted &+= 1
            }
        }
    }

    /// All findings in the order of a report, each once, and how many were left out.
    func sorted() -> (findings: [Finding], omitted: UInt64) {
        let (all, omitted) = state.withLock { ($0.findings, $0.omitted) }
        var unique: [Finding] = []
        unique.reserveCapacity(all.count)
        for finding in all.sorted() where unique.last != finding { unique.append(finding) }
        return (unique, omitted)
    }
}
