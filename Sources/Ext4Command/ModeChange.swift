/// A change of permissions as `chmod` takes it: octal (`755`), or symbolic (`u+x,g=rw,o-rwx`).
struct ModeChange {
    private enum Operation: Character {
        case add = "+"
        case remove = "-"
        case set = "="
    }

    private struct Step {
        let operation: Operation
        /// The bits of the classes that were named; 0 for none, which means all that the umask
        /// lets through.
        let affected: UInt16
        let value: Value
        /// The bits that were spoken of: set-id bits of a directory that were not are kept.
        let mentioned: UInt16
    }

    private enum Value {
        case bits(UInt16)
        /// `X` adds to these bits: execution, for directories and what somebody may execute.
        case conditional(UInt16)
        /// What the class at that shift has.
        case copy(shift: UInt16)
    }

    private var steps: [Step] = []
    /// Which bits the umask holds back where no class is named.
    private let umask: UInt16

    /// Reads a change; nil for what is none.
    init?(_ text: String, umask: UInt16) {
        self.umask = umask
        if text.first.map(Self.isOctal) == true {
            guard text.count <= 5, let bits = Self.octal(text) else { return nil }
            let mentioned: UInt16 = text.count > 4 ? 0o7777 : bits & 0o6000 | 0o1777
            steps = [
                Step(
                    operation: .set, affected: 0o7777, value: .bits(bits), mentioned: mentioned)
            ]
            return
        }
        for clause in text.split(separator: ",", omittingEmptySubsequences: false) {
            guard parse(clause) else { return nil }
        }
    }

    /// The permissions that are left of `old` by the change.
    func applied(to old: UInt16, isDirectory: Bool) -> UInt16 {
        var mode = old
        for step in steps {
            let kept = isDirectory ? 0o6000 & ~step.mentioned : 0
            var value: UInt16
            switch step.value {
            case .bits(let bits): value = bits
            case .conditional(let bits):
                value = bits | (isDirectory || mode & 0o111 != 0 ? 0o111 : 0)
            case .copy(let shift): value = (mode >> shift & 7) * 0o111
            }
            value &= step.affected == 0 ? ~umask : step.affected
            value &= ~kept
            switch step.operation {
            case .add: mode |= value
            case .remove: mode &= ~value
            case .set:
                let others = (step.affected == 0 ? 0 : ~step.affected & 0o7777) | kept
                mode = mode & others | value
            }
        }
        return mode & 0o7777
    }

    // MARK: Reading

    private static func isOctal(_ character: Character) -> Bool { ("0"..."7").contains(character) }

    private static func octal(_ text: some StringProtocol) -> UInt16? {
        guard !text.isEmpty, text.allSatisfy(isOctal), let bits = UInt16(text, radix: 8),
            bits <= 0o7777
        else { return nil }
        return bits
    }

    /// One clause: classes, and then one or more operations.
    private mutating func parse(_ clause: Substring) -> Bool {
        var rest = clause
        var affected: UInt16 = 0
        classes: while let letter = rest.first {
            switch letter {
            case "u": affected |= 0o4700
            case "g": affected |= 0o2070
            case "o": affected |= 0o1007
            case "a": affected |= 0o7777
            default: break classes
            }
            rest.removeFirst()
        }
        guard !rest.isEmpty else { return false }
        while let letter = rest.first {
            guard let operation = Operation(rawValue: letter) else { return false }
            rest.removeFirst()
            let end = rest.firstIndex { Operation(rawValue: $0) != nil } ?? rest.endIndex
            guard let step = Self.step(operation, affected, rest[..<end]) else { return false }
            steps.append(step)
            rest = rest[end...]
        }
        return true
    }

    private static func step(
        _ operation: Operation, _ affected: UInt16, _ letters: Substring
    ) -> Step? {
        if letters.first.map(isOctal) == true {
            guard affected == 0, let bits = octal(letters) else { return nil }
            return Step(
                operation: operation, affected: 0o7777, value: .bits(bits), mentioned: 0o7777)
        }
        let copies: [Substring: UInt16] = ["u": 6, "g": 3, "o": 0]
        if let shift = copies[letters] {
            return Step(
                operation: operation, affected: affected, value: .copy(shift: shift),
                mentioned: 0)
        }
        var bits: UInt16 = 0
        var isConditional = false
        for letter in letters {
            switch letter {
            case "r": bits |= 0o444
            case "w": bits |= 0o222
            case "x": bits |= 0o111
            case "s": bits |= 0o6000
            case "t": bits |= 0o1000
            case "X": isConditional = true
            default: return nil
            }
        }
        return Step(
            operation: operation, affected: affected,
            value: isConditional ? .conditional(bits) : .bits(bits),
            mentioned: affected == 0 ? bits : affected & bits)
    }
}
