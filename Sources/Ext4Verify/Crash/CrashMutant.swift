internal import Ext4

/// A fault of the engine that the explorer must find; there are none in shipping builds.
package struct CrashMutant: Sendable {
    /// Its name.
    package let name: String

    /// All that this build knows.
    package static let all: [CrashMutant] = {
        #if MUTANTS
            Mutant.allCases.map { CrashMutant(name: $0.rawValue) }
        #else
            []
        #endif
    }()

    /// The fault with that name.
    package static func named(_ name: String) -> CrashMutant? { all.first { $0.name == name } }

    /// Has the engine have it.
    func switchOn(in options: inout OpenOptions) {
        #if MUTANTS
            options.mutant = Mutant(rawValue: name)
        #endif
    }
}
