/// Why a volume could not be mounted, in words for the person who asked.
public struct MountFailure: Error, Sendable, CustomStringConvertible {
    /// The reason, one line.
    public let description: String

    /// Makes a failure from its reason.
    public init(_ description: String) { self.description = description }
}
