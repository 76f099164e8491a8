/// Makes a failing run small: leaves steps out for as long as it still fails.
package struct WorkloadReduction {
    /// Runs those steps alone, from the start, and says whether it fails.
    private let fails: (Set<Int>) -> Bool
    private let budget: Int
    private let deadline: Double
    /// How many runs were made.
    package private(set) var runs = 0

    /// - Parameters:
    ///   - budget: how many runs may be made.
    ///   - seconds: how long all of them may take, about.
    package init(budget: Int = 1000, seconds: Double = 60, fails: @escaping (Set<Int>) -> Bool) {
        self.fails = fails
        self.budget = budget
        deadline = secondsNow() + seconds
    }

    /// The fewest steps that were found, of `1...last`, with which it fails; nil when it does not
    /// even fail with all of them.
    package mutating func reduce(to last: Int) -> [Int]? {
        var steps = Array(1...max(last, 1))
        guard attempt(steps) else { return nil }
        var chunk = steps.count / 2
        while chunk >= 1, mayGoOn {
            var start = 0
            var hasChanged = false
            while start < steps.count, mayGoOn {
                let fewer = Array(steps[..<start] + steps[min(start + chunk, steps.count)...])
                if !fewer.isEmpty, attempt(fewer) {
                    steps = fewer
                    hasChanged = true
                } else {
                    start += chunk
                }
            }
            if chunk == 1, !hasChanged { break }
            chunk = max(chunk / 2, 1)
        }
        return steps
    }

    private var mayGoOn: Bool { runs < budget && secondsNow() < deadline }

    private mutating func attempt(_ steps: [Int]) -> Bool {
        runs += 1
        return fails(Set(steps))
    }
}
