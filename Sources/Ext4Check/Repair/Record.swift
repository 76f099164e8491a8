package import Ext4

/// Bytes of one record of the format, changed field by field.
package struct Record {
    /// All of the bytes.
    package var bytes: [UInt8]

    /// Takes a copy of the bytes.
    package init(_ bytes: [UInt8]) { self.bytes = bytes }

    /// A field of the record.
    package subscript<Value>(_ field: Field<Value>) -> Value {
        get { unsafe bytes.span.bytes[field] }
        set {
            var span = bytes.mutableSpan
            var raw = unsafe span.mutableBytes
            raw[field] = newValue
        }
    }

    /// Fills a range with one value.
    package mutating func fill(_ range: Range<Int>, _ value: UInt8 = 0) {
        for i in range { bytes[i] = value }
    }
}

extension Record {
    /// A part of the bytes; empty where they do not reach.
    func part(_ range: Range<Int>) -> [UInt8] {
        guard range.lowerBound >= 0, range.upperBound <= bytes.count else { return [] }
        return Array(bytes[range])
    }

    /// Runs `body` on the bytes as the engine's writers take them.
    mutating func withMutableBytes<Result>(_ body: (inout MutableRawSpan) -> Result) -> Result {
        var span = bytes.mutableSpan
        var raw = unsafe span.mutableBytes
        return body(&raw)
    }

    /// Runs `body` on the bytes as the engine's readers take them.
    func withBytes<Result>(_ body: (RawSpan) -> Result) -> Result {
        body(unsafe bytes.span.bytes)
    }
}
