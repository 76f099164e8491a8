internal import ArgumentParser
internal import Glibc

/// A mode as an argument: octal or symbolic.
struct ModeArgument: ExpressibleByArgument {
    let change: ModeChange

    init?(argument: String) {
        guard let change = ModeChange(argument, umask: Self.umask) else { return nil }
        self.change = change
    }

    /// The umask of this process.
    static var umask: UInt16 {
        let mask = Glibc.umask(0)
        _ = Glibc.umask(mask)
        return UInt16(truncatingIfNeeded: mask) & 0o777
    }
}
