/// Why a volume cannot be made as the options say, in a line that tells what is allowed.
public struct FormatProblem: Error, Hashable, Sendable, CustomStringConvertible {
    /// The words.
    public let description: String

    /// Makes a problem of its words.
    public init(_ description: String) { self.description = description }
}
